"""``ccm merge``: the weights of a coordinate, from files to a file, with a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from ccm_jax import Polynomial
from ccm_jax.cli.console import say
from ccm_jax.cli.others import OTHERS, merge_by_other, tells_coordinate
from ccm_jax.cli.recipe import Recipe, weights_by_name
from ccm_jax.cli.source import Source, remarks, source_options
from ccm_jax.cli.units import Where, where_options
from ccm_jax.io.atomic import write_text
from ccm_jax.io.description import HELP
from ccm_jax.io.lora import open_expert
from ccm_jax.io.names import restore, unflatten
from ccm_jax.io.safetensors import check_same_names, save_safetensors, write_merged
from ccm_jax.io.weights import Weights, open_weights
from ccm_jax.version import __version__

Arrays = dict[str, Any]

FILES = (".pt", ".pth", ".bin", ".npz", ".npy", ".json", ".h5", ".hdf5", ".mat", ".yaml", ".yml")


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files by name."""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            total.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                total.update(block)
    return total.hexdigest()


def origin_of(recipe: Recipe) -> dict[str, Any]:
    """Where merged weights come from, JSON-able."""
    return {
        "made_by": f"ccm_jax {__version__}",
        "method": recipe.method,
        "arguments": dict(recipe.arguments),
        "coordinate": list(recipe.coordinate) if tells_coordinate(recipe) else None,
        **_physical(recipe),
        "anchor": {"path": str(recipe.anchor), "sha256": digest(recipe.anchor)},
        "experts": [
            {"path": str(path), "coordinate": list(c), "sha256": digest(path)}
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


def card(output: Path, facts: Mapping[str, Any], weights: Weights) -> str:
    """A short model card, in Markdown."""
    experts = "\n".join(
        f"| expert | `{e['path']}` | {e['coordinate']} | `{e['sha256'][:12]}` |" for e in facts["experts"]
    )
    numbers = sum(leaf.size for leaf in weights.arrays.values())
    where = "" if facts["coordinate"] is None else f"at coordinate {facts['coordinate']} "
    if "physical" in facts:
        known = facts["physical"]
        low, high = known["range"]
        where += f"(the value {known['value']:g}; {low:g} is -1, {high:g} is +1, {known['scale']} scale) "
    found = "".join(f"\n- {name}: {value}" for name, value in facts.get("found", {}).items())
    found = f"\nHow the coordinate was found:\n{found}\n" if found else ""
    return f"""# {output.name}

Merged weights, {numbers:,} numbers, {where}by the method `{facts["method"]}`
({facts["made_by"]}, {facts["created"]}). Nothing was trained for it. At coordinates beyond those of its experts it
extrapolates: compare it on observed frames with the anchor before it is used.

| part | file | coordinate | SHA-256 |
|---|---|---|---|
| anchor | `{facts["anchor"]["path"]}` | – | `{facts["anchor"]["sha256"][:12]}` |
{experts}
{found}
All facts are in the metadata of the file. Weights with PyTorch's names go back into PyTorch by
`model.load_state_dict(safetensors.torch.load_file("{output.name}"))`.
"""


def open_family(recipe: Recipe) -> list[Weights]:
    """The anchor and its experts.

    Raises:
        ValueError: if they do not have the same names, shapes and types.
    """
    anchor = open_weights(recipe.anchor)
    opened = [anchor, *(open_expert(path, anchor) for path in recipe.experts)]
    for expert in opened[1:]:
        check_same_names("merge", str(anchor.path), anchor.arrays, str(expert.path), expert.arrays)
    return opened


def check_method(recipe: Recipe) -> None:
    """Raises ValueError for an unknown method, or for what the method would ignore."""
    if recipe.method != "chart" and recipe.method not in OTHERS:
        raise ValueError(f"method is {recipe.method!r}, expected chart, {', '.join(OTHERS)}.")
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
    if output.suffix != ".safetensors" and output.suffix in FILES:
        raise ValueError(f"{output} is to be a {output.suffix} file, expected .safetensors, or a folder for Orbax.")
    beside = output.with_name(f"{output.name}.md")
    for path in (output, beside):
        if os.path.lexists(path):
            raise ValueError(f"{path} exists, and nothing is overwritten; choose a new path or remove it.")
    return beside


def merge(
    recipe: Recipe, output: Path, *, found: Mapping[str, Any] | None = None, model: str | None = None
) -> dict[str, Any]:
    """Merges files to a file (safetensors) or a folder (Orbax), which must not exist; returns the provenance.

    Args:
        recipe: what is merged, and how.
        output: where to.
        found: how the coordinate was found, for the provenance.
        model: what the weights are of, where they do not say so: other methods than charts treat real and complex
            weights differently.
    """
    check_method(recipe)
    beside = check_output(output)
    anchor, *experts = open_family(recipe)
    facts, trees = (
        origin_of(recipe) | ({"found": dict(found)} if found else {}),
        [anchor.arrays, *(e.arrays for e in experts)],
    )
    kept = {k: v for k, v in anchor.metadata.items() if k in ("config", "seed", "normalization")}
    said = {"provenance": json.dumps(facts)} | {k: v if isinstance(v, str) else json.dumps(v) for k, v in kept.items()}
    if recipe.method == "chart":
        weights = weights_by_name(recipe, list(anchor.arrays))
        if output.suffix == ".safetensors":
            write_merged(output, trees, weights, metadata=said)
        else:
            _save_orbax(output, _in_memory(trees, weights), anchor, kept | {"provenance": facts})
    else:
        merged = merge_by_other(recipe, [anchor, *experts], model=model)
        if output.suffix == ".safetensors":
            save_safetensors(output, merged, said)
        else:
            _save_orbax(output, merged, anchor, kept | {"provenance": facts})
    write_text(beside, card(output, facts, anchor))
    return facts


def _in_memory(trees: list[Arrays], weights: Callable[[str], np.ndarray]) -> Arrays:
    from ccm_jax.io.safetensors import merge_block

    merged = {}
    for name, leaf in trees[0].items():
        out = np.empty(leaf.size, leaf.dtype)
        merge_block([np.reshape(tree[name], -1) for tree in trees], weights(name), out, name)
        merged[name] = out.reshape(leaf.shape)
    return merged


def _save_orbax(output: Path, merged: Arrays, anchor: Weights, metadata: dict[str, Any]) -> None:
    from ccm_jax.io import checkpoint

    checkpoint.save(output, unflatten(merged) if anchor.tree is None else restore(merged, anchor.tree), metadata)


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


@click.command("merge")
@source_options
@where_options
@click.option("--method", default=None, help=f"chart (the default), {', '.join(OTHERS)}.")
@click.option("--set", "arguments", multiple=True, metavar="NAME=NUMBER", help="An argument of the method.")
@click.option("--model", help=HELP)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="NAME.safetensors, or a folder.")
def command(
    source: Source, where: Where, method: str | None, arguments: tuple[str, ...], model: str | None, output: Path
) -> None:
    """Write the weights of a coordinate, or of a physical value; a card, OUTPUT.md, says where they come from.

    \b
    ccm merge --anchor a.pt --low l.pt --high h.pt --value 4e-3 --range 1e-3:3e-3 -o merged.safetensors
    ccm merge --anchor a.pt --low l.pt --high h.pt --coordinate 1.4 -o merged.safetensors
    ccm merge --anchor a.pt --low l.pt --high h.pt --method ties --set density=0.2 -o ties.safetensors
    ccm merge --recipe recipe.yaml -o merged.safetensors
    """
    chosen = source.read(where)
    chosen = chosen._replace(method=method or chosen.method)
    if not chosen.coordinate:
        if chosen.method == "chart":
            raise click.UsageError("--coordinate is needed, or --value and --range")
        chosen = chosen._replace(coordinate=(0.0,))
    if arguments:
        chosen = chosen._replace(arguments=parse_arguments(arguments))
    if tells_coordinate(chosen):
        for remark in remarks(chosen):
            click.echo(f"ccm: warning: {remark}", err=True)
    begin = time.perf_counter()
    merge(chosen, output, model=model)
    say(f"{output} in {time.perf_counter() - begin:.1f} s{at(chosen)}; {output}.md says where it comes from.")


def at(recipe: Recipe) -> str:
    """Where a recipe merges, in words; nothing for methods that have no place."""
    if not tells_coordinate(recipe):
        return ""
    place = ", ".join(f"{c:+g}" for c in recipe.coordinate)
    return f" at coordinate {place}" + (
        f" (value {recipe.value:g}, experts {recipe.units})" if recipe.value is not None else ""
    )
