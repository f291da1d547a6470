"""The README's picture: fields of the example family, outside the support of the anchor."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import ccm_jax
from ccm_jax import example
from ccm_jax.cli.pictures import GREEN, new_figure
from ccm_jax.metrics import relative_l2
from experiments.pipeline.methods import METHODS

NEAR, FAR = 1, 0  # of the test regimes: s = -1.5 and -2
OBSERVED = 5
SHOWN = 4  # frames, from the first predicted one to the last; few, so that a phone shows their labels


def figure(regime: int = NEAR) -> Any:
    """Truth, anchor and CCM-Prefix on the first trajectory of a regime, each with the error of its frames."""
    family = example.load()
    chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)
    x = family.test[regime][0]
    found = readout(x[:OBSERVED])
    steps = len(x) - OBSERVED
    truth, window = x[None, OBSERVED:], x[None, OBSERVED - 1 : OBSERVED]
    rows = [("truth", truth, "#222222", None)]
    for label, weights, colour in (
        ("anchor", family.anchor, METHODS["anchor"].colour),
        ("CCM-Prefix", chart(found.coordinate), GREEN),
    ):
        predicted = np.asarray(family.rollout_fn(weights, window, steps))
        rows.append((label, predicted, colour, np.asarray(relative_l2(jnp.asarray(predicted), jnp.asarray(truth)))[0]))
    times = np.linspace(0, steps - 1, SHOWN).round().astype(int)
    bound = float(np.abs(truth).max())
    made = new_figure(1.75 * SHOWN + 0.35, 1.9 * len(rows) + 0.4)
    axes = made.subplots(len(rows), SHOWN)
    for line, (label, fields, colour, errors) in zip(axes, rows, strict=True):
        for ax, t in zip(line, times, strict=True):
            ax.imshow(
                fields[0, t, ..., 0].T, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="bilinear"
            )
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if errors is None:
                ax.set_title(f"frame {OBSERVED + t + 1}", fontsize=13)
            else:
                ax.set_xlabel(f"error {errors[t]:.0%}", fontsize=13, color=colour)
        line[0].set_ylabel(label, fontsize=13, color=colour, fontweight="bold")
    value = f"{family.test_values[regime]:g}"
    support = f"{family.low_value:g} to {family.high_value:g}"
    made.suptitle(
        f"Vorticity at {family.label.lower()} {value}; trained at {support}",
        fontsize=13,
        color="#444444",
    )
    return made
