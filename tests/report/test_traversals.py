"""Figures 5 to 8: every image where it was passed, the numbers of the rows printed, and the same in motion."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gpot.errors import BadInput
from gpot.plots.style import WIDTH
from gpot.plots.traversal_films import animate_traversals
from gpot.plots.traversals import traversal_figure
from tests.report.test_plots2d import shown

NAMES = ("Initial latent space", "FFJORD", "FFJORD+GP", "FFJORD+GP+Euler")
D, K = 10, 7
KL = (3.809, 3.793, 2.516, 2.021, 1.452, 0.00131, 0.00116, 0.00113, 0.00112, 0.00108)
CARRIES = np.array(KL) > 0.05
LABELS = [f"KL {kl:.2f}" if kl > 0.05 else f"KL {kl:.4f}" for kl in KL]
CHANGES = np.array([0.04, 0.03, 0.02, 0.004, 0.001, 0.001, 0.0012, 0.00005, 0.0, 0.0006])


def blobs(rows: int = D, columns: int = K, channels: int = 1, side: int = 16, informative: int = 5) -> np.ndarray:
    """(rows, columns, channels, side, side): a blob that walks along the first rows, and stands still on the others."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    walk = np.linspace(-0.6, 0.6, columns)[None, :] * (np.arange(rows) < informative)[:, None]
    blob = np.exp(-((x - walk[..., None, None]) ** 2 + y**2) / 0.08)
    return np.repeat(blob[:, :, None], channels, axis=2)


def panels(n: int, **options: Any) -> dict[str, np.ndarray]:
    return {name: blobs(**options) for name in NAMES[:n]}


def figure(
    n: int = 3,
    images: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    informative: Any = CARRIES,
    labels: Any = LABELS,
    values: Any = None,
) -> Figure:
    images = panels(n) if images is None else images
    changes = dict.fromkeys(images, CHANGES) if changes is None else changes
    return traversal_figure(
        images, changes, informative=informative, title="a data point", row_labels=labels, values=values
    )


def lossy() -> Figure:
    """Of the second panel, 9 images are lost, and with them the change of a row."""
    images = panels(3)
    images["FFJORD"][2, 1:3, 0, 0, 0] = np.nan
    images["FFJORD"][3] = np.inf
    return figure(
        images=images, changes={**dict.fromkeys(images, CHANGES), "FFJORD": [0.04, 0.03, 0.02, np.nan, *[0.01] * 6]}
    )


FIGURES: dict[str, Callable[[], Figure]] = {
    **{f"{n} panels": lambda n=n: figure(n, values=np.linspace(-1.75, 1.75, K)) for n in (1, 2, 3, 4)},
    "colour, 32 pixels": lambda: figure(2, panels(2, channels=3, side=32)),
    "lost images": lossy,
}


def grids(drawn: Figure) -> list[Axes]:
    return [ax for ax in drawn.axes if ax.images]


def picture(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_inside_and_does_not_overlap(name: str):
    drawn = FIGURES[name]()
    assert drawn.get_size_inches()[0] <= WIDTH + 1e-9
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(drawn)]
    assert len(boxes) > 20
    for text, box in boxes:
        assert drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1, text
        assert drawn.bbox.y0 <= box.y0 and box.y1 <= drawn.bbox.y1, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} is over {other!r}"


@pytest.mark.parametrize("n", [1, 3, 4])
def test_a_panel_is_a_grid_of_square_images_and_bars_beside_its_rows(n: int):
    drawn = figure(n)
    drawn.draw_without_rendering()
    assert [ax.get_title() for ax in grids(drawn)] == list(NAMES[:n]) and len(drawn.axes) == 2 * n
    for ax in grids(drawn):
        box = ax.get_window_extent()
        tall, wide = picture(ax).shape[:2]
        assert box.height / tall == pytest.approx(box.width / wide, rel=1e-6)  # the layout is made for square pixels
        assert box.width / K > 0.2 * drawn.dpi, "an image is at least a fifth of an inch"
    for bars, grid in zip(drawn.axes[1::2], drawn.axes[::2], strict=True):
        assert [bar.get_width() for bar in bars.patches] == CHANGES.tolist() and bars.get_ylim() == grid.get_ylim()
        assert bars.get_window_extent().y0 == pytest.approx(grid.get_window_extent().y0)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_stands_in_its_row_and_column(channels: int):
    """Two pixels of padding; one channel is ink on white, colours stay."""
    images = np.random.default_rng(0).random((D, K, channels, 5, 5))
    (ax,) = grids(figure(1, {NAMES[0]: images}))
    shape = (D * 7 + 2, K * 7 + 2, 3)
    assert picture(ax).shape == shape
    gaps = np.ones(shape[:2], dtype=bool)
    for i, j in itertools.product(range(D), range(K)):
        place = np.s_[2 + 7 * i : 7 + 7 * i, 2 + 7 * j : 7 + 7 * j]
        gaps[place] = False
        expected = np.repeat(1.0 - images[i, j], 3, axis=0) if channels == 1 else images[i, j]
        np.testing.assert_allclose(picture(ax)[place], np.moveaxis(expected, 0, -1), atol=1e-6)
    assert len(np.unique(picture(ax)[gaps])) == 1 and gaps.sum() == np.prod(shape[:2]) - D * K * 25


def test_rows_are_named_and_numbered_and_a_rule_ends_the_informative_ones():
    drawn = figure(3, values=[-1.75, -1.0, -0.5, -0.001, 0.5, 1.0, 1.75])
    first, *others = grids(drawn)
    assert [label.get_text() for label in first.get_yticklabels()] == LABELS
    # a label stands at the middle of its row: pixels 2 to 17 of the first, 18 further for each
    np.testing.assert_allclose(first.get_yticks(), 9.5 + 18 * np.arange(D))
    assert all(not len(ax.get_yticks()) for ax in others)
    for ax in grids(drawn):
        assert [label.get_text() for label in ax.get_xticklabels()] == ["−1.75", "0.00", "1.75"]
        assert (
            ax.get_xlabel() == "mean image change per step:\n1.9 % on the 5 informative rows,\n0.057 % on the 5 others"
        )
        (rule,) = ax.lines
        np.testing.assert_allclose(rule.get_ydata(), 5 * 18 + 0.5)  # between pixels 90 and 91, the gap
    for bars in drawn.axes[1::2]:
        printed = [text.get_text() for text in bars.texts]
        assert printed == ["4.0", "3.0", "2.0", "0.40", "0.10", "0.10", "0.12", "<0.01", "0", "0.060"]
        assert len({bar.get_facecolor() for bar in bars.patches[:5]}) == 1
        assert bars.patches[0].get_facecolor() != bars.patches[5].get_facecolor()


def test_all_rows_or_none_may_be_informative():
    (ax,) = grids(figure(1, informative=np.ones(D, dtype=bool)))
    assert "on the 10 informative rows" in ax.get_xlabel() and "other" not in ax.get_xlabel() and not ax.lines
    one = np.arange(D) == 0
    (ax,) = grids(figure(1, informative=one))
    assert "4.0 % on the 1 informative row,\n0.64 % on the 9 others" in ax.get_xlabel() and len(ax.lines) == 1
    (ax,) = grids(figure(1, informative=~one[::-1]))
    assert ax.get_xlabel().endswith("0.060 % on the 1 other")


def test_bars_of_all_panels_have_one_scale():
    drawn = figure(2, changes={NAMES[0]: 0.1 * CHANGES, NAMES[1]: 3 * CHANGES})
    limits = {ax.get_xlim() for ax in drawn.axes if not ax.images}
    assert len(limits) == 1 and limits.pop()[1] > 0.12
    still = figure(1, changes={NAMES[0]: np.zeros(D)})  # nothing moves: no division
    assert still.axes[1].get_xlim()[1] > 0.0


def test_lost_images_are_crossed_out_and_counted():
    drawn = lossy()
    _, ax, _ = grids(drawn)
    assert (
        ax.get_xlabel().endswith("\n9 of 70 images not finite")
        and "2.5 % on 4 of 5 informative rows" in ax.get_xlabel()
    )
    assert [text.get_text() for text in drawn.axes[3].texts][:5] == ["4.0", "3.0", "2.0", "–", "1.0"]
    tile, still_there = picture(ax)[38:54, 20:36], picture(ax)[38:54, 2:18]
    assert np.isfinite(picture(ax)).all()
    across = np.eye(16, dtype=bool) | np.eye(16, dtype=bool)[::-1]
    assert tile[across].max() < tile[~across].min() and not np.array_equal(tile, still_there)
    assert all("not finite" not in other.get_xlabel() for other in (grids(drawn)[0], grids(drawn)[2]))


@pytest.mark.parametrize("name", FIGURES)
def test_settings_are_put_back(name: str):
    before = dict(matplotlib.rcParams)
    FIGURES[name]()
    assert dict(matplotlib.rcParams) == before


def sweep(m: int, d: int, k: int, channels: int, side: int) -> np.ndarray:
    """(m, d, k, C, S, S): blobs as above, data point a fainter than the one before it."""
    one = blobs(d, k, channels, side, informative=d // 2)
    return np.stack([one * (1.0 - 0.1 * a) for a in range(m)])


def read(path: Path) -> tuple[list[np.ndarray], Any]:
    with Image.open(path) as gif:
        frames = []
        for k in range(gif.n_frames):
            gif.seek(k)
            frames.append(np.asarray(gif.convert("RGB"), dtype=float) / 255.0)
        return frames, gif.info


@pytest.mark.parametrize(("channels", "side"), [(1, 64), (3, 64), (1, 32)])
def test_animation_goes_there_and_back(tmp_path: Path, channels: int, side: int, caplog, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    points = {name: sweep(2, 4, 5, channels, side) for name in NAMES[1:3]}
    points["FFJORD+GP"][0, 1, :3] = np.nan
    with caplog.at_level(logging.INFO):
        paths = animate_traversals(
            points, tmp_path / "fig5", row_labels=LABELS[:4], values=np.linspace(-1, 1, 5), fps=10
        )
    assert paths == [tmp_path / "fig5.gif"] and "ffmpeg is not on the PATH" in caplog.text
    frames, info = read(paths[0])
    assert len(frames) == 8 and info["duration"] == 100 and info["loop"] == 0
    for k in (1, 2, 3):
        np.testing.assert_array_equal(frames[k], frames[8 - k])
    assert all(length % 2 == 0 for length in frames[0].shape[:2]), "films need even sizes"

    # the last panel ends 10 pixels before the right side: 2 columns of 64 pixels, 2 between and around
    left, top, times = frames[0].shape[1] - 10 - 134, 40, 64 // side
    for k, a, i in itertools.product(range(5), range(2), range(4)):
        tile = frames[k][top + 2 + 66 * i : top + 66 + 66 * i, left + 2 + 66 * a : left + 66 + 66 * a]
        if (a, i) == (0, 1) and k < 3:
            assert tile.mean() > 0.9 and tile.std() > 0.0  # crossed out
            continue
        image = np.repeat(points["FFJORD+GP"][a, i, k], 3 // channels, axis=0).repeat(times, -1).repeat(times, -2)
        expected = np.moveaxis(1.0 - image if channels == 1 else image, 0, -1)
        # a grey is at most half a level of 64 away; colours of a palette, on average
        assert (
            np.abs(tile - expected).max() < 0.5 / 63 + 1.0 / 255
            if channels == 1
            else np.abs(tile - expected).mean() < 0.02
        )
    white = [frame[:2] for frame in frames]
    assert all((part == 1.0).all() for part in white)


def test_animation_of_the_paper_s_size_is_small(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    one = blobs(D, 15, 1, 64)
    points = {name: np.broadcast_to(one, (7, *one.shape)).astype(np.float32) for name in NAMES[:3]}
    (path,) = animate_traversals(points, tmp_path / "a.gif", row_labels=LABELS)
    with Image.open(path) as gif:
        assert gif.n_frames == 28 and gif.width >= 3 * 464 and gif.height >= 662
    assert path.stat().st_size < 3_000_000


def test_animation_is_a_film_too_where_ffmpeg_is(tmp_path: Path):
    if not FFMpegWriter.isAvailable():
        pytest.skip("ffmpeg is not on the PATH")
    paths = animate_traversals({"FFJORD": sweep(2, 4, 3, 1, 32)}, tmp_path / "a", row_labels=LABELS[:4])
    assert paths == [tmp_path / "a.gif", tmp_path / "a.mp4"] and all(path.stat().st_size for path in paths)


def animate(points: Mapping[str, Any], **options: Any) -> list[Path]:
    return animate_traversals(points, Path("never"), **{"row_labels": LABELS[:4], **options})


FILM = sweep(2, 4, 3, 1, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figure(images={}), "1 to 4 latent spaces.*got 0"),
        (lambda: figure(images={str(i): blobs() for i in range(5)}), "1 to 4 latent spaces.*got 5"),
        (
            lambda: figure(images={"a": blobs()[0]}),
            r"'a', images.*\(d, k, C, S, S\).*d = 10.*got shape \(7, 1, 16, 16\)",
        ),
        (lambda: figure(images={"a": blobs(), "b": blobs(columns=8)}), r"'b', images.*k = 7.*got shape \(10, 8"),
        (lambda: figure(images={"a": blobs()[..., 1:]}), r"got shape \(10, 7, 1, 16, 15\)"),
        (lambda: figure(images={"a": blobs(channels=2)}), "1 or 3 channels; got 2"),
        (lambda: figure(images={"a": 255 * blobs()}), "'a': pixels lie in.*to 241.*Divide"),
        (lambda: figure(labels=LABELS[1:]), "d = 9"),
        (lambda: figure(changes={"FFJORD": CHANGES}), "changes: one entry.*got FFJORD"),
        (lambda: figure(1, changes={NAMES[0]: CHANGES[1:]}), r"image changes.*\(d,\) with d = 10.*got shape \(9,\)"),
        (lambda: figure(1, changes={NAMES[0]: 100 * CHANGES}), "grey levels, 0 to 1.*not in percent"),
        (lambda: figure(informative=CARRIES[1:]), "one bool for each of 10 rows"),
        (lambda: figure(informative=np.array(KL)), "one bool.*float64"),
        (lambda: figure(values=[0.0, 1.0]), r"values.*\(k,\) with k = 7"),
        (lambda: animate({}), "at least 1 latent space"),
        (lambda: animate({"a": FILM[0]}), r"'a', images.*\(m, d, k, C, S, S\)"),
        (lambda: animate({"a": FILM, "b": FILM[1:]}), r"'b', images.*m = 2.*got shape \(1, 4"),
        (lambda: animate({"a": FILM}, row_labels=LABELS), "d = 10"),
        (lambda: animate({"a": FILM}, values=[0.0]), "values.*k = 3"),
        (lambda: animate({"a": FILM - 1.0}), "pixels lie in"),
        (lambda: animate({"a": FILM}, fps=0), "fps=0"),
    ],
)
def test_wrong_input_is_said(call: Callable[[], Any], message: str):
    with pytest.raises(BadInput, match=message):
        call()
    assert not Path("never.gif").exists()
