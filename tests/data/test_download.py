"""Downloads from a server of this machine that counts, cuts, lies and refuses."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gpot.data.download import Remote, fetch
from gpot.errors import BadInput, DataMissing

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
NAME = "file.bin"


class Server:
    """Serves `CONTENT` at /good, other bytes at /other, its first `cut` bytes at /cut, 404 elsewhere.

    asked: the path and the Range header of each request. ranges: whether Range is heard.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.cut, self.ranges = 200_000, True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers["Range"]
        self.asked.append((request.path, asked))
        content = {"/good": CONTENT, "/cut": CONTENT, "/other": CONTENT[::-1]}.get(request.path)
        if content is None:
            request.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start : self.cut] if request.path == "/cut" else content[start:])

    def remote(self, *paths: str, digest: str | None = DIGEST) -> Remote:
        host, port = self.http.server_address[:2]
        return Remote(NAME, digest, tuple(f"http://{host!s}:{port}{path}" for path in paths))

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_complete_file_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "made"
    for _ in range(2):
        path = fetch(server.remote("/good"), folder, "the test")
        assert path == folder / NAME and path.read_bytes() == CONTENT
    assert server.asked == [("/good", None)] and visible(folder) == [NAME]


def test_file_that_is_there_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(Remote(NAME, DIGEST, ()), tmp_path, "the test") == tmp_path / NAME
    assert visible(tmp_path) == [NAME]


def test_cut_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="broke"):
        fetch(server.remote("/cut"), tmp_path, "the test")
    part = tmp_path / f"{NAME}.part"
    have = part.stat().st_size
    assert visible(tmp_path) == [part.name] and 0 < have <= server.cut
    assert part.read_bytes() == CONTENT[:have]
    assert fetch(server.remote("/good"), tmp_path, "the test").read_bytes() == CONTENT
    assert server.asked == [("/cut", None), ("/good", f"bytes={have}-")] and visible(tmp_path) == [NAME]


def test_second_mirror_goes_on_where_the_first_broke(server: Server, tmp_path: Path) -> None:
    assert fetch(server.remote("/cut", "/good"), tmp_path, "the test").read_bytes() == CONTENT
    first, second = server.asked
    assert first == ("/cut", None) and second[0] == "/good" and second[1] is not None


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    server.ranges = False
    assert fetch(server.remote("/good"), tmp_path, "the test").read_bytes() == CONTENT
    assert server.asked == [("/good", "bytes=1000-")]


def test_first_mirror_down(server: Server, tmp_path: Path) -> None:
    assert fetch(server.remote("/nothing", "/good"), tmp_path, "the test").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/nothing", "/good"]


def test_download_with_another_hash_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"/other: gave another file, which was not kept .*" + DIGEST[7:]):
        fetch(server.remote("/other"), tmp_path, "the test")
    assert visible(tmp_path) == []
    assert fetch(server.remote("/other", "/good"), tmp_path, "the test").read_bytes() == CONTENT
    assert server.asked == [("/other", None), ("/other", None), ("/good", None)], "a wrong file poisons nothing"


@pytest.mark.parametrize("part", [b"y" * 1000, b"y" * len(CONTENT), b"y" * (len(CONTENT) + 7)])
def test_part_of_another_file_costs_one_call_at_most(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    if len(part) <= len(CONTENT):
        with pytest.raises(DataMissing, match="another file"):
            fetch(server.remote("/good"), tmp_path, "the test")
        assert visible(tmp_path) == []
    assert fetch(server.remote("/good"), tmp_path, "the test").read_bytes() == CONTENT


def test_complete_part_is_taken(server: Server, tmp_path: Path) -> None:
    """A process killed after the last byte leaves one, and a server answers 416 when asked for what follows."""
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(server.remote("/good"), tmp_path, "the test").read_bytes() == CONTENT
    assert server.asked == [("/good", f"bytes={len(CONTENT)}-")] and visible(tmp_path) == [NAME]


def test_without_a_published_hash_the_length_is_checked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="broke"):
        fetch(server.remote("/cut", digest=None), tmp_path, "the test")
    assert fetch(server.remote("/good", digest=None), tmp_path, "the test").read_bytes() == CONTENT
    (tmp_path / NAME).write_bytes(b"mine")
    assert fetch(server.remote("/good", digest=None), tmp_path, "the test").read_bytes() == b"mine"


def test_wrong_file_that_is_there_is_refused_and_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(BadInput, match=r"the test needs file\.bin .*Move it away.*name another folder"):
        fetch(server.remote("/good"), tmp_path, "the test")
    assert (tmp_path / NAME).read_bytes() == CONTENT[:-1] and server.asked == []
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(server.remote("/good"), tmp_path, "the test") == tmp_path / NAME, "what is remembered grows old"


def test_nothing_reachable(server: Server, tmp_path: Path) -> None:
    remote = server.remote("/a", "/b")
    server.http.server_close()  # the port refuses from now on
    with pytest.raises(DataMissing) as caught:
        fetch(remote, tmp_path / "data", "the test")
    said = str(caught.value)
    for part in (
        "the test",
        NAME,
        f"'{tmp_path / 'data'}'",
        *remote.addresses,
        "cannot be reached",
        "that has it",
    ):
        assert part in said
    assert "urllib3" not in said


def test_status_of_the_server_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="/nothing: answered 404 Not Found"):
        fetch(server.remote("/nothing"), tmp_path, "the test")


def test_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataMissing, match=r"file', and that cannot be written .*one that has the file"):
        fetch(server.remote("/good"), tmp_path / "file", "the test")
    assert server.asked == []


def test_processes_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    """Threads stand for processes: a file lock holds between both."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(partial(fetch, server.remote("/good"), tmp_path), ["the test"] * 4))
    assert {path.read_bytes() for path in made} == {CONTENT} and len(server.asked) == 1
