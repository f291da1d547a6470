"""The card beside merged weights: where they come from, in Markdown, and the digest by which they are known again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ccm_jax._checks import counted
from ccm_jax.io.boundary import one_line
from ccm_jax.io.leaves import ENDING as LEAVES
from ccm_jax.io.parts import split_part
from ccm_jax.io.shards import INDEX, open_index
from ccm_jax.io.weights import Weights

DIGEST = 64  # digits of a SHA-256
# Of what a calibration writes down -> what it is called in a card.
CALLED = {
    "prefix": "observed frames",
    "prefix_sha256": "their SHA-256",
    "mask_sha256": "the mask's SHA-256",
    "samples": "trajectories of that file",
    "frames": "frames after the model's window",
    "frame_sizes": "root mean square of the frames calibrated on",
    "loss": "relative error of the merge on the frames that count",
    "anchor_loss": "relative error of the anchor",
    "persistence_loss": "relative error of the last frame repeated",
    "spread": "standard deviation of the coordinate over trajectories",
    "readout": "search",
    "intervals": "90 % interval",
    "p_value": "p-value",
    "ends_not_known": "ends of the interval that are only bounds",
}


def digest(path: Path) -> str:
    """SHA-256 of a file, whatever part of it is meant; of a folder, or of what an index names, of the files by name."""
    path, _ = split_part(path)
    total = hashlib.sha256()
    several = (
        [path, *sorted({path.parent / file for file in open_index(path).files.values()})] if _is_index(path) else []
    )
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else several or [path]:
        if path.is_dir():
            total.update(file.relative_to(path).as_posix().encode())  # the same on every system
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                total.update(block)
    return total.hexdigest()


SAYS = "SHA-256 of the weights: "


def check_card(path: Path) -> None:
    """Raises ValueError if a card beside weights, or beside the file that they are a part of, names another digest."""
    beside = card_of(split_part(path)[0])
    try:
        lines = beside.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    said = [line.removeprefix(SAYS).strip("`") for line in lines if line.startswith(SAYS)]
    if said and said[0] != digest(path):
        raise ValueError(
            f"{path} does not match the SHA-256 in {beside}: it is damaged, or was changed on purpose. Restore "
            "it from a copy or merge it again; if it was on purpose, remove the card."
        )


def card_of(output: Path) -> Path:
    """Where the card of weights lies."""
    return output.with_name(f"{output.name}.md")


def _is_index(path: Path) -> bool:
    return path.is_file() and path.name.endswith(INDEX)


def card(output: Path, facts: Mapping[str, Any], weights: Weights, axes: int = 1) -> str:
    """A short model card, in Markdown; what comes after the ``axes`` of a coordinate is the gate."""
    experts = "\n".join(
        f"| expert | {_code(e['path'])} | {_place(e['coordinate'], axes)} | `{e['sha256'][:12]}` |"
        for e in facts["experts"]
    )
    numbers = sum(leaf.size for leaf in weights.arrays.values())
    where = "" if facts["coordinate"] is None else f"at coordinate {_place(facts['coordinate'], axes)} "
    if "physical" in facts:
        known = facts["physical"]
        low, high = known["range"]
        told = f"-1 is {low:g}, +1 is {high:g}, {known['scale']} scale"
        if "curve" in facts.get("found", {}):  # a fitted one, on which the experts' values are not at -1 and +1
            told = f"experts of {low:g} and {high:g}"
        where += f"(the value {known['value']:g}; {told}) "
    found = "".join(
        f"\n- {CALLED.get(name, name.replace('_', ' '))}: {_fact(name, value, facts['found'])}"
        for name, value in facts.get("found", {}).items()
        if value is not None
    )
    found = f"\nHow the coordinate was found:\n{found}\n" if found else ""
    return f"""# {_code(output.name)[1:-1]}

Merged weights ({counted(numbers, "number")}) {where}by the method `{facts["method"]}`
({facts["made_by"]}, {facts["created"]}), without training. At coordinates beyond those of its experts this network
extrapolates: compare it with the anchor on observed frames before you use it.

| part | file | coordinate | SHA-256 |
|---|---|---|---|
| anchor | {_code(facts["anchor"]["path"])} | – | `{facts["anchor"]["sha256"][:12]}` |
{experts}
{found}
{_kept(output)} {_loading(output, weights)}
"""


def _place(coordinate: Sequence[float], axes: int) -> str:
    """A coordinate, rounded; the metadata have all digits."""
    gate = "".join(f", gate {c:.4g}" for c in coordinate[axes:])
    return ", ".join(f"{c:+.4g}" for c in coordinate[:axes]) + gate


def _fact(name: str, value: Any, found: Mapping[str, Any]) -> str:
    """A fact of a calibration, in words."""
    if name == "readout" and isinstance(value, Mapping):
        return _search(value, int(found.get("frames", 0)))
    if name == "frame_sizes":
        return " to ".join(f"{size:.4g}" for size in value)
    if name == "intervals":
        return ", ".join(f"{parameter} {low:.4g} to {high:.4g}" for parameter, (low, high) in value.items())
    if name == "ends_not_known":
        return ", ".join(f"{parameter} ({' and '.join(ends)})" for parameter, ends in value.items())
    return _told(value)


def _search(settings: Mapping[str, Any], frames: int) -> str:
    """How a readout searched, of its settings; the file has all of them."""
    bank = settings.get("search") == "bank"
    said = ["among the coordinates of a bank" if bank else "over all coordinates of a range"]
    said += ["gate searched too"] if settings.get("free_gate") else []
    begin = int(settings.get("begin", 0))
    left = frames - begin
    said += (
        [f"by the errors of the {'last frame' if left == 1 else f'last {left} frames'}"] if 0 < begin < frames else []
    )
    if settings.get("missing"):
        said.append(f"with {settings['missing']} of {settings['points']} points filled in ({settings['fill']})")
    regimes = settings.get("validation")
    said += [f"settings chosen on validation trajectories of {_regimes(regimes)}"] if regimes else []
    return ", ".join(said)


def _regimes(names: Sequence[str]) -> str:
    """Regimes in words, each parameter's name once.

    Example:
        >>> _regimes(["nu = 0.7", "nu = 1.2"]), _regimes(["f = 0, nu = 0.7", "f = 1, nu = 0.7"])
        ('nu = 0.7, 1.2', '(f, nu) = (0, 0.7), (1, 0.7)')
    """
    pairs = [[part.partition(" = ")[::2] for part in name.split(", ")] for name in names]
    called = {tuple(name for name, _ in each) for each in pairs}
    if len(called) > 1 or not all(value for each in pairs for _, value in each):
        return "; ".join(names)
    if len(pairs[0]) == 1:
        return f"{pairs[0][0][0]} = {', '.join(each[0][1] for each in pairs)}"
    rows = ", ".join(f"({', '.join(value for _, value in each)})" for each in pairs)
    return f"({', '.join(called.pop())}) = {rows}"


def _told(value: Any) -> str:
    """A fact in a card: mappings in words, rounded numbers, digests as short as those of the table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_told(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_told(part) for part in value)}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"`{text[:12]}`" if len(text) == DIGEST and set(text) <= set("0123456789abcdef") else text


def _code(text: str) -> str:
    """A name as code in Markdown, of which none of it gets out: neither a new row nor HTML."""
    return f"`{one_line(text).translate({ord('`'): chr(39), ord('|'): '/', ord('<'): '(', ord('>'): ')'})}`"


def _kept(output: Path) -> str:
    """Whether the file itself says where it comes from."""
    if output.suffix == LEAVES:
        return "The file holds numbers alone: keep this card beside it."
    return "The file's metadata contain all of this."


def _loading(output: Path, weights: Weights) -> str:
    """How to get the weights into a network, by the format of the anchor and whose names they have."""
    name = _code(output.name)[1:-1]
    if weights.kind == "leaves":
        how = f'`eqx.tree_deserialise_leaves("{name if output.suffix == LEAVES else "merged.eqx"}", network)`'
        if output.suffix == LEAVES:
            return f"Load the weights into an Equinox network of\nthe same structure with {how}."
        return (
            "Tensors are called 0, 1, … in the order of the\nEquinox network's leaves. Merged to a file NAME.eqx, they "
            f"load with\n{how}."
        )
    if any(leaf.rsplit(".", 1)[-1] == "kernel" for leaf in weights.arrays):  # what Flax calls a weight
        return (
            f'Read the parameters of this Flax network with\n`ccm_jax.loading.load_like("{name}", like)`, where `like` '
            "is a tree of the same structure,\nsuch as the result of `module.init`."
        )
    if not (weights.kind.startswith("torch") or weights.kind in ("safetensors", "sharded", "huggingface")):
        return f'Read the arrays by name with\n`ccm_jax.io.weights.open_weights("{name}").arrays`.'
    torch = f'torch.load("{name}", weights_only=True)'
    if output.suffix not in (".pt", ".pth", ".bin", ".ckpt"):
        torch = f'safetensors.torch.load_file("{name}")'
    return f"Load weights with PyTorch's names into PyTorch with\n`model.load_state_dict({torch})`."
