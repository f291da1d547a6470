"""Checkpoints by Orbax, and only here: written to a new path, then moved, with metadata beside the weights.

A checkpoint is a folder with the tree as Orbax writes it, ``metadata.json``, and checksums of both. It reads back
on any number of devices: arrays come to the host first, and go wherever the caller puts them.
"""

from __future__ import annotations

import dataclasses
import errno
import gc
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from ccm_jax._checks import is_merged
from ccm_jax._reasons import reason_of
from ccm_jax.chart import FEATURES, Chart
from ccm_jax.io.atomic import partial_of, remove, remove_abandoned
from ccm_jax.io.checksums import check_checksums, write_checksums
from ccm_jax.io.names import unflatten
from ccm_jax.io.parts import split_part
from ccm_jax.io.shards import index_of

Params = Any

_TREE, _METADATA = "tree", "metadata.json"
# What TensorStore, which has no errors of their own for them, says of errors of the system.
_SYSTEM = {
    "No space left": errno.ENOSPC,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Permission denied": errno.EACCES,
    "Disk quota exceeded": errno.EDQUOT,
}
_STEP = "_CHECKPOINT_METADATA"  # what Orbax leaves in the folder of a whole checkpoint


def save(path: str | os.PathLike[str], tree: Any, metadata: dict[str, Any] | None = None) -> Path:
    """Writes a tree of arrays and its metadata to a path that does not exist yet.

    Everything goes to a sibling folder first, which is then moved: a kill leaves the old state or the new one. Of
    several processes every one calls this, on a shared file system; Orbax has each write its part.

    Args:
        path: the folder to make.
        tree: any pytree of arrays (tuples and named tuples read back with ``like``).
        metadata: JSON-able facts, e.g. config, seed, versions, normalization.

    Raises:
        ValueError: if ``path`` exists.
        OSError: if it cannot be written.
    """
    path = Path(path).absolute()
    writer = jax.process_index() == 0
    if _writers(writer and path.exists()):
        raise ValueError(f"checkpoint.save: {path} exists, and nothing is overwritten; choose a new path or remove it.")
    partial = partial_of(path, None if jax.process_count() == 1 else "shared")
    if writer:
        remove_abandoned(path)
        remove(partial)
        partial.mkdir(parents=True)
    _barrier(f"save {path}")
    _quiet()
    try:
        ocp.save(partial / _TREE, tree)
    except Exception as error:
        if writer:
            remove(partial)
        code = next((code for said, code in _SYSTEM.items() if said in str(error)), None)
        if code is not None:
            raise OSError(code, os.strerror(code), str(path)) from error
        raise
    if writer:
        (partial / _METADATA).write_text(json.dumps(metadata or {}, indent=1), encoding="utf-8")
        write_checksums(partial)
        os.replace(partial, path)
    _barrier(f"saved {path}")
    return path


def _writers(value: bool) -> bool:
    """What process 0 saw, on all of them."""
    return bool(multihost_utils.broadcast_one_to_all(np.int32(value))) if jax.process_count() > 1 else value


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Reads a tree back as numpy arrays.

    Args:
        path: a folder written by :func:`save`.
        like: a tree with the structure, shapes and dtypes to expect (arrays or ``jax.ShapeDtypeStruct``); without it,
            dictionaries come back as they were, tuples as lists and named tuples as dictionaries.

    Raises:
        ValueError: if ``path`` is not a finished checkpoint, a file of it is not what was written, or it does not match
            ``like``.
    """
    path = Path(path).absolute()
    _check_folder(path)
    if not (path / _METADATA).is_file() or not (path / _TREE).is_dir():
        raise ValueError(
            f"checkpoint.load: {path} is not a checkpoint (no {_METADATA} and {_TREE}/ in it): half-written, or of "
            "another program: load_any reads checkpoints of any format, and ccm_jax.loading.load_like into a network."
        )
    check_checksums("checkpoint.load", path, "it is damaged: restore it from a copy or make it again")
    stored = _reading(path, lambda: ocp.metadata(path / _TREE).metadata)
    if like is not None:
        _check_like(path, like, stored)
    host = _on_host(stored if like is None else like)
    return _reading(path, lambda: ocp.load(path / _TREE, host))


def _check_folder(path: Path) -> None:
    """Says it of a path that does not exist, and of a single file, which another function reads."""
    if not path.exists():
        raise ValueError(f"checkpoint.load: {path} is not a checkpoint: there is no such path.")
    if path.is_file():
        raise ValueError(
            f"checkpoint.load: {path} is a file, and checkpoint.save makes folders; read it with load_any."
        )


def load_any(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Reads a checkpoint of any format into dictionaries and lists; :func:`~ccm_jax.loading.load_like` fills a network.

    Args:
        path: a folder (Orbax, Hugging Face) or file (safetensors, PyTorch, ``.eqx``, ``.msgpack``, ``.npz``).

    Returns:
        The tree as numpy arrays (tuples are lists, named tuples dictionaries, flat names cut at dots), and metadata.

    Raises:
        ValueError: if it is no checkpoint, damaged, or a folder of several steps or trees, with their names.
    """
    path = Path(path).absolute()
    file, _ = split_part(path)
    if file.is_file() or index_of(file) is not None:
        from ccm_jax.io import weights  # which reads folders of Orbax by this function

        found = weights.open_weights(path)
        return (unflatten(found.arrays) if found.tree is None else found.tree), found.metadata
    _check_folder(path)
    if (path / _METADATA).is_file() and (path / _TREE).is_dir():
        return load(path), load_metadata(path)
    root, name = path, None
    if _is_tree(path):
        if (path.parent / _STEP).exists() and not (path / _STEP).exists():  # one item of a step
            root, name = path.parent, path.name
    else:
        folders = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
        steps = [p.name for p in folders if (p / _STEP).exists()]  # each of them is a checkpoint of its own
        items = [p.name for p in folders if _is_tree(p) and p.name not in steps]
        if len(items) > 1 or (steps and not items):
            there, one = ", ".join(items or steps), path / (items or steps)[0]
            which = "choose one of them, as" if len(items or steps) > 1 else "pass"
            raise ValueError(f"checkpoint.load: {path} holds {there}; {which} {one}.")
        if not items:
            raise ValueError(
                f"checkpoint.load: {path} is not a checkpoint, neither of checkpoint.save nor of Orbax: half-written, "
                "or of another kind; pass the folder that holds one."
            )
        name = items[0]
    host = _on_host(_reading(path, lambda: ocp.metadata(root, name).metadata))
    return jax.tree.map(np.asarray, _reading(path, lambda: ocp.load(root, host, checkpointable_name=name))), {}


def _is_tree(path: Path) -> bool:
    return (path / "_METADATA").exists()


def _on_host(tree: Any) -> Any:
    """Empty arrays to read into: whatever devices wrote a checkpoint, these are of this process. Numbers stay such.

    Raises:
        ValueError: for a leaf that is neither, with its name.
    """

    def empty(where: Any, leaf: Any) -> Any:
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            return np.zeros(leaf.shape, leaf.dtype)
        if isinstance(leaf, (bool, int, float)) or leaf in (bool, int, float):
            return leaf
        name = jax.tree_util.keystr(where)
        raise ValueError(f"checkpoint.load: leaf {name} is {leaf!r}, expected arrays and numbers; leave it out.")

    return jax.tree_util.tree_map_with_path(empty, tree)


def _reading(path: Path, read: Callable[[], Any]) -> Any:
    _quiet()
    try:
        return read()
    except Exception as error:  # Orbax and TensorStore raise many kinds; to the caller they mean the same
        said = reason_of(error)
    gc.collect()
    raise ValueError(
        f"checkpoint.load: {path} cannot be read ({said}); it is damaged: restore it from a copy or make it again."
    )


def _quiet() -> None:
    """Keeps errors that are raised from being logged, too, with tracebacks.

    Leaves are read and written side by side. asyncio logs those that fail after the first whenever they are collected,
    it may be at the end of the process; Orbax logs each that cannot be written.
    """
    for name in ("asyncio", "absl"):
        logging.getLogger(name).addFilter(_is_of_none)


def _is_of_none(record: logging.LogRecord) -> bool:
    """Whether a record is of no leaf whose error, or that of another beside it, is raised."""
    text = record.getMessage()
    return not any(said in text for said in ("exception was never retrieved", "_SignalingThread.run() raised"))


def _check_like(path: Path, like: Any, stored: Any) -> None:
    expected, got = ([(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (like, stored))
    names = [jax.tree_util.keystr(where) for where, _ in jax.tree_util.tree_flatten_with_path(like)[0]]
    if len(expected) != len(got):
        raise ValueError(f"checkpoint.load: {path} holds {len(got)} leaves, expected {len(expected)}; another model?")
    by_name = {jax.tree_util.keystr(where): leaf for where, leaf in jax.tree_util.tree_flatten_with_path(stored)[0]}
    for name, want in zip(names, expected, strict=True):
        leaf = by_name.get(name)  # containers that Orbax turns into others have other names; they load by structure
        if leaf is not None and (leaf.shape, leaf.dtype) != want:
            raise ValueError(
                f"checkpoint.load: leaf {name} is {leaf.dtype}{list(leaf.shape)} in {path}, expected "
                f"{want[1]}{list(want[0])}; it belongs to another model."
            )


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that :func:`save` wrote beside the tree."""
    return json.loads((Path(path) / _METADATA).read_text(encoding="utf-8"))


def save_chart(path: str | os.PathLike[str], chart: Chart, metadata: dict[str, Any] | None = None) -> Path:
    """Saves a chart without a warp: its weights as a checkpoint, its features by name and arguments."""
    if chart.warp is not None:
        raise ValueError("checkpoint.save_chart: the chart has a warp; save the warp's leaves beside it.")
    features = _features_to_dict(chart.features)
    # Leaves that do not merge have an empty basis, and Orbax writes no empty arrays.
    named = {_name(where): leaf for where, leaf in jax.tree_util.tree_flatten_with_path(chart.basis)[0] if leaf.size}
    facts = {**(metadata or {}), "features": features, "basis": list(named)}
    return save(path, {"origin": chart.origin, "basis": list(named.values())}, facts)


def load_chart(path: str | os.PathLike[str], like: Any = None) -> Chart:
    """Reads back what :func:`save_chart` wrote.

    Args:
        path: the folder.
        like: weights in the containers to give to the chart's; without it they are those of :func:`load`.
    """
    tree, facts = load(path), load_metadata(path)
    origin = tree["origin"]
    if like is not None:
        origin = load(path, {"origin": like, "basis": tree["basis"]})["origin"]
    basis = dict(zip(facts["basis"], tree["basis"], strict=True))
    count = len(tree["basis"][0]) if basis else 0

    def of(where: Any, leaf: Any) -> Any:
        return basis.get(_name(where), np.zeros((count, *(np.shape(leaf) if is_merged(leaf) else (0,))), np.float32))

    return Chart(origin, jax.tree_util.tree_map_with_path(of, origin), _features_from_dict(facts["features"]))


def _name(where: Any) -> str:
    """The path of a leaf, the same whether Orbax made dictionaries of its named tuples and lists of its tuples."""
    return jax.tree_util.keystr(where, simple=True, separator="/")


def _features_to_dict(features: Any) -> dict[str, Any]:
    kind: Any = type(features)
    name = kind.__name__
    if FEATURES.get(name) is not kind:
        raise ValueError(f"checkpoint.save_chart: features {name} are not in ccm_jax.chart.FEATURES; add them there.")
    values = {f.name: getattr(features, f.name) for f in dataclasses.fields(features)}
    return {"name": name} | {
        key: _features_to_dict(v) if dataclasses.is_dataclass(v) else v for key, v in values.items()
    }


def _features_from_dict(stored: dict[str, Any]) -> Any:
    values = {key: _features_from_dict(v) if isinstance(v, dict) else v for key, v in stored.items() if key != "name"}
    return FEATURES[stored["name"]](**values)
