"""Pickles read as data: an interpreter of the pickle language that imports nothing and calls nothing.

A pickle is a program for a stack machine, and Python's own reader runs what it says: any function of any module. Here
the same program builds numbers, strings, tuples, lists, dicts and sets; a class or function that it names stays a name
(:class:`Name`), and what it would make with one is a record of what it was to be made of (:class:`Construction`). So a
pickled module can be read without the code of its classes, and a hostile one builds at most odd records.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from gpot.errors import BadInput

MAX_OPERATIONS = 1_000_000  # a module of a thousand layers needs 100,000
_SCALARS = (str, bytes, int, float, bool, type(None))  # what may be the key of a dict: others may take long to hash
_DICTS = ("collections.OrderedDict",)
_SETS = ("__builtin__.set", "builtins.set")


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, `torch.nn.modules.linear.Linear`; it is not looked up."""

    path: str


@dataclass(eq=False)
class Construction:
    """What a pickle would have made by calling `by` with `arguments`, and the attributes it would have given it."""

    by: Name
    arguments: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


class _Mark:
    """Where on the stack the parts of a tuple, list or dict begin."""


_MARK = _Mark()


def read_pickle(file: IO[bytes], what: str, refer: Callable[[Any], Any]) -> Any:
    """The value of the pickle that starts at the file's position, which is then behind it.

    refer: what a reference to something outside of the pickle stands for. Raises: BadInput, naming `what`, where the
    pickle ends early, contradicts itself, or uses an operation that data needs none of.
    """
    machine = _Machine(refer)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if operation.name == "STOP":
                return machine.pop()
            if count == MAX_OPERATIONS:
                raise _Refused(f"it has more than {MAX_OPERATIONS} operations")
            machine.run(operation.name, argument)
    except BadInput:
        raise
    except _Refused as refused:
        raise _bad(what, str(refused)) from None
    # whatever a file's bytes say must end in one error: operands that are missing, of another type, cut short
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise _bad(what, f"{type(error).__name__}: {error}") from error
    raise _bad(what, "it has no end")


def _bad(what: str, problem: str) -> BadInput:
    return BadInput(f"{what} was to hold a pickle of plain data, and cannot be read as one ({problem}).")


class _Refused(Exception):
    """An operation or operand that is not for data."""


class _Machine:
    """Stack and memory of the pickle language, without its calls."""

    def __init__(self, refer: Callable[[Any], Any]) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.refer = refer

    def run(self, operation: str, argument: Any) -> None:
        """One operation, by its name in `pickletools`."""
        if operation in _LITERALS:
            self.stack.append(argument)
        elif operation in _CONSTANTS:
            self.stack.append(_CONSTANTS[operation]())
        elif operation in _TUPLES:
            parts = [self.pop() for _ in range(_TUPLES[operation])]
            self.stack.append(tuple(reversed(parts)))
        elif operation in _PUT:
            self.memory[argument] = self.top()
        elif operation in _GET:
            self.stack.append(self.memory[argument])
        elif operation in _OPERATIONS:
            _OPERATIONS[operation](self, argument)
        elif operation not in ("PROTO", "FRAME"):
            raise _Refused(f"its operation {operation} is not for plain data")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise _Refused("an operation lacks its operands")
        return value

    def top(self) -> Any:
        self.stack.append(self.pop())
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        parts: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            parts.append(value)
        return parts[::-1]

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise _Refused("it names a class by something else than words")
        self.stack.append(Name(f"{module}.{name}"))

    def make(self, by: Any, arguments: Any) -> None:
        if not isinstance(by, Name) or not isinstance(arguments, tuple):
            raise _Refused("it calls what is no name, or with what are no arguments")
        self.stack.append(_make(by, arguments))

    def build(self) -> None:
        """Attributes for what is on top: of a record they are kept, of a container they say nothing about its items."""
        state, target = self.pop(), self.top()
        if isinstance(target, Construction):
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    target.attributes.update(part)
        elif not isinstance(target, dict):
            raise _Refused("it gives attributes to what has none")

    def fill(self, items: list[Any]) -> None:
        """Keys and values in turn, into the dict on top."""
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise _Refused("it puts items into what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_scalar(key)] = value

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise _Refused("it appends to what is no list")
        target.extend(items)

    def unite(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise _Refused("it adds to what is no set")
        target.update(map(_scalar, items))


def _make(by: Name, arguments: tuple[Any, ...]) -> Any:
    """A plain container, or the record of what a call would have made."""
    if by.path in _DICTS and len(arguments) <= 1:
        return {_scalar(key): value for key, value in _pairs(arguments[0] if arguments else [])}
    if by.path in _SETS and len(arguments) <= 1:
        members = arguments[0] if arguments else []
        if not isinstance(members, list | tuple | set):
            raise _Refused("it makes a set of what is no list")
        return {_scalar(member) for member in members}
    return Construction(by, arguments)


def _pairs(items: Any) -> list[tuple[Any, Any]]:
    if not isinstance(items, list | tuple):
        raise _Refused("it makes a dict of what is no list of pairs")
    return [(key, value) for key, value in items]


def _scalar(key: Any) -> Any:
    if not isinstance(key, _SCALARS):
        raise _Refused(f"it has a key or a member of a set of type {type(key).__name__}")
    return key


_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = ("PUT", "BINPUT", "LONG_BINPUT")
_GET = ("GET", "BINGET", "LONG_BINGET")


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _call(machine: _Machine, _: Any) -> None:
    arguments, by = machine.pop(), machine.pop()
    machine.make(by, arguments)


def _call_with_keywords(machine: _Machine, _: Any) -> None:
    keywords, arguments, by = machine.pop(), machine.pop(), machine.pop()
    machine.make(by, (*arguments, keywords))


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.fill([key, value])


def _dict(machine: _Machine, _: Any) -> None:
    items = machine.to_mark()
    machine.stack.append({})
    machine.fill(items)


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.extend([value])


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": lambda machine, words: machine.name(*words.split(" ", 1)),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.stack.append(machine.refer(machine.pop())),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.to_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine.to_mark()),
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.fill(machine.to_mark()),
    "APPEND": _append,
    "APPENDS": lambda machine, _: machine.extend(machine.to_mark()),
    "ADDITEMS": lambda machine, _: machine.unite(machine.to_mark()),
    "FROZENSET": lambda machine, _: machine.stack.append(set(map(_scalar, machine.to_mark()))),
    "MEMOIZE": lambda machine, _: machine.memory.update({len(machine.memory): machine.top()}),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.to_mark().clear(),
    "DUP": lambda machine, _: machine.stack.append(machine.top()),
}
