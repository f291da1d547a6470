"""``ccm inspect``: names, sizes and norms; and for an anchor with two experts, the geometry of their residuals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

from ccm_jax._checks import counted
from ccm_jax._doubts import APART, SAMPLE, distances
from ccm_jax.cli.answers import json_option, tell
from ccm_jax.cli.checkpoints import note, open_checkpoints, warn
from ccm_jax.cli.console import Shortened, say, show_table
from ccm_jax.cli.following import family_beside, family_in, file_beside, follow, frames_beside, free, model_of, named
from ccm_jax.cli.provenance import merged_from
from ccm_jax.cli.source import NAMES, exchanged, in_folder, role_in
from ccm_jax.cli.surrogates import with_names
from ccm_jax.io.description import NAMES as NAMES_OF_NETWORKS
from ccm_jax.io.save import ending_of
from ccm_jax.io.weights import Weights, open_weights


class Residuals(NamedTuple):
    """Two experts against their anchor, in one tensor or in all: norms over the anchor's, and their cosine."""

    low: float
    high: float
    shared: float
    direction: float
    cosine: float


def flat(leaf: np.ndarray) -> np.ndarray:
    """The numbers of a leaf as float64, complex ones as pairs; empty for leaves that do not merge."""
    if np.iscomplexobj(leaf):
        return np.stack([leaf.real, leaf.imag]).astype(np.float64).ravel()
    if leaf.dtype.kind not in "fV" and leaf.dtype.name != "bfloat16":
        return np.zeros(0)
    return np.asarray(leaf, np.float64).ravel()


def residuals(
    anchor: Mapping[str, np.ndarray], low: Mapping[str, np.ndarray], high: Mapping[str, np.ndarray]
) -> dict[str, Residuals]:
    """The geometry of each tensor, read one after the other; the last entry, ``(all)``, is the whole."""
    sums, found = np.zeros(4), {}

    def row(aa: float, ll: float, hh: float, lh: float) -> Residuals:
        scale = np.maximum(aa, 1e-300)  # which passes NaN on
        shared, direction = (ll + hh + 2 * lh) / 4, (ll + hh - 2 * lh) / 4
        cosine = 0.0 if ll == 0 or hh == 0 else lh / np.sqrt(ll) / np.sqrt(hh)
        low, high, both, apart = (float(np.sqrt(np.maximum(x, 0.0) / scale)) for x in (ll, hh, shared, direction))
        return Residuals(low, high, both, apart, float(cosine))

    for name in anchor:
        a, lo, hi = (flat(tree[name]) for tree in (anchor, low, high))
        if a.size:
            with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity stay so, and are said
                products = np.array([a @ a, (lo - a) @ (lo - a), (hi - a) @ (hi - a), (lo - a) @ (hi - a)])
                found[name], sums = row(*products), sums + products
    with np.errstate(over="ignore", invalid="ignore"):
        found["(all)"] = row(*sums)
    return found


def verdict(whole: Residuals, *, named: bool = True) -> str:
    """Whether the experts can have come from this anchor, in words; ``named`` is whether the files' names say which."""
    if not np.isfinite(whole).all():
        return (
            "No verdict: some weights are NaN, infinite or too large to be squared; see the norms of each file alone."
        )
    if max(whole.low, whole.high) == 0:
        return "The experts equal the anchor: there is nothing to merge."
    for name, distance in (("low", whole.low), ("high", whole.high)):
        if distance == 0:
            return f"The {name} expert has the anchor's weights: check that these are three different checkpoints."
    if max(whole.low, whole.high) > APART:
        apart = 2 * whole.direction  # of each other, in norms of the anchor
        near = "They are near each other: check that this is their anchor. " * (0 < apart <= APART)
        return (
            f"The experts' distance from the anchor is {max(whole.low, whole.high):.3g} of its norm, as for weights "
            f"that were trained independently. They can hardly come from this anchor. {near}"
            "A merge of weights without a common anchor is meaningless."
        )
    if whole.direction == 0:
        return "The experts are equal: there is no direction between them."
    share = whole.shared**2 / (whole.shared**2 + whole.direction**2)
    return (
        f"The experts are close enough to this anchor to be fine-tuned from it: {100 * share:.0f} % of their squared "
        "update norm is shared; the rest is along the direction."
        + " The names of the files do not say which is the anchor: check their order."
        * (not named)
    )


def doubtful(anchor: Weights, experts: Sequence[Weights], *, direction: bool) -> str | None:
    """A line on experts that are equal, or can hardly have been fine-tuned from an anchor.

    Args:
        anchor: of the experts.
        experts: of which the first numbers of each tensor are read.
        direction: whether equal experts are wrong, because a merge moves from one to the other.
    """

    def read(trees: Sequence[Weights]) -> Iterator[list[np.ndarray]]:
        return ([flat(tree.arrays[name].flat[:SAMPLE]) for tree in trees] for name in anchor.arrays)

    far = distances(read([anchor, *experts]))
    equal = len(experts) > 1 and all(
        np.array_equal(first, b, equal_nan=True) for first, *others in read(experts) for b in others
    )
    if equal and direction and np.any(far):
        same = " and ".join(str(expert.path) for expert in experts)
        return (
            f"{same} begin with the same numbers in every tensor, so there is no direction between them; see ccm "
            "inspect."
        )
    if not np.any(far > APART):
        return None
    return (
        f"{experts[int(np.argmax(far))].path} differs from the anchor by {far.max():.3g} times the anchor's norm, as "
        "if it had been trained independently; see ccm inspect."
    )


def spoilt(weights: Weights) -> list[str]:
    """Names of the tensors with numbers that are not finite."""
    return [name for name, leaf in weights.arrays.items() if not np.isfinite(flat(leaf)).all()]


def show_tree(weights: Weights) -> None:
    """Prints names, types, shapes and norms of a checkpoint."""
    numbers = sum(leaf.size for leaf in weights.arrays.values())
    size = sum(leaf.nbytes for leaf in weights.arrays.values())
    title = f"{weights.path} · {weights.kind} · {counted(len(weights.arrays), 'tensor')} · {counted(numbers, 'number')}"
    table = Table()
    for heading, side in (("name", "left"), ("type", "left"), ("shape", "left"), ("norm", "right")):
        table.add_column(heading, justify=side, no_wrap=heading != "name", overflow="fold")  # type: ignore[arg-type]
    for name, leaf in weights.arrays.items():
        values = flat(leaf)
        norm = f"{np.linalg.norm(values):.4g}" if values.size else "–"
        note = "" if np.isfinite(values).all() else "  NaN or infinite!"
        table.add_row(escape(name), str(leaf.dtype), "×".join(map(str, leaf.shape)) or "()", norm + note)
    show_table(f"{title} · {size / 1e6:.1f} MB", table)


def described(weights: Weights) -> dict[str, Any]:
    """What :func:`show_tree` prints, JSON-able."""
    tensors = {
        name: {"type": str(leaf.dtype), "shape": list(leaf.shape), "norm": _norm(leaf)}
        for name, leaf in weights.arrays.items()
    }
    numbers, size = (sum(getattr(leaf, what) for leaf in weights.arrays.values()) for what in ("size", "nbytes"))
    return {"path": weights.path, "kind": weights.kind, "numbers": numbers, "bytes": size, "tensors": tensors}


def _norm(leaf: np.ndarray) -> float | None:
    """That of the numbers that merge; None where there are none."""
    values = flat(leaf)
    return float(np.linalg.norm(values)) if values.size else None


def expanded(checkpoints: tuple[Path, ...]) -> tuple[Path, ...]:
    """Anchor, low and high of a folder that holds them; else the checkpoints as they are."""
    if len(checkpoints) != 1 or not checkpoints[0].is_dir():
        return checkpoints
    folder = checkpoints[0]
    whole = (folder if folder.name else folder.resolve(),)  # "." has no name
    try:
        return tuple(in_folder(folder))
    except ValueError as error:
        try:
            open_weights(whole[0])  # a folder of Orbax or Hugging Face is a checkpoint
        except (ValueError, OSError) as other:
            if "is not a checkpoint" not in str(other):  # it knows better
                return whole
            what = str(error).removeprefix(f"--family: {folder} ").partition(", expected")[0]
            raise ValueError(
                f"inspect: {folder} is not a checkpoint, and {what}; expected a checkpoint, or a folder with "
                f"{', '.join(NAMES)}, of any ending."
            ) from None
        return whole


@click.command("inspect")
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="MODEL",
    help=f"The network, needed only to name the arrays of an `.eqx` file: {NAMES_OF_NETWORKS}.",
)
@json_option
def command(checkpoints: tuple[Path, ...], model: str | None, as_json: bool) -> None:
    """Show the contents of one checkpoint, or compare an anchor with its low and high expert.

    For three CHECKPOINTS, in this order, or a folder that holds anchor, low and high, it also says whether both experts
    can come from that anchor.

    \b
    ccm inspect model.safetensors
    ccm inspect anchor.pt low.pt high.pt
    ccm inspect anchor.eqx --model mynet:build

    \b
    On the example family (ccm example):
    cd example
    ccm inspect .
    """
    checkpoints = expanded(checkpoints)
    if len(checkpoints) not in (1, 3):
        raise click.UsageError(f"{len(checkpoints)} checkpoints, expected one, or three: anchor, low, high")
    doubts = exchanged(*checkpoints) if len(checkpoints) == 3 else []
    opened = open_checkpoints("inspect", checkpoints)
    opened = opened if model is None else [with_names(weights, model) for weights in opened]
    if model is None and opened[0].kind == "leaves":
        note("a file of Equinox numbers its arrays; --model MODULE:NAME shows their paths in the network.")
    warn(*(f"{weights.path}: {name} is NaN or infinite" for weights in opened for name in spoilt(weights)[:1]))
    show_tree(opened[0])
    if len(opened) == 1:
        if as_json:
            tell(described(opened[0]))
        if opened[0].kind == "npz" and "frames" in opened[0].arrays:  # as ccm example and numpy's users name them
            say("These look like trajectories, not weights.")
            follow("data", "describe", checkpoints[0])
            return
        if said := merged_from(opened[0]):
            say(f"{said}.")
            test = file_beside(checkpoints[0], "test")
            words = ("--trajectories", test or "TRAJECTORIES")
            follow("evaluate", *family_beside(checkpoints[0]), "--merged", checkpoints[0], *words)
            return
        files = family_in(checkpoints[0].parent)
        given = () if model is None else ("--model", model)
        follow("inspect", *(files if checkpoints[0] in files else (checkpoints[0], "LOW", "HIGH")), *given)
        return
    anchor, low, high = opened
    found = residuals(anchor.arrays, low.arrays, high.arrays)
    table = Table()
    for heading in ("name", "low", "high", "shared", "direction", "cosine", "% shared"):
        first = heading == "name"  # the only column that gives way
        table.add_column(heading, justify="left" if first else "right", no_wrap=not first)
    for name, row in found.items():
        both = row.shared**2 + row.direction**2
        share = f"{100 * row.shared**2 / both:.0f}" if both else "–"
        table.add_row(Shortened(name), *(f"{x:.3g}" for x in row[:4]), f"{row.cosine:+.2f}", share)
    show_table("updates relative to the anchor's norm, their cosine, and their shared part", table)
    whole = found["(all)"]
    warn(*doubts)
    said = verdict(whole, named=None not in map(role_in, checkpoints))
    said = f"If this order is right nevertheless: {said[0].lower()}{said[1:]}" if doubts else said
    say(said)
    if as_json:
        rows = {name: row._asdict() for name, row in found.items()}
        tell(described(opened[0]) | {"updates": rows, "verdict": said})
    roles = {role_in(path): path for path in checkpoints}
    if doubts and set(roles) == set(NAMES):
        follow("inspect", *(roles[name] for name in NAMES), *(() if model is None else ("--model", model)))
    elif whole.direction > 0 and min(whole.low, whole.high) > 0 and max(whole.low, whole.high) <= APART:
        three = (*named(*checkpoints), *model_of(model, checkpoints[0]))
        output = free(f"merged{ending_of(checkpoints[0])}")
        follow("calibrate", *three, *frames_beside(checkpoints[0]), "-o", output)
