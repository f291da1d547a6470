"""Checkpoints of any kind, read into the containers of a network."""

from __future__ import annotations

import os
from typing import Any

import jax

from ccm_jax._checks import kind_of
from ccm_jax.interop.own import name_of, params_of
from ccm_jax.io.weights import open_weights


def load_like(path: str | os.PathLike[str], like: Any) -> Any:
    """Reads a checkpoint of any kind into a tree such as a module: its weights are replaced by those of the file.

    Args:
        path: a file or folder that :func:`ccm_jax.io.weights.open_weights` reads: Orbax, ``.eqx``, safetensors,
            ``.msgpack``, ``.npz``.
        like: an Equinox module, ``nnx.state(network)``, the parameters of a Linen module, or any tree of arrays.

    Returns:
        A tree like ``like``; leaves that do not merge (integers, keys, functions) are those of ``like``.

    Raises:
        ValueError: for swapped arguments, and a weight that is missing, of another shape, or has no place in ``like``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/anchor.npz", **{"layer.w": np.ones(2, np.float32)})
        ...     tree = load_like(f"{folder}/anchor.npz", {"layer": {"w": np.zeros(2, np.float32)}})
        >>> tree["layer"]["w"].tolist()
        [1.0, 1.0]
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(
            f"load_like: path is {kind_of(path)}, expected a file or folder; the arguments are (path, like)."
        )
    found = params_of(like, open_weights(path).arrays, os.fspath(path))
    named, structure = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(structure, [found.get(name_of(where), leaf) for where, leaf in named])
