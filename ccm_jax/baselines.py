"""Published merging methods on any pytree, for comparison with CCM: experts as an unordered set of tasks.

All are written for complex weights, of which real ones are the special case: the magnitude of a number is ``|d|``, its
sign the phase ``d / |d|``, and two updates agree where ``Re(conj(d_1) d_2) > 0``. Models that store complex weights as
pairs of reals are viewed as complex first (:func:`complex_view`): dropping only one half would change the phase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import check_one_each, check_same_tree, counted, is_merged
from ccm_jax._updates import update_of

__all__ = [
    "BASELINES",
    "Baseline",
    "average",
    "complex_view",
    "dare",
    "fisher_average",
    "model_stock",
    "nearest_expert",
    "pair_view",
    "slerp",
    "task_arithmetic",
    "ties",
]

Array = jax.Array
Params = Any
IsPair = Callable[[Any, Any], bool]

_REMEDY = "experts must be fine-tuned from this anchor."


def __dir__() -> list[str]:
    return sorted(__all__)


def complex_view(tree: Params, is_pair: IsPair) -> Params:
    """The tree with leaves ``[2, ...]`` of real and imaginary parts as complex leaves ``[...]``.

    Args:
        tree: weights.
        is_pair: ``(path, leaf) -> bool``, for instance :func:`ccm_jax.models.is_real_pair`.
    """

    def view(path: Any, leaf: Any) -> Any:
        return jax.lax.complex(_wide(leaf[0]), _wide(leaf[1])) if is_pair(path, leaf) else leaf

    return jax.tree_util.tree_map_with_path(view, tree)


def pair_view(tree: Params, like: Params) -> Params:
    """The inverse of :func:`complex_view`: complex leaves become pairs wherever ``like`` has a real leaf."""

    def view(leaf: Any, target: Any) -> Any:
        if jnp.iscomplexobj(leaf) and not jnp.iscomplexobj(target):
            return jnp.stack([leaf.real, leaf.imag]).astype(target.dtype)
        return leaf

    return jax.tree.map(view, tree, like)


def average(*trees: Params, weights: Sequence[float] | None = None) -> Params:
    """The weighted mean ``sum_i w_i tree_i / sum_i w_i``; of two endpoint experts, CCM at coordinate 0.

    Example:
        >>> average({"w": jnp.zeros(2)}, {"w": jnp.ones(2)}, weights=[1, 3])["w"].tolist()
        [0.75, 0.75]
    """
    w = [1.0] * len(trees) if weights is None else list(weights)
    if len(w) != len(trees) or not sum(w):
        raise ValueError(f"average: weights are {w}, expected {counted(len(trees), 'number')} with a sum other than 0.")
    check_same_tree("average", {f"trees[{i}]": tree for i, tree in enumerate(trees)}, "pass trees of one model.")
    return _map(lambda *leaves: sum(a * b for a, b in zip(w, leaves, strict=True)) / sum(w), *trees)


def nearest_expert(experts: Sequence[Params], coordinates: Sequence[Any], target: Any) -> Params:
    """The expert whose coordinate, a number or ``[dim]``, is nearest to ``target``; the first one in a tie."""

    def distance(pair: tuple[Any, Params]) -> float:
        return float(np.linalg.norm(np.ravel(pair[0]) - np.ravel(target)))

    return min(zip(coordinates, experts, strict=True), key=distance)[1]


def task_arithmetic(anchor: Params, experts: Sequence[Params], *, scale: float = 1.0) -> Params:
    """``anchor + scale * sum_i d_i`` with the updates ``d_i = expert_i - anchor`` (Ilharco et al., 2023)."""
    _check("task_arithmetic", anchor, experts)
    return _map(lambda a, *e: a + scale * sum(update_of(x, a) for x in e), anchor, *experts)


def ties(anchor: Params, experts: Sequence[Params], *, density: float = 0.2, scale: float = 1.0) -> Params:
    """TIES: trim each update to its largest entries, elect a sign, average entries that agree (Yadav et al., 2023).

    Args:
        anchor: weights of the anchor.
        experts: trees fine-tuned from it.
        density: fraction of each update, over the whole tree, that trimming keeps.
        scale: weight of the merged update.
    """
    _check("ties", anchor, experts)
    if not 0 < density <= 1:
        raise ValueError(f"ties: density is {density}, expected a number in (0, 1].")
    updates = [_map(update_of, expert, anchor) for expert in experts]
    trimmed = [_trim(update, density) for update in updates]

    def merge(a: Array, *d: Array) -> Array:
        elected = sum(d)
        agree = [((jnp.conj(elected) * x).real > 0).astype(a.real.dtype) for x in d]
        total = sum(x * k for x, k in zip(d, agree, strict=True))
        return a + scale * total / jnp.maximum(sum(agree), 1.0)

    return _map(merge, anchor, *trimmed)


def _trim(update: Params, density: float) -> Params:
    """Zero but for the ``density`` largest magnitudes over all leaves that merge."""
    sizes = [jnp.abs(leaf).ravel() for leaf in jax.tree.leaves(update) if is_merged(leaf)]
    if not sum(leaf.size for leaf in sizes):
        return update
    size = jnp.sort(jnp.concatenate(sizes))
    kept = max(1, round(density * size.shape[0]))
    return _map(lambda leaf: jnp.where(jnp.abs(leaf) >= size[-kept], leaf, 0), update)


def dare(anchor: Params, experts: Sequence[Params], key: Array, *, drop: float = 0.9, scale: float = 1.0) -> Params:
    """DARE: drop entries of each update at random, rescale the rest by ``1 / (1 - drop)``, add (Yu et al., 2024).

    Args:
        anchor: weights of the anchor.
        experts: trees fine-tuned from it.
        key: PRNG key of the masks; every leaf of every expert has its own.
        drop: probability that an entry is dropped.
        scale: weight of the sum of updates.
    """
    _check("dare", anchor, experts)
    if not 0 <= drop < 1:
        raise ValueError(f"dare: drop is {drop}, expected a number in [0, 1).")
    leaves, treedef = jax.tree.flatten(anchor)
    columns = [jax.tree.leaves(expert) for expert in experts]

    def merge(i: int, a: Any) -> Any:
        if not is_merged(a):
            return a
        start = _wide(a)
        total = jnp.zeros_like(start)
        for j, column in enumerate(columns):
            keep = jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, j), i), 1 - drop, np.shape(a))
            total = total + jnp.where(keep, update_of(_wide(column[i]), start), 0) / (1 - drop)
        return (start + scale * total).astype(start.dtype if not hasattr(a, "dtype") else a.dtype)

    return jax.tree.unflatten(treedef, [merge(i, leaf) for i, leaf in enumerate(leaves)])


def slerp(a: Params, b: Params, t: float | Array, *, parallel: float = 0.9995) -> Params:
    """Spherical interpolation from ``a`` to ``b``, leaf by leaf (Shoemake, 1985); linear where they are parallel.

    ``sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b`` with ``w`` the angle between the two leaves.
    """
    check_same_tree("slerp", {"a": a, "b": b}, "pass trees of one model.")

    def merge(x: Array, y: Array) -> Array:
        cosine = _cosine(x, y)
        straight = (jnp.abs(cosine) > parallel) | ~jnp.isfinite(cosine)
        angle = jnp.arccos(jnp.where(straight, 0.0, cosine))
        left, right = (jnp.where(straight, s, jnp.sin(s * angle) / jnp.sin(angle)) for s in (1 - t, t))
        # Infinities that both share stay, as in masks.
        return jnp.where(jnp.isinf(x) & (x == y), x, left * x + right * y)

    return _map(merge, a, b)


def model_stock(anchor: Params, experts: Sequence[Params]) -> Params:
    """Model Stock: between anchor and mean of the experts, at a point set by their angle, by leaf (Jang et al., 2024).

    ``t mean + (1 - t) anchor`` with ``t = n c / (1 + (n - 1) c)``, ``c`` the mean cosine between two updates. Opposing
    updates are ignored (``c = 0``): the formula has a pole at ``c = -1 / (n - 1)``.
    """
    _check("model_stock", anchor, experts)
    n = len(experts)
    if n < 2:
        raise ValueError(f"model_stock: {n} expert, expected at least two.")

    def merge(a: Array, *e: Array) -> Array:
        d = [update_of(x, a) for x in e]
        pairs = [_cosine(d[i], d[j]) for i in range(n) for j in range(i)]
        c = jnp.clip(jnp.nan_to_num(sum(pairs) / len(pairs)), 0, 1)
        t = n * c / (1 + (n - 1) * c)
        return a + t * sum(d) / n

    return _map(merge, anchor, *experts)


def fisher_average(experts: Sequence[Params], fishers: Sequence[Params], *, epsilon: float = 1e-12) -> Params:
    """The mean weighted by diagonal Fisher information, ``sum F_i w_i / sum F_i`` (Matena & Raffel, 2022).

    Args:
        experts: trees of weights.
        fishers: one tree per expert; the mean squared gradient of each weight, ``E |g|^2`` for complex ones.
        epsilon: added to every F, so that weights that no expert uses get equal shares.
    """
    if not experts:
        raise ValueError("fisher_average: experts is empty; expected one expert or more.")
    check_one_each("fisher_average", fishers, "Fisher tree", experts, "expert")
    check_same_tree("fisher_average", {f"experts[{i}]": e for i, e in enumerate(experts)}, "pass trees of one model.")

    def merge(*leaves: Array) -> Array:
        weights, information = leaves[: len(experts)], [f.real + epsilon for f in leaves[len(experts) :]]
        return jnp.asarray(sum(f * w for f, w in zip(information, weights, strict=True)) / sum(information))

    return _map(merge, *experts, *fishers)


class Baseline(NamedTuple):
    """A published method, with a uniform interface.

    Attributes:
        label: name in tables.
        merge: ``(anchor, experts, coordinates, coordinate, **arguments) -> weights``, where ``coordinates`` has one
            number, or ``[dim]``, per expert, ``coordinate`` is that of the regime, and ``arguments`` are those of the
            method's function in this module.
        located: whether the weights depend on ``coordinate``.
        needs: required arguments that are not numbers.
    """

    label: str
    merge: Callable[..., Params]
    located: bool = False
    needs: tuple[str, ...] = ()


def _dare(
    anchor: Params, experts: Sequence[Params], *_: Any, seed: float = 0, key: Array | None = None, **how: Any
) -> Params:
    return dare(anchor, experts, jax.random.key(int(seed)) if key is None else key, **how)


def _slerp(
    _anchor: Params, experts: Sequence[Params], coordinates: Any, coordinate: Any, *, t: float | None = None, **how: Any
) -> Params:
    """Interpolates from the first expert to the last, at ``t`` or where the coordinate projects on the line between."""
    if t is None:
        first, last = np.ravel(coordinates[0]), np.ravel(coordinates[-1])
        if not np.any(last - first):
            raise ValueError("slerp: the first and the last expert have the same coordinate; pass t.")
        t = float((np.ravel(coordinate) - first) @ (last - first) / ((last - first) @ (last - first)))
    return slerp(experts[0], experts[-1], t, **how)


BASELINES: dict[str, Baseline] = {
    "average": Baseline("endpoint average", lambda anchor, experts, *_, **how: average(*experts, **how)),
    "nearest_expert": Baseline(
        "nearest expert", lambda anchor, experts, at, s: nearest_expert(experts, at, s), located=True
    ),
    "task_arithmetic": Baseline(
        "Task Arithmetic", lambda anchor, experts, *_, **how: task_arithmetic(anchor, experts, **how)
    ),
    "ties": Baseline("TIES", lambda anchor, experts, *_, **how: ties(anchor, experts, **how)),
    "dare": Baseline("DARE", _dare),
    "slerp": Baseline("SLERP", _slerp, located=True),
    "model_stock": Baseline("Model Stock", lambda anchor, experts, *_, **how: model_stock(anchor, experts, **how)),
    "fisher_average": Baseline(
        "Fisher average", lambda anchor, experts, *_, **how: fisher_average(experts, **how), needs=("fishers",)
    ),
}


def _check(function: str, anchor: Params, experts: Sequence[Params]) -> None:
    if not experts:
        raise ValueError(f"{function}: there are no experts, expected at least one.")
    check_same_tree(function, {"anchor": anchor} | {f"experts[{i}]": e for i, e in enumerate(experts)}, _REMEDY)


def _cosine(a: Array, b: Array) -> Array:
    return jnp.vdot(a, b).real / (jnp.linalg.norm(a.ravel()) * jnp.linalg.norm(b.ravel()))


def _wide(leaf: Any) -> Any:
    """The leaf in at least single precision, in which sums are taken."""
    leaf = leaf if hasattr(leaf, "astype") else jnp.asarray(leaf)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _map(f: Callable[..., Any], *trees: Params) -> Params:
    """Applies ``f`` in at least single precision to leaves that merge, and keeps their dtype; others pass through."""

    def one(*leaves: Any) -> Any:
        if not is_merged(leaves[0]):
            return leaves[0]
        return f(*map(_wide, leaves)).astype(jnp.asarray(leaves[0]).dtype)

    return jax.tree.map(one, *trees)
