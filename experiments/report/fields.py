"""Pictures of the README and the gallery: fields of the example family, outside the training range of the anchor."""

from __future__ import annotations

from typing import Any, NamedTuple

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
BLACK, GREY = "#222222", "#444444"
GREYS = {"#222222": "#eeeeee", "#444444": "#bbbbbb", "#000000": "#eeeeee"}  # texts on white -> on dark


class Forecast(NamedTuple):
    """A network's frames after the observed ones, `[steps, H, W]`, and their errors against the truth, `[steps]`."""

    label: str
    colour: str
    frames: np.ndarray
    errors: np.ndarray


class Case(NamedTuple):
    """One trajectory of the example family: its title, the truth after the observed frames, and the forecasts."""

    title: str
    truth: np.ndarray
    forecasts: list[Forecast]

    def show(self, ax: Any, frame: np.ndarray) -> None:
        """Draws a frame, in the colours of all frames of this trajectory."""
        bound = float(np.abs(self.truth).max())
        ax.imshow(frame.T, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="bilinear")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


def case(regime: int = NEAR) -> Case:
    """The first trajectory of a test regime, forecast by the anchor, the expert nearest to it, and CCM-Prefix."""
    family = example.load()
    chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)
    x = family.test[regime][0]
    found = readout(x[:OBSERVED])
    truth = x[OBSERVED:]
    forecasts = []
    for label, weights, colour in (
        ("anchor", family.anchor, METHODS["anchor"].colour),
        ("nearest expert", family.low, GREY),  # both test regimes lie below the training range
        ("CCM-Prefix", chart(found.coordinate), GREEN),
    ):
        frames = np.asarray(family.rollout_fn(weights, x[None, OBSERVED - 1 : OBSERVED], len(truth)))[0]
        errors = np.asarray(relative_l2(jnp.asarray(frames[None]), jnp.asarray(truth[None])))[0]
        forecasts.append(Forecast(label, colour, frames[..., 0], errors))
    support = f"{family.low_value:g} to {family.high_value:g}"
    title = f"Vorticity at {family.label.lower()} {family.test_values[regime]:g}; training range {support}"
    return Case(title, np.asarray(truth[..., 0]), forecasts)


def for_dark_pages(made: Any) -> Any:
    """The same figure without a background, and with light text; coloured text stays as it is."""
    from matplotlib.colors import to_hex
    from matplotlib.text import Text

    made.patch.set_alpha(0)
    for text in made.findobj(Text):
        text.set_color(GREYS.get(to_hex(text.get_color()), text.get_color()))
    return made


def strip(shown: Case, columns: int = 4) -> Any:
    """The last frame of the truth and of all forecasts, with their errors.

    Args:
        columns: the pictures of a row; 2 for a phone.
    """
    made = new_figure(7.35, 2.65) if columns == 4 else new_figure(3.9, 5.1)
    made.set_layout_engine("constrained", h_pad=0.08)
    last = OBSERVED + len(shown.truth)
    panels = [(f"truth, frame {last}\n", BLACK, shown.truth[-1])]
    panels += [
        (f"{one.label.removesuffix('-Prefix')}\nerror {100 * one.errors[-1]:.0f} %", one.colour, one.frames[-1])
        for one in shown.forecasts
    ]
    for ax, (label, colour, frame) in zip(made.subplots(len(panels) // columns, columns).flat, panels, strict=True):
        shown.show(ax, frame)
        ax.set_title(label, fontsize=13, color=colour)
    made.suptitle(shown.title if columns == 4 else shown.title.replace("; ", "\n"), fontsize=13, color="#444444")
    return made


def figure(shown: Case) -> Any:
    """The truth and all forecasts, each with the error of its frames."""
    times = np.linspace(0, len(shown.truth) - 1, SHOWN).round().astype(int)
    rows = [Forecast("truth", BLACK, shown.truth, np.zeros(0)), *shown.forecasts]
    made = new_figure(1.75 * SHOWN + 0.35, 1.9 * len(rows) + 0.4)
    axes = made.subplots(len(rows), SHOWN)
    for line, row in zip(axes, rows, strict=True):
        for ax, t in zip(line, times, strict=True):
            shown.show(ax, row.frames[t])
            if len(row.errors):
                ax.set_xlabel(f"error {100 * row.errors[t]:.0f} %", fontsize=13, color=row.colour)
            else:
                ax.set_title(f"frame {OBSERVED + t + 1}", fontsize=13)
        line[0].set_ylabel(row.label, fontsize=13, color=row.colour, fontweight="bold")
    made.suptitle(shown.title, fontsize=13, color="#444444")
    return made
