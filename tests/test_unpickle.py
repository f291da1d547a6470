"""Files of PyTorch made to do harm, written instruction by instruction: a ValueError is all that they may cause."""

from __future__ import annotations

import collections
import copyreg
import pickle as p
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ccm_jax.io.parts import state_dict_of
from ccm_jax.io.torchfile import Placeholder, open_torch

Refused = Callable[[bytes, str], None]
FLAGS, METHOD = 8, 10  # where they lie in an entry of a zip's directory


def text(value: str) -> bytes:
    return p.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def name(module: str, last: str) -> bytes:
    return p.GLOBAL + f"{module}\n{last}\n".encode()


def number(value: int) -> bytes:
    return (
        p.BININT + struct.pack("<i", value)
        if abs(value) < 1 << 31
        else p.LONG1 + b"\x0a" + value.to_bytes(10, "little", signed=True)
    )


def several(*parts: bytes) -> bytes:
    return p.MARK + b"".join(parts) + p.TUPLE


def numbers(*values: int) -> bytes:
    return several(*map(number, values))


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + several(*arguments) + p.REDUCE


REBUILD = name("torch._utils", "_rebuild_tensor_v2")
ORDERED = name("collections", "OrderedDict") + p.EMPTY_TUPLE + p.REDUCE
STORAGE = several(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(1)) + p.BINPERSID


def tensor(
    storage: bytes = STORAGE,
    offset: bytes = number(0),
    size: bytes = numbers(1),
    stride: bytes = numbers(1),
    *more: bytes,
) -> bytes:
    return call(REBUILD, storage, offset, size, stride, p.NEWFALSE, ORDERED, *more)


def dictionary(*items: bytes) -> bytes:
    return p.EMPTY_DICT + p.MARK + b"".join(items) + p.SETITEMS


def file_of(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file whose pickle is a program, and whose one storage holds the number 7."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", p.PROTO + b"\x02" + program + p.STOP, compression)
        archive.writestr("weights/data/0", np.float32([7]).tobytes())
    return path


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Says that a program is refused, for a reason, in one line that names the file and the remedy."""

    def check(program: bytes, reason: str) -> None:
        with pytest.raises(ValueError, match=f"^open_torch: .*bad.pt .*{reason}.* save its state_dict") as caught:
            open_torch(file_of(tmp_path / "bad.pt", program))
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)

    return check


def test_the_programs_here_are_read_where_they_mean_no_harm(tmp_path: Path) -> None:
    program = dictionary(text("w"), tensor(), text("e"), tensor(STORAGE, number(0), numbers(2, 3), numbers(0, 0)))
    found = open_torch(file_of(tmp_path / "a.pt", program))
    np.testing.assert_array_equal(found["w"], [7.0])
    np.testing.assert_array_equal(found["e"], np.full((2, 3), 7.0))


def test_a_tensor_is_a_view_of_a_storage_and_never_of_another_tensor(refused: Refused) -> None:
    wide = tensor(STORAGE, number(0), numbers(2048), numbers(0))
    refused(tensor(wide, number(0), numbers(2048), numbers(1)), "not a view of a storage")
    refused(tensor(tensor()), "not a view of a storage")
    refused(tensor(p.EMPTY_LIST), "not a view of a storage")
    refused(tensor(number(0)), "not a view of a storage")
    refused(p.EMPTY_LIST + STORAGE + p.APPEND, "a storage that belongs to no tensor")
    refused(call(name("torch._utils", "_rebuild_parameter"), STORAGE, p.NEWFALSE, ORDERED), "belongs to no tensor")


@pytest.mark.parametrize(
    "offset, size, stride",
    [
        (number(1), numbers(1), numbers(1)),
        (number(-1), numbers(2), numbers(1)),
        (number(1 << 70), numbers(1), numbers(1)),
        (number(0), numbers(2), numbers(1)),
        (number(0), numbers(2), numbers(-1)),
        (number(0), numbers(-1), numbers(1)),
        (number(0), numbers(1, 1), numbers(1)),
        (number(0), numbers(1), numbers(1, 1)),
        (number(0), numbers(1), numbers(1 << 70)),
        (number(0), numbers(*[1] * 65), numbers(*[1] * 65)),
        (number(0), numbers(0, 1 << 62, 1 << 62), numbers(1, 1, 1)),
        (p.NEWFALSE, numbers(1), numbers(1)),
        (number(0), several(p.NEWTRUE), numbers(1)),
        (number(0), numbers(1), several(p.NEWTRUE)),
        (p.BINFLOAT + bytes(8), numbers(1), numbers(1)),
        (p.NONE, numbers(1), numbers(1)),
        (number(0), p.EMPTY_LIST, p.EMPTY_LIST),
        (number(0), text("1"), numbers(1)),
    ],
)
def test_offsets_sizes_and_strides_are_natural_numbers_within_the_storage(
    refused: Refused, offset: bytes, size: bytes, stride: bytes
) -> None:
    refused(tensor(STORAGE, offset, size, stride), "")


def test_few_bytes_do_not_stand_for_more_than_memory_holds(refused: Refused) -> None:
    refused(tensor(STORAGE, number(0), numbers(1 << 40), numbers(0)), "stand for more than 64 times as many")
    # Each negation is a copy: these are 800 MB together, each of which would be allowed.
    negated = dictionary(text("neg"), p.NEWTRUE)
    copy = tensor(STORAGE, number(0), numbers(1 << 20), numbers(0), negated)
    refused(p.EMPTY_LIST + p.MARK + copy * 200 + p.APPENDS, "stand for more")
    # The same array under many names would be written out as often.
    array = tensor(STORAGE, number(0), numbers(1 << 20), numbers(0)) + p.BINPUT + b"\0"
    refused(p.EMPTY_LIST + p.MARK + array + (p.BINGET + b"\0") * 200 + p.APPENDS, "stand for more")
    # A list that holds ten times another, which holds ten times another, and so on.
    laughs = (
        p.EMPTY_LIST
        + p.MEMOIZE
        + b"".join(p.EMPTY_LIST + p.MARK + (p.BINGET + bytes([i])) * 10 + p.APPENDS + p.MEMOIZE for i in range(50))
    )
    refused(laughs, "stand for more")
    names = (text("a" * 600) + p.BINPUT + b"\0") + (p.BINGET + b"\0") * 2 + p.STACK_GLOBAL
    refused(names, "a name of 1200 characters")


def test_a_number_in_the_memo_reserves_no_memory(tmp_path: Path) -> None:
    program = p.NONE + p.LONG_BINPUT + struct.pack("<I", (1 << 31) - 1)
    assert open_torch(file_of(tmp_path / "a.pt", program)) is None


@pytest.mark.long
def test_nests_that_nobody_can_walk_through_are_refused(refused: Refused) -> None:
    deep = 200_000
    refused(p.EMPTY_LIST * deep + p.APPEND * (deep - 1), "nested more than 100 deep")
    refused(p.EMPTY_TUPLE + p.TUPLE1 * deep, "nested more than 100 deep")
    refused(p.EMPTY_LIST + p.MEMOIZE + p.BINGET + b"\0" + p.APPEND, "or within itself")
    refused(p.EMPTY_DICT + p.MEMOIZE + text("model") + p.BINGET + b"\0" + p.SETITEM, "or within itself")
    attribute = ORDERED + p.MEMOIZE + dictionary(text("_metadata"), p.BINGET + b"\0") + p.BUILD
    refused(attribute, "or within itself")
    refused(p.EMPTY_DICT + p.EMPTY_TUPLE + p.TUPLE1 * deep + p.NONE + p.SETITEM, "a key of type tuple")
    refused(p.MARK + p.EMPTY_TUPLE + p.TUPLE1 * deep + p.FROZENSET, "a key of type tuple")


@pytest.mark.parametrize("state", ["__defaults__", "__kwdefaults__", "__code__", "__doc__", "__dict__"])
def test_a_file_does_not_change_how_the_next_one_is_read(tmp_path: Path, state: str) -> None:
    negate = dictionary(text("neg"), p.NEWTRUE)
    set_to = dictionary(text(state), several(p.NONE, p.NONE, negate))
    known = [
        *(REBUILD, name("torch._utils", "_rebuild_parameter"), name("torch", "Size")),
        *(
            name("collections", "OrderedDict"),
            name("torch", "FloatStorage"),
            name("ccm_jax.io.unpickle", "Placeholder"),
        ),
        *(name("ccm_jax.io.torchfile", "_Reader.tensor"), name("builtins", "dict")),
    ]
    for target in known:
        for attributes in (several(p.NONE, set_to), set_to):
            try:
                open_torch(file_of(tmp_path / "bad.pt", target + attributes + p.BUILD))
            except ValueError:
                continue
    innocent = call(REBUILD, STORAGE, number(0), numbers(1), numbers(1), p.NEWFALSE, ORDERED)
    np.testing.assert_array_equal(open_torch(file_of(tmp_path / "good.pt", innocent)), [7.0])


def test_attributes_are_set_on_nothing_but_metadata_of_a_state_dict(tmp_path: Path, refused: Refused) -> None:
    said = dictionary(text("_metadata"), dictionary(text("version"), number(2)), text("get"), p.NONE)
    weights = ORDERED + said + p.BUILD + p.MARK + text("w") + tensor() + p.SETITEMS
    found = open_torch(file_of(tmp_path / "a.pt", weights))
    assert type(found) is collections.OrderedDict and vars(found) == {"_metadata": {"version": 2}}
    assert set(state_dict_of(found)) == {"w"}
    refused(ORDERED + several(p.NONE, said) + p.BUILD, "sets attributes of an OrderedDict")
    for made in (p.EMPTY_DICT, p.EMPTY_LIST, p.EMPTY_TUPLE, p.NONE, number(1), text("x"), tensor(), STORAGE):
        refused(made + said + p.BUILD, "sets attributes of a")


def test_names_are_never_looked_up(tmp_path: Path) -> None:
    dotted = text("os") + text("path.join") + p.STACK_GLOBAL
    made = {
        "a name": name("os", "system"),
        "one with dots": dotted,
        "a call": call(name("os", "system"), text("false")),
        "an object": dotted + p.EMPTY_TUPLE + p.NEWOBJ,
        "one by keywords": dotted + p.EMPTY_TUPLE + p.EMPTY_DICT + p.NEWOBJ_EX,
        "attributes": dotted + p.EMPTY_DICT + p.BUILD,
        "items": dotted + p.MARK + number(1) + p.APPENDS + number(1) + p.APPEND + p.MARK + number(1) + p.ADDITEMS,
        "keys": dotted + p.EMPTY_LIST + p.NONE + p.SETITEM + p.MARK + p.EMPTY_LIST + p.NONE + p.SETITEMS,
        "a tensor of another type": tensor(STORAGE.replace(b"FloatStorage", b"QInt8Storage")),
    }
    program = dictionary(*(text(key) + value for key, value in made.items()))
    found = open_torch(file_of(tmp_path / "a.pt", program))
    assert set(found) == set(made) and {type(value) for value in found.values()} == {Placeholder}
    with pytest.raises(AttributeError):
        found["a name"].name = "other"
    assert not hasattr(found["a name"], "__dict__")


@pytest.mark.parametrize(
    "program, reason",
    [
        (p.EXT1 + b"\xf0", "EXT1"),
        (p.EXT2 + b"\xf0\0", "EXT2"),
        (p.EXT4 + b"\xf0\0\0\0", "EXT4"),
        (p.MARK + p.INST + b"os\ngetcwd\n", "INST"),
        (p.MARK + name("os", "getcwd") + p.OBJ, "OBJ"),
        (p.PERSID + b"0\n", "PERSID"),
        (p.NEXT_BUFFER, "NEXT_BUFFER"),
        (p.NONE + p.DUP, "DUP"),
        (p.INT + b"1\n", "INT"),
        (p.NONE + p.PUT + b"999999999\n", "PUT"),
        (p.STRING + b"'a'\n", "STRING"),
        (p.MARK + p.DICT, "DICT"),
        (p.LONG4 + struct.pack("<i", 1) + b"1", "LONG4"),
        (p.EMPTY_DICT + p.EMPTY_TUPLE + p.REDUCE, "calls a dict"),
        (STORAGE + p.EMPTY_TUPLE + p.NEWOBJ, "calls a Storage"),
        (name("os", "getcwd") + p.EMPTY_LIST + p.REDUCE, "calls"),
        (tensor() + p.NONE + p.NONE + p.SETITEM, "into an ndarray"),
        (p.EMPTY_TUPLE + p.NONE + p.APPEND, "into a tuple"),
        (STORAGE + p.MARK + number(0) + number(1) + p.SETITEMS, "into a Storage"),
        (p.EMPTY_LIST + p.MARK + p.NONE + p.ADDITEMS, "into a list"),
        (p.EMPTY_DICT + p.EMPTY_LIST + p.NONE + p.SETITEM, "a key of type list"),
        (p.EMPTY_DICT + p.MARK + p.NONE + p.SETITEMS, "ValueError|zip"),
        (p.EMPTY_SET + p.MARK + tensor() + p.ADDITEMS, "a key of type ndarray"),
        (p.NONE + p.BINPERSID, "not a storage"),
        (several(text("storage"), STORAGE, text("0"), text("cpu"), number(1)) + p.BINPERSID, "not a storage"),
        (several(text("storage"), name("torch", "FloatStorage"), text("0")) + p.BINPERSID, "not a storage"),
        (STORAGE.replace(text("0"), text("../data.pkl")), "no item named"),
        (STORAGE.replace(number(1), number(1 << 70)), "has 4 bytes, expected"),
        (STORAGE.replace(number(1), number(-1)), "has 4 bytes, expected"),
        (tensor(STORAGE, number(0), numbers(1), numbers(1), dictionary(text("other"), p.NEWTRUE)), "metadata"),
        (b"", "IndexError"),
        (p.TUPLE, "IndexError"),
        (p.BINGET + b"\7", "KeyError"),
        (p.BINUNICODE + b"\xff\xff\xff\xff", "ValueError|expected"),
        (p.SHORT_BINUNICODE + b"\1\xff", "UnicodeDecodeError"),
        (name("a\x1b", "b") + p.EMPTY_DICT + p.NONE + p.APPEND, "into a dict"),
        (b"\xff", "opcode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_data_does_not_need_is_refused(refused: Refused, program: bytes, reason: str) -> None:
    refused(program, f"({reason})")


def test_the_stack_and_the_marks_are_bounded(tmp_path: Path, refused: Refused) -> None:
    refused(p.NONE * (10**6 + 1), "more than 1000000 objects")
    refused((p.MARK + p.NONE * 1000) * 1001, "more than 1000000 objects")
    refused(p.MARK * (10**4 + 1), "more than 10000 open marks")
    parts = [p.MARK + p.NONE * 400_000 + p.APPENDS] * 3  # what has left the stack does not count
    assert len(open_torch(file_of(tmp_path / "a.pt", p.EMPTY_LIST + b"".join(parts)))) == 1_200_000


def test_integers_whose_hashes_may_be_the_same_are_no_keys(tmp_path: Path, refused: Refused) -> None:
    for key in (number(1 << 61), number(-(1 << 61)), numbers(1, (1 << 61) * 3)):
        refused(p.EMPTY_DICT + key + p.NONE + p.SETITEM, "an integer of 2.61 or more as a key")
        refused(p.EMPTY_SET + p.MARK + key + p.ADDITEMS, "an integer of 2.61 or more as a key")
    largest = (1 << 61) - 1
    found = open_torch(file_of(tmp_path / "a.pt", dictionary(number(largest), number(1 << 61))))
    assert found == {largest: 1 << 61}


def test_registered_extensions_are_not_reached(refused: Refused) -> None:
    copyreg.add_extension("collections", "OrderedDict", 0xF0)
    try:
        refused(p.EXT1 + b"\xf0" + p.EMPTY_TUPLE + p.REDUCE, "EXT1")
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 0xF0)


def _patched(path: Path, member: str, place: int, value: int) -> Path:
    """A file whose directory says something else of a member."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(member.encode()) - 46
    struct.pack_into("<H", content, entry + place, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("member", ["weights/data.pkl", "weights/data/0"])
@pytest.mark.parametrize("place, value", [(FLAGS, 1), (METHOD, zipfile.ZIP_DEFLATED), (METHOD, 99), (METHOD, 14)])
def test_what_is_compressed_or_encrypted_is_refused(tmp_path: Path, member: str, place: int, value: int) -> None:
    path = _patched(file_of(tmp_path / "a.pt", tensor()), member, place, value)
    with pytest.raises(ValueError, match="compressed or encrypted"):
        open_torch(path)


def test_a_compressed_pickle_is_not_unpacked(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.pt", text("a" * (32 << 20)), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="data.pkl is compressed"):
        open_torch(path)


def test_whatever_the_bytes_nothing_but_a_value_error_leaves(tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = file_of(tmp_path / "a.pt", dictionary(text("w"), tensor(), text("n"), number(3))).read_bytes()
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            content[chance.randrange(len(content))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        if chance.random() < 0.2:
            del content[chance.randrange(len(content)) :]
        (tmp_path / "b.pt").write_bytes(content)
        try:
            open_torch(tmp_path / "b.pt")
        except ValueError as error:
            assert str(error).startswith("open_torch: ") and "\n" not in str(error)


def test_whatever_the_instructions_nothing_but_a_value_error_leaves(tmp_path: Path) -> None:
    chance = random.Random(0)
    parts = [*(text("neg"), text("_metadata"), number(0), number(1), numbers(1), STORAGE, REBUILD, ORDERED, tensor())]
    parts += [bytes([i]) for i in range(256)] + [p.MARK, p.REDUCE, p.BUILD, p.BINPERSID, p.BINGET + b"\0"] * 9
    for _ in range(500):
        program = b"".join(chance.choices(parts, k=chance.randrange(1, 30)))
        try:
            open_torch(file_of(tmp_path / "a.pt", program))
        except ValueError as error:
            assert str(error).startswith("open_torch: ") and "\n" not in str(error)


def test_names_in_messages_are_escaped_and_short(tmp_path: Path) -> None:
    odd = dictionary(text("w"), tensor(), text("\x1b[2J\n" + "a" * 10_000), name("a", "b"))
    with pytest.raises(ValueError, match=r"\\x1b\[2J\\naaa.* is a.b, which is not read here") as caught:
        state_dict_of(open_torch(file_of(tmp_path / "a.pt", odd)))
    assert len(str(caught.value)) < 500


def test_files_of_many_tensors_open_fast(tmp_path: Path) -> None:
    many = dictionary(*(text(f"layer.{i}.weight") + tensor() for i in range(1000)))
    path = file_of(tmp_path / "a.pt", many)
    began = time.perf_counter()
    assert len(open_torch(path)) == 1000
    assert time.perf_counter() - began < 2  # a twentieth of this on an idle machine
