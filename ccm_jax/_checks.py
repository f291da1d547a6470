"""Errors that name the function, the leaf, what was expected, what came, and the remedy."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sized
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._article import with_article


def is_traced(*values: Any) -> bool:
    """Whether any leaf is known only by shape, so its value cannot be checked."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def is_merged(leaf: Any) -> bool:
    """Whether a leaf is real or complex (it merges) rather than integer, boolean or a key (it passes through)."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def _holds_numbers(leaf: Any) -> bool:
    """Whether a leaf holds numbers, booleans or keys: no text and no objects."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_, jax.dtypes.extended))


def _describe(leaf: Any) -> str:
    if leaf is None or not hasattr(leaf, "shape"):
        leaf = np.asarray(leaf)
    return f"{leaf.dtype}{list(leaf.shape)}"


def kind_of(value: Any) -> str:
    """The type of a value, with its article, such as ``"a dict"``."""
    return with_article(type(value).__name__)


def check_numbers(function: str, name: str, tree: Any) -> None:
    """Raises ValueError, with the remedy for Equinox, for a tree with a leaf that holds no numbers."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if not _holds_numbers(leaf):
            leaf_name = jax.tree_util.keystr(path) or "(root)"
            raise ValueError(
                f"{function}: leaf {leaf_name} of `{name}` is {kind_of(leaf)}, expected numbers; leave it out of the "
                "trees. For an Equinox module: eqx.partition(model, eqx.is_array), and eqx.combine for the result."
            )


def check_same_tree(function: str, trees: dict[str, Any], remedy: str) -> None:
    """Raises ValueError unless all trees have the structure, shapes and dtypes of the first.

    Leaves that do not merge (integers, booleans, keys) must also be equal, where their values are known.
    """
    for name, tree in trees.items():
        if isinstance(tree, (str, os.PathLike, np.lib.npyio.NpzFile)):
            raise ValueError(
                f"{function}: `{name}` is {kind_of(tree)}, expected a tree of arrays; load it first: "
                "ccm_jax.loading.load_like(path, like)."
            )
    (first, reference), *others = trees.items()
    check_numbers(function, first, reference)
    expected = dict(jax.tree_util.tree_flatten_with_path(reference)[0])
    for name, tree in others:
        got = dict(jax.tree_util.tree_flatten_with_path(tree)[0])
        apart = _level_more(first, reference, name, tree) or _level_more(name, tree, first, reference) or remedy
        for path in [*expected, *got]:
            where = f"leaf {jax.tree_util.keystr(path) or '(root)'}"
            _check_filtered(function, path, (first, expected, reference), (name, got, tree))
            if path not in got:
                raise ValueError(f"{function}: {where} of `{first}` is missing in `{name}`; {apart}")
            if path not in expected:
                raise ValueError(f"{function}: {where} of `{name}` is missing in `{first}`; {apart}")
            a, b = _describe(expected[path]), _describe(got[path])
            if a != b:
                same = np.shape(expected[path]) == np.shape(got[path])
                advice = f"{remedy.rstrip('.')}; if only the dtype differs, convert one of them." if same else remedy
                raise ValueError(f"{function}: {where} is {b} in `{name}`, {a} in `{first}`; {advice}")
            checkable = not is_merged(expected[path]) and not is_traced(expected[path], got[path])
            if checkable and not _equal(expected[path], got[path]):
                advice = "keep the anchor's with keep_leaves, or leave it out of the trees."
                if not any(map(is_merged, expected.values())):
                    advice = "convert the weights to a floating dtype, such as float32."
                raise ValueError(
                    f"{function}: {where} is {a}, which does not merge, and differs between `{first}` and `{name}`; "
                    f"{advice}"
                )
        if not _held_alike(tree, reference):
            at, theirs, ours = _other_container(tree, reference)
            where = f"{function}: {at or 'the root'} of `{name}`"
            if theirs == ours:
                raise ValueError(f"{where} has other static fields than in `{first}`; {remedy}")
            raise ValueError(
                f"{where} is {theirs}, but {ours} in `{first}`; jax.tree.unflatten(jax.tree.structure({first}), "
                "jax.tree.leaves(it)) gives it the same containers."
            )


def _check_filtered(function: str, path: Any, one: tuple[str, Any, Any], two: tuple[str, Any, Any]) -> None:
    """Raises ValueError for a leaf in whose place another tree has None, as a filter of Equinox leaves it."""
    (has, leaves, _), (lacks, others, tree) = (one, two) if path in one[1] else (two, one)
    if path in others:
        return
    places, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda leaf: leaf is None)
    if any(place == path for place, _ in places) or not _holds_numbers(leaves[path]):
        raise ValueError(
            f"{function}: leaf {jax.tree_util.keystr(path)} of `{has}`, {kind_of(leaves[path])}, was filtered out of "
            f"`{lacks}`; pass all trees through the same eqx.partition or eqx.filter."
        )


def _level_more(name: str, tree: Any, other: str, inner: Any) -> str:
    """What to do where a tree is another one below a single key, as Flax's parameters are; empty for others."""
    if not isinstance(tree, Mapping) or len(tree) != 1:
        return ""
    ((key, below),) = tree.items()
    if not _held_alike(below, inner):
        return ""
    return f"`{name}` has the level {key!r}, and `{other}` lacks it: pass both with or without it."


def _held_alike(tree: Any, reference: Any) -> bool:
    return str(jax.tree.structure(tree)) == str(jax.tree.structure(reference))


def _other_container(tree: Any, reference: Any) -> tuple[str, str, str]:
    """Where two trees with the same leaves first have different containers, and both of these."""
    if type(tree) is type(reference):
        inside = [jax.tree_util.tree_flatten_with_path(t, lambda x, t=t: x is not t)[0] for t in (tree, reference)]
        for (path, a), (_, b) in zip(*inside, strict=True):
            if not _held_alike(a, b):
                inner, theirs, ours = _other_container(a, b)
                return jax.tree_util.keystr(path) + inner, theirs, ours
    return "", kind_of(tree), kind_of(reference)


def _equal(a: Any, b: Any) -> bool:
    if jnp.issubdtype(getattr(a, "dtype", np.dtype(int)), jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def check_finite(function: str, name: str, value: Any) -> None:
    """Raises ValueError for a small array with NaN or infinity, where its numbers are known, or without real ones."""
    if is_traced(value) or not getattr(value, "is_fully_addressable", True):
        return
    try:
        finite, real = np.isfinite(np.asarray(value)).all(), np.isrealobj(np.asarray(value))
    except TypeError as error:
        raise ValueError(f"{function}: {name} is {str(value)[:80]!r}, expected numbers.") from error
    if not real:
        raise ValueError(f"{function}: {name} is {np.asarray(value).tolist()}, expected real numbers.")
    if not finite:
        raise ValueError(
            f"{function}: {name} is {np.asarray(value).tolist()}, expected finite numbers; a readout gives NaN where "
            "every candidate diverges: then keep the anchor."
        )


def check_listed(function: str, experts: Any, anchor: Any = None) -> None:
    """Raises ValueError for experts that are no list of trees: one tree, nothing, or numbers beside an anchor of more.

    Args:
        function: name in errors.
        experts: as they were given.
        anchor: where coordinates are given after the experts, with which they may be swapped.
    """
    if not isinstance(experts, (list, tuple)):
        raise ValueError(
            f"{function}: experts is {kind_of(experts)}, expected a list of trees; pass [low, high], and their "
            "coordinates after it."
        )
    if not experts:
        raise ValueError(f"{function}: experts is empty, expected at least one tree.")
    if anchor is not None and not _is_scalar(anchor) and all(map(_is_scalar, experts)):
        raise ValueError(
            f"{function}: experts are numbers, expected trees like the anchor; the arguments are (anchor, experts, "
            "coordinates): swap the last two."
        )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or getattr(value, "shape", None) == ()


def check_real(what: str, value: Any) -> None:
    """Raises ValueError for what makes no array of real numbers: text, None, other objects, and complex numbers.

    Args:
        what: the function and the argument, with "is" or "are".
        value: of the argument.
    """
    if is_traced(value):
        return
    expected = "expected real numbers"
    try:
        kind = np.dtype((value if isinstance(value, jax.Array) else np.asarray(value)).dtype).kind
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} {kind_of(value)}, {expected}.") from error
    if kind == "c":
        raise ValueError(f"{what} complex, {expected}.")
    if kind in "OSUMm":
        raise ValueError(f"{what} {str(value)[:80]!r}, {expected}.")


def check_ridge(ridge: Any) -> None:
    """Raises ValueError for the weight of a penalty that is no number of at least 0."""
    if as_number(ridge, "fit_chart: ridge") < 0:
        raise ValueError(f"fit_chart: ridge is {ridge}, expected at least 0, the weight of a penalty.")


def wrong_coordinates(shape: tuple[int, ...], experts: int, dim: int) -> ValueError:
    """The error of coordinates of experts that do not have the shape ``[experts, dim]``."""
    rows = shape[0] if shape else 1
    why = f": these are {counted(rows, 'coordinate')} for {counted(experts, 'expert')}; pass one row per expert"
    return ValueError(
        f"fit_chart: coordinates have shape {shape}, expected ({experts}, {dim}) for {counted(experts, 'expert')} on "
        f"{counted(dim, 'axis')}{why * (rows != experts)}."
    )


def undetermined(c: np.ndarray, axes: int, rank: int, needed: int, features: Any) -> ValueError:
    """The error of experts at coordinates ``[n, dim]``, of which ``axes`` are no gate, that determine too little."""
    inner = c[:, :axes]
    spanned = int(np.linalg.matrix_rank(inner - inner.mean(axis=0), tol=1e-6))
    why = f": they span {spanned} of {axes} axes" if 0 < spanned < axes else ""
    why = ": all are at the same coordinate" if len(c) > 1 and spanned == 0 else why
    return ValueError(
        f"fit_chart: {counted(len(c), 'expert')} at coordinates {c.tolist()} determine{'s' * (len(c) == 1)} {rank} of "
        f"the {needed} features of {features}{why}; add experts at other coordinates, use fewer features, or set "
        "ridge > 0."
    )


def check_one_each(function: str, got: Sized, what: str, expected: Sized, of: str) -> None:
    """Raises ValueError unless there are as many of one thing as of another, such as contexts and regimes."""
    if len(got) != len(expected):
        came = f"{counted(len(got), what)} for {counted(len(expected), of)}"
        raise ValueError(f"{function}: got {came}; expected one per {of}.")


def counted(count: int, noun: str) -> str:
    """So many of a thing, with the noun in its number.

    Example:
        >>> counted(1, "expert"), counted(2, "trajectory"), counted(73_429, "number")
        ('1 expert', '2 trajectories', '73,429 numbers')
    """
    several = {"trajectory": "trajectories", "axis": "axes"}.get(noun, f"{noun}s")
    return f"{count:,} {noun if count == 1 else several}"


def as_count(what: str, value: Any, least: int = 1) -> int:
    """A whole number, of numpy or not; raises ValueError for others, and for what is below ``least``."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:  # as of 2.0
        number = -1
    if number < least:
        raise ValueError(f"{what} is {value!r}, expected a whole number of at least {least}.")
    return number


def check_level(what: str, level: Any) -> None:
    """Raises ValueError for a share of probability that is no number between 0 and 1."""
    if isinstance(level, (bool, str)) or not isinstance(level, SupportsFloat) or not 0 < float(level) < 1:
        raise ValueError(f"{what}: level is {level!r}, expected a share between 0 and 1, such as 0.9.")


FAR = 1e6  # no coordinate or factor of a merge is larger than this and meant


def as_number(value: Any, what: str) -> float:
    """One number; a list is refused."""
    numbers = as_numbers(value, what)
    if isinstance(value, (list, tuple)) or len(numbers) != 1:
        raise ValueError(f"{what} is {value!r}, expected one number.")
    return numbers[0]


def as_numbers(value: Any, what: str) -> tuple[float, ...]:
    """A coordinate: a number, or a list of numbers."""
    try:
        numbers = tuple(float(v) for v in (value if isinstance(value, (list, tuple)) else [value]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {value!r}, expected a number or a list of numbers.") from error
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{what} is {value!r}, expected finite numbers.")
    return numbers
