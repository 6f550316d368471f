"""The files of a tar or zip archive, or of a folder, by name: read where they are, nothing is unpacked to disk."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from typing import NamedTuple, Protocol

from gpot.errors import BadInput
from gpot.progress import track
from gpot.store import file_sha256

_UNREADABLE = (  # what the libraries raise on damaged, encrypted or foreign bytes
    OSError, EOFError, RuntimeError, ValueError, SyntaxError, zlib.error, LZMAError, tarfile.TarError,
    zipfile.BadZipFile,
)  # fmt: skip


class Member(NamedTuple):
    """A file of an archive. name: from its root, with `/` between folders. regular: not a link, not a device."""

    name: str
    regular: bool


class Archive(Protocol):
    """An open archive."""

    def members(self) -> list[Member]:
        """All but folders, in the order in which reading them is fast."""

    def read(self, name: str) -> bytes:
        """The content of a regular member."""


class _Tar:
    def __init__(self, file: tarfile.TarFile) -> None:
        self.file = file
        self.infos = {info.name: info for info in file.getmembers()}
        # after the last member comes a block of zeros; without one tarfile ends at any damage and says nothing
        assert file.fileobj is not None
        file.fileobj.seek(file.offset)
        if file.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"it is damaged after {len(self.infos)} members, or ends early")

    def members(self) -> list[Member]:
        return [Member(info.name, info.isfile()) for info in self.file.getmembers() if not info.isdir()]

    def read(self, name: str) -> bytes:
        content = self.file.extractfile(self.infos[name])
        assert content is not None, "it is a regular file"
        return content.read()


class _Zip:
    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file

    def members(self) -> list[Member]:
        infos = sorted(self.file.infolist(), key=lambda info: info.header_offset)
        return [Member(info.filename, regular=True) for info in infos if not info.is_dir()]

    def read(self, name: str) -> bytes:
        return self.file.read(name)


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Member] = []
        for folder, folders, files in os.walk(root, onerror=_raise):
            for link in (name for name in folders if (Path(folder) / name).is_symlink()):
                raise BadInput(
                    f"the folder '{root}' holds '{link}', a link to another folder, and links are not followed. "
                    "Put the files themselves there."
                )
            paths = [Path(folder) / name for name in files]
            self.files += [Member(path.relative_to(root).as_posix(), path.is_file()) for path in paths]

    def members(self) -> list[Member]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


def _raise(error: OSError) -> None:
    """For os.walk, which otherwise leaves out a folder that it may not read."""
    raise error


@contextmanager
def readable(subject: str, advice: str) -> Iterator[None]:
    """Turns what libraries raise on bytes that they cannot read into BadInput: subject, reason, advice."""
    try:
        yield
    except BadInput:  # a ValueError too
        raise
    except _UNREADABLE as error:
        raise BadInput(f"{subject} cannot be read ({str(error) or type(error).__name__}). {advice}") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The tar archive (plain or compressed), the zip archive or the folder at `path`. Raises: BadInput for any other
    file, and for an archive that was cut short."""
    archive: Archive
    with ExitStack() as stack:
        with readable(
            f"'{path}', an archive or a folder of images,", "Fetch it again, or name another: tar, zip, folder."
        ):
            if path.is_dir():
                archive = _Folder(path)
            elif tarfile.is_tarfile(path):
                archive = _Tar(stack.enter_context(tarfile.open(path)))
            else:
                archive = _Zip(stack.enter_context(zipfile.ZipFile(path)))
        yield archive


def archive_hash(path: Path) -> str:
    """`sha256:...` of the file's bytes; remembered while its size and time of change stay: a gigabyte takes seconds."""
    return _file_hash(path, _stamp(path))


def folder_hash(path: Path, names: list[str]) -> str:
    """`sha256:...` of name, size and sha256 of the files `names` below a folder; remembered likewise."""
    return _folder_hash(path, tuple(names), tuple(_stamp(path / name) for name in names))


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)
def _file_hash(path: Path, stamp: tuple[int, int]) -> str:
    return f"sha256:{file_sha256(path)}"


@lru_cache(maxsize=8)
def _folder_hash(path: Path, names: tuple[str, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, (size, _) in track(zip(names, stamps, strict=True), len(names), "hashing images"):
        digest.update(os.fsencode(f"{name}\n{size}\n{file_sha256(path / name)}\n"))
    return f"sha256:{digest.hexdigest()}"
