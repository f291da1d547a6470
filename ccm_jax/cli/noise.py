"""Noise like that of the observed frames, added to validation trajectories, which are often simulated without any."""

from __future__ import annotations

import click
import numpy as np

from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.frames import Regimes

SEED = 0  # the same noise in every run


def noise_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option for observed frames that are noisier than validation."""
    return click.option(
        "--noise",
        type=click.FloatRange(min=0, min_open=True, max=10),
        metavar="SHARE",
        help="Add Gaussian noise to the validation trajectories, to match noisy frames: its standard deviation, as a "
        "share of that of each channel, such as 0.05.",
    )(function)


def with_noise(regimes: Regimes, share: float) -> Regimes:
    """Regimes with independent Gaussian noise at every point; of a channel, the same size in all of them."""
    rng, all_of_them = np.random.default_rng(SEED), list(regimes.trajectories.values())
    count = sum(x[..., 0].size for x in all_of_them)
    mean = sum(x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64) for x in all_of_them) / count
    square = sum(((x - mean) ** 2).sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64) for x in all_of_them) / count
    size = share * np.sqrt(square)

    def noisy(x: np.ndarray) -> np.ndarray:
        return (x + size * rng.standard_normal(x.shape)).astype(x.dtype)

    note(f"noise of {share:.3g} times each channel's standard deviation is added to validation, the same in every run.")
    return regimes._replace(trajectories={name: noisy(x) for name, x in regimes.trajectories.items()})
