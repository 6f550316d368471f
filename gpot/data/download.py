"""Files from public addresses: fetched by pooch, checked by their hash, a cut download continued where it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import filelock
import pooch
import requests
from rich.console import Console
from tqdm import tqdm

from gpot.errors import BadInput, DataMissing

log = logging.getLogger(__name__)

_BLOCK = 1 << 16  # bytes
_TIMEOUT = 30.0  # seconds without an answer
_PARTIAL = 206  # HTTP status: the answer goes on from the byte that was asked for
_NOTHING_LEFT = 416  # HTTP status: the file ends before the byte that was asked for


@dataclass(frozen=True)
class Remote:
    """A public file. digest: `sha256:...` or `md5:...`, None where its publisher names none. addresses: mirrors, in the
    order in which they are tried."""

    name: str
    digest: str | None
    addresses: tuple[str, ...]


def fetch(remote: Remote, folder: Path, needed_for: str) -> Path:
    """The file in `folder`: the one that is there, or a download from the first address that has it.

    A download is kept as `<name>.part` until it is complete; a further call goes on from there. One with another hash
    is not kept. Of two processes that want the same file one waits for the other.
    Raises: BadInput where the file that is there has another hash (it is left as it is); DataMissing, with addresses
    and folder, where no address gives the file, or where the folder cannot be written.
    """
    path = folder / remote.name
    if path.is_file():
        _check(path, remote, needed_for)
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{remote.name}.lock"):
            if not path.is_file():  # another process may have fetched it
                _download(remote, folder, needed_for)
    except DataMissing:  # an OSError too
        raise
    except OSError as error:
        raise DataMissing(
            f"{needed_for} needs the file {remote.name}, which was to be downloaded into the folder '{folder}', and "
            f"that cannot be written ({error.strerror}). Name another, or one that has the file.",
            advice={"folder": ...},
        ) from error
    return path


def _download(remote: Remote, folder: Path, needed_for: str) -> None:
    pooch.get_logger().setLevel(logging.WARNING)  # it advises on pooch's own options
    failures = []
    for address in remote.addresses:
        try:
            log.info("downloading %s", address)
            downloader = _resume(folder / f"{remote.name}.part")
            pooch.retrieve(address, remote.digest, remote.name, folder, downloader=downloader)
            return
        except requests.RequestException as error:
            failures.append(f"  {address}: {_reason(error)}")
        except ValueError as error:  # pooch's word for another hash; it has removed the download
            failures.append(f"  {address}: gave another file, which was not kept ({error})")
    raise DataMissing(
        f"{needed_for} needs the file {remote.name}, which is not in the folder '{folder}', and no address gave it:\n"
        + "\n".join(failures)
        + "\nPut the file into that folder, or name the folder that has it.",
        advice={"folder": ...},
    )


def _reason(error: requests.RequestException) -> str:
    """One line: the message of requests names its own classes and repeats the address."""
    if error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {_TIMEOUT:.0f} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke; what came is kept, and a further call goes on from there"
    return "cannot be reached" if isinstance(error, requests.ConnectionError) else str(error)


def _check(path: Path, remote: Remote, needed_for: str) -> None:
    if remote.digest is None:
        return
    algorithm, _, expected = remote.digest.partition(":")
    stat = path.stat()
    digest = _hash(path, algorithm, (stat.st_size, stat.st_mtime_ns))
    if digest != expected:
        raise BadInput(
            f"{needed_for} needs {remote.name} with {algorithm} {expected}, and '{path}' has {digest}: it was cut "
            "short or is another file. Move it away to have it downloaded again, or name another folder.",
            advice={"folder": ...},
        )


@lru_cache(maxsize=16)
def _hash(path: Path, algorithm: str, stamp: tuple[int, int]) -> str:
    """Of a file's bytes; remembered while its size and time of change stay: every stage asks, and a gigabyte takes
    seconds."""
    return str(pooch.file_hash(str(path), alg=algorithm))


def _resume(part: Path) -> Any:
    """A pooch downloader that writes to `part`, from its end where the server can, and hands the complete file over."""

    def download(address: str, output: Any, _: pooch.Pooch) -> None:
        have = part.stat().st_size if part.is_file() else 0
        # as it is: of an answer that is compressed on the way neither length nor place are those of the file
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=True) as answer:
            if answer.status_code == _NOTHING_LEFT and have:
                complete = answer.headers.get("content-range") == f"bytes */{have}"
            else:
                answer.raise_for_status()
                _write(answer, part, have)
                complete = True
        if not complete:  # what is there is no beginning of this file
            part.unlink()
            return download(address, output, _)
        part.replace(output)  # pooch checks the hash, and keeps the file only if it is right

    return download


def _write(answer: requests.Response, part: Path, have: int) -> None:
    """The body of an answer behind the `have` bytes of `part`, or in their place where the server sent the whole file.

    Raises: requests.exceptions.ChunkedEncodingError where the answer ends early; what came of it is kept.
    """
    goes_on = answer.status_code == _PARTIAL
    start = have if goes_on else 0
    length = answer.headers.get("content-length")
    size = None if length is None else int(length) + start
    with (
        part.open("ab" if goes_on else "wb") as file,
        tqdm(total=size, initial=start, unit="B", unit_scale=True, leave=False,
             desc=part.stem, disable=not Console(stderr=True).is_terminal) as bar,
    ):  # fmt: skip
        for block in answer.iter_content(_BLOCK):
            file.write(block)
            bar.update(len(block))
    if size is not None and part.stat().st_size < size:  # of which some versions of urllib3 say nothing
        raise requests.exceptions.ChunkedEncodingError(f"{answer.url} ended before {size} bytes")
