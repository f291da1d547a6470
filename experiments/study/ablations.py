"""How little the prefix may be: fewer frames, coarser and narrower banks, noise, missing pixels.

Every variant picks a candidate of the plain bank for each trajectory; the frames after the longest prefix judge it. All
variants restart there from the same clean frames, so that only the choice differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy.spatial import KDTree

from ccm_jax.rollout import RolloutFn
from experiments.pipeline import data, networks, stages
from experiments.pipeline.family import Family, bank_of, column, mean_error
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.runner.progress import bar, finished
from experiments.runner.runtime import is_writer

Array = jax.Array

VERSION = 2
FRAMES, USUAL = 8, 4  # the longest prefix, and the one of the other variants
STEPS, WIDTHS = (0.25, 0.5, 1.0), (0.5, 1.0, 1.5, 2.0, 2.5)
NOISE = (0.0, 0.05, 0.1, 0.2)  # of the root mean square of each field
MISSING = (0.25, 0.5, 0.75, 0.9)  # share of the pixels


def noisy(x: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Trajectories with white noise on every frame, ``level`` times the root mean square of each field."""
    space = tuple(range(2, x.ndim - 1))
    size = np.sqrt(np.mean(np.square(x), axis=space, keepdims=True))
    return (x + level * size * np.random.default_rng(seed).standard_normal(x.shape)).astype(np.float32)


def observed_pixels(shape: tuple[int, ...], missing: float, seed: int) -> np.ndarray:
    """A mask ``[*space, 1]``, 1 where a pixel is observed; the same one for all trajectories."""
    total = math.prod(shape)
    count = round(missing * total)
    mask = np.ones(total, np.float32)
    mask[np.random.default_rng(seed).permutation(total)[:count]] = 0
    return mask.reshape(*shape, 1)


def filled(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fields ``[..., *space, C]`` with the missing pixels taken from the nearest observed one."""
    space = mask.shape[:-1]
    known, every = np.argwhere(mask[..., 0] > 0), np.argwhere(np.ones(space))
    numbers = np.asarray(np.ravel_multi_index(tuple(known.T), space))
    nearest = numbers[KDTree(known).query(every)[1]]
    values = frame.reshape(*frame.shape[: -mask.ndim], -1, frame.shape[-1])
    return values[..., nearest, :].reshape(frame.shape)


def masked(rollout_fn: RolloutFn, mask: np.ndarray) -> RolloutFn:
    """A rollout of which only the observed pixels are seen."""
    seen = jnp.asarray(mask)[None, None]
    return lambda params, window, steps: rollout_fn(params, window, steps) * seen


def variants(
    run: Run, family: Family, hidden: dict[float, RolloutFn], prefix_of: Callable[..., np.ndarray], x: np.ndarray
) -> dict[str, np.ndarray]:
    """Prefix losses ``[n, N]`` of the bank for every variant by name.

    Args:
        run: the experiment.
        family: its weights.
        hidden: rollouts that :func:`masked` hides pixels of, by the share that is missing.
        prefix_of: ``(family, x) -> [n, N, FRAMES]``.
        x: trajectories ``[N, T, *space, C]``.
    """
    bank, seed, history = family.bank, run.config.seed, family.history
    clean = prefix_of(family, x)
    found = {f"frames {k}": clean[..., :k].mean(axis=-1) for k in range(1, FRAMES + 1)}
    usual = clean[..., :USUAL].mean(axis=-1)
    for step in STEPS:
        on = np.isclose(bank / step, np.round(bank / step))
        found[f"step {step:g}"] = np.where(on[:, None], usual, np.inf)
    for width in WIDTHS:
        found[f"width {width:g}"] = np.where(np.abs(bank)[:, None] <= width + 1e-6, usual, np.inf)
    for level in NOISE:
        losses = prefix_of(family, noisy(x, level, seed)) if level else clean
        found[f"noise {level:g}"] = losses[..., :USUAL].mean(axis=-1)
    for share, rollout_fn in hidden.items():
        mask = observed_pixels(x.shape[2:-1], share, seed)
        seen = np.concatenate([filled(x[:, :history], mask), x[:, history:] * mask], axis=1)
        found[f"missing {share:g}"] = prefix_of(family._replace(rollout_fn=rollout_fn), seen)[..., :USUAL].mean(axis=-1)
    return found


def prefix_ablation(run: Run, done: Stages) -> Stage:
    """Errors outside the support after a choice by each variant: ``ablation.json``, one number for each by name."""

    def build(work: Path) -> None:
        config = run.config.copy_and_resolve_references()
        config.calibration.frames = FRAMES
        family = networks.load_family(run.config, done.anchor, done.endpoints)
        family = family._replace(frames=FRAMES)
        line, candidates = family.line, column(family.bank)
        errors: dict[str, list[np.ndarray]] = {}
        tests = stages.load_trajectories(done.test)
        hidden = {
            share: masked(family.rollout_fn, observed_pixels(tests.shape[3:-1], share, config.seed))
            for share in MISSING
        }

        def prefix_of(family: Family, x: np.ndarray) -> np.ndarray:
            return family.errors_of_prefix(line, candidates, x)

        with bar("prefix_ablation", len(tests)) as advance:
            for value, trajectories in zip(config.regimes.test, tests, strict=True):
                if data.outside(data.coordinate_of(config, value)):
                    x = np.asarray(trajectories)
                    future = family.errors_along(line, candidates, x).mean(axis=-1)  # [n, N]
                    future = np.where(np.isfinite(future), future, np.inf)
                    for name, losses in variants(run, family, hidden, prefix_of, x).items():
                        losses = np.where(np.isfinite(losses), losses, np.inf)
                        picked = future[losses.argmin(axis=0), np.arange(future.shape[1])]
                        errors.setdefault(name, []).append(picked)
                    errors.setdefault("best", []).append(future.min(axis=0))
                    errors.setdefault("coord", []).append(_at(config, future, value))
                advance(1, f"at {value:g}")
        if is_writer():
            write_json(work / "ablation.json", {name: mean_error(np.stack(e)) for name, e in errors.items()})

    settings = stages.settings_of(run.config, "calibration", "axis", "model", "regimes")
    inputs = (done.test, done.anchor, done.endpoints)
    stage = run_stage(run.root, "prefix_ablation", settings, inputs, build, version=VERSION)
    finished(stage, "frames, banks, noise and missing pixels")
    return stage


def _at(config: ConfigDict, future: np.ndarray, value: float) -> Any:
    """Errors ``[N]`` of the candidate nearest the coordinate that metadata tell."""
    return future[int(np.abs(bank_of(config) - data.coordinate_of(config, value)).argmin())]
