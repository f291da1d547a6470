"""Pickles of plain data, read without running what they hold.

A pickle is a program, which may call any function that it names. Python's own unpickler looks the names up and hands
what it finds to the program, which may call it, or change it for later files too. Here the few instructions that data
needs are carried out one by one, and all others are refused. A name stays a name: an inert :class:`Placeholder`.

Source: ``pickletools`` of Python's library, which describes each instruction.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ccm_jax._article import with_article

_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_FILLED = {"SETITEM": dict, "SETITEMS": dict, "APPEND": list, "APPENDS": list, "ADDITEMS": set}
_TAKEN = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}  # so many items off the stack
_TAKEN_TO_MARK = {"TUPLE", "FROZENSET", "APPENDS", "SETITEMS", "ADDITEMS", "POP_MARK"}
_MOST_OBJECTS, _MOST_MARKS = 10**6, 10**4  # at once on the stack; a state_dict puts a few thousand there
_MOST_CONTAINERS = 2 * 10**6
_KEY_BOUND = 1 << 61  # integers from here on share their hashes with smaller ones: many such keys take quadratic time


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Stands for a function or class that a file names, or for an object of it; none of them is loaded."""

    name: str

    @property
    def __name__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return "<not loaded>"


class Attributes(dict[str, Any]):
    """The attributes of an object that is nothing else, as the options of a training script."""


class Unfinished(Protocol):
    """An object of ours that a pickle describes in two steps: a call, and its state."""

    def build(self, state: Any) -> None: ...


class Stream:
    """Bytes that are read one after the other. Unlike a file, it reserves no memory for what is not there."""

    def __init__(self, data: memoryview, begin: int = 0) -> None:
        self.data, self.at = data, begin

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        content = self.data[self.at : self.at + size].tobytes()
        self.at += len(content)
        return content

    def readline(self) -> bytes:
        """The next bytes with the end of their line, which is near."""
        near = self.data[self.at : self.at + 1000].tobytes()
        return self.read(near.find(b"\n") + 1)

    def tell(self) -> int:
        """Where the next byte lies."""
        return self.at


def end_of(stream: Stream) -> int:
    """Where a pickle that begins here ends."""
    for _ in pickletools.genops(stream):  # type: ignore[arg-type]
        pass
    return stream.at


def unpickle(program: bytes | Stream, call: Callable[[str, tuple[Any, ...]], Any], stored: Callable[[Any], Any]) -> Any:
    """What a pickle holds: containers, numbers, text, placeholders, and what two functions give.

    Only containers that the pickle made itself are changed. They may hold themselves, or share their parts.

    Args:
        program: the pickle, or where it begins.
        call: given the name of a function and its arguments, what the call gives.
        stored: given the description of an object that lies outside the pickle, that object.

    Raises:
        ValueError: for what data does not need.
        Exception: of any type, if the pickle is damaged.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the parts of the stack that end at a mark
    n_below = 0  # how many objects they hold together
    made = 0  # containers, of which each takes hundreds of bytes for one of the file
    memo: dict[int, Any] = {}
    argument: Any
    for instruction, argument, _ in pickletools.genops(program):  # type: ignore[arg-type]
        name = instruction.name
        items: list[Any] = []
        if name in _TAKEN_TO_MARK:
            items, stack = stack, below.pop()
            n_below -= len(stack)
        elif name in _TAKEN:
            items = [stack.pop() for _ in range(_TAKEN[name])][::-1]
        match name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case _ if name in _LITERALS:
                stack.append(argument)
            case _ if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case _ if name in _CONTAINERS:
                stack.append(_CONTAINERS[name]())
                made += 1
                if made > _MOST_CONTAINERS:
                    raise ValueError(f"its pickle makes more than {_MOST_CONTAINERS} containers")
            case _ if name in _FILLED:
                _fill(stack[-1], _FILLED[name], items)
            case "MARK":
                below.append(stack)
                n_below += len(stack)
                stack = []
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "FROZENSET":
                stack.append(frozenset(map(_key, items)))
            case "GLOBAL":
                stack.append(Placeholder(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                last, module = stack.pop(), stack.pop()
                if len(module) + len(last) > 1000:  # the text is copied, from a few bytes that refer to it
                    raise ValueError(f"its pickle has a name of {len(module) + len(last)} characters")
                stack.append(Placeholder(".".join((module, last))))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                named = (stack.pop(),) if name == "NEWOBJ_EX" else ()
                arguments, function = stack.pop(), stack.pop()
                if type(function) is not Placeholder or type(arguments) is not tuple:
                    raise ValueError(f"its pickle calls {with_article(type(function).__name__)}")
                stack.append(call(function.name, arguments + named))
            case "BUILD":
                state = stack.pop()
                _build(stack[-1], state)
            case "BINPERSID":
                stack.append(stored(stack.pop()))
            case "POP":
                stack.pop()
            case "PROTO" | "FRAME" | "POP_MARK" | "STOP":
                pass
            case _:
                raise ValueError(f"its pickle has the instruction {name}, which data does not need")
        if len(stack) + n_below > _MOST_OBJECTS:
            raise ValueError(f"its pickle puts more than {_MOST_OBJECTS} objects on the stack")
        if len(below) > _MOST_MARKS:
            raise ValueError(f"its pickle has more than {_MOST_MARKS} open marks")
    return stack.pop()


def _key(key: Any) -> Any:
    """A key, or an item of a set. A hash goes as deep as tuples do, and might end the process: so they are flat."""
    for part in key if type(key) is tuple and len(key) < 100 else (key,):
        if not isinstance(part, (str, bytes, int, float, type(None), Placeholder)):
            raise ValueError(f"its pickle has a key of type {type(part).__name__}")
        if isinstance(part, int) and abs(part) >= _KEY_BOUND:
            raise ValueError("its pickle has an integer of 2^61 or more as a key")
    return key


def _fill(target: Any, kind: type, items: list[Any]) -> None:
    """Puts items into a container; what is not loaded takes them and keeps none."""
    if isinstance(target, Placeholder):
        return
    if not isinstance(target, kind):
        raise ValueError(
            f"its pickle puts items of {with_article(kind.__name__)} into {with_article(type(target).__name__)}"
        )
    if isinstance(target, dict):
        target.update(zip(map(_key, items[::2]), items[1::2], strict=True))
    elif isinstance(target, set):
        target.update(map(_key, items))
    elif isinstance(target, list):
        target.extend(items)


def _build(target: Any, state: Any) -> None:
    """Sets the attributes of an object. A ``state_dict`` has one; others would hide the methods of their names."""
    if isinstance(target, OrderedDict) and isinstance(state, dict):
        if "_metadata" in state:
            target.__dict__["_metadata"] = state["_metadata"]
    elif isinstance(target, Attributes):
        _fill(target, dict, [part for item in state.items() for part in item] if isinstance(state, dict) else [])
    elif hasattr(target, "build"):
        target.build(state)
    elif not isinstance(target, Placeholder):
        raise ValueError(f"its pickle sets attributes of {with_article(type(target).__name__)}")
