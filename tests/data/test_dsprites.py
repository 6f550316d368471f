"""The dSprites renderer: against real images, and against a slow rasteriser written here as its specification."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpot.data.dsprites import (
    CLASSES,
    N_IMAGES,
    SIZE,
    check_classes,
    classes_of,
    index_of,
    load_official,
    render,
    render_packed,
    unpack,
    values_of,
)
from gpot.errors import BadInput, DataMissing
from tests.conftest import shared_path

# --- the specification: one image, one pixel, one edge at a time ------------------------------------------------------


def outline(shape: int) -> list[complex]:
    """Vertices a + ib at scale 1 and angle 0; a to the right, b downward."""
    if shape == 0:
        return [9.6 * v for v in (-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j)]
    if shape == 1:
        angles = [2 * math.pi * k / 100 for k in range(100)]
        return [complex(9.6 * 1.33 * math.cos(t), 9.6 / 1.33 * math.sin(t)) for t in angles]
    angles = [2 * math.pi * k / 150 for k in range(150)]
    heights = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in angles]
    return [complex(0.6 * 16 * math.sin(t) ** 3, -19.2 / 29 * h - 1.44) for t, h in zip(angles, heights, strict=True)]


def placed(classes: tuple[int, ...]) -> list[tuple[Fraction, Fraction]]:
    """Vertices in pixels, rounded to 1/256. Seen on screen (y downward) the shape turns counter-clockwise."""
    _, shape, scale, orientation, pos_x, pos_y = classes
    turn = (0.5 + 0.1 * scale) * cmath.exp(-1j * 2 * math.pi * orientation / 39)
    centre = complex(16 + 32 * pos_x / 31, 16 + 32 * pos_y / 31)
    points = [centre + turn * vertex for vertex in outline(shape)]
    return [(Fraction(round(256 * p.real), 256), Fraction(round(256 * p.imag), 256)) for p in points]


def draw(classes: tuple[int, ...]) -> np.ndarray:
    """A pixel is on iff its centre is inside the polygon: its winding number is not 0.

    The winding number counts the edges that a ray to the left crosses, upward ones against downward ones. A centre on a
    left or bottom edge is inside, on a right or top edge outside: as if it were moved a little to the right and upward.
    """
    vertices = placed(classes)
    edges = list(zip(vertices, vertices[1:] + vertices[:1], strict=True))
    image = np.zeros((SIZE, SIZE), dtype=np.uint8)
    for row in range(math.floor(min(y for _, y in vertices)), math.ceil(max(y for _, y in vertices))):
        y = Fraction(2 * row + 1, 2)
        crossings = []
        for (x0, y0), (x1, y1) in edges:
            if (y0 < y) != (y1 < y):
                crossings.append((x0 + (y - y0) * (x1 - x0) / (y1 - y0), 1 if y1 > y0 else -1))
        for column in range(SIZE):
            x = Fraction(2 * column + 1, 2)
            image[row, column] = sum(sign for crossing, sign in crossings if crossing <= x) != 0
    return image


# (scale, orientation, posX, posY) that put a pixel centre exactly on an edge, where the rule for edges decides:
# twice on a left or right one, twice on a top or bottom one
ON_AN_EDGE = {
    0: [[1, 0, 8, 16], [1, 0, 23, 30], [1, 0, 15, 23], [1, 0, 16, 8]],
    1: [[3, 34, 3, 29], [0, 37, 1, 11], [3, 18, 31, 12], [2, 37, 21, 2]],
    2: [[4, 19, 6, 25], [0, 17, 14, 13], [0, 24, 7, 1], [3, 24, 29, 17]],
}


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_render_equals_the_specification(shape: int) -> None:
    generator = np.random.default_rng(shape)
    classes = generator.integers(0, CLASSES, size=(12, 6))
    classes[:, 1] = shape
    # axis-parallel, extreme scales, and the four corners of the range of positions
    classes[:4, 2:] = [[5, 0, 0, 0], [0, 0, 31, 0], [5, 39, 0, 31], [0, 13, 31, 31]]
    classes[4:8, 2:] = ON_AN_EDGE[shape]
    expected = np.stack([draw(tuple(int(k) for k in row)) for row in classes])
    assert np.array_equal(render(classes), expected)


# --- invariants -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Every (shape, scale, orientation), each at four random positions: 2,880 images."""
    generator = np.random.default_rng(7)
    every = np.stack(np.meshgrid([0], range(3), range(6), range(40), indexing="ij"), axis=-1).reshape(-1, 4)
    classes = np.concatenate([np.repeat(every, 4, axis=0), generator.integers(0, 32, size=(4 * len(every), 2))], axis=1)
    return classes, render(classes)


def test_images_are_binary_and_stay_inside(sample: tuple[np.ndarray, np.ndarray]) -> None:
    classes, images = sample
    assert images.shape == (len(classes), SIZE, SIZE) and images.dtype == np.uint8
    assert set(np.unique(images).tolist()) == {0, 1}
    assert (images.sum(axis=(1, 2)) > 0).all()
    for axis in (1, 2):
        occupied = np.flatnonzero(images.any(axis=(0, 3 - axis)))
        assert occupied.min() >= 2 and occupied.max() <= 60
    # no pixel farther from the centre than the farthest vertex
    centre = 16 + 32 * classes[:, 4:6] / 31
    which, row, column = np.nonzero(images)
    distance = np.hypot(column + 0.5 - centre[which, 0], row + 0.5 - centre[which, 1])
    farthest = np.array([max(abs(vertex) for vertex in outline(shape)) for shape in range(3)])
    reach = farthest[classes[:, 1]] * (0.5 + 0.1 * classes[:, 2])
    assert (distance <= reach[which] + 1 / 256).all()


def test_mean_pixel_is_the_mean_area(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Averaged over positions the number of pixels on is the polygon's area, here to a few parts in a thousand."""
    classes, images = sample
    scales = [(0.5 + 0.1 * k) ** 2 for k in range(6)]
    areas = []
    for shape in range(3):
        v = outline(shape)
        areas.append(abs(sum((a.conjugate() * b).imag for a, b in zip(v, v[1:] + v[:1], strict=True))) / 2)
    expected = np.outer(areas, scales)
    found = np.array(
        [[images[(classes[:, 1] == s) & (classes[:, 2] == k)].sum() / 160 for k in range(6)] for s in range(3)]
    )
    # 160 images a cell; a count varies by at most about the square root of the 50 pixels on the perimeter
    assert np.abs(found - expected).max() < 4 * 7 / math.sqrt(160)
    assert images.mean() == pytest.approx(expected.mean() / SIZE**2, abs=4 * 7 / math.sqrt(len(images)) / SIZE**2)
    assert images.mean() == pytest.approx(0.0425, abs=2e-4)


def test_last_orientation_repeats_the_first_and_no_other() -> None:
    classes = np.array([[0, s, 3, o, 7, 21] for s in range(3) for o in (0, 39, 1, 38)])
    images = render(classes).reshape(3, 4, SIZE, SIZE)
    assert np.array_equal(images[:, 0], images[:, 1])
    for other in (2, 3):
        assert (images[:, 0] != images[:, other]).any(axis=(1, 2)).all()


def test_directions() -> None:
    """posX moves right, posY down, scale enlarges, and a small turn lifts the right end of the ellipse."""
    scale_orientation_position = [[3, 0, 10, 10], [3, 0, 20, 10], [3, 0, 10, 20], [5, 0, 10, 10], [3, 3, 10, 10]]
    base, right, down, larger, turned = render(np.array([[0, 1, *row] for row in scale_orientation_position]))

    def mean_position(image: np.ndarray) -> tuple[float, float]:
        rows, columns = np.nonzero(image)
        return rows.mean(), columns.mean()

    row, column = mean_position(base)
    assert mean_position(right)[1] - column == pytest.approx(320 / 31, abs=0.5)
    assert mean_position(right)[0] == pytest.approx(row, abs=0.5)
    assert mean_position(down)[0] - row == pytest.approx(320 / 31, abs=0.5)
    assert larger.sum() > 1.4 * base.sum()
    rows, columns = np.nonzero(turned)
    assert np.corrcoef(rows, columns)[0, 1] < -0.3


# --- bookkeeping ------------------------------------------------------------------------------------------------------


def test_index_and_classes_round_trip() -> None:
    index = np.r_[0, N_IMAGES - 1, np.random.default_rng(1).integers(0, N_IMAGES, 1000)]
    classes = classes_of(index)
    assert np.array_equal(index_of(classes), index)
    shape, scale, orientation, pos_x, pos_y = classes[:, 1:].T
    assert np.array_equal((((shape * 6 + scale) * 40 + orientation) * 32 + pos_x) * 32 + pos_y, index)
    values = values_of(classes)
    assert np.allclose(values[1], [1, 3, 1, 2 * np.pi, 1, 1]) and np.allclose(values[0], [1, 1, 0.5, 0, 0, 0])


def test_packed_round_trip_in_any_order() -> None:
    index = np.random.default_rng(2).permutation(N_IMAGES)[:300]
    packed = render_packed(index)
    assert packed.shape == (300, SIZE * SIZE // 8) and packed.dtype == np.uint8
    assert np.array_equal(unpack(packed), render(classes_of(index)))


def test_packing_reports_progress_per_block() -> None:
    seen: list[tuple[list[int], int]] = []

    def progress(blocks, count):  # type: ignore[no-untyped-def]
        seen.append((list(blocks), count))
        return iter(seen[0][0])

    render_packed(np.zeros(7000, dtype=np.int64), progress)
    assert seen == [([0, 6144], 2)]


def test_errors_say_what_is_wrong() -> None:
    good = np.array([[0, 2, 5, 39, 31, 31]])
    assert np.array_equal(check_classes(good), good)
    for column, name in enumerate(("color", "shape", "scale", "orientation", "posX", "posY")):
        for value in (-1, CLASSES[column]):
            bad = np.repeat(good, 3, axis=0)
            bad[1, column] = value
            with pytest.raises(BadInput, match=rf"'{name}' \(column {column}\).*1 of 3 rows.*row 1 with {value}"):
                render(bad)
    with pytest.raises(BadInput, match=r"shape \(n, 6\).*got shape \(1, 5\)"):
        render(good[:, 1:])
    with pytest.raises(BadInput, match=r"must be integers.*float64"):
        render(good.astype(float))
    with pytest.raises(BadInput, match=r"0\.\.737279; 2 of 3 do not, the first is 737280"):
        classes_of(np.array([3, 737_280, -1]))
    with pytest.raises(BadInput, match=r"vector of integers.*float64"):
        classes_of(np.array([3.0]))


def test_load_official_explains_a_file_that_is_not_the_archive(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"there is no such file.*Without a file"):
        load_official(tmp_path / "absent.npz")

    classes = classes_of(np.arange(10))
    np.savez(tmp_path / "small.npz", imgs=render(classes), latents_classes=classes)
    with pytest.raises(BadInput, match=r"all 737280 images.*\(10, 64, 64\).*Without a file"):
        load_official(tmp_path / "small.npz")

    np.savez(tmp_path / "other.npz", images=np.zeros(3), imgs=np.zeros(3))
    with pytest.raises(BadInput, match=r"holds \['images', 'imgs'\], and 'imgs' and 'latents_classes' are needed"):
        load_official(tmp_path / "other.npz")

    np.savez(tmp_path / "pickled.npz", imgs=np.array([{}], dtype=object), latents_classes=classes)
    np.save(tmp_path / "array.npy", classes)
    (tmp_path / "text.npz").write_text("<html>404</html>")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "small.npz").read_bytes()[:300])
    for name in ("pickled.npz", "array.npy", "text.npz", "cut.npz"):
        with pytest.raises(BadInput, match=r"not a readable npz archive.*Without a file"):
            load_official(tmp_path / name)


# --- real images ------------------------------------------------------------------------------------------------------


def test_render_equals_real_images() -> None:
    """64,834 real images: at most 0.02 % differ, each by one pixel (rounding ties of single-precision hardware)."""
    with np.load(shared_path("data/dsprites_reference/dsprites_labelled_64834.npz"), allow_pickle=False) as real:
        images, classes, index = real["imgs"], real["latents_classes"], real["original_index"]
        values = real["latents_values"]
    assert len(images) == 64_834
    assert np.array_equal(index_of(classes), index)
    assert np.allclose(values_of(classes), values, rtol=0, atol=1e-14)
    drawn = render(classes)
    different = np.flatnonzero((drawn != images).any(axis=(1, 2)))
    assert len(different) <= 13
    assert ((drawn[different] != images[different]).sum(axis=(1, 2)) == 1).all()
