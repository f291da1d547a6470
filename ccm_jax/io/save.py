"""Merged weights to a file of any kind that is written, chosen by its name; streamed but for folders of Orbax.

========================================  ==============================================================
name                                      what is written
========================================  ==============================================================
``NAME.safetensors``                      one file
``NAME.safetensors.index.json``           an index, and shards beside it, grouped as the anchor's
``NAME.pt``, ``.pth``, ``.bin``           a ``state_dict`` that ``torch.load(weights_only=True)`` reads
``NAME.eqx``, the anchor of Equinox        leaves in its order, for ``equinox.tree_deserialise_leaves``
a folder, the anchor of Hugging Face's    a folder as the anchor's, with its small files
any other folder                          Orbax
========================================  ==============================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import check_new, replacing, together
from ccm_jax.io.leaves import ENDING as LEAVES
from ccm_jax.io.leaves import begin_leaves, check_order
from ccm_jax.io.names import restore, unflatten
from ccm_jax.io.parts import split_part
from ccm_jax.io.safetensors import write_merged
from ccm_jax.io.shards import INDEX, begin_folder, begin_shards, index_of, open_index
from ccm_jax.io.stream import fill, merge_block
from ccm_jax.io.tensors import plain
from ccm_jax.io.torchwrite import begin_torch, finish_torch
from ccm_jax.io.weights import Weights, to_text

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SHARDED = f".safetensors{INDEX}"
ENDING = re.compile(r"\.[A-Za-z]\w*")  # of a file; a folder may end in a number, as run.1
FOLDERS = (".orbax",)

Arrays = Mapping[str, np.ndarray]


def name_of(checkpoint: Path) -> str:
    """The name of a checkpoint without its ending, under which it is shown and other files lie beside it.

    Example:
        >>> name_of(Path("out/merged.eqx")), name_of(Path("m.safetensors.index.json")), name_of(Path("run.1"))
        ('merged', 'm', 'run.1')
    """
    name = checkpoint.name
    endings = (SHARDED, ".safetensors", *TORCH, LEAVES, *FOLDERS)
    return next((name.removesuffix(end) for end in endings if name.endswith(end)), name) or name


def ending_of(anchor: Path) -> str:
    """The ending of a merged file that those who load the anchor can load as well."""
    return anchor.suffix if anchor.suffix in (*TORCH, LEAVES) else ".safetensors"


def check_target(output: Path) -> None:
    """Raises ValueError for a name of a kind that is not written, one that is taken, or a folder that takes none."""
    written = (".safetensors", *TORCH, LEAVES, *FOLDERS)
    if ENDING.fullmatch(output.suffix) and output.suffix not in written and not output.name.endswith(SHARDED):
        raise ValueError(
            f"{output} would be a {output.suffix} file, which is not written; expected .safetensors, {SHARDED}, "
            f"{', '.join(TORCH)}, {LEAVES} if the anchor is one, or a folder without an ending (of Hugging Face if the "
            "anchor is one, else of Orbax)."
        )
    check_new(output)
    stem = output.name.removesuffix(SHARDED)
    for path in sorted(output.parent.glob(f"{stem}-?????-of-?????.safetensors")) * output.name.endswith(SHARDED):
        check_new(path)


def save_weights(
    output: Path,
    trees: Sequence[Arrays],
    weights: Callable[[str], np.ndarray],
    anchor: Weights,
    metadata: Mapping[str, Any],
) -> None:
    """Writes ``trees[0] + sum_i weights(name)[i] (trees[i + 1] - trees[0])``, in the format that a name tells.

    Formats: ``.safetensors``, ``.safetensors.index.json`` (shards), ``.pt``, ``.pth``, ``.bin`` and ``.ckpt`` (a
    ``state_dict``), ``.eqx`` if the anchor is one, and a folder (of Hugging Face if the anchor is one, else of Orbax).

    Args:
        output: where to.
        trees: arrays by name; one alone is written as it is.
        weights: of the others, for each name.
        anchor: whose containers, shards and versions of modules are kept.
        metadata: what the file says of itself.

    Raises:
        ValueError: as :func:`check_target`, or for arrays that do not merge or that the format does not hold.
    """
    check_target(output)
    check_order(output, anchor)
    text = to_text({key: value for key, value in metadata.items() if value is not None})
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".safetensors":
        write_merged(output, trees, weights, metadata=text)
    elif output.suffix in TORCH:
        with replacing(output) as partial:
            begins, members = begin_torch(partial, trees[0], text, metadata.get("module_versions"))
            fill({name: (partial, begin) for name, begin in begins.items()}, trees, weights)
            finish_torch(partial, members)
    elif output.suffix == LEAVES:
        with replacing(output) as partial:
            begins = begin_leaves(partial, trees[0])
            fill({name: (partial, begin) for name, begin in begins.items()}, trees, weights)
    elif output.name.endswith(SHARDED):
        with together(output) as place:
            fill(begin_shards(place(output), trees[0], text, _shards(anchor)), trees, weights)
    elif anchor.kind == "huggingface":
        source, _ = split_part(anchor.path)
        with replacing(output) as partial:
            fill(begin_folder(partial, trees[0], text, _shards(anchor), source), trees, weights)
    else:
        from ccm_jax.io import checkpoint

        merged = in_memory(trees, weights)
        tree = unflatten(merged) if anchor.tree is None else restore(merged, anchor.tree)
        checkpoint.save(output, tree, plain(dict(metadata)))


def in_memory(trees: Sequence[Arrays], weights: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """The merged arrays themselves."""
    merged = {}
    for name, leaf in trees[0].items():
        out = np.empty(leaf.size, leaf.dtype)
        merge_block([np.reshape(tree[name], -1) for tree in trees], weights(name), out, name)
        merged[name] = out.reshape(leaf.shape)
    return merged


def _shards(anchor: Weights) -> Mapping[str, str] | None:
    """The file of each of an anchor's tensors, if it has several."""
    path, _ = split_part(anchor.path)
    index = index_of(path) or path
    return open_index(index).files if index.name.endswith(INDEX) else None
