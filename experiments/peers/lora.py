"""LoRA adapters as experts: updates of low rank, merged as the dense updates that they are.

    weights = base + A B

Every leaf with two or more axes has factors ``A [..., i, r]`` and ``B [..., r, o]`` on its last two, one pair for each
index of the others, so that each mode of a spectral layer has its own. All other leaves are frozen.

Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2022).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ccm_jax.rollout import Apply
from ccm_jax.train import Loss
from experiments.pipeline import stages
from experiments.pipeline.networks import load_normalization, load_params, physical_model
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage
from experiments.pipeline.training import Batches, fit, loss_of

Array = jax.Array
Params = Any

VERSION = 1
RANK = 4


def start(base: Params, key: Array, rank: int = RANK) -> Params:
    """An adapter that changes nothing yet: ``{"base", "a", "b"}`` with ``A`` drawn and ``B`` zero.

    Args:
        base: weights.
        key: of the first factors.
        rank: columns of ``A``; no more than a matrix has rows or columns.
    """
    nothing = jnp.zeros(())  # a frozen leaf has no factors, and Orbax writes no empty arrays
    leaves, structure = jax.tree.flatten(base)
    a, b = [], []
    for leaf, of_leaf in zip(leaves, jax.random.split(key, len(leaves)), strict=True):
        if leaf.ndim < 2:
            a.append(nothing)
            b.append(nothing)
            continue
        *others, rows, columns = leaf.shape
        r = min(rank, rows, columns)
        a.append(jax.random.normal(of_leaf, (*others, rows, r)) * rows**-0.5)
        b.append(jnp.zeros((*others, r, columns)))
    return {"base": base, "a": jax.tree.unflatten(structure, a), "b": jax.tree.unflatten(structure, b)}


def merged(adapter: Params) -> Params:
    """The dense weights ``base + A B``."""
    return jax.tree.map(lambda w, a, b: w + a @ b if a.ndim else w, adapter["base"], adapter["a"], adapter["b"])


@functools.lru_cache(maxsize=4)
def lora_loss(apply: Apply, history: int = 1) -> Loss:
    """Mean relative L2 error of one step at the merged weights; the base has no gradient, so Adam leaves it alone.

    Returns:
        ``loss(adapter, frames [N, history + 1, *space, C])``.
    """
    dense = loss_of(apply, history=history)

    def loss(adapter: Params, frames: Array) -> Array:
        return dense(merged(adapter | {"base": jax.lax.stop_gradient(adapter["base"])}), frames)

    return loss


def lora_experts(run: Run, ends: Stage, anchor: Stage) -> Stage:
    """Two adapters trained like experts: paired, from the same factors; :func:`load_dense` reads them."""
    config = run.config

    def build(work: Path) -> dict[str, float]:
        x, normalization = load_trajectories(ends), load_normalization(anchor)
        apply = physical_model(config, normalization)
        fresh = start(load_params(anchor, "anchor"), jax.random.fold_in(jax.random.key(config.seed), 21))
        facts = []
        for i, name in enumerate(("low", "high")):
            # In the order in which the experts of CCM see their batches.
            seed = 10 * config.seed + stages.PAIR
            batches = Batches(x, config.model.history, config.finetune.steps, seed, part=i)
            loss_fn = lora_loss(apply, config.model.history)
            metadata = stages.metadata_of(config, normalization)
            facts.append(fit(name, loss_fn, fresh, batches, config.finetune, work=work, metadata=metadata))
        return {key: sum(f[key] for f in facts) for key in facts[0]}

    settings = stages.settings_of(config, "finetune", "seed") | {"rank": RANK}
    return run_stage(run.root, "lora", settings, (ends, anchor), build, version=VERSION)


def load_dense(stage: Stage, name: str) -> Params:
    """The dense weights of an expert of :func:`lora_experts`."""
    return merged(load_params(stage, name))
