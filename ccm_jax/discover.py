"""Coordinates of unlabelled experts, from the inner products of their updates.

    d_i = expert_i - anchor,    G_ij = <d_i, d_j>,    H G H = sum_k lambda_k q_k q_k^T,    c_ik ~ sqrt(lambda_k) q_ik

``H`` removes the mean of the updates, their shared update. Experts on a line then give one dominant eigenvalue. The
noise of fine-tuning is independent between experts: it adds to the diagonal of ``G``, and where it is about the same
for all of them it does not turn the vectors. Separate noise for each expert, as in factor analysis, is not fitted: with
five experts it cannot be distinguished from a curved path.

Given a few windows of frames, ``d_i`` may be the change of the predictions instead. That ignores what fine-tuning does
to weights that predictions do not depend on, and is linear in the parameter where the equation is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import check_same_tree, counted, is_merged
from ccm_jax._shown import shown
from ccm_jax.rollout import Apply

Params = Any

GAP = 2.0  # an axis stands out if its eigenvalue is so many times the next one
ALIKE = 1e-6  # experts that differ by less than this part of their updates are the same


class Discovered(NamedTuple):
    """Positions of the experts relative to each other.

    Attributes:
        coordinates: ``[M, d]``, known up to an affine map (in one dimension up to its origin, unit and sign); scaled so
            that they lie in [-1, 1] on each axis.
        dimension: the number of axes ``d``.
        spectrum: the fraction of the experts' spread along each axis, largest first, ``[M - 1]``; entries beyond
            ``dimension`` are fine-tuning noise and curvature.
    """

    coordinates: np.ndarray
    dimension: int
    spectrum: np.ndarray

    def __repr__(self) -> str:
        return shown(self)


def update_products(anchor: Params, experts: Sequence[Params]) -> np.ndarray:
    """Inner products of the experts' updates over all leaves that merge, ``[M, M]`` in double precision.

    Works leaf by leaf, so it needs the memory of one leaf of all experts; complex leaves count as pairs of reals.
    """
    named = {"anchor": anchor} | {f"experts[{i}]": expert for i, expert in enumerate(experts)}
    check_same_tree("update_products", named, "experts must be fine-tuned from this anchor.")
    total = np.zeros((len(experts), len(experts)))
    for base, *leaves in zip(*(jax.tree.leaves(tree) for tree in (anchor, *experts)), strict=True):
        if not is_merged(base):
            continue
        wide = np.complex128 if np.iscomplexobj(base) else np.float64
        rows = np.stack([(np.asarray(leaf).astype(wide) - np.asarray(base).astype(wide)).ravel() for leaf in leaves])
        total += (rows @ rows.conj().T).real
    return total


def prediction_products(apply: Apply, anchor: Params, experts: Sequence[Params], windows: Any) -> np.ndarray:
    """Inner products of the changes of the experts' predictions against the anchor's, ``[M, M]``.

    Args:
        apply: ``(params, window [N, history, *space, C]) -> frame [N, *space, C]``.
        anchor: weights that all experts were fine-tuned from.
        experts: ``M`` trees like it.
        windows: ``[N, history, *space, C]``, of any regimes. Each channel counts in units of its root mean square.
    """
    x, step = jnp.asarray(windows), jax.jit(apply)
    size = np.sqrt(np.mean(np.asarray(x, np.float64) ** 2, axis=tuple(range(x.ndim - 1)))) + 1e-30
    base = step(anchor, x)
    rows = np.stack([(np.asarray(step(expert, x) - base, np.float64) / size).ravel() for expert in experts])
    return rows @ rows.T


def discover_coordinates(
    anchor: Params,
    experts: Sequence[Params],
    *,
    dimension: int | None = None,
    apply: Apply | None = None,
    windows: Any = None,
) -> Discovered:
    """Finds the number of axes along which experts differ, and their coordinates on them, without labels.

    Args:
        anchor: weights that all experts were fine-tuned from.
        experts: three or more trees like it; more are needed if their data and batch orders differ.
        dimension: number of axes; by default the last one whose eigenvalue stands out against the next.
        apply: the model ``(params, window) -> frame``, to compare predictions instead of weights.
        windows: frames to predict from, ``[N, history, *space, C]``; needed with ``apply``. They need no labels either.

    Returns:
        A :class:`Discovered`. Pass its coordinates to :func:`~ccm_jax.fit_chart`, with ``Polynomial(dim=d)``, and read
        prefixes off the chart; :func:`values_from_labels` turns them into physical values.

    Raises:
        ValueError: for fewer than three experts, experts that do not differ, more axes than they can span, or a model
            without windows.

    Example:
        >>> anchor = {"w": np.zeros(3)}
        >>> experts = [{"w": np.array([1.0, s, 2 * s])} for s in (-1.0, 0.0, 0.5, 1.0)]
        >>> found = discover_coordinates(anchor, experts)
        >>> found.dimension
        1
        >>> np.round(values_from_labels(found.coordinates, {0: 10.0, 3: 20.0}), 4).tolist()
        [10.0, 15.0, 17.5, 20.0]
    """
    if (apply is None) != (windows is None):
        raise ValueError("discover_coordinates: apply and windows go together; pass both, or neither.")
    if len(experts) < 3:
        raise ValueError(
            f"discover_coordinates: {counted(len(experts), 'expert')}, expected three or more; two always lie on a "
            "line."
        )
    products = update_products(anchor, experts)
    if apply is not None and np.isfinite(products).all():
        products = prediction_products(apply, anchor, experts, windows)
    return _coordinates(products, dimension)


def _coordinates(products: np.ndarray, dimension: int | None) -> Discovered:
    m = len(products)
    if not np.isfinite(products).all():
        raise ValueError("discover_coordinates: some update is not finite; check that no expert diverged.")
    centred = products - products.mean(axis=0) - products.mean(axis=1, keepdims=True) + products.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    if values[0] <= ALIKE**2 * max(np.trace(products), 1e-300):
        raise ValueError(
            "discover_coordinates: all experts are the same; they must be fine-tuned on regimes that differ."
        )
    spectrum = values[: m - 1] / values[: m - 1].sum()
    d = _stands_out(values[: m - 1]) if dimension is None else dimension
    possible = int(np.sum(values[: m - 1] > 1e-9 * values[0]))
    if not 1 <= d <= possible:
        raise ValueError(
            f"discover_coordinates: dimension is {d}, expected 1 to {possible}, the axes that experts span."
        )
    raw = vectors[:, :d] * np.sqrt(values[:d])
    middle, half = (raw.max(axis=0) + raw.min(axis=0)) / 2, (raw.max(axis=0) - raw.min(axis=0)) / 2
    scaled = (raw - middle) / half
    # An eigenvector has no sign: the first expert lies on the low side.
    return Discovered(scaled * np.where(scaled[0] > 0, -1.0, 1.0), d, spectrum)


def _stands_out(values: np.ndarray) -> int:
    """The number of eigenvalues before the last large gap; all of them if there is none."""
    floor = 1e-9 * values[0]
    ratios = [a / max(b, floor) for a, b in zip(values[:-1], values[1:], strict=True)]
    wide = [k + 1 for k, ratio in enumerate(ratios) if ratio >= GAP and values[k] > floor]
    return max(wide, key=lambda k: ratios[k - 1]) if wide else len(values)


def values_from_labels(coordinates: np.ndarray, labels: Mapping[int, float]) -> np.ndarray:
    """The physical values of all experts from those of a few, by the affine map through them.

    Args:
        coordinates: as returned by :func:`discover_coordinates`, ``[M, d]``.
        labels: values by number of the expert; ``d + 1`` of them or more, by least squares.

    Returns:
        ``[M]``.

    Raises:
        ValueError: if the labelled experts do not determine the map.
    """
    c = np.asarray(coordinates, np.float64)
    chosen = sorted(labels)
    if any(not 0 <= i < len(c) for i in chosen):
        raise ValueError(f"values_from_labels: labels are of experts {chosen}, expected numbers below {len(c)}.")
    design = np.concatenate([np.ones((len(chosen), 1)), c[chosen]], axis=1)
    if len(chosen) <= c.shape[1] or np.linalg.matrix_rank(design, tol=1e-6) <= c.shape[1]:
        raise ValueError(
            f"values_from_labels: {counted(len(chosen), 'label')} cannot determine an affine map of "
            f"{counted(c.shape[1], 'coordinate')}; label {c.shape[1] + 1} experts that lie apart."
        )
    slope = np.linalg.lstsq(design, np.array([labels[i] for i in chosen], np.float64), rcond=None)[0]
    return np.concatenate([np.ones((len(c), 1)), c], axis=1) @ slope
