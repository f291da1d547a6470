"""Pictures and animations of the gallery: what the parameter of each system does, by its solver alone.

python -m experiments.site.pictures
python -m experiments.site.pictures navier_stokes

Every system is simulated from one initial state with its parameter below, inside and above the anchor's training range.
"""

from __future__ import annotations

import importlib
import io
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ccm_jax.cli.pictures import new_figure

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
PANEL, GAP = 220, 12  # of an animation, in pixels
SHOWN = 5  # times in a still
WHERE = ("below training range", "inside", "above")


class Picture(NamedTuple):
    """How one system is shown."""

    title: str
    config: str
    symbol: str  # of the parameter
    colours: str
    signed: bool = True  # colours symmetric about 0
    grid: int = 96
    finer: int = 2  # frames for each stored frame of the experiment
    frames: int = 40
    seed: int = 0
    skip: int = 0  # frames that are left out at the beginning
    panel: int = PANEL  # width of one field of the animation, in pixels


PICTURES = {
    "reaction_diffusion": Picture(
        "Reaction–diffusion (FitzHugh–Nagumo), activator u", "rd_ood", "Dᵤ", "PuOr_r", panel=276
    ),
    "navier_stokes": Picture("Forced Navier–Stokes, vorticity", "ns_ood", "ν", "RdBu_r", skip=8),
    "dam_break": Picture("Radial dam break, water depth", "rdb_gravity", "g", "YlGnBu", signed=False),
    "burgers": Picture("Burgers, velocity", "burgers", "ν", "RdBu_r", grid=256),
    "kuramoto_sivashinsky": Picture("Kuramoto–Sivashinsky", "ks", "h", "RdBu_r", grid=192, frames=80),
}


def values_of(picture: Picture) -> tuple[float, float, float]:
    """Values of the parameter below, inside and above the training range."""
    regimes = importlib.import_module(f"experiments.configs.{picture.config}").get_config().regimes
    return regimes.test[0], sorted(regimes.support)[len(regimes.support) // 2], regimes.test[-1]


def simulate(picture: Picture) -> tuple[tuple[float, ...], np.ndarray]:
    """Values below, inside and above the range, and the first channel of one trajectory each, ``[3, T, *space]``."""
    import jax

    from ccm_jax.rollout import repeat, rollout
    from experiments.pipeline import systems

    config = importlib.import_module(f"experiments.configs.{picture.config}").get_config()
    finer_grid = picture.grid / config.solver.grid
    config.solver.grid = max(config.solver.grid, picture.grid)
    config.solver.dt /= picture.finer
    config.solver.substeps = math.ceil(config.solver.substeps * max(finer_grid, 1) / picture.finer)
    values = values_of(picture)
    system = systems.system_of(config)
    settings = systems.solver_settings(system, config.solver, config.initial, picture.grid)

    @jax.jit
    def trajectory(value: jax.Array) -> jax.Array:
        parameters = systems.regime_parameters(config, value)
        step = system.make_step(settings, parameters)
        start = system.starts[config.initial.kind](settings, parameters, jax.random.key(picture.seed))
        start = repeat(step, config.solver.burn_in)(start)
        frames = rollout(step, picture.frames, include_init=True)(start)
        return jax.vmap(lambda state: system.store(state, settings.stored)[..., 0])(frames)

    return values, np.stack([np.asarray(trajectory(np.float32(v)))[picture.skip :] for v in values])


def limits(picture: Picture, fields: np.ndarray) -> tuple[float, float]:
    """The ends of the colours, one pair for all panels."""
    if picture.signed:
        bound = float(np.quantile(np.abs(fields), 0.98))
        return -bound, bound
    return float(fields.min()), float(np.quantile(fields, 0.998))


def still(picture: Picture, values: tuple[float, ...], fields: np.ndarray, target: Path) -> None:
    """A row for each value; columns are times, or one image of space and time for one axis of space."""
    low, high = limits(picture, fields)
    style = {"cmap": picture.colours, "vmin": low, "vmax": high, "origin": "lower", "interpolation": "bilinear"}
    flat = fields.ndim == 3
    columns = 1 if flat else SHOWN
    figure = new_figure(8, 1.5 * 3 + 0.3) if flat else new_figure(1.5 * SHOWN + 0.5, 1.5 * 3 + 0.3)
    axes = figure.subplots(3, columns, squeeze=False)
    times = np.linspace(0, fields.shape[1] - 1, SHOWN).round().astype(int)
    for line, value, where, u in zip(axes, values, WHERE, fields, strict=True):
        for ax, t in zip(line, times, strict=False):
            ax.imshow(u.T if flat else u[t].T, aspect="auto" if flat else "equal", **style)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(f"{picture.symbol} = {value:g}\n{where}", fontsize=8.5)
    for ax, t in zip(axes[0], times, strict=False):
        ax.set_title("time →, space ↑" if flat else f"frame {(t + picture.skip) // picture.finer}", fontsize=9)
    figure.suptitle(picture.title, fontsize=10, color="#444444")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    Image.open(drawn).convert("RGB").quantize(256).save(target, optimize=True)


def animation(picture: Picture, fields: np.ndarray, target: Path) -> None:
    """The three values side by side, frame by frame, as an animated WebP without a background.

    It begins in the middle, where the three differ, and starts again from the first frame after the last. The values
    are text of the page: print in a picture would be too small on a phone.
    """
    low, high = limits(picture, fields)
    side = picture.panel
    pages = []
    for t in range(fields.shape[1]):
        page = Image.new("RGBA", (3 * side + 2 * GAP, side), "#ffffff00")
        for i, of_value in enumerate(fields):
            page.paste(_panel(picture, of_value[t], low, high), (i * (side + GAP), 0))
        pages.append(page)
    pause = [500, *[70] * (len(pages) - 2), 900]
    middle = len(pages) // 2
    pages, pause = pages[middle:] + pages[:middle], pause[middle:] + pause[:middle]
    pages[0].save(
        target, save_all=True, append_images=pages[1:], duration=pause, loop=0, quality=78, alpha_quality=60, method=4
    )


def _panel(picture: Picture, field: np.ndarray, low: float, high: float) -> Image.Image:
    if field.ndim == 1:
        return _curve(field, low, high)
    from matplotlib import colormaps

    coloured = colormaps[picture.colours](np.clip((field.T[::-1] - low) / (high - low), 0, 1))
    image = Image.fromarray((255 * coloured[..., :3]).astype(np.uint8))
    return image.resize((picture.panel, picture.panel), Image.Resampling.BICUBIC)


def _curve(field: np.ndarray, low: float, high: float) -> Image.Image:
    """A line, drawn at four times its size and made smaller, so that it is smooth."""
    size = 4 * PANEL
    image = Image.new("RGBA", (size, size), "#80808018")
    x = np.linspace(0, size, len(field))
    y = size * (0.95 - 0.9 * (field - low) / (high - low))
    ImageDraw.Draw(image).line([*zip(x.tolist(), y.tolist(), strict=True)], fill="#1f87c0", width=9, joint="curve")
    return image.resize((PANEL, PANEL), Image.Resampling.LANCZOS)


def main(names: list[str]) -> None:
    """Draws the systems named, or all."""
    unknown = set(names) - set(PICTURES)
    if unknown:
        raise ValueError(f"pictures: no system {', '.join(sorted(unknown))}; they are {', '.join(PICTURES)}.")
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        picture = PICTURES[name]
        values, fields = simulate(picture)
        still(picture, values, fields, FOLDER / f"{name}.png")
        animation(picture, fields, FOLDER / f"{name}.webp")
        print(name, *(f"{(FOLDER / f'{name}.{kind}').stat().st_size // 1000} kB" for kind in ("png", "webp")))


if __name__ == "__main__":
    main(sys.argv[1:])
