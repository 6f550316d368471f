"""3D chairs and CelebA from archives in the layouts of the published ones: what is read, in which order, what is
refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpot.config import Config, compose
from gpot.config.schema import ImagesConfig
from gpot.data import archive_images
from gpot.data.archive_images import REMOTES, ArchiveImages, decode
from gpot.data.download import Remote
from gpot.errors import BadConfig, BadInput, DataMissing
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from gpot.stages.vae import image_source

CHAIRS, CELEBA = "*/renders/*.png", "*.jpg"
VIEWS = ("image_000_p020_t011_r096.png", "image_001_p020_t023_r096.png", "image_002_p030_t011_r096.png")


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Bars and noise in colour, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 40, (height, width, 3)) + rng.integers(0, 200, (1, width, 3)) // 4
    values[: height // 2, :, seed % 3] += 150
    return values.astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def chairs() -> dict[str, bytes]:
    """Not in the order of the names, and with what else the published archive holds."""
    files = {"rendered_chairs/all_chair_names.mat": b"MATLAB"}
    for k, chair in enumerate(("9b1f", "1a03", "c5d2")):
        for j, view in enumerate(VIEWS):
            files[f"rendered_chairs/{chair}/renders/{view}"] = encoded(picture(3 * k + j, 100, 100))
        files[f"rendered_chairs/{chair}/{chair}.png"] = b"no image, and not below renders"
    return files


def faces(n: int = 5) -> dict[str, bytes]:
    numbers = np.random.default_rng(1).permutation(n) + 1
    return {f"img_align_celeba/{k:06d}.jpg": encoded(picture(int(k), 218, 178), "JPEG") for k in numbers}


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for folder in {str(Path(name).parent) for name in files}:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def source(path: Path | None, pattern: str = CHAIRS, channels: int = 1, size: int = 64) -> ArchiveImages:
    return ArchiveImages("chairs", None if path is None else str(path), Path("nowhere"), pattern, size, channels)


def everything(images: ArchiveImages) -> torch.Tensor:
    return images.pixels(np.arange(len(images)))


# --- what is read -----------------------------------------------------------------------------------------------------


def test_chairs_are_grey_and_in_the_order_of_their_names(tmp_path: Path) -> None:
    files = chairs()
    images = source(write_tar(tmp_path / "rendered_chairs.tar", files))
    names = sorted(name for name in files if "/renders/" in name)
    assert len(images) == 9 and images.names == names
    pixels = everything(images)
    assert pixels.shape == (9, 1, 64, 64) and pixels.dtype == torch.uint8
    for row, name in zip(pixels, names, strict=True):
        colours = Image.open(io.BytesIO(files[name])).resize((64, 64), Image.Resampling.LANCZOS)
        # luma of ITU-R 601
        grey = np.asarray(colours).astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs(row[0].numpy() - grey).max() < 1
    assert len({row.numpy().tobytes() for row in pixels}) == 9, "no picture stands for another"
    assert images.labels(np.arange(2)) is None  # type: ignore[func-returns-value]
    (unpacked,) = images.unpack(pixels)
    assert unpacked.dtype == torch.float32 and torch.equal((unpacked * 255).round().byte(), pixels)


def test_faces_are_in_colour(tmp_path: Path) -> None:
    files = faces()
    images = source(write_zip(tmp_path / "celeba.zip", files), CELEBA, 3)
    pixels = everything(images)
    assert images.names == sorted(files) and pixels.shape == (5, 3, 64, 64)
    # resizing keeps the mean colour of each half of the picture, up to the seam
    for row, name in zip(pixels, images.names, strict=True):
        original = np.asarray(Image.open(io.BytesIO(files[name]))).astype(float)
        assert original.shape == (218, 178, 3)
        for half, wide in ((slice(0, 28), slice(0, 95)), (slice(36, 64), slice(123, 218))):
            mean = row[:, half].numpy().mean((1, 2))
            assert np.abs(mean - original[wide].mean((0, 1))).max() < 2


def test_rows_may_be_read_apart(tmp_path: Path) -> None:
    images = source(write_tar(tmp_path / "chairs.tar", chairs()))
    whole = everything(images)
    for index in ([8, 0, 3], [4], [], [2, 2, 7]):
        assert torch.equal(images.pixels(np.array(index, dtype=np.int64)), whole[index])


def test_only_the_rows_that_are_asked_for_are_decoded(tmp_path: Path) -> None:
    files = chairs()
    names = sorted(name for name in files if "/renders/" in name)
    files[names[5]] = b"no image"
    images = source(write_tar(tmp_path / "chairs.tar", files))
    assert images.pixels(np.array([0, 8])).shape == (2, 1, 64, 64)
    with pytest.raises(BadInput, match=f"the image '{names[5]}' in .* cannot be read"):
        images.pixels(np.array([0, 5]))


def test_every_kind_of_archive_gives_the_same(tmp_path: Path) -> None:
    files = chairs()
    kinds = [
        write_tar(tmp_path / "a.tar", files),
        write_tar(tmp_path / "a.tar.gz", files, "w:gz"),
        write_zip(tmp_path / "a.zip", files),
        write_folder(tmp_path / "folder", files),
        write_folder(tmp_path / "folder", {}) / "rendered_chairs",
    ]
    first, *others = [everything(source(path)) for path in kinds]
    assert all(torch.equal(first, other) for other in others)


def test_decoding_keeps_what_needs_no_change() -> None:
    grey = picture(0, 64, 64)[..., 0]
    assert np.array_equal(decode(encoded(grey), 64, 1)[0], grey)
    assert np.array_equal(decode(encoded(grey), 64, 3), np.broadcast_to(grey, (3, 64, 64)))
    colour = picture(1, 64, 64)
    assert np.array_equal(decode(encoded(colour), 64, 3), colour.transpose(2, 0, 1))
    constant = np.full((218, 178, 3), 77, dtype=np.uint8)
    assert np.array_equal(decode(encoded(constant), 32, 3), np.full((3, 32, 32), 77))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_hash_changes_with_a_pixel(tmp_path: Path) -> None:
    files = chairs()
    name = next(name for name in files if "/renders/" in name)
    changed = np.asarray(Image.open(io.BytesIO(files[name]))).copy()
    changed[0, 0, 0] ^= 1
    other = files | {name: encoded(changed)}
    tars = [write_tar(tmp_path / f"{k}.tar", content) for k, content in enumerate((files, files, other))]
    folders = [write_folder(tmp_path / str(k), content) for k, content in enumerate((files, files, other))]
    for same, again, different in (tars, folders):
        assert source(same).data_hash() == source(again).data_hash() != source(different).data_hash()
    write_folder(tmp_path / "0", other)
    assert source(tmp_path / "0").data_hash() == source(tmp_path / "2").data_hash(), "what is remembered grows old"


def test_hash_of_a_folder_is_of_its_images(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", chairs())
    before = source(path).data_hash()
    write_folder(path, {"rendered_chairs/notes.txt": b"nothing"})
    assert source(path).data_hash() == before
    image = next(path.glob("*/*/renders/*.png"))
    image.rename(image.with_name("renamed.png"))
    assert source(path).data_hash() != before
    assert source(path, "*/c5d2/renders/*.png").data_hash() != source(path).data_hash()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_nothing_fits_the_pattern(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "celeba.zip", faces())
    with pytest.raises(BadInput, match=r"no file in .* fits pattern='\*/renders/\*\.png'; it holds 5 files: img_"):
        len(source(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"holds 0 files\. Name another"):
        len(source(tmp_path / "empty"))


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"none\.tar.*or None to have it fetched"):
        len(source(tmp_path / "none.tar"))
    whole = write_tar(tmp_path / "a.tar", chairs()).read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        between = archive.getmembers()[-2].offset  # the end of a member: tarfile itself sees no damage
    zipped, zip_bytes = tmp_path / "a.zip", write_zip(tmp_path / "whole.zip", faces()).read_bytes()
    broken = {
        "text.tar": b"these are words" * 100, "empty.tar": b"", "cut.tar": whole[: len(whole) // 2],
        "between.tar": whole[:between], "spoilt.tar": whole[:between] + b"x" * 512 + whole[between + 512 :],
        "cut.tar.gz": gzip.compress(whole)[:5000], zipped.name: zip_bytes[: len(zip_bytes) // 2],
    }  # fmt: skip
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=rf"{name}', an archive .* cannot be read .*Fetch it again"):
            len(source(tmp_path / name))


def test_images_that_cannot_be_read_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = encoded(picture(0, 90, 90))
    transparent = io.BytesIO()
    Image.fromarray(picture(0, 9, 9)).save(transparent, "PNG", transparency=(0, 0, 0))
    damaged = bytearray(good)
    damaged[200:300] = bytes(100)
    bad = {
        "cut": good[: len(good) // 2],
        "damaged": bytes(damaged),
        "empty": b"",
        "gif": encoded(picture(0, 9, 9), "GIF"),
        "alpha": encoded(rng.integers(0, 256, (9, 9, 4), dtype=np.uint8)),
        "transparent": transparent.getvalue(),
        "deep": encoded(rng.integers(0, 65536, (9, 9), dtype=np.uint16)),
    }
    for name, content in bad.items():
        path = write_zip(tmp_path / f"{name}.zip", {"x/renders/1.png": good, f"x/renders/{name}.png": content})
        with pytest.raises(BadInput, match=f"the image 'x/renders/{name}.png' in .*cannot be read .*leave it out"):
            everything(source(path))


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "a.zip", {"x/renders/1.png": encoded(picture(0, 90, 90))})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadInput, match=r"the image .*decompression bomb"):
        everything(source(path))


def test_links_and_repeated_names(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", chairs())
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("rendered_chairs/9b1f/renders/zz.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../secret"
        archive.addfile(link)
    with pytest.raises(BadInput, match=r"renders/zz\.png' in .* link"):
        len(source(path))
    assert len(source(path, "*/c5d2/renders/*.png")) == 3, "what is not asked for does no harm"
    repeated = write_tar(tmp_path / "b.tar", chairs())
    write_tar(repeated, {f"rendered_chairs/1a03/renders/{VIEWS[0]}": b"again"}, "a")
    with pytest.raises(BadInput, match="more than once"):
        len(source(repeated))
    folder = write_folder(tmp_path / "folder", chairs())
    os.symlink(folder / "rendered_chairs" / "9b1f", folder / "rendered_chairs" / "linked")
    with pytest.raises(BadInput, match="holds 'linked', a link to another folder"):
        len(source(folder))


def test_nothing_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    path = write_tar(inside / "a.tar", {"../renders/1.png": encoded(picture(0, 70, 70))})
    assert everything(source(path)).shape == (1, 1, 64, 64)
    assert [p.name for p in tmp_path.iterdir()] == ["inside"] and [p.name for p in inside.iterdir()] == ["a.tar"]


def test_channels_and_names_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"got channels=4"):
        source(tmp_path, channels=4)
    with pytest.raises(BadConfig, match=r"'mine' names no archive.*by its path"):
        len(ArchiveImages("mine", None, tmp_path, CELEBA, 64, 3))


# --- in the project ---------------------------------------------------------------------------------------------------


def chairs_config(folder: Path, *overrides: str) -> Config:
    paths = [f"paths.{name}={folder / 'outputs' / name}" for name in ("artifacts", "report", "logs")]
    small = ["budget=smoke", "models=toy", "pretrained=null", "upstream=make"]
    all_images = "dataset.n_images=null"
    return compose("train_vae", ["dataset=chairs", all_images, f"paths.data={folder}", *small, *paths, *overrides])


def test_configs_of_both(tmp_path: Path) -> None:
    for name, beta, shape, pattern in (("chairs", 3.2, (1, 64), CHAIRS), ("celeba", 6.4, (3, 64), CELEBA)):
        config = compose("train_vae", [f"dataset={name}", "models=paper"])
        assert isinstance(config.dataset, ImagesConfig) and config.vae is not None
        assert config.vae.beta == beta and config.vae.epochs == {"chairs": 300, "celeba": 200}[name]
        assert (config.dataset.channels, config.dataset.image_size) == shape and config.flow.epochs == 1500
        made = image_source(config.dataset, tmp_path / "nowhere")
        assert isinstance(made, ArchiveImages) and made.pattern == pattern and made.name in REMOTES
    assert not (tmp_path / "nowhere").exists(), "nothing is fetched before it is needed"


def test_without_archive_and_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(archive_images.REMOTES, "chairs", Remote("rendered_chairs.tar", None, ()))
    config = chairs_config(tmp_path)
    with pytest.raises(DataMissing, match=r"(?s)dataset 'chairs' needs the file .*name the folder that has it"):
        open_workshop(config).make(Pipeline(config).points)


def test_vae_and_codes_of_chairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the archive in `paths.data` to the codes of its images."""
    views = [f"x{k:02d}/renders/{view}" for k in range(24) for view in VIEWS]
    files = {f"rendered_chairs/{name}": encoded(picture(k, 80, 80)) for k, name in enumerate(views)}
    write_tar(tmp_path / "rendered_chairs.tar", files)
    monkeypatch.setitem(archive_images.REMOTES, "chairs", Remote("rendered_chairs.tar", None, ()))
    config = chairs_config(tmp_path)
    workshop = open_workshop(config)
    latents = workshop.make(Pipeline(config).points)
    mean = latents.array("mean.npy")
    assert mean.shape == (72, 10) and mean.dtype == np.float32 and np.isfinite(mean).all()
    assert latents.array("index.npy").tolist() == list(range(72)) and "labels.npy" not in latents.manifest["files"]
    assert "sha256:" in latents.manifest["data_hash"] and str(tmp_path) not in str(latents.manifest)
    # the same file named by dataset.path is the same data
    named = chairs_config(tmp_path, f"dataset.path={tmp_path / 'rendered_chairs.tar'}")
    assert workshop.make(Pipeline(named).points).key == latents.key
    subset = chairs_config(tmp_path, "dataset.n_images=40", "vae.epochs=1")
    assert workshop.make(Pipeline(subset).points).array("mean.npy").shape == (40, 10)
