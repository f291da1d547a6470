"""A calibrated map from normalized metadata to chart coordinates: the paper's single factor, or a monotone curve."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_traced
from ccm_jax._shown import shown

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class CoordinateMap:
    """A non-decreasing polynomial on the fitted interval, continued by its tangents beyond it.

    In Bernstein form, whose coefficients rise where the polynomial does:
    ``sum_k coefficients_k B_k((s - low) / (high - low))``. Fitted numbers are leaves.

    Attributes:
        coefficients: Bernstein coefficients, ``[degree + 1]``.
        low: lower end of the fitted interval.
        high: upper end of the fitted interval.
        reach: how far beyond it the map may be evaluated, in widths of the interval.
    """

    coefficients: Array
    low: Array
    high: Array
    reach: float = field(default=1.0, metadata={"static": True})

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, value: float | Array) -> Array:
        """The chart coordinate of normalized metadata, any shape.

        Raises:
            ValueError: beyond ``reach``. A traced value cannot raise: the result is NaN there.
        """
        width = self.high - self.low
        t = (jnp.asarray(value, float) - self.low) / width
        allowed = (t >= -self.reach - 1e-6) & (t <= 1 + self.reach + 1e-6)
        if not is_traced(allowed) and not bool(jnp.all(allowed)):
            outside = np.asarray(value)[~np.asarray(allowed)].flat[0]
            raise ValueError(
                f"CoordinateMap: asked at {outside:g}, but it was fitted on [{float(self.low):g}, "
                f"{float(self.high):g}] and reaches {self.reach:g} widths beyond; fit it on regimes nearer to this "
                "one, or raise `reach`."
            )
        b, n = self.coefficients, self.coefficients.shape[0] - 1
        inside = jnp.clip(t, 0.0, 1.0)
        curve = sum(comb(n, k) * b[k] * inside**k * (1 - inside) ** (n - k) for k in range(n + 1))
        slope = jnp.where(t <= 0, n * (b[1] - b[0]), n * (b[n] - b[n - 1]))
        return jnp.where(allowed, curve + slope * (t - inside), jnp.nan)

    @classmethod
    def fit(
        cls, values: Any, coordinates: Any, *, degree: int = 1, intercept: bool = False, reach: float = 1.0
    ) -> CoordinateMap:
        """Fits the map by least squares, on validation regimes only.

        Args:
            values: normalized metadata s of the regimes, ``[n]``.
            coordinates: their best coordinates on the chart, ``[n]``.
            degree: 1 for a line, 2 or 3 for a monotone curve.
            intercept: False for the paper's ``alpha = gamma s`` (degree 1 only); True for a free offset.
            reach: how far beyond the fitted interval the map may be evaluated, in widths of the interval.

        Raises:
            ValueError: for too few distinct or non-finite points, or an impossible degree.

        Example:
            >>> gamma = CoordinateMap.fit([-1.0, 0.5, 1.0], [-1.2, 0.6, 1.2])
            >>> round(float(gamma(1.5)), 4)
            1.8
        """
        name = "fit_coordinate_map"
        s, alpha = (np.asarray(a, np.float64).reshape(-1) for a in (values, coordinates))
        if degree not in (1, 2, 3) or (degree > 1 and not intercept):
            raise ValueError(
                f"{name}: degree {degree} with intercept={intercept}; expected degree 1, or 2 or 3 with intercept=True."
            )
        needed = degree + 1 if intercept else 1
        if s.shape != alpha.shape or len(np.unique(s)) < max(needed, 2):
            raise ValueError(
                f"{name}: {len(np.unique(s))} distinct values for {len(alpha)} coordinates, expected one value per "
                f"coordinate and at least {max(needed, 2)} distinct ones; add validation regimes."
            )
        if not (np.all(np.isfinite(s)) and np.all(np.isfinite(alpha))):
            raise ValueError(f"{name}: values or coordinates are not finite; drop the regimes whose readout failed.")
        low, high = s.min(), s.max()
        if intercept:
            coefficients = _fit_monotone((s - low) / (high - low), alpha, degree)
        else:
            gamma = max(s @ alpha / (s @ s), 0.0)
            coefficients = gamma * np.array([low, high])
        return cls(jnp.asarray(coefficients, float), jnp.asarray(low, float), jnp.asarray(high, float), reach)


def _fit_monotone(t: np.ndarray, target: np.ndarray, degree: int) -> np.ndarray:
    """Least-squares Bernstein coefficients that never fall: non-negative increments over a free first one.

    With at most three increments, trying every set of those held at zero is exact and short.
    """
    bernstein = np.stack([comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)], axis=1)
    increments = np.tril(np.ones((degree + 1, degree + 1)))
    design = bernstein @ increments
    best, best_error = np.zeros(degree + 1), np.inf
    for active in itertools.product([False, True], repeat=degree):
        columns = np.flatnonzero([True, *active])
        x = np.zeros(degree + 1)
        x[columns] = np.linalg.lstsq(design[:, columns], target, rcond=None)[0]
        error = float(np.sum((design @ x - target) ** 2))
        if np.all(x[1:] >= 0) and error < best_error:
            best, best_error = x, error
    return increments @ best
