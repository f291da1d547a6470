"""Any checkpoint as flat arrays by name: safetensors, PyTorch, Orbax, npz; mapped from disk where the format allows."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax.io.names import flatten
from ccm_jax.io.safetensors import open_safetensors
from ccm_jax.io.torchfile import open_torch, state_dict_of

Path_ = str | os.PathLike[str]


class Weights(NamedTuple):
    """A checkpoint that is open.

    Attributes:
        path: where it lies.
        kind: ``"safetensors"``, ``"torch"``, ``"orbax"`` or ``"npz"``.
        arrays: by name; nested names joined by dots.
        metadata: what else it says, for instance the configuration of a run, or neuraloperator's ``_metadata``.
        tree: the same arrays in the containers that they were stored in, where the format has any.
    """

    path: Path
    kind: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    tree: Any = None


def open_weights(path: Path_) -> Weights:
    """Opens a checkpoint of any kind that is known, told by its content.

    Raises:
        ValueError: if it is of none, or damaged, with the remedy.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"open_weights: there is no {path}.")
    if path.is_dir():
        from ccm_jax.io import checkpoint  # Orbax is slow to import

        tree, facts = checkpoint.load_any(path)
        return Weights(path, "orbax", flatten(tree), facts, tree)
    if zipfile.is_zipfile(path):
        arrays = _npz(path)
        if arrays is not None:
            return Weights(path, "npz", arrays, {})
        content = open_torch(path)
        metadata = content.get("_metadata") if isinstance(content, Mapping) else None
        said = {"_metadata": metadata} if isinstance(metadata, Mapping) else {}
        return Weights(path, "torch", state_dict_of(content, path), said)
    if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        open_torch(path)  # says that it is cut off, or too old
    file = open_safetensors(path)
    return Weights(path, "safetensors", file.arrays, dict(file.metadata))


def _npz(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an archive of numpy's; None if it is an archive of something else.

    Raises:
        ValueError: if it is damaged, or its arrays hold Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not names or not all(name.endswith(".npy") for name in names):
            return None
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except Exception as error:  # of which type depends on the bytes
        reason = repr(f"{type(error).__name__} {error}"[:160])[1:-1]
        raise ValueError(f"open_weights: {path} cannot be read: {reason}. Save it anew by numpy.savez.") from error
