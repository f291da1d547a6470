"""Merging beside the memory it runs through, and from files beside mergekit.

    pip install -e '.[bench]'
    python -m benchmarks.merging --output docs/performance/merging.json

``merge_pytree`` reads three trees and writes one; its bytes per second stand beside those of a plain copy. Files:
``merge_safetensors`` beside mergekit's own loader, linear kernel and writer, in process, on the same files, with equal
work: at coordinate 0.5 the anchor's weight is 0, and both read the two experts alone.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measure import interleaved, machine, options, ratio, spread

LEAF = 8 << 20  # numbers in a leaf: 32 MiB


def tree(leaves: int, seed: int) -> dict[str, np.ndarray]:
    """A tree of float32 leaves."""
    rng = np.random.default_rng(seed)
    return {f"layer_{i}": rng.standard_normal((LEAF // 1024, 1024), np.float32) for i in range(leaves)}


def in_memory(leaves: int, repeats: int) -> dict[str, Any]:
    """Bytes per second of ``merge_pytree``, fresh and in place, over those of a copy."""
    import jax
    import jax.numpy as jnp

    from ccm_jax import merge_pytree

    trees = [jax.tree.map(jnp.asarray, tree(leaves, seed)) for seed in range(3)]
    size = sum(leaf.nbytes for leaf in trees[0].values())
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    held = [trees[0]]
    copied = jax.jit(lambda t: jax.tree.map(lambda x: x + 0.0, t))

    def in_place() -> None:
        held[0] = jax.block_until_ready(merge_pytree(held[0], *trees[1:], 0.5, in_place=True))

    trees = [jax.tree.map(jnp.copy, trees[0]), *trees[1:]]
    times = interleaved(
        {
            "copy, numpy": lambda: np.copyto(target, source),
            "copy, jax": lambda: jax.block_until_ready(copied(trees[0])),
            "merge": lambda: jax.block_until_ready(merge_pytree(*trees, 0.5)),
            "in place": in_place,
        },
        repeats=repeats,
    )
    moved = {"copy, numpy": 2, "copy, jax": 2, "merge": 4, "in place": 4}
    speed = {name: [moved[name] * size / t / 1e9 for t in ts] for name, ts in times.items()}
    best = [max(a, b) for a, b in zip(speed["copy, numpy"], speed["copy, jax"], strict=True)]
    return {
        "bytes": size,
        "gigabytes_per_second": {name: spread(s) for name, s in speed.items()},
        "of_copy": {name: ratio(speed[name], best) for name in ("merge", "in place")},
    }


def from_files(leaves: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Seconds of ``merge_safetensors`` and of mergekit on the same three files."""
    import torch
    from mergekit.io.loader import TensorLoader
    from mergekit.io.tensor_writer import TensorWriter
    from mergekit.merge_methods.base import TensorBatch
    from mergekit.merge_methods.linear import linear_merge

    from ccm_jax.io.safetensors import merge_safetensors, open_safetensors, save_safetensors

    paths = [save_safetensors(folder / f"{seed}.safetensors", tree(leaves, seed)) for seed in range(3)]
    kernel = linear_merge.implementation
    weight = torch.tensor([[0.25, 0.75]])
    count = iter(range(1000))

    def ours() -> Path:
        out = folder / f"ours-{next(count)}.safetensors"
        merge_safetensors(paths[0], paths[1:], [-1.0, 1.0], 0.5, out)
        return out

    def theirs() -> Path:
        out = folder / f"theirs-{next(count)}"
        loaders = [TensorLoader.get(str(path)) for path in paths[1:]]
        with TensorWriter(str(out), safe_serialization=True) as writer:
            for name in list(loaders[0].keys()):
                batch = TensorBatch(tuple(loader.get_tensor(name)[None] for loader in loaders))
                writer.save_tensor(name, kernel(batch, weight=weight, normalize=False)[0])
        return out

    mine, other = ours(), theirs()
    got = open_safetensors(mine).arrays["layer_0"]
    expected = open_safetensors(next(other.glob("*.safetensors"))).arrays["layer_0"]
    if not np.allclose(got, expected, atol=1e-5):
        raise RuntimeError("the merged files differ; nothing is timed.")

    def and_remove(run: Any) -> Any:
        def timed() -> None:
            out = run()
            for path in [out] if out.is_file() else list(out.iterdir()):
                path.unlink()

        return timed

    times = interleaved({"ours": and_remove(ours), "mergekit": and_remove(theirs)}, repeats=repeats)
    return {
        "bytes": paths[0].stat().st_size,
        "seconds": {name: spread(ts) for name, ts in times.items()},
        "ratio": ratio(times["mergekit"], times["ours"]),
    }


def main() -> None:
    """Measures, and writes the table."""
    parser = options(__doc__)
    parser.add_argument("--folder", type=Path, help="where the files go for the while; default: a temporary folder")
    chosen = parser.parse_args()
    leaves, repeats = (2, 3) if chosen.quick else (32, 11)
    memory = in_memory(leaves, repeats)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        files = from_files(leaves, repeats, Path(folder))
    summary = {
        "merge_of_copy": memory["of_copy"]["merge"]["median"],
        "in_place_of_copy": memory["of_copy"]["in place"]["median"],
        "files_ratio": files["ratio"]["median"],
    }
    from experiments.pipeline.store import write_result

    about = machine("jax", "jaxlib", "torch", "mergekit")
    write_result(chosen.output, {"summary": summary, "memory": memory, "files": files, "machine": about})
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
