"""Checkpoints in several files: an ``*.index.json`` that says which tensor lies where, and Hugging Face's folders.

Source: ``huggingface_hub/serialization``: ``{"metadata": {"total_size": ...}, "weight_map": {name: file}}``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax.io.boundary import Unreadable
from ccm_jax.io.safetensors import begin_file, open_safetensors
from ccm_jax.io.torchfile import open_torch_file

INDEX = ".index.json"
# What the folders of transformers, diffusers and accelerate are called inside; the first that is there is read.
WHOLE = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.bin")
SMALL = 1 << 26  # bytes of a file that is copied beside weights
LIMIT = 5 << 30  # bytes of a shard, where an anchor has none of its own
Place = tuple[Path, int]


class Sharded(NamedTuple):
    """Arrays by name from several files, the file of each, and what the headers say."""

    arrays: dict[str, np.ndarray]
    files: dict[str, str]
    metadata: dict[str, str]


def index_of(folder: Path) -> Path | None:
    """The index or the single file of weights in a folder of Hugging Face's; None if it is no such folder."""
    if not folder.is_dir():
        return None
    for name in WHOLE:
        for path in (folder / f"{name}{INDEX}", folder / name):
            if path.is_file():
                return path
    return None


def open_index(path: Path) -> Sharded:
    """Opens all files that an index names; nothing is read before it is used.

    Raises:
        ValueError: if a file is missing, lies elsewhere, or lacks a tensor.
    """
    if path.stat().st_size > 1 << 26:
        raise ValueError("its index is larger than 64 MiB")
    content = json.loads(path.read_text(encoding="utf-8"))
    where = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(where, dict) or not where or not all(isinstance(file, str) for file in where.values()):
        raise ValueError("there is no weight_map of names and files")
    opened: dict[str, Mapping[str, np.ndarray]] = {}
    metadata: dict[str, str] = {}
    for file in dict.fromkeys(where.values()):
        if Path(file).name != file or file in ("", ".", ".."):
            raise ValueError(f"its part {file[:100]!r} lies in another folder")
        part = path.parent / file
        if not part.is_file():
            raise Unreadable(f"open_weights: {path} names {file}, which is missing; fetch all files of the checkpoint.")
        if file.endswith(".safetensors"):
            opened[file], said = open_safetensors(part)
            metadata |= said
        else:
            opened[file] = open_torch_file(part).content
    arrays = {}
    for name, file in where.items():
        leaf = opened[file].get(name) if isinstance(opened[file], Mapping) else None
        if not isinstance(leaf, np.ndarray):
            raise ValueError(f"{file} has no tensor {name[:100]!r}, which the index puts there")
        arrays[name] = leaf
    return Sharded(arrays, where, metadata)


def files_for(
    like: Mapping[str, Any], stem: str, shards: Mapping[str, str] | None, limit: int = LIMIT
) -> dict[str, str]:
    """Which file each tensor goes to: grouped as the anchor's, or filled one after the other up to a size."""
    if shards is not None and set(shards) >= set(like):
        order = {file: i for i, file in enumerate(dict.fromkeys(shards[name] for name in like))}
        numbers = {name: order[shards[name]] for name in like}
    else:
        numbers, number, size = {}, 0, 0
        for name, leaf in like.items():
            number, size = (number + 1, 0) if size and size + leaf.nbytes > limit else (number, size)
            numbers[name], size = number, size + leaf.nbytes
    count = max(numbers.values(), default=0) + 1
    return {name: f"{stem}-{i + 1:05d}-of-{count:05d}.safetensors" for name, i in numbers.items()}


def begin_shards(
    index: Path, like: Mapping[str, Any], metadata: Mapping[str, str], shards: Mapping[str, str] | None
) -> dict[str, Place]:
    """Makes an index and its files, and says where the bytes of each tensor go."""
    stem = index.name.removesuffix(INDEX).removesuffix(".safetensors")
    files = files_for(like, stem, shards)
    places: dict[str, Place] = {}
    for file in dict.fromkeys(files.values()):
        part = {name: leaf for name, leaf in like.items() if files[name] == file}
        begins = begin_file("save_weights", index.parent / file, part, metadata)
        places |= {name: (index.parent / file, begin) for name, begin in begins.items()}
    total = sum(leaf.nbytes for leaf in like.values())
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": files}, indent=2)
    index.write_text(text, encoding="utf-8")
    return places


def lies_within(file: Path, folder: Path) -> bool:
    """Whether a file of a folder has its bytes there, or where Hugging Face's cache keeps them: ``../../blobs``.

    Another link would put a file of the user's into a folder that is meant to be passed on.
    """
    real, here = file.resolve(), folder.resolve()
    return real.parent in (here, here.parent.parent / "blobs")


def begin_folder(
    folder: Path, like: Mapping[str, Any], metadata: Mapping[str, str], shards: Mapping[str, str] | None, source: Path
) -> dict[str, Place]:
    """Makes a folder as the anchor's: its weights in as many files, and its small files beside them."""
    folder.mkdir()
    for file in sorted(source.iterdir()):
        small = file.suffix in (".json", ".txt", ".yaml") and not file.name.endswith(INDEX)
        if small and file.is_file() and lies_within(file, source) and file.stat().st_size <= SMALL:
            shutil.copyfile(file, folder / file.name)
    whole = index_of(source)
    name = (whole.name if whole else WHOLE[0]).removesuffix(INDEX)
    name = name.replace("pytorch_model.bin", "model.safetensors").replace("diffusion_model", "diffusion_pytorch_model")
    if shards is not None:
        return begin_shards(folder / f"{name}{INDEX}", like, metadata, shards)
    begins = begin_file("save_weights", folder / name, like, metadata)
    return {key: (folder / name, begin) for key, begin in begins.items()}
