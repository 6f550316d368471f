"""Pickles as data: containers are as Python makes them; nothing is looked up, called, or allocated because of a lie."""

from __future__ import annotations

import collections
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from gpot.data.unpickle import Construction, Name, read_pickle
from gpot.errors import BadInput

SHARED = ["x", 1]
PLAIN = [
    None, True, 3, -(2**70), 2.5, "é" * 300, b"bytes", (), (1,), (1, 2, 3, 4), [], [1, [2, SHARED], SHARED],
    {"a": {"b": (SHARED, 2)}, 3: None}, {1, 2, 3}, collections.OrderedDict([("k", 1), ("l", [2])]),
]  # fmt: skip


def read(content: bytes) -> Any:
    def refuse(_: Any) -> Any:
        raise ValueError("a reference")

    return read_pickle(io.BytesIO(content), "the test", refuse)


class Call:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_those_of_python(protocol: int) -> None:
    values = PLAIN if protocol else [v for v in PLAIN if v != b"bytes"]  # which protocol 0 has to call for
    if protocol < 3:
        values = [v for v in values if v != b"bytes"]
    for value in values:
        assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_call_becomes_a_record(protocol: int, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for function, arguments in ((os.system, (f"touch {victim}",)), (eval, ("1 + 1",)), (open, (str(victim), "w"))):
        made = read(pickle.dumps({"x": [Call(function, arguments, {"state": 1})]}, protocol))["x"][0]
        assert isinstance(made, Construction) and made.arguments == arguments and made.attributes == {"state": 1}
        assert made.by.path.endswith(function.__name__)
    assert not victim.exists()


def test_an_object_is_a_record_of_its_attributes() -> None:
    made = read(pickle.dumps(Path("a/b"), 2))
    assert isinstance(made, Construction) and made.arguments == ("a", "b")
    error = ValueError("said")
    error.note = [1]  # type: ignore[attr-defined]
    made = read(pickle.dumps(error))
    assert made.by == Name("builtins.ValueError") and made.attributes == {"note": [1]}


def test_a_class_stays_a_name_and_takes_no_attributes() -> None:
    assert read(pickle.dumps(os.path.join)) == Name("posixpath.join")
    with pytest.raises(BadInput, match="attributes"):
        read(b"cos\nsystem\n}S'x'\nI1\nsb.")


HOSTILE = {
    "calls what a call gave": b"cos\nsystem\n)R)R.",
    "calls a string": b"S'os.system'\n)R.",
    "calls with no arguments": b"cos\nsystem\nS'x'\nR.",
    "names a class by a number": b"\x80\x04K\x01K\x02\x93.",
    "registry of extensions": b"\x80\x02\x82\x01.",
    "instance of the oldest kind": b"(S'x'\nios\nsystem\n.",
    "object of the oldest kind": b"(cos\nsystem\nS'x'\no.",
    "reference in words": b"Pstorage\n.",
    "reference": b"S'storage'\nQ.",
    "buffer beside the pickle": b"\x80\x05\x97.",
    "key that takes long to hash": b"}((((tttt(I1\ns.",
    "member of a set that takes long to hash": b"\x80\x04\x8f()\x90.".replace(b"()", b"(()t"),
    "set of a word's letters": b"c__builtin__\nset\n(S'abc'\ntR.",
    "dict of no pairs": b"ccollections\nOrderedDict\n((lp0\nI1\natR.",
    "items into a list": b"](S'a'\nI1\nu.",
    "odd number of items": b"}(S'a'\nu.",
    "append to a dict": b"}I1\na.",
    "memory that was never filled": b"h\x07.",
    "mark as a value": b"(a.",
    "empty stack": b"0.",
    "no mark": b"I1\nt.",
    "nothing": b"",
    "no end": b"I1\n",
    "unknown operation": b"\xff.",
    "string longer than the file": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "number longer than the file": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "negative length": b"\x80\x02\x8b\xff\xff\xff\xff1.",
    "no text": b"X\x01\x00\x00\x00\xff.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_data_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="the test was to hold a pickle of plain data"):
        read(HOSTILE[name])


def test_sharing_is_not_expanded() -> None:
    """A pickle of 2^200 leaves in 200 lines: tuples of the tuple before, twice."""
    content = b"I1\n" + b"q\x00h\x00\x86" * 200 + b"."
    value, depth = read(content), 0
    while isinstance(value, tuple):
        assert value[0] is value[1]
        value, depth = value[0], depth + 1
    assert (value, depth) == (1, 200)


def test_depth_is_no_recursion() -> None:
    value = read(b"]" * 100_000 + b"a" * 99_999 + b".")
    for _ in range(99_999):
        (value,) = value
    assert value == []


def test_the_number_of_operations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpot.data.unpickle.MAX_OPERATIONS", 100)
    with pytest.raises(BadInput, match="more than 100 operations"):
        read(b"N0" * 60 + b"N.")
    assert read(b"N0" * 30 + b"N.") is None


def test_a_state_of_any_size_is_a_dict() -> None:
    state = {f"a{k}": k for k in range(50_000)}
    made = read(pickle.dumps(Call(os.system, ("x",), state)))
    assert made.attributes == state


def test_behind_the_pickle_the_file_goes_on() -> None:
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps("two") + b"rest")
    assert [read_pickle(file, "the test", str) for _ in range(2)] == [[1], "two"] and file.read() == b"rest"
