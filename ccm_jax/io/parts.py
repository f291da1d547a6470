"""Which part of a checkpoint is the weights: training scripts put them among optimizer states, copies and counters.

The rule: what a path says behind ``::``; or else the arrays themselves, where they lie at the top; or else the one
dictionary of arrays that is neither an optimizer's state nor an averaged copy. Where several are left, those under a
usual name (``state_dict``, ``model``, ``params``, ...) go first. What is left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax._reasons import clean
from ccm_jax.io.boundary import Unreadable
from ccm_jax.io.names import flatten
from ccm_jax.io.unpickle import Placeholder

USUAL = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "weights"),
    *("generator", "target"),
)
# Beside weights: states of optimizers and of other helpers of a training loop, and copies of the weights.
HELPERS = re.compile(
    r"(^|_|\.)(optim\w*|opt|opt_states?|sched\w*|lr_\w+|(grad_)?scaler|amp|rng\w*|callbacks|loops)(_|\.|$)"
)
COPIES = re.compile(r"(^|_|\.)(ema\w*|swa\w*|averaged?\w*|shadow\w*|teacher\w*)(_|\.|$)")
# Copies of one network at several times of its training; which of them a user means nobody can tell.
_NETWORK = r"(model|weights|net|network|state_dict|params|checkpoint|ckpt)"
TIMES = re.compile(
    rf"^({_NETWORK}[_-])?(best|last|latest|final|initial|old|new|target|ep(och)?[_=-]?\d+|(checkpoint|ckpt|iter)[_=-]?\d+)"
    rf"([_-]{_NETWORK})?$"
)
COUNTERS = ("step", "epoch", "iteration", "global_step")
LEVELS = 3  # of dictionaries, in which weights are looked for


def split_part(path: Path) -> tuple[Path, str]:
    """A path and the part behind ``::``; no part is empty.

    Example:
        >>> split_part(Path("runs/last.pt::ema.model"))
        (PosixPath('runs/last.pt'), 'ema.model')
    """
    head, mark, part = str(path).rpartition("::")
    if not mark or path.exists():
        return path, ""
    return Path(head), part


def is_weights(content: Any) -> bool:
    """Whether a value is a dictionary of arrays by name; numbers and text may lie among them, and settings."""
    if not isinstance(content, Mapping) or not any(isinstance(leaf, np.ndarray) for leaf in content.values()):
        return False
    return not any(holds_more(leaf) for key, leaf in content.items() if key != "_metadata")


def holds_more(leaf: Any) -> bool:
    """Whether what lies beside arrays has arrays in it, or what is not read, so a weight may go missing."""
    if isinstance(leaf, Mapping):
        return any(isinstance(v, np.ndarray) or holds_more(v) for v in leaf.values())
    if isinstance(leaf, (list, tuple, set, frozenset)):
        return any(isinstance(v, np.ndarray) or holds_more(v) for v in leaf)
    return isinstance(leaf, Placeholder)


def candidates(content: Any, name: str = "", levels: int = LEVELS) -> Iterator[tuple[str, Any]]:
    """Dictionaries of arrays inside others, with their names joined by dots."""
    for key, value in content.items() if isinstance(content, Mapping) and levels else ():
        below = f"{name}.{key}" if name else str(key)
        if is_weights(value):
            yield below, value
        else:
            yield from candidates(value, below, levels - 1)


def part_of(content: Any, part: str, path: Path) -> Any:
    """What lies under a name; dots go down, where no name has them.

    Raises:
        Unreadable: if there is no such part, with those that there are.
    """
    node, rest = content, part
    while rest:
        if isinstance(node, (list, tuple)) and node:
            node = {str(i): leaf for i, leaf in enumerate(node)}
        names = [str(key) for key in node] if isinstance(node, Mapping) else []
        key = max((n for n in names if rest == n or rest.startswith(f"{n}.")), key=len, default=None)
        if key is None:
            raise Unreadable(f"open_weights: {path} has no part {part}; there are: {_listed(names)}.")
        node, rest = next(v for k, v in node.items() if str(k) == key), rest[len(key) + 1 :]
    return node


def _listed(names: list[str]) -> str:
    return clean(", ".join(names[:12])) + (", ..." if len(names) > 12 else "") if names else "none"


def choose(content: Any, path: Path | str) -> tuple[str, Any, list[str]]:
    """The weights in what a file holds, by the rule above.

    Returns:
        The name of the part (empty for the whole), the part, and what is to be said.

    Raises:
        Unreadable: if there is none, or if it is not clear which.
    """
    if not isinstance(content, Mapping) or is_weights(content) or _has_arrays(content):
        return "", content, []
    found = dict(candidates(content))
    copies = [name for name in found if COPIES.search(name)]
    helpers = [name for name in found if HELPERS.search(name) and name not in copies]
    left = [name for name in found if name not in (*copies, *helpers)]
    usual = [name for name in left if name.rpartition(".")[2] in USUAL]
    rest = {key: value for key, value in content.items() if str(key) not in left}
    only = all(str(key) in COUNTERS or not holds_more(value) for key, value in rest.items())
    if len(left) > 1 and not usual and only and len(_kinds(found, left)) == len(left):
        content = {key: content[key] for key in content if key not in rest}  # networks that differ, and counters
    if len(left) > 1 and not usual and left == list(map(str, content)) and not _at_several_times(found):
        parts, first = " and ".join(map(clean, left[:6])), clean(left[0])
        said = f"{clean(path)}: {parts} are read as parts of one checkpoint; {clean(path)}::{first} reads one of them."
        return "", content, [said]
    chosen = left if len(left) == 1 else usual
    if len(chosen) != 1:
        names = left or [*copies, *helpers]
        what = f"{clean(path)} holds " + (
            f"{' and '.join(map(clean, names[:6]))}; say which is meant, as {clean(path)}::{clean(names[0])}"
            if names
            else f"no arrays by name, but {clean(list(content))}; save a state_dict"
        )
        raise Unreadable(f"open_weights: {what}.")
    others = [*copies, *(name for name in left if name != chosen[0])]
    if not others:
        return chosen[0], found[chosen[0]], []
    name, left_out = clean(chosen[0]), clean(", ".join(others))
    note = f"{clean(path)}: {name} is read, {left_out} left out; {clean(path)}::{clean(others[0])} reads that one."
    return chosen[0], found[chosen[0]], [note]


def choose_tree(tree: Any, path: Path | str) -> tuple[str, Any, list[str]]:
    """The weights in nested parameters: of a training state of Flax its ``params``, and what BatchNorm remembers.

    Returns:
        As :func:`choose`. A tree without an optimizer's state is taken whole.
    """
    keys = {str(key): key for key in tree} if isinstance(tree, Mapping) else {}
    helpers = [name for name in keys if HELPERS.search(name) or name in COUNTERS]
    usual = [name for name in keys if name in USUAL]
    states = [name for name in keys if _is_state(tree[keys[name]])]
    if len(states) == 1:
        part, inner, notes = choose_tree(tree[keys[states[0]]], f"{path}::{states[0]}")
        others = [name for name in keys if name != states[0]]
        more = [f"{clean(path)}: {states[0]} is read, {clean(', '.join(others))} left out."] if others else []
        return f"{states[0]}.{part}".rstrip("."), inner, [*more, *notes]
    if len(usual) == 1:
        shapes = _shapes(tree[keys[usual[0]]])
        copies = [name for name in keys if name not in usual and (COPIES.search(name) or TIMES.search(name))]
        helpers += [name for name in copies if _shapes(tree[keys[name]]) == shapes]
    elif keys and _at_several_times(tree):
        raise Unreadable(
            f"open_weights: {clean(path)} holds {' and '.join(map(clean, keys))}; say which is meant, as "
            f"{clean(path)}::{clean(next(iter(keys)))}."
        )
    if len(usual) != 1 or not helpers:
        return "", tree, []
    kept = [*usual, *(name for name in ("batch_stats",) if name in keys)]
    left = ", ".join(name for name in keys if name not in kept)
    verb = "is" if len(kept) == 1 else "are"
    note = f"{clean(path)}: {' and '.join(kept)} of a training state {verb} read, {clean(left)} left out."
    if len(kept) == 1:
        return kept[0], tree[keys[kept[0]]], [note]
    return "", {name: tree[keys[name]] for name in kept}, [note]


def _is_state(tree: Any) -> bool:
    """Whether a tree is a training state: parameters under a usual name, beside an optimizer's or a counter."""
    names = [str(key) for key in tree] if isinstance(tree, Mapping) else []
    return any(name in USUAL for name in names) and any(HELPERS.search(name) or name in COUNTERS for name in names)


def _at_several_times(parts: Mapping[Any, Any]) -> bool:
    """Whether parts are one network at several times, by their names and the arrays in them."""
    shapes = [_shapes(part) for part in parts.values()]
    named = all(TIMES.search(str(name)) for name in parts)
    return named and len(shapes) > 1 and bool(shapes[0]) and all(shape == shapes[0] for shape in shapes)


def _shapes(tree: Any, name: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in containers, by name; whatever else lies there is left out."""
    if isinstance(tree, (Mapping, list, tuple)):
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        return {key: shape for k, part in items for key, shape in _shapes(part, f"{name}.{k}").items()}
    return {name: tuple(tree.shape)} if hasattr(tree, "shape") else {}


def _kinds(found: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The different shapes of parts."""
    kinds: list[Any] = []
    for name in names:
        shapes = sorted(_shapes(found[name]).items())
        kinds += [shapes] if shapes not in kinds else []
    return kinds


def _has_arrays(content: Mapping[Any, Any]) -> bool:
    """Whether arrays lie at the top, beside more than a few numbers of a training loop."""
    return sum(isinstance(leaf, np.ndarray) for leaf in content.values()) > sum(1 for _ in candidates(content))


def state_dict_of(content: Any, path: Path | str = "the file") -> dict[str, np.ndarray]:
    """The arrays by name of what :func:`~ccm_jax.io.torchfile.open_torch` gave, by the rule of this module.

    Beside a wrapped dictionary, losses and counters are left out; among the arrays themselves numbers, text and
    settings are, so that no weight goes missing.

    Raises:
        ValueError: if there are none, if it is not clear which, or if one of them cannot be read.
    """
    return arrays_of(choose(content, path)[1], path)


def arrays_of(content: Any, path: Path | str) -> dict[str, np.ndarray]:
    """The arrays by name of a part that is chosen.

    Raises:
        Unreadable: if it has none, or what is not read beside them.
    """
    if isinstance(content, np.ndarray):
        return {"tensor": content}
    if isinstance(content, Mapping) and content and all(map(is_weights, content.values())):
        return flatten({key: arrays_of(part, path) for key, part in content.items()})
    if not isinstance(content, Mapping) or not any(isinstance(leaf, np.ndarray) for leaf in content.values()):
        said = list(content) if isinstance(content, Mapping) else _kind(content)
        raise Unreadable(f"state_dict_of: {path} holds no arrays by name, but {clean(said)}; save a state_dict.")
    arrays = {str(name): leaf for name, leaf in content.items() if isinstance(leaf, np.ndarray)}
    if len(arrays) < sum(isinstance(leaf, np.ndarray) for leaf in content.values()):
        raise Unreadable(f"state_dict_of: {path}: two tensors have one name as text; save them under other names.")
    for name, leaf in content.items():
        if name != "_metadata" and holds_more(leaf):
            remedy = (
                f"say {clean(path)}::{clean(name)} to read it"
                if is_weights(leaf)
                else "save a state_dict of plain, dense tensors"
            )
            raise Unreadable(
                f"state_dict_of: {path}: {clean(name)} is {_kind(leaf)}, which is not read here; {remedy}."
            )
    return arrays


def _kind(value: Any) -> str:
    return clean(value.name) if isinstance(value, Placeholder) else type(value).__name__
