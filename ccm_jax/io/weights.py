"""Any checkpoint as flat arrays by name, mapped from disk where the format allows.

Safetensors, PyTorch's files (old and new), pickles of arrays, Flax's msgpack, Equinox's leaves, numpy's archives,
folders of Orbax and of Hugging Face, and checkpoints in several files. ``FILE::part`` names what in a file is meant.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax._reasons import clean, missing
from ccm_jax.io.boundary import Unreadable, check_names, reading
from ccm_jax.io.mistaken import holds_trajectories, mistaken_for, part_of_checkpoint
from ccm_jax.io.msgpack import looks_like_msgpack, open_msgpack
from ccm_jax.io.names import flatten
from ccm_jax.io.numpyfile import MAGIC, open_leaves, open_npz
from ccm_jax.io.parts import arrays_of, choose, choose_tree, part_of, split_part
from ccm_jax.io.safetensors import open_safetensors
from ccm_jax.io.shards import INDEX, index_of, open_index
from ccm_jax.io.tensors import plain
from ccm_jax.io.torchfile import open_torch_file

Path_ = str | os.PathLike[str]

TORCH = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".pkl", ".pickle")
READ = (
    "safetensors (also sharded, or a Hugging Face folder), PyTorch's .pt of tensors, pickles of arrays, Flax's "
    ".msgpack, Equinox's .eqx, .npz, folders of Orbax"
)
REMEDY = f"supported: {READ}"
# Where training scripts write down the options of their network, beside its weights.
SAYING = ("args", "hyper_parameters", "hparams", "config", "cfg", "model_args", "model_config", "opt")


class Weights(NamedTuple):
    """A checkpoint that is open.

    Attributes:
        path: where it lies, with the part behind ``::`` if one was given.
        kind: ``"safetensors"``, ``"torch"``, ``"orbax"``, ``"npz"``, ``"msgpack"``, ``"huggingface"``, ...
        arrays: by name; nested names joined by dots.
        metadata: what else it says, for instance the configuration of a run, neuraloperator's ``_metadata``, or under
            ``said`` the options that a training script wrote beside its weights.
        tree: the same arrays in the containers that they were stored in, where the format has any.
        notes: what is to be said of how it was read.
    """

    path: Path
    kind: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    tree: Any = None
    notes: tuple[str, ...] = ()


def open_weights(path: Path_) -> Weights:
    """Opens a checkpoint of any kind that is known, detected from its content.

    Args:
        path: of a file or folder; behind ``::`` the name of a part of it, such as ``last.pt::ema``.

    Raises:
        ValueError: if it is of none, or damaged, with the remedy.
        FileNotFoundError: if there is none.
    """
    whole = Path(path)
    file, part = split_part(whole)
    if not file.exists():
        raise FileNotFoundError(f"open_weights: {missing(file)}")
    if not file.is_file() and not file.is_dir():
        raise Unreadable(f"open_weights: {file} is neither a file nor a folder, and may never end; {REMEDY}.")
    if file.is_file() and not file.stat().st_size:
        raise Unreadable(f"open_weights: {file} is empty; save or copy it again.")
    with reading("open_weights", file, "save or copy it again"):
        kind, content, metadata = _content(file)
        if part and _is_flat(content) and part not in content:
            content = _below(content, part, whole)
        elif part:
            content = part_of(content, part, file)
        if kind in ("torch", "torch (before 1.6)"):
            found = _from_script(whole, kind, content, metadata)
            check_names("open_weights", whole, found.arrays)
            return found
        _, tree, notes = choose_tree(content, file) if not part else ("", content, [])
        if not isinstance(tree, (Mapping, list, tuple)):
            tree = {"array": tree}
        arrays = flatten(tree)
        if not arrays:
            raise Unreadable(f"open_weights: {whole} holds no arrays, expected weights; check the path.")
        check_names("open_weights", whole, arrays)
        nested = tree if kind in ("orbax", "msgpack", "pickle") else None
        return Weights(whole, kind, arrays, _parsed(metadata), nested, tuple(notes))


def _content(path: Path) -> tuple[str, Any, dict[str, Any]]:
    """The kind of a checkpoint, what it holds, and what it says of itself."""
    index = index_of(path)
    if path.is_dir() and index is None:
        if lacks := part_of_checkpoint(path):
            raise Unreadable(f"open_weights: {path} holds {lacks}.")
        from ccm_jax.io import checkpoint  # Orbax is slow to import

        tree, facts = checkpoint.load_any(path)
        return "orbax", tree, facts
    if index is not None or path.name.endswith(INDEX):
        if index is not None and not index.name.endswith(INDEX):
            _, content, metadata = _content(index)
            return "huggingface", content, metadata
        sharded = open_index(index or path)
        return "huggingface" if index else "sharded", sharded.arrays, dict(sharded.metadata)
    with open(path, "rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\3\4" or zipfile.is_zipfile(path):
        if holds_trajectories(path):
            raise Unreadable(
                f"open_weights: {path} holds trajectories, expected weights; see ccm data describe {path}."
            )
        with reading("open_weights", path, "save it again with numpy.savez"):
            arrays = open_npz(path) if path.suffix not in TORCH else None
        if arrays is not None:
            return "npz", arrays, {}
        found = open_torch_file(path)
        return found.kind, found.content, found.metadata
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and path.suffix not in TORCH):
        opened = open_safetensors(path)
        return "safetensors", opened.arrays, dict(opened.metadata)
    if path.suffix in TORCH or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        found = open_torch_file(path)
        return found.kind, found.content, found.metadata
    if head[:6] == MAGIC:
        return "leaves", open_leaves(path), {}
    what = mistaken_for(path)
    if path.suffix == ".msgpack" or (what is None and looks_like_msgpack(head)):
        return "msgpack", open_msgpack(path), {}
    if path.suffix == ".npz":
        raise ValueError("it is cut off, or not an archive of numpy.savez")
    raise Unreadable(f"open_weights: {path} is {what or f'cut off, or of an unsupported format; {REMEDY}'}.")


def _from_script(path: Path, kind: str, content: Any, metadata: dict[str, Any]) -> Weights:
    """The weights in a file of a training script, and the options that it wrote beside them."""
    _, part, notes = choose(content, path)
    arrays = arrays_of(part, path)
    said = dict(metadata)
    for outer in (content, part):
        options = outer.get("_metadata") if isinstance(outer, Mapping) else None
        if isinstance(options, Mapping):
            said["_metadata"] = options
    versions = plain(getattr(part, "__dict__", {}).get("_metadata"))
    if isinstance(versions, dict):
        said["module_versions"] = versions
    beside = {key: plain(content[key]) for key in SAYING if isinstance(content, Mapping) and key in content}
    beside = {key: value for key, value in beside.items() if value is not None}
    if beside:
        said["said"] = beside
    return Weights(path, kind, arrays, _parsed(said), None, tuple(notes))


def _is_flat(content: Any) -> bool:
    return isinstance(content, Mapping) and all(isinstance(leaf, np.ndarray) for leaf in content.values())


def _below(arrays: Mapping[str, np.ndarray], part: str, path: Path) -> dict[str, np.ndarray]:
    """Of arrays by full names those below a part."""
    for mark in (".", "/"):
        found = {name.removeprefix(part + mark): leaf for name, leaf in arrays.items() if name.startswith(part + mark)}
        if found:
            return found
    first = clean(", ".join(list(arrays)[:5]))
    raise Unreadable(f"open_weights: {path}: no name begins with {part}; there are, for instance, {first}.")


def _parsed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Options that a header holds as text, as what they were."""
    found = dict(metadata)
    for key in ("_metadata", "said", "module_versions", "ccm_description"):
        if isinstance(found.get(key), str):
            with contextlib.suppress(ValueError):  # a text of its own
                found[key] = json.loads(found[key])
    return found


def to_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a checkpoint says of itself, as the text that a header of safetensors holds."""
    return {key: value if isinstance(value, str) else json.dumps(plain(value)) for key, value in metadata.items()}
