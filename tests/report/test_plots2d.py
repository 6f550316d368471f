"""Figures 1 to 4: what is shown is what was passed, where it was passed, and readable."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib
import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

from gpot.errors import BadInput
from gpot.plots import plots2d, style
from gpot.plots.animate import animate_particles
from gpot.plots.importance import save_figure
from gpot.plots.style import polar_colours

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 2))
COLOURS = polar_colours(X)
EXTENT = (-4.0, 4.0, -4.0, 4.0)
DENSITY = np.arange(1.0, 26.0).reshape(5, 5)
LINES = RNG.normal(size=(6, 7, 2))
PATHS = RNG.normal(size=(4, 9, 2))
GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)), axis=-1)
VELOCITY = RNG.normal(size=(5, 5, 2))
TIMES = np.linspace(0.0, 1.0, 4)

FIGURE_2 = [
    plots2d.Figure2Column("data $x$", X, COLOURS),
    plots2d.Figure2Column("BNAF", X + 1.0, COLOURS, 3.0366, 2.88),
    plots2d.Figure2Column("BNAF+GP", X - 1.0, COLOURS, 2.7812),
]
FIGURE_3 = [
    plots2d.Figure3Column(name, cost, nll, LINES, k * DENSITY, EXTENT, X, COLOURS, paper_cost, paper_nll)
    for k, (name, cost, nll, paper_cost, paper_nll) in enumerate(
        (
            ("CP-Flow", 2.7051, 2.8612, 2.62, 2.86),
            ("BNAF", 3.0366, 2.8451, 2.88, 2.85),
            ("BNAF+GP", 2.7812, 2.8453, None, None),
        ),
        start=1,
    )
]
FIGURE_4 = [
    plots2d.Figure4Column(
        name, 1.05, energy, DENSITY, EXTENT, PATHS, GRID, energy * VELOCITY, 1.04, paper, 0.002, TIMES, energy + TIMES
    )
    for name, energy, paper in (
        ("BNAF+GP", 0.2841, 0.28),
        ("BNAF+GP+Euler", 0.0912, 0.09),
        ("BNAF+GP+spectral", 0.083, None),
    )
]
SIZES, MEANS, SPREADS = np.array([128, 256, 512]), np.array([2.9, 2.8, 2.75]), np.array([0.1, 0.05, 0.02])
COSTS = {"BNAF+GP": 2.7812, "BNAF": 3.0366}

FIGURES: dict[str, Callable[[], Figure]] = {
    "figure1": lambda: plots2d.figure1(np.stack([X] * 5), np.linspace(0, 1, 5), COLOURS),
    "figure1 with a mesh": lambda: plots2d.figure1(np.stack([X] * 4), TIMES, COLOURS, np.stack([LINES] * 4)),
    "figure2": lambda: plots2d.figure2(FIGURE_2),
    "figure3": lambda: plots2d.figure3(FIGURE_3),
    "figure4": lambda: plots2d.figure4(FIGURE_4),
    "optimum": lambda: plots2d.optimum_figure(SIZES, MEANS, SPREADS, COSTS, ("exact", 2.698)),
}
PANELS: dict[str, Callable[[Axes], Any]] = {
    "density": lambda ax: plots2d.density_panel(ax, DENSITY, EXTENT, X),
    "mesh": lambda ax: plots2d.mesh_panel(ax, LINES),
    "scatter": lambda ax: plots2d.scatter_panel(ax, X, COLOURS),
    "trajectories": lambda ax: plots2d.trajectories_panel(ax, PATHS, DENSITY, EXTENT),
    "velocity": lambda ax: plots2d.velocity_panel(ax, GRID, VELOCITY, bar=False),
    "energy": lambda ax: plots2d.energy_panel(ax, ["a", "b"], [0.3, 0.1], [0.01, 0.02], [0.28, None]),
    "optimum": lambda ax: plots2d.optimum_panel(ax, SIZES, MEANS, SPREADS, COSTS),
}


def shown(figure: Figure) -> list[Text]:
    """Every text that is drawn, after the layout: ticks outside an axis keep a label, which no reader sees."""
    drawn: list[Text] = []
    draw = Text.draw

    def note(text: Text, *arguments: Any, **keywords: Any) -> None:
        drawn.append(text)
        draw(text, *arguments, **keywords)

    with mock.patch.object(Text, "draw", note):
        figure.draw_without_rendering()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


# Ottosson (2020), from linear sRGB: the way back from polar_colours, with his matrices and not ours inverted
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Machado, Oliveira and Fernandes (2009), severity 1, on linear sRGB
BLIND = {
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    return np.cbrt(light @ CONES.T) @ LAB.T


def disc(n: int) -> np.ndarray:
    angles = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    rim = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    return np.concatenate([r * rim for r in (1.0, 0.7, 0.3)])


def test_colours_are_a_screen_s_own_and_tell_every_place_apart():
    """In OKLab they are an affine image of the plane, of rank 2: equal steps look equal, and none coincide."""
    x = disc(720)
    colours = polar_colours(5.0 * x)
    assert colours.shape == (2160, 3) and colours.min() >= 0.0 and colours.max() <= 1.0
    lab = oklab(linear(colours))
    plane = np.concatenate((x, np.ones((len(x), 1))), axis=1)
    to_lab, *_ = np.linalg.lstsq(plane, lab, rcond=None)
    # the published matrices and sRGB's two thresholds agree to about 1e-6
    np.testing.assert_allclose(plane @ to_lab, lab, atol=1e-5)
    assert np.linalg.svd(to_lab[:2], compute_uv=False).min() > 0.1


@pytest.mark.parametrize("kind", BLIND)
def test_colour_blind_readers_tell_sixteen_directions_apart(kind: str):
    """About 0.02 in OKLab is the least difference that is seen. The paper's HSV wheel is the control."""
    rim = disc(16)[:16]

    def least(colours: np.ndarray) -> float:
        lab = oklab(np.clip(linear(colours) @ BLIND[kind].T, 0.0, 1.0))
        return float(min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)))

    wheel = np.stack((np.arctan2(rim[:, 1], rim[:, 0]) / (2 * np.pi) % 1.0, np.ones(16), np.full(16, 0.8)), axis=-1)
    assert least(polar_colours(rim)) > 0.02
    assert least(hsv_to_rgb(wheel)) < 0.02


def test_colours_beyond_the_radius_keep_their_angle_and_the_origin_is_grey():
    far = polar_colours(np.array([[3.0, 4.0], [0.6, 0.8], [0.3, 0.4]]), radius=1.0)
    np.testing.assert_allclose(far[0], far[1], rtol=1e-12)
    assert np.abs(far[1] - far[2]).max() > 0.05
    grey = polar_colours(np.zeros((2, 2)))
    assert np.ptp(grey, axis=1).max() < 1e-6
    for radius in (0.0, -1.0, np.nan):
        with pytest.raises(BadInput, match="above 0"):
            polar_colours(X, radius=radius)


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_inside_and_does_not_overlap(name: str):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure) and figure.get_size_inches()[0] <= style.WIDTH
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(figure)]
    assert len(boxes) > 5
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} is over {other!r}"


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_on_its_axes_alone(name: str):
    figure = Figure()
    mine, other = figure.subplots(1, 2)
    before, here = len(other.get_children()), len(mine.get_children())
    limits = other.get_xlim()
    PANELS[name](mine)
    assert len(mine.get_children()) > here
    assert figure.axes == [mine, other] and len(other.get_children()) == before and other.get_xlim() == limits
    assert not (figure.texts or figure.lines or figure.patches or figure.images or figure.legends)


@pytest.mark.parametrize("name", FIGURES)
def test_settings_are_put_back(name: str):
    before = dict(matplotlib.rcParams)
    FIGURES[name]()
    with pytest.raises(BadInput):
        plots2d.figure2([])
    assert dict(matplotlib.rcParams) == before


def test_density_stands_where_its_grid_does():
    """The middle of pixel [i, j] is (x_j, y_i), and the axes end with the grid."""
    ax = Figure().subplots()
    xs, ys = np.linspace(-1.0, 3.0, 5), np.linspace(2.0, 6.0, 5)
    values = np.add.outer(10.0 * ys, xs)
    image: Any = plots2d.density_panel(ax, values, (-1.0, 3.0, 2.0, 6.0))
    left, right, bottom, top = image.get_extent()
    np.testing.assert_allclose(left + (right - left) * (np.arange(5) + 0.5) / 5, xs)
    np.testing.assert_allclose(bottom + (top - bottom) * (np.arange(5) + 0.5) / 5, ys)
    assert image.origin == "lower" and np.array_equal(image.get_array(), values)
    assert ax.get_xlim() == (-1.0, 3.0) and ax.get_ylim() == (2.0, 6.0) and ax.get_aspect() == 1.0


def test_a_mesh_has_gaps_where_a_map_has_no_value_and_says_how_many():
    lines = LINES.copy()
    lines[0, 1:3] = np.nan
    ax = Figure().subplots()
    mesh = plots2d.mesh_panel(ax, lines)
    assert [text.get_text() for text in ax.texts] == ["2 not finite"]
    segments = mesh.get_segments()
    assert len(segments) == len(lines) and all(np.isfinite(segment).all() for segment in segments[1:])


def test_points_outside_are_counted():
    ax = Figure().subplots()
    plots2d.scatter_panel(ax, np.array([[0.0, 0.0], [4.1, 0.0], [-9.0, 9.0]]), np.full((3, 3), 0.5))
    assert [text.get_text() for text in ax.texts] == ["2 outside"]
    inside = Figure().subplots()
    plots2d.scatter_panel(inside, np.full((3, 2), 4.0), np.full((3, 3), 0.5))
    assert not inside.texts


def test_trajectories_are_lines_of_one_particle_each():
    ax = Figure().subplots()
    plots2d.trajectories_panel(ax, PATHS, DENSITY, EXTENT)
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    np.testing.assert_array_equal(np.stack(lines.get_segments()), PATHS.transpose(1, 0, 2))
    (ends,) = (c for c in ax.collections if not isinstance(c, LineCollection))
    np.testing.assert_array_equal(ends.get_offsets(), PATHS[-1])


def test_velocity_arrows_have_one_length_and_a_still_point_has_none():
    figure = Figure()
    ax = figure.subplots()
    velocity = VELOCITY.copy()
    velocity[1, 2] = 0.0
    image = plots2d.velocity_panel(ax, GRID, velocity)
    (arrows,) = (c for c in ax.collections if isinstance(c, Quiver))
    assert arrows.N == 24 and GRID[1, 2].tolist() not in arrows.XY.tolist()
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.ravel(image.get_array()), np.linalg.norm(velocity, axis=-1).ravel())
    bars = [bar for bar in figure.axes if bar is not ax]
    assert [bar.get_ylabel() for bar in bars] == ["$|v_0|$"]
    plots2d.velocity_panel(Figure().subplots(), GRID, np.zeros_like(GRID)).autoscale_None()  # at rest: no division


def test_energy_bars_are_ours_and_marks_are_the_paper_s():
    ax = Figure().subplots()
    plots2d.energy_panel(ax, ["a", "b", "c"], [0.2841, 0.0912, 0.083], None, [0.28, None, 0.5])
    assert [bar.get_width() for bar in ax.patches] == [0.2841, 0.0912, 0.083]
    (marks,) = (line for line in ax.lines if line.get_label() == "paper")
    assert marks.get_xydata().tolist() == [[0.28, 0.0], [0.5, 2.0]]
    assert [text.get_text() for text in ax.texts] == ["0.284 (paper 0.28)", "0.091", "0.083 (paper 0.50)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"] and ax.get_xlim()[1] > 0.5


def test_optimum_has_a_line_for_each_cost_in_the_order_of_the_picture():
    ax = Figure().subplots()
    plots2d.optimum_panel(ax, SIZES, MEANS, SPREADS, COSTS, ("exact", 2.698))
    (legend,) = ([text.get_text() for text in legend.get_texts()] for legend in [ax.get_legend()] if legend)
    assert legend == ["discrete optimum", "exact: 2.698", "BNAF: 3.037", "BNAF+GP: 2.781"]
    heights = {str(line.get_label()): line.get_ydata() for line in ax.lines}
    assert list(heights["BNAF: 3.037"]) == [3.0366, 3.0366] and list(heights["exact: 2.698"]) == [2.698, 2.698]
    (container,) = ax.containers
    np.testing.assert_array_equal(container[0].get_ydata(), MEANS)
    ends = np.stack(container[2][0].get_segments())[..., 1]
    np.testing.assert_allclose(ends, np.stack((MEANS - SPREADS, MEANS + SPREADS), axis=-1))


def test_the_spread_of_one_value_is_no_bar():
    ax = Figure().subplots()
    plots2d.optimum_panel(ax, SIZES, MEANS, [None, *SPREADS[1:]], COSTS)
    (container,) = ax.containers
    np.testing.assert_array_equal(container[0].get_ydata(), MEANS)
    (bars,) = container[2]
    heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments() if len(segment)]
    np.testing.assert_allclose(heights, 2 * np.asarray(SPREADS[1:]))
    plots2d.optimum_figure([50], [1.0], [None], {}).canvas.draw()


def test_figure_1_prints_mean_and_deviation():
    frames = np.stack([X, X * [2.0, 1.0] - [0.0, 30.0]])
    figure = plots2d.figure1(frames, [0.0, 0.625], COLOURS)
    assert [ax.get_title() for ax in figure.axes] == ["$t$ = 0.00", "$t$ = 0.62"]
    for ax, frame in zip(figure.axes, frames, strict=True):
        (m1, m2), (s1, s2) = frame.mean(0), frame.std(0)
        printed = f"mean ({m1:.2f}, {m2:.2f})\nstd ({s1:.2f}, {s2:.2f})"
        assert ax.get_xlabel() == printed.replace("-", "−")
    still = plots2d.figure1(np.array([[[-0.001, 0.001], [0.0, 0.0]]]), [0.0], COLOURS[:2])
    assert still.axes[0].get_xlabel() == "mean (0.00, 0.00)\nstd (0.00, 0.00)"  # no sign before 0
    with pytest.raises(BadInput, match="at most 8"):
        plots2d.figure1(np.stack([X] * 9), np.arange(9), COLOURS)


def test_columns_print_ours_and_the_paper_s_numbers():
    texts = {text.get_text() for text in shown(plots2d.figure2(FIGURE_2))}
    assert {"cost 3.037 (paper 2.88)", "cost 2.781"} <= texts
    texts = {text.get_text() for text in shown(plots2d.figure3(FIGURE_3))}
    assert {"cost 2.705 (paper 2.62)\nNLL 2.861 (paper 2.86)", "cost 2.781\nNLL 2.845", "CP-Flow", "density"} <= texts
    texts = {text.get_text() for text in shown(plots2d.figure4(FIGURE_4))}
    assert {"energy 0.284 (paper 0.28)\ncost 1.050 (paper 1.04)", "energy 0.083\ncost 1.050 (paper 1.04)"} <= texts


def test_columns_share_their_scales():
    figure = plots2d.figure3(FIGURE_3)
    assert [image.get_clim() for ax in figure.axes[:3] for image in ax.images] == [(0.0, 75.0)] * 3
    figure = plots2d.figure4(FIGURE_4)
    fastest = 0.2841 * np.linalg.norm(VELOCITY, axis=-1).max()
    norms = [ax.collections[0].get_clim() for ax in figure.axes[3:6]]
    np.testing.assert_allclose(norms, [(0.0, fastest)] * 3)


def test_energy_over_time_is_drawn_where_it_was_measured():
    partly = [FIGURE_4[0], *(dataclasses.replace(column, times=None, kinetic=None) for column in FIGURE_4[1:])]
    (panel,) = (ax for ax in plots2d.figure4(partly).axes if ax.get_xlabel() == "$t$")
    assert [line.get_label() for line in panel.lines] == ["BNAF+GP"]
    np.testing.assert_allclose(panel.lines[0].get_xydata(), np.stack((TIMES, 0.2841 + TIMES), axis=-1))
    never = [dataclasses.replace(column, times=None, kinetic=None) for column in FIGURE_4]
    assert all(ax.get_xlabel() != "$t$" for ax in plots2d.figure4(never).axes)
    with pytest.raises(BadInput, match="'BNAF\\+GP' has kinetic energies and no times"):
        plots2d.figure4([dataclasses.replace(FIGURE_4[0], times=None)])


def axes() -> Axes:
    return Figure().subplots()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: polar_colours(np.zeros((3, 3))), r"polar_colours.*\(n, 2\).*got shape \(3, 3\)"),
        (lambda: polar_colours(np.zeros((0, 2))), r"got shape \(0, 2\)"),
        (lambda: polar_colours(np.array([["a", "b"]])), "numbers"),
        (lambda: polar_colours(np.array([[np.nan, 0.0], [1.0, 1.0]])), "finite.*1 of 4"),
        (lambda: plots2d.density_panel(axes(), np.zeros((4, 5)), EXTENT), r"density.*\(k, k\).*got shape \(4, 5\)"),
        (lambda: plots2d.density_panel(axes(), -DENSITY, EXTENT), "exp of a log-density"),
        (lambda: plots2d.density_panel(axes(), DENSITY, (1.0, 0.0, 0.0, 1.0)), "left < right"),
        (lambda: plots2d.density_panel(axes(), DENSITY, EXTENT, np.zeros(3)), r"points.*\(n, 2\)"),
        (lambda: plots2d.mesh_panel(axes(), X), r"mesh lines.*\(m, p, 2\)"),
        (lambda: plots2d.scatter_panel(axes(), X, COLOURS[1:]), r"colours.*\(n, 3\) with n = 50.*got shape \(49, 3\)"),
        (lambda: plots2d.scatter_panel(axes(), X, 255.0 * COLOURS), "polar_colours"),
        (lambda: plots2d.trajectories_panel(axes(), X, DENSITY, EXTENT), r"paths.*\(T, n, 2\)"),
        (lambda: plots2d.velocity_panel(axes(), GRID, VELOCITY[1:]), r"velocity.*with l = 5"),
        (lambda: plots2d.energy_panel(axes(), ["a"], [1.0, 2.0]), r"energies.*with rows = 1"),
        (lambda: plots2d.energy_panel(axes(), ["a"], [1.0], None, [1.0, 2.0]), "each of 1 rows; got 2"),
        (lambda: plots2d.optimum_panel(axes(), SIZES, MEANS[1:], SPREADS, COSTS), r"means.*with k = 3"),
        (lambda: plots2d.figure1(X, TIMES, COLOURS), r"frames.*\(T, n, 2\)"),
        (lambda: plots2d.figure1(np.stack([X] * 4), TIMES[1:], COLOURS), r"times.*with T = 4"),
        (lambda: plots2d.figure3([]), "none was passed"),
        (lambda: plots2d.figure4([dataclasses.replace(FIGURE_4[0], kinetic=[1.0])]), r"times.*with T = 1"),
        (lambda: plots2d.figure4([dataclasses.replace(FIGURE_4[0], velocity=np.zeros(3))]), r"velocity.*\(l, l, 2\)"),
        (lambda: animate_particles(np.stack([X] * 2), COLOURS, Path("never"), fps=0), "fps=0"),
    ],
)
def test_wrong_input_is_said(call: Callable[[], Any], message: str):
    with pytest.raises(BadInput, match=message):
        call()


@pytest.mark.parametrize("with_mesh", [False, True])
def test_animation_has_a_frame_for_each_time(tmp_path: Path, with_mesh: bool, caplog, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    frames = np.stack([X + 0.5 * k for k in range(5)])  # leaves +-4: the picture is wider than that
    with caplog.at_level(logging.INFO):
        paths = animate_particles(frames, COLOURS, tmp_path / "s", 10, np.stack([LINES] * 5) if with_mesh else None)
    assert paths == [tmp_path / "s.gif"] and [path.name for path in tmp_path.iterdir()] == ["s.gif"]
    assert "ffmpeg is not on the PATH" in caplog.text
    with Image.open(paths[0]) as picture:
        assert picture.n_frames == 5 and picture.size == (400, 400) and picture.info["duration"] == 100
        seen = []
        for k in range(5):
            picture.seek(k)
            seen.append(np.asarray(picture.convert("L"), dtype=float))
    # the dots' centre of mass goes right (later columns) and up (earlier rows) by the same number of pixels
    ink = [255.0 - image[40:360, 45:370] for image in seen]
    if not with_mesh:
        rows, columns = np.mgrid[:320, :325]
        path = np.array([((rows * i).sum() / i.sum(), (columns * i).sum() / i.sum()) for i in ink])
        assert (np.diff(path[:, 0]) < -5.0).all() and (np.diff(path[:, 1]) > 5.0).all()


def test_animation_is_a_film_too_where_ffmpeg_is(tmp_path: Path):
    if not FFMpegWriter.isAvailable():
        pytest.skip("ffmpeg is not on the PATH")
    paths = animate_particles(np.stack([X, X + 0.1]), COLOURS, tmp_path / "s")
    assert paths == [tmp_path / "s.gif", tmp_path / "s.mp4"] and all(path.stat().st_size for path in paths)


def test_a_users_own_settings_do_not_reach_a_figure(tmp_path: Path) -> None:
    """`text.usetex` where there is no LaTeX would stop it."""
    plain = save_figure(plots2d.figure2(FIGURE_2), tmp_path / "plain")
    with matplotlib.rc_context({"text.usetex": True, "font.family": "monospace", "axes.grid": True, "savefig.dpi": 20}):
        theirs = save_figure(plots2d.figure2(FIGURE_2), tmp_path / "theirs")
        assert matplotlib.rcParams["axes.grid"] is True
    assert np.array_equal(np.asarray(Image.open(plain[0])), np.asarray(Image.open(theirs[0])))
