"""Charts: the weights of a model as a function of physical coordinates.

    weights(c) = origin + sum_j features_j(c) * basis_j

Every merge in this package is a chart, pytree algebra for any model; the paper's line has the features ``(1, c)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import (
    as_count,
    check_finite,
    check_listed,
    check_real,
    check_ridge,
    check_same_tree,
    counted,
    is_merged,
    is_traced,
    kind_of,
    undetermined,
    wrong_coordinates,
)
from ccm_jax._doubts import warn_far, warn_of_experts, warn_of_values
from ccm_jax._shown import shown
from ccm_jax._updates import update_of
from ccm_jax._variances import warn_of_variance

if TYPE_CHECKING:
    from ccm_jax.coordinate import Estimate

Array = jax.Array
Params = Any


class Features(Protocol):
    """A hashable function ``coordinate [dim] -> [n_features]``; equal features never retrace."""

    @property
    def dim(self) -> int: ...

    def __call__(self, coordinate: Array) -> Array: ...


@dataclass(frozen=True)
class Polynomial:
    """All monomials up to a total degree, in order of degree: for one coordinate ``(1, c, c^2, ...)``.

    Attributes:
        degree: highest total degree.
        dim: number of coordinates.
        constant: whether ``1`` is a feature; without it, the chart passes through its origin at 0.

    Example:
        >>> Polynomial(degree=2, dim=2)(jnp.array([2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0, 4.0, 6.0, 9.0]
    """

    degree: int = 1
    dim: int = 1
    constant: bool = True

    def __post_init__(self) -> None:
        as_count("Polynomial: degree", self.degree, 0 if self.constant else 1)
        as_count("Polynomial: dim", self.dim)

    def __call__(self, coordinate: Array) -> Array:
        return jnp.stack(
            [
                jnp.prod(jnp.stack([coordinate[i] for i in term])) if term else jnp.ones_like(coordinate[0])
                for degree in range(0 if self.constant else 1, self.degree + 1)
                for term in itertools.combinations_with_replacement(range(self.dim), degree)
            ]
        )


@dataclass(frozen=True)
class Gated:
    """Other features with a gate on the constant one: the last coordinate scales the shared update.

    A coordinate is ``[c, gate]``. Coordinate 0 with gate 0 is the anchor. Experts have gate 1, the default for a
    coordinate without a gate. Readouts search gates from 0 to 2.

    Attributes:
        inner: features whose first one is the constant.
    """

    inner: Polynomial = Polynomial()

    def __post_init__(self) -> None:
        if isinstance(self.inner, type | Gated) or not getattr(self.inner, "constant", False):
            raise ValueError(
                f"Gated: inner is {self.inner}, expected features with a constant for the gate to scale, such as "
                "Polynomial(degree=2)."
            )

    @property
    def dim(self) -> int:
        return self.inner.dim + 1

    def __call__(self, coordinate: Array) -> Array:
        phi = self.inner(coordinate[:-1])
        return phi.at[0].multiply(coordinate[-1])


FEATURES: dict[str, type] = {"Polynomial": Polynomial, "Gated": Gated}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Chart:
    """Weights as a function of coordinates; a pytree, so it can be jitted, vmapped, differentiated and saved.

    Attributes:
        origin: the anchor's weights.
        basis: the tree of ``origin`` with leaves ``[n_features, *leaf]``, at least in single precision; empty for
            integers, booleans and keys, which always take the origin's value.
        features: coordinate ``[dim] -> [n_features]``, static.
        warp: a fitted map (a pytree) of coordinates before the features, or None.

    Example:
        >>> anchor, low, high = {"w": jnp.zeros(3)}, {"w": -jnp.ones(3)}, {"w": jnp.full(3, 2.0)}
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> chart(1.0)["w"].tolist()
        [2.0, 2.0, 2.0]
        >>> jax.vmap(chart)(jnp.array([[-1.0], [0.0]]))["w"].shape
        (2, 3)
    """

    origin: Params
    basis: Params
    features: Features = field(metadata={"static": True})
    warp: Callable[[Array], Array] | None = None

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, coordinate: Array | float | Sequence[float] | Estimate) -> Params:
        """The weights at one coordinate ``[dim]``, or at that of a readout's :class:`~ccm_jax.Estimate`.

        Without a gate in the coordinate, the gate is 1; on one axis, the coordinate may be a scalar.
        """
        c = as_coordinate("Chart", complete(self.features, coordinate), self.features.dim)
        if self.warp is None:
            warn_far("Chart", c)
        phi = self.features(c if self.warp is None else self.warp(c))
        if not is_traced(phi, self) and not np.any(phi):  # the anchor, even if an expert diverged: 0 * NaN is NaN
            return jax.tree.map(lambda a: jnp.array(a) if is_merged(a) else a, self.origin)
        # Leaves that do not merge stay outside of jit, which would cut 64 bits.
        weights = jax.tree.map(lambda a, b: _combine(a, phi, b) if is_merged(a) else a, self.origin, self.basis)
        return warn_of_variance("Chart", weights, self.origin)


def complete(features: Features, coordinate: Any) -> Any:
    """Coordinates, or those of an Estimate; with a gate of 1 if they lack that of :class:`Gated` features."""
    coordinate = getattr(coordinate, "coordinate", coordinate)
    if not isinstance(features, Gated):
        return coordinate
    try:
        c = jnp.asarray(coordinate)
    except (TypeError, ValueError):
        return coordinate  # as_coordinate says what is wrong
    if features.dim == 2 and c.ndim == 0:
        c = c[None]
    if c.ndim == 0 or c.shape[-1] != features.dim - 1:
        return coordinate
    return jnp.concatenate([c, jnp.ones((*c.shape[:-1], 1), c.dtype)], axis=-1)


def as_coordinate(function: str, coordinate: Any, dim: int) -> Array:
    """Converts a coordinate to a floating array ``[dim]``; raises ValueError for anything else."""
    try:
        c = jnp.asarray(coordinate)
    except (TypeError, ValueError) as error:
        said = f"{function}: coordinate is {kind_of(coordinate)}, expected {counted(dim, 'number')}."
        raise ValueError(said) from error
    c = c.astype(jnp.promote_types(c.dtype, jnp.float32)) if not jnp.issubdtype(c.dtype, jnp.floating) else c
    c = c.reshape(1) if c.ndim == 0 else c
    if c.shape != (dim,):
        raise ValueError(
            f"{function}: coordinate has shape {np.shape(coordinate)}, expected ({dim},); "
            "for several at once, or an Estimate of a batch, use jax.vmap(chart)(found)."
        )
    check_finite(function, "coordinate", c)
    return c


@jax.jit
def _combine(origin: Array, phi: Array, basis: Array) -> Array:
    """``origin + phi . basis`` in at least float32, in one pass, with the origin's dtype."""
    total = origin.astype(jnp.promote_types(origin.dtype, jnp.float32))
    phi = phi.astype(total.real.dtype)
    for j in range(basis.shape[0]):
        total = total + phi[j] * basis[j].astype(total.dtype)
    return total.astype(origin.dtype)


def fit_chart(
    anchor: Params,
    experts: Sequence[Params],
    coordinates: Any,
    *,
    features: Features | None = None,
    ridge: float = 0.0,
    warp: Callable[[Array], Array] | None = None,
    weights: Sequence[float] | None = None,
) -> Chart:
    """Fits a chart through an anchor and its experts by least squares over the experts.

    Minimises ``sum_i w_i |expert_i - anchor - features(c_i) . basis|^2 + ridge |basis|^2`` for every weight. Two
    experts at -1 and +1 with linear features give the paper's line.

    Args:
        anchor: tree of weights, the chart's origin.
        experts: ``n`` trees like ``anchor``, fine-tuned from it.
        coordinates: coordinate of each expert, ``[n, dim]``, or ``[n]`` for one axis. With :class:`Gated` features,
            experts have gate 1, which may be left out.
        features: coordinate -> features; the default is ``Polynomial()``, the line.
        ridge: weight of the penalty on the basis.
        warp: a map applied to coordinates before the features; a pytree if it has fitted numbers.
        weights: weight of each expert, ``[n]``, positive; equal by default. A ratio of 1e8 interpolates exactly.

    Returns:
        A :class:`Chart`; its weights have the dtypes of ``anchor``. See its example.

    Raises:
        ValueError: if the trees do not match or are not finite (under jit, NaN passes into the chart), or if the
            experts do not determine the features.

    Warns:
        UserWarning: for experts that are equal or of another anchor; if coordinates look like values.
    """
    features = Polynomial() if features is None else features
    if isinstance(features, type) or not callable(features):
        name = features.__name__ if isinstance(features, type) else repr(features)
        raise ValueError(f"fit_chart: features is {name}, expected an object such as Polynomial(degree=2) or Gated().")
    check_listed("fit_chart", experts, anchor)
    trees = {"anchor": anchor} | {f"experts[{i}]": expert for i, expert in enumerate(experts)}
    check_same_tree("fit_chart", trees, "experts must be fine-tuned from this anchor.")
    if warp is not None and jax.tree_util.all_leaves([warp]):
        warp = jax.tree_util.Partial(warp)  # a plain function is no leaf that jit takes
    solve = least_squares(len(experts), coordinates, features, ridge, warp, weights)
    basis = jax.tree.map(lambda a, *e: _project(solve, a, e), anchor, *experts)
    warn_of_experts("fit_chart", trees, coordinates, basis)
    return Chart(anchor, basis, features, warp)


def least_squares(
    n: int, coordinates: Any, features: Features, ridge: float, warp: Any, weights: Sequence[float] | None = None
) -> Array:
    """The matrix ``[n_features, n]`` that turns residuals of experts into the basis."""
    check_real("fit_chart: coordinates are", coordinates)
    check_ridge(ridge)
    c = jnp.asarray(coordinates, jnp.result_type(float))
    c = complete(features, c[:, None] if c.ndim == 1 else c)
    if c.shape != (n, features.dim):
        raise wrong_coordinates(np.shape(coordinates), n, features.dim)
    phi = jax.vmap(lambda row: features(row if warp is None else warp(row)))(c)
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (n,) or not (np.isfinite(w) & (w > 0)).all():
        raise ValueError(f"fit_chart: weights are {w.tolist()}, expected {n} finite numbers above 0.")
    root = np.sqrt(w)[:, None]
    if is_traced(phi):
        scaled = jnp.asarray(root, phi.dtype)
        phi = phi * scaled
        gram = phi.T @ phi + ridge * jnp.eye(phi.shape[1], dtype=phi.dtype)
        return (jnp.linalg.pinv(phi) if ridge == 0 else jnp.linalg.solve(gram, phi.T)) * scaled.T
    exact = np.asarray(phi, np.float64)
    axes = features.dim - isinstance(features, Gated)
    if warp is None:
        warn_of_values(np.asarray(c)[:, :axes])
    if not np.isfinite(exact).all():
        raise ValueError(f"fit_chart: coordinates are {c.tolist()}, expected finite ones with finite features.")
    rank, needed = np.linalg.matrix_rank(exact), exact.shape[1]
    if ridge == 0 and rank < needed:
        raise undetermined(np.asarray(c), axes, int(rank), needed, features)
    exact = exact * root
    if ridge == 0:
        return jnp.asarray(np.linalg.pinv(exact) * root.T, phi.dtype)
    system = exact.T @ exact + ridge * np.eye(needed)
    return jnp.asarray(np.linalg.solve(system, exact.T) * root.T, phi.dtype)


@jax.jit
def _project(solve: Array, anchor: Array, experts: tuple[Array, ...]) -> Array:
    if not is_merged(anchor):
        return jnp.zeros((solve.shape[0], 0))
    residuals = [update_of(expert, anchor) for expert in experts]
    weights = solve.astype(residuals[0].real.dtype)
    return jnp.stack([sum(w * r for w, r in zip(row, residuals, strict=True)) for row in weights])
