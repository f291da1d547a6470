"""Pictures that commands leave beside their results: loss curves, strips of frames, animations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from ccm_jax._extras import remedy
from ccm_jax.cli.console import say
from ccm_jax.cli.showing import scored, typed

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from ccm_jax.cli.forecast import Forecasted, Probe
    from ccm_jax.cli.prefix import Found

P = ParamSpec("P")
GREEN = "#009E73"  # of Okabe and Ito's colours, safe for colour-blind readers


def where_installed(draw: Callable[P, None]) -> Callable[P, None]:
    """Without its library, one line stands in for the picture: the results beside it are complete."""

    @functools.wraps(draw)
    def draw_or_say(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            draw(*args, **kwargs)
        except ModuleNotFoundError as error:
            line = remedy(error)
            if line is None:
                raise
            say(f"No picture: {line}")

    return draw_or_say


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(ax: Axes, grid: bool = True) -> None:
    """Takes away the frame, and adds a quiet grid."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)


def plain_ticks(ax: Axes) -> None:
    """Ticks of a logarithmic vertical axis in plain numbers: 0.02, 0.05, 0.1."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = ax.get_ylim()
    steps = (1, 1.5, 2, 3, 4, 5, 7) if high / low < 5 else (1, 2, 5) if high / low < 1e3 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]
    if len(ticks) < 2:
        return
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(lambda tick, _: f"{tick:g}")


@where_installed
def draw_calibration(found: Found, dim: int, target: Path) -> None:
    """Losses over the first of ``dim`` coordinates and errors by frame; below, posteriors where they are known."""
    sure = () if found.sure is None else [axis for axis in found.sure.axes if not axis.flat]
    figure = new_figure(9.0, 3.2 + 2.4 * len(sure))
    axes = figure.subplots(1 + len(sure), 2, squeeze=False, height_ratios=[4] + [3] * len(sure))
    _draw_losses(axes[0][0], found, dim)
    _draw_residuals(axes[0][1], found)
    for (left, right), axis in zip(axes[1:], sure, strict=True):
        draw_density(left, np.array(axis.coordinates), np.array(axis.density), axis.coordinate_interval)
        left.set(xlabel="coordinate", ylabel="posterior")
        draw_density(right, np.array(axis.values), np.array(axis.probability), axis.interval)
        if axis.known[0] < right.get_xlim()[1] and axis.known[1] > right.get_xlim()[0]:
            right.axvspan(*axis.known, color="#e4e9ee", zorder=0, label="validation regimes")
        right.set_xlabel(axis.name)
        right.legend(frameon=False, fontsize=8)
    figure.savefig(target, dpi=150)


def _draw_losses(ax: Axes, found: Found, axes: int) -> None:
    first, losses = np.asarray([c[0] for c in found.candidates]), np.asarray(found.losses, float)
    gates = np.asarray([c[axes] if len(c) > axes else 1.0 for c in found.candidates])
    for gate in np.unique(gates):
        at, filled = gates == gate, gate == gates.max()
        style: dict[str, Any] = {"color": GREEN, "ms": 4, "mfc": GREEN if filled else "white"}
        several = f", gate {gate:g}" * (len(np.unique(gates)) > 1)
        ax.plot(first[at], losses[at], "o-" if axes == 1 else "o", lw=0.8, label=f"first candidates{several}", **style)
    if np.isfinite(found.loss):
        best = f"best merge, {typed(found.coordinate, axes)}"
        ax.plot(found.coordinate[0], found.loss, "*", color="black", ms=10, label=best)
    if np.isfinite(found.anchor_loss):
        ax.axhline(found.anchor_loss, color="black", lw=1.4, label="anchor")
    ax.axhline(found.persistence_loss, color="black", lw=0.8, ls=":", label="last frame repeated")
    ax.set_title(f"scored: error on {scored(found.readout, found.frames)}", fontsize=9)
    ax.set(xlabel="coordinate", ylabel="relative L2 error", yscale="log")
    plain_ticks(ax)
    ax.legend(frameon=False, fontsize=8)
    tidy(ax)


def _draw_residuals(ax: Axes, found: Found) -> None:
    frame = 1 + np.arange(found.frames)
    looks = {"merged": (GREEN, "o-", "best merge"), "anchor": ("black", "o-", "anchor")}
    looks |= {"persistence": ("black", "o:", "last frame repeated")}
    for name, (colour, style, label) in looks.items():
        ax.plot(frame, np.asarray(found.residuals[name], float), style, color=colour, ms=4, lw=1.2, label=label)
    whole = found.readout.get("begin", 0) == 0
    ax.set_title(
        "the same, frame by frame" if whole else "for comparison: one rollout from the first window", fontsize=9
    )
    ax.set(xlabel="observed frame after the window", ylabel="relative L2 error", yscale="log")
    plain_ticks(ax)
    ax.set_xticks(frame if len(frame) < 12 else frame[:: len(frame) // 6])
    ax.legend(frameon=False, fontsize=8)
    tidy(ax)


def draw_density(ax: Axes, x: np.ndarray, density: np.ndarray, interval: tuple[float, float]) -> None:
    """A posterior on a grid, with its interval filled, where it is not next to nothing."""
    low, high = interval
    held = x[density > 1e-3 * density.max()]
    fine = np.unique(np.concatenate([np.linspace(held.min(), held.max(), 400), [low, high]]))
    height = smooth(fine, x, density)
    inside = (fine >= low) & (fine <= high)
    ax.plot(fine, height, color=GREEN, lw=1.4)
    ax.fill_between(fine[inside], height[inside], color=GREEN, alpha=0.25, lw=0, label="90 % interval")
    edge = 0.1 * (fine[-1] - fine[0])
    ax.set(xlim=(fine[0] - edge, fine[-1] + edge), ylim=(0, None), yticks=[])
    ax.locator_params(axis="x", nbins=5)
    tidy(ax)


def smooth(fine: np.ndarray, x: np.ndarray, density: np.ndarray) -> np.ndarray:
    """A density between the points of its grid: a cubic spline of its logarithm, which is exact for normal ones."""
    from scipy.interpolate import CubicSpline  # slow to import

    held = density > 1e-8 * density.max()
    first, last = np.flatnonzero(held)[[0, -1]]
    part = slice(first, last + 1)
    if last - first < 3 or not held[part].all():
        return np.interp(fine, x, density)
    spline = CubicSpline(x[part], np.log(density[part]))
    return np.where((fine >= x[first]) & (fine <= x[last]), np.exp(spline(fine)), 0.0)


def colours_of(field: np.ndarray) -> dict[str, Any]:
    """Colours for a field: around 0 if it has both signs, else from its lowest to its highest value.

    Outliers, half a percent at each end, do not count. A field of one sign around 0 would use half of the colours.
    """
    low, high = (float(q) for q in np.nanpercentile(field, (0.5, 99.5)))
    if low < 0 < high:
        limit = float(np.nanpercentile(np.abs(field), 99.5))
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    return {"cmap": "viridis", "vmin": low, "vmax": max(high, low + 1e-12)}


def show_field(ax: Axes, field: np.ndarray, **style: Any) -> AxesImage:
    """A field ``[a, b]``, the first axis to the right and the second up, smooth between its points."""
    return ax.imshow(field.T, origin="lower", interpolation="bilinear", **style)


def animate(predicted: np.ndarray, target: Path) -> None:
    """The first channel as an animated GIF."""
    from matplotlib import colormaps
    from PIL import Image

    field = predicted[..., 0]
    colours = colours_of(field)
    low, high = colours["vmin"], colours["vmax"]
    scaled = np.clip((np.nan_to_num(field) - low) / max(high - low, 1e-12), 0, 1)
    zoom = max(1, 256 // field.shape[1])
    size, shade = (zoom * field.shape[1], zoom * field.shape[2]), colormaps[colours["cmap"]]
    pictures = [Image.fromarray(frame.T[::-1].astype(np.float32)) for frame in scaled]
    frames = [np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures]
    images = [Image.fromarray((255 * shade(frame)[..., :3]).astype(np.uint8)) for frame in frames]
    images[0].save(target, save_all=True, append_images=images[1:], duration=120, loop=0)


def name_of(fields: Sequence[str]) -> str:
    """The first field, where the file gives it a name."""
    return "" if not fields or fields[0] in ("channel_0", "frames") else fields[0]


@where_installed
def draw_forecast(forecast: Forecasted, output: Path, fields: Sequence[str] = ()) -> None:
    """Mean, half-width and truth as strips, the band at one point over time, and the mean as an animation."""
    mean, half = (np.asarray(a) for a in (forecast.mean, (forecast.high - forecast.low) / 2))
    rows = [("mean", mean), ("half-width", half)]
    rows += [] if forecast.truth is None else [("truth", forecast.truth)]
    if mean.ndim == 5:  # of a box its middle plane
        rows = [(name, field[..., field.shape[3] // 2, :]) for name, field in rows]
    line = mean.ndim == 3
    at = np.unique(np.linspace(0, len(mean) - 1, 6).round().astype(int))
    columns = 1 if line else len(at)
    figure = new_figure(8.4, 1.5 * len(rows) + 2.7)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.5 * len(rows), 2.7))
    above, below = parts
    axes = above.subplots(len(rows), columns, squeeze=False)
    shades = colours_of(mean[..., 0])
    for i, (row, (name, field)) in enumerate(zip(axes, rows, strict=True)):
        shown = [field[..., 0]] if line else [field[k, ..., 0] for k in at]
        colours = shades
        if name == "half-width":
            colours = {"cmap": "cividis", "vmin": 0, "vmax": max(float(np.nanmax(field[..., 0])), 1e-12)}
        for k, (ax, picture) in enumerate(zip(row, shown, strict=True)):
            image = show_field(ax, picture, aspect="auto" if line else "equal", **colours)
            ax.set(xticks=[], yticks=[])
            if i == 0 and not line:
                ax.set_title(f"frame {len(forecast.observed) + at[k] + 1}", fontsize=8)
        row[0].set_ylabel(name)
        above.colorbar(image, ax=row, shrink=0.8)
    draw_band(below.subplots(), forecast.at_the_middle(), name=name_of(fields) or "value")
    figure.savefig(output.with_suffix(".png"), dpi=150)
    if rows[0][1].ndim == 4:
        animate(rows[0][1], output.with_suffix(".gif"))


def draw_band(ax: Axes, probe: Probe, *, legend: bool = True, name: str = "value") -> None:
    """A number of a field over time: observed, then predicted with its band, beside samples and the truth."""
    seen = 1 + np.arange(len(probe.observed))  # frames count from 1
    ahead = len(seen) + 1 + np.arange(len(probe.mean))
    ax.fill_between(ahead, probe.low, probe.high, color=GREEN, alpha=0.22, lw=0, label="90 % interval")
    for i, sample in enumerate(probe.samples):
        ax.plot(ahead, sample, color=GREEN, alpha=0.35, lw=0.6, label="sampled coordinates" if i == 0 else None)
    ax.plot(ahead, probe.mean, color=GREEN, lw=1.6, label="mean")
    ax.plot(seen, probe.observed, "o", color="black", ms=4, label="observed")
    if probe.truth is not None:
        ax.plot(ahead, probe.truth, color="black", lw=1.2, ls="--", label="truth")
    ax.set(xlabel="frame", ylabel=f"{name} at {list(probe.place)}")
    if legend:
        ax.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    tidy(ax)
