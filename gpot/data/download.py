"""Files from public addresses: fetched by pooch, checked by their hash, a cut download continued where it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
from rich.console import Console
from tqdm import tqdm

from gpot.errors import BadInput, DataMissing

log = logging.getLogger(__name__)

_BLOCK = 1 << 16  # bytes
_TIMEOUT = 30.0  # seconds without an answer
_PARTIAL = 206  # HTTP status: the answer goes on from the byte that was asked for


@dataclass(frozen=True)
class Remote:
    """A public file. digest: `sha256:...` or `md5:...`, None where its publisher names none. addresses: mirrors, in the
    order in which they are tried."""

    name: str
    digest: str | None
    addresses: tuple[str, ...]


def fetch(remote: Remote, folder: Path, needed_for: str) -> Path:
    """The file in `folder`: the one that is there, or a download from the first address that has it.

    A download is kept as `<name>.part` until it is complete and its hash is right; a further call goes on from there.
    Raises: BadInput where the file that is there has another hash (it is left as it is); DataMissing, with addresses and
    folder, where no address answers.
    """
    path = folder / remote.name
    if path.is_file():
        _check(path, remote, needed_for)
        return path
    failures = []
    for address in remote.addresses:
        try:
            log.info("downloading %s", address)
            pooch.retrieve(
                address, remote.digest, remote.name, folder, downloader=_resume(folder / f"{path.name}.part")
            )
            return path
        except (requests.RequestException, OSError, ValueError) as error:  # pooch: ValueError for a wrong hash
            failures.append(f"  {address}: {type(error).__name__}")
    raise DataMissing(
        f"{needed_for} needs the file {remote.name}, which is not in the folder '{folder}', and no address gave it:\n"
        + "\n".join(failures)
        + f"\nPut the file into that folder, or name the folder that has it: paths.data=FOLDER."
    )


def _check(path: Path, remote: Remote, needed_for: str) -> None:
    if remote.digest is None:
        return
    algorithm, _, expected = remote.digest.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != expected:
        raise BadInput(
            f"{needed_for} needs {remote.name} with {algorithm} {expected}, and '{path}' has {found}: it was cut short or "
            "is another file. Move it away to have it downloaded again, or name another folder: paths.data=FOLDER."
        )


def _resume(part: Path) -> Any:
    """A pooch downloader that writes to `part`, from its end where the server can, and hands the complete file over."""

    def download(address: str, output: Any, _: pooch.Pooch) -> None:
        have = part.stat().st_size if part.is_file() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=True) as answer:
            answer.raise_for_status()
            goes_on = answer.status_code == _PARTIAL
            start = have if goes_on else 0
            size = int(answer.headers.get("content-length", 0)) + start
            with (
                part.open("ab" if goes_on else "wb") as file,
                tqdm(total=size, initial=start, unit="B", unit_scale=True, leave=False,
                     desc=part.stem, disable=not Console(stderr=True).is_terminal) as bar,
            ):  # fmt: skip
                for block in answer.iter_content(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
        if part.stat().st_size < size:
            raise OSError(f"{address} ended after {part.stat().st_size} of {size} bytes")
        part.replace(output)  # pooch checks the hash, and keeps the file only if it is right

    return download
