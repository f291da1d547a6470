"""Files that ``equinox.tree_deserialise_leaves`` reads, written without it: one array behind the other, no names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.weights import Weights

ENDING = ".eqx"


def check_order(output: Path, anchor: Weights) -> None:
    """Raises ValueError for a file of leaves whose anchor is none: their order is all that such a file says."""
    if output.suffix == ENDING and anchor.kind != "leaves":
        raise ValueError(
            f"{output} would hold leaves in their order, without names, as Equinox reads them; {anchor.path} "
            f"({anchor.kind}) has names, and does not tell that order: choose a name that ends in .safetensors."
        )


def begin_leaves(path: Path, like: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Makes a file for arrays with the shapes and types of ``like``; returns where the bytes of each go."""
    begins = {}
    with open(path, "wb") as file:
        for name, leaf in like.items():
            kind = "<V2" if leaf.dtype == jnp.bfloat16 else np.lib.format.dtype_to_descr(leaf.dtype)
            header = {"descr": kind, "fortran_order": False, "shape": tuple(leaf.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            begins[name] = file.tell()
            file.seek(begins[name] + leaf.size * leaf.dtype.itemsize)
            file.truncate()
    return begins
