"""What looks wrong and is not refused, as warnings, where numbers are known; never under ``jit``."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_merged, is_traced

INSIDE = str(Path(__file__).parent / "_")[:-1]  # with its separator
EXPERTS = (0.2, 5.0)  # within these, the furthest expert of an axis is expected, since readouts search up to 2.5
BEYOND = 10.0  # at a coordinate this far from the experts, no merge can be useful
APART = 0.9  # of the anchor's norm: weights trained independently are near 1.4, and no fine-tuning moves them this far
SAMPLE = 10**4  # numbers of each leaf that show whether weights belong together
_UNSAID: ContextVar[bool] = ContextVar("unsaid", default=False)
TELLING = 1000  # of fewer weights, norms say nothing of where they come from


@contextmanager
def unsaid() -> Iterator[None]:
    """Keeps back the warnings of this package inside the block, of a part of what its caller warns of as a whole."""
    token = _UNSAID.set(True)
    try:
        yield
    finally:
        _UNSAID.reset(token)


def warn(message: str) -> None:
    """Warns whoever called this package, however deep inside of it the reason shows."""
    if _UNSAID.get():
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _short(coordinates: np.ndarray) -> str:
    """Coordinates ``[n, axes]`` as they were typed, without the digits of float32."""
    rows = [", ".join(f"{c:g}" for c in row) for row in coordinates]
    return f"[{', '.join(rows if coordinates.shape[1] == 1 else (f'({row})' for row in rows))}]"


def warn_of_values(coordinates: np.ndarray) -> None:
    """Warns of experts ``[n, axes]`` at what may be physical values: none near -1 or +1, or all of one sign."""
    furthest, (near, far) = np.abs(coordinates).max(axis=0), EXPERTS
    one_sided = (coordinates > 0).all(axis=0) | (coordinates < 0).all(axis=0)
    unlike = (furthest < near) | (furthest > far) | one_sided
    if np.isfinite(furthest).all() and (np.ptp(coordinates, axis=0) * unlike).any():
        warn(
            f"fit_chart: experts are at coordinates {_short(coordinates)}, expected about -1 to 1, because readouts "
            "search up to 2.5; scale physical values with coordinate_from_metadata."
        )


def is_far(coordinate: Any) -> bool:
    """Whether a coordinate is known, and so far beyond the experts that nobody can mean it."""
    known = not is_traced(coordinate) and _is_here(coordinate)
    return known and bool(np.abs(np.asarray(coordinate)).max(initial=0.0) > BEYOND)


def warn_far(function: str, coordinate: Any) -> None:
    """Warns of a coordinate so far beyond the experts that a physical value was probably meant."""
    if is_far(coordinate):
        warn(
            f"{function}: coordinate is {np.asarray(coordinate).tolist()}, and experts are at -1 and +1; a physical "
            "value becomes a coordinate by coordinate_from_metadata(value, low, high)."
        )


def warn_of_experts(function: str, trees: dict[str, Any], coordinates: Any, basis: Any) -> None:
    """Warns of experts that are equal to one another or to the anchor, or trained independently of it.

    Raises ValueError for those that are not finite.

    Args:
        function: name in the warnings.
        trees: the anchor, then the experts, by their names.
        coordinates: of the experts; one at 0 may have the anchor's weights.
        basis: what was fitted to them, a tree like theirs.
    """
    (name, anchor), *experts = trees.items()
    check_experts_finite(function, basis, trees)
    warn_alike(function, dict(e for e in experts if e[1] is not anchor))
    if not is_traced(coordinates):
        moved = [e for e, c in zip(experts, coordinates, strict=True) if np.any(c)]
        warn_alike(function, {name: anchor} | dict(moved), only=name)
    warn_independent(function, anchor, [tree for _, tree in experts])


def distances(leaves: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """How far experts are from their anchor, in norms of the anchor; NaN of one that is 0.

    Args:
        leaves: for each, the real numbers of the anchor and those of each expert, of which the first are read.
    """
    norm, apart = 0.0, np.zeros(1)
    for leaf in leaves:
        a, *others = (np.asarray(numbers[:SAMPLE], np.float64) for numbers in leaf)
        with np.errstate(over="ignore", invalid="ignore"):
            norm, apart = norm + float(a @ a), apart + np.array([(b - a) @ (b - a) for b in others])
    return np.sqrt(apart / norm) if norm > 0 else np.where(apart > 0, np.nan, 0.0)


def warn_independent(function: str, anchor: Any, experts: Sequence[Any]) -> None:
    """Warns of experts that can hardly have been fine-tuned from an anchor, where their numbers are known."""
    rows = [row for row in zip(*map(jax.tree.leaves, (anchor, *experts)), strict=True) if is_merged(row[0])]
    if is_traced(rows) or not all(_is_here(leaf) for row in rows for leaf in row):
        return
    if sum(np.size(anchor) for anchor, *_ in rows) < TELLING:
        return
    far = distances([_first(leaf) for leaf in row] for row in rows)
    if np.any(far > APART):
        warn(
            f"{function}: experts[{int(np.argmax(far))}] differs from the anchor by {far.max():.3g} times the anchor's "
            "norm, as if it had been trained independently; check that all checkpoints are fine-tuned from this anchor."
        )


def _first(leaf: Any) -> np.ndarray:
    """The first numbers of a leaf, complex ones as pairs."""
    numbers = np.asarray(leaf).reshape(-1)[:SAMPLE]
    return np.stack([numbers.real, numbers.imag], axis=1).reshape(-1) if np.iscomplexobj(numbers) else numbers


def warn_alike(function: str, trees: dict[str, Any], only: str | None = None) -> None:
    """Warns of two trees with the same weights, where their numbers are known; ``only`` is one of each two."""
    leaves = {name: [leaf for leaf in jax.tree.leaves(tree) if is_merged(leaf)] for name, tree in trees.items()}
    if is_traced(trees) or not all(here and all(map(_is_here, here)) for here in leaves.values()):
        return
    for (a, ours), (b, theirs) in itertools.combinations(leaves.items(), 2):
        if only not in (None, a):
            continue
        # Other weights differ in their first leaf already, so that this costs next to nothing.
        if all(x is y or _are_alike(x, y) for x, y in zip(ours, theirs, strict=True)):
            warn(f"{function}: `{a}` and `{b}` have the same weights; check which files were loaded.")
            return


def _are_alike(a: Any, b: Any) -> bool:
    alike = _alike(a, b)
    return not is_traced(alike) and bool(alike)  # inside of jit, constants are not known either


def warn_not_finite(function: str, tree: Any, name: str, parts: dict[str, Any]) -> None:
    """Warns of the first leaf of a tree with NaN or infinity, where its numbers are known.

    Args:
        function: name in the warning.
        tree: what was made.
        name: of it, where none of ``parts`` is to blame.
        parts: trees of the same structure that it was made from.
    """
    if found := _not_finite(tree, parts):
        warn(f"{function}: {_named(*found, name)}")


def check_experts_finite(function: str, basis: Any, trees: dict[str, Any]) -> None:
    """Raises ValueError for an anchor or experts with NaN or infinity, where numbers are known.

    Finite ones whose difference is too large for its type only warn.

    Args:
        function: name in the error.
        basis: what was fitted to them, a tree like theirs.
        trees: the anchor, then the experts, by their names.
    """
    found = _not_finite(basis, trees)
    if found and found[1]:
        raise ValueError(f"{function}: {_named(*found, 'basis')}")
    if found:
        warn(f"{function}: {_named(*found, 'basis')}")


def _named(where: str, guilty: str, name: str) -> str:
    return (
        f"leaf {where} of `{guilty or name}` is not finite; check that no training diverged, and that masks hold the "
        "same infinities everywhere."
    )


def _not_finite(tree: Any, parts: dict[str, Any]) -> tuple[str, str] | None:
    """The first leaf of a tree that is not finite, and which of its parts is to blame; None if unknown."""
    leaves = [(i, path, leaf) for i, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(tree)[0])]
    leaves = [(i, path, leaf) for i, path, leaf in leaves if is_merged(leaf)]
    if is_traced(tree) or not all(_is_here(leaf) for _, _, leaf in leaves):
        return None
    finite = [_all_finite(leaf) for _, _, leaf in leaves]  # all are begun before the first is waited for
    for (i, path, leaf), ok in zip(leaves, finite, strict=True):
        if not ok and not all(_same_infinities(leaf, jax.tree.leaves(of)[i]) for of in parts.values()):
            guilty = [part for part, of in parts.items() if _is_lost(jax.tree.leaves(of)[i])]
            return jax.tree_util.keystr(path) or "(root)", (guilty or [""])[0]
    return None


def _is_here(leaf: Any) -> bool:
    """Whether this process holds the whole leaf, and has not given its memory away."""
    return bool(getattr(leaf, "is_fully_addressable", True)) and not (isinstance(leaf, jax.Array) and leaf.is_deleted())


def _same_infinities(merged: Any, part: Any) -> bool:
    """Whether what is not finite of a leaf is the same infinity in a part of the merge, as in masks."""
    return _is_here(part) and merged.shape == part.shape and bool((jnp.isfinite(merged) | (merged == part)).all())


def _is_lost(leaf: Any) -> bool:
    return _is_here(leaf) and not _all_finite(leaf)


@jax.jit
def _all_finite(leaf: Any) -> Any:
    return jnp.isfinite(leaf).all()


@jax.jit
def _alike(a: Any, b: Any) -> Any:
    return jnp.array_equal(a, b)
