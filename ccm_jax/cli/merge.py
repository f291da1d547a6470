"""``ccm merge``: the weights of a coordinate, from files to a file, with a card that says where they come from."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from ccm_jax import Gated, Polynomial
from ccm_jax.cli.answers import force_option, json_option, tell
from ccm_jax.cli.card import SAYS, card, card_of, digest
from ccm_jax.cli.checkpoints import check_there, new_folder, open_checkpoints, warn
from ccm_jax.cli.console import say
from ccm_jax.cli.faults import meant
from ccm_jax.cli.following import evaluate_next
from ccm_jax.cli.frames import layout_options
from ccm_jax.cli.grouped import Grouped
from ccm_jax.cli.inspect import doubtful
from ccm_jax.cli.others import OTHERS, merge_by_other, tells_coordinate
from ccm_jax.cli.parameters import parameter_option
from ccm_jax.cli.prefix_length import frames_option
from ccm_jax.cli.recipe import Recipe, weights_by_name
from ccm_jax.cli.source import Source, check_near, remarks, source_options
from ccm_jax.cli.units import Where, where_options
from ccm_jax.cli.waiting import waiting
from ccm_jax.io.atomic import check_new, together, write_text
from ccm_jax.io.description import DESCRIBED, HELP, describe, portable
from ccm_jax.io.leaves import check_order
from ccm_jax.io.save import check_target, save_weights
from ccm_jax.io.weights import Weights
from ccm_jax.version import __version__

ANOTHER = 0.2  # difference of coordinates, on a linear and a logarithmic scale, that a forecast shows


def origin_of(recipe: Recipe) -> dict[str, Any]:
    """Where merged weights come from, JSON-able."""
    digests = {path: digest(path) for path in (recipe.anchor, *recipe.experts)}
    return {
        "made_by": f"ccm_jax {__version__}",
        "method": recipe.method,
        "arguments": dict(recipe.arguments),
        "coordinate": list(recipe.coordinate) if tells_coordinate(recipe) else None,
        **_physical(recipe),
        "anchor": {"path": str(recipe.anchor), "sha256": digests[recipe.anchor]},
        "experts": [
            {"path": str(path), "coordinate": list(c), "sha256": digests[path]}
            for path, c in zip(recipe.experts, recipe.coordinates, strict=True)
        ],
        "features": repr(recipe.features),
        "ridge": recipe.ridge,
        "filters": [{"name": f.pattern, "coordinate": f.coordinate or "anchor"} for f in recipe.filters],
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _physical(recipe: Recipe) -> dict[str, Any]:
    if recipe.value is None or recipe.units is None or not tells_coordinate(recipe):
        return {}
    low, high, scale = recipe.units
    return {"physical": {"value": recipe.value, "range": [low, high], "scale": scale}}


def open_family(recipe: Recipe, *, cast: bool = False) -> list[Weights]:
    """The anchor and its experts, see :func:`~ccm_jax.cli.checkpoints.open_checkpoints`."""
    return open_checkpoints("merge", (recipe.anchor, *recipe.experts), cast=cast)


def check_known(method: str) -> None:
    """Raises ValueError for an unknown method, with the nearest."""
    if method != "chart" and method not in OTHERS:
        known = ["chart", *OTHERS]
        raise ValueError(f"method is {method!r}, expected {', '.join(known)}.{meant(method, known)}")


def check_method(recipe: Recipe) -> None:
    """Raises ValueError for an unknown method, or for what the method would ignore."""
    check_known(recipe.method)
    if recipe.method == "chart":
        ignored = {"arguments": bool(recipe.arguments)}
    else:
        plain = Recipe(*recipe[:4])
        usual = Polynomial(dim=len(recipe.coordinate))
        ignored = {"filters": bool(recipe.filters), "ridge": recipe.ridge != plain.ridge}
        ignored["features"] = recipe.features not in (plain.features, usual)
    names = [name for name, given in ignored.items() if given]
    if names:
        raise ValueError(f"method {recipe.method} takes no {' and no '.join(names)}; leave them out.")


def check_output(output: Path) -> Path:
    """Where the card goes that is written beside a checkpoint; raises ValueError if either cannot be written there."""
    check_target(output)
    beside = card_of(output)
    check_new(beside)
    return beside


def merge(
    recipe: Recipe, output: Path, *, found: Mapping[str, Any] | None = None, model: str | None = None
) -> dict[str, Any]:
    """Merges files to a file or a folder, which must not exist; returns the provenance.

    What the anchor says of itself is kept: its header, and the options that leave no trace in weights.

    Args:
        recipe: what is merged, and how.
        output: where to; its name tells the format, see :mod:`ccm_jax.io.save`.
        found: how the coordinate was found, for the provenance.
        model: what the weights are of, where they do not say so: the merged file says it on, and other methods than
            charts treat real and complex weights differently.
    """
    check_method(recipe)
    beside = check_output(output)
    anchor, *experts = open_family(recipe, cast=recipe.method != "chart")
    check_order(output, anchor)
    if doubt := doubtful(anchor, experts, direction=recipe.method == "chart"):
        warn(doubt)
    facts = origin_of(recipe) | ({"found": dict(found)} if found else {})
    said = {key: value for key, value in anchor.metadata.items() if key != "provenance"} | {"provenance": facts}
    if model is not None:
        said[DESCRIBED] = portable(describe(anchor, model))
    if anchor.kind.startswith("torch"):
        said.setdefault("format", "pt")  # as Hugging Face's libraries want to know
    if recipe.method == "chart":
        trees, weights = [w.arrays for w in (anchor, *experts)], weights_by_name(recipe, list(anchor.arrays))
    else:
        merged = merge_by_other(recipe, [anchor, *experts], model=model)
        trees, weights = [merged], lambda name: np.zeros(0)
    with together(output) as place:
        save_weights(place(output), trees, weights, anchor, said)
        axes = recipe.features.inner.dim if isinstance(recipe.features, Gated) else len(recipe.coordinate)
        write_text(place(beside), card(output, facts, anchor, axes) + f"\n{SAYS}`{digest(place(output))}`\n")
    return facts


def parse_arguments(pairs: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """``("density=0.2",)`` as ``(("density", 0.2),)``."""
    found = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"--set {pair}: expected NAME=NUMBER, a finite one.")
        found.append((name, number))
    return tuple(sorted(found))


@click.command("merge", cls=Grouped)
@source_options
@where_options
@click.option("--method", metavar=f"[{'|'.join(('chart', *OTHERS))}]", help="How to merge. Default: chart.")
@click.option(
    "--set", "arguments", multiple=True, metavar="NAME=NUMBER", help="An argument of the method; may be repeated."
)
@click.option("--model", metavar="MODEL", help=HELP)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    help="With --value: trajectories of known values, on which the value's coordinate is fitted (CCM-Scale).",
)
@parameter_option
@frames_option(
    "With --validation: frames after the model's window; forecasts start from the last of them.", default=None
)
@layout_options
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="NAME.safetensors, NAME.pt, NAME.eqx, NAME.safetensors.index.json, or a folder.",
)
@force_option
@json_option
def command(source: Source, where: Where, method: str | None, output: Path, **given: Any) -> None:
    """Write the weights at a coordinate or at a physical value, and a card, OUTPUT.md, that records their origin.

    \b
    ccm merge --anchor a.pt --low l.pt --high h.pt --value 4e-3 --range 1e-3:3e-3 -o merged.safetensors
    ccm merge --family DIR --value 4e-3 --range 1e-3:3e-3 --validation others.npz -o merged.safetensors
    ccm merge --anchor a.pt --low l.pt --high h.pt --coordinate 1.4 -o merged.safetensors
    ccm merge --anchor a.pt --low l.pt --high h.pt --method ties --set density=0.2 -o ties.safetensors
    ccm merge --recipe recipe.yaml -o merged.safetensors

    \b
    On the example family (ccm example):
    cd example
    ccm merge --family . --value 7.5e-4 --range 1e-3:2e-3 -o merged.safetensors
    """
    chosen, model, validation = source.read(where), given["model"], given["validation"]
    chosen = chosen._replace(method=method or chosen.method)
    if given["arguments"]:
        chosen = chosen._replace(arguments=parse_arguments(given["arguments"]))
    check_known(chosen.method)
    if tells_coordinate(chosen):
        if not chosen.coordinate:
            of = "" if chosen.method == "chart" else f" by method {chosen.method}"
            raise click.UsageError(f"--coordinate is needed{of}, or --value and --range")
        check_near(chosen)
    ignored = bool(chosen.coordinate) and not tells_coordinate(chosen)
    chosen = chosen._replace(coordinate=chosen.coordinate or (0.0,))
    check_method(chosen)
    words = ["--parameter"] * bool(given["parameter"]) + ["--frames"] * bool(given["frames"]) + given["layout"].words()
    if words and validation is None:
        raise ValueError(f"{words[0]} is of trajectories, and merge reads them only with --validation FILE.")
    if validation is not None and chosen.value is None:
        raise ValueError("--validation needs --value and --range: it fits the coordinate of a physical value.")
    check_there(chosen.anchor, *chosen.experts, validation)
    check_output(output)
    found = None
    if validation is not None:
        from ccm_jax.cli.scaled import by_validation  # which needs this module

        chosen, found = by_validation(chosen, validation, given["layout"], model, given["parameter"], given["frames"])
    if tells_coordinate(chosen):
        warn(*remarks(chosen))
    begin, made = time.perf_counter(), new_folder(output)
    with waiting("merging"):
        facts = merge(chosen, output, found=found, model=model)
    if ignored:
        typed = (
            "--value" if where.value is not None else "--coordinate" if where.coordinate else "the recipe's coordinate"
        )
        warn(f"method {chosen.method} gives the same weights for every coordinate; {typed} is ignored.")
    if given["as_json"]:
        tell({"output": output, "card": card_of(output)} | facts)
    say(f"Wrote {output}{made}{at(chosen)} in {time.perf_counter() - begin:.1f} s, and its card {output}.md.")
    if found is None and chosen.value is not None and outside(chosen):
        say(
            f"The value lies outside the experts' range, where a straight line may not hold{other_scale(chosen)}. "
            "--validation FILE fits the coordinate on trajectories of known values."
        )
    evaluate_next(chosen, output, model, by_folder=source.recipe is None)


def other_scale(recipe: Recipe) -> str:
    """The coordinate on the other scale, where it is clearly another one."""
    units, value = recipe.units, recipe.value
    if units is None or value is None or min(units.low, units.high, value) <= 0:
        return ""
    log = units.scale == "log"
    other = units._replace(scale="linear" if log else "log").coordinate(value, "--value")
    if abs(other - recipe.coordinate[0]) < ANOTHER:
        return ""
    return f"; {'without' if log else 'with'} --log, its coordinate is {other:+.2f}"


def outside(recipe: Recipe) -> bool:
    """Whether a value is placed by a straight line beyond the experts that define it."""
    return recipe.method == "chart" and len(recipe.coordinate) == 1 and abs(recipe.coordinate[0]) > 1


def at(recipe: Recipe) -> str:
    """Where a recipe merges, in words; nothing for methods that have no place."""
    if not tells_coordinate(recipe):
        return ""
    place = ", ".join(f"{c:+g}" for c in recipe.coordinate)
    return f" at coordinate {place}" + (
        f" (value {recipe.value:g}, experts {recipe.units})" if recipe.value is not None else ""
    )
