"""Completes partially observed frames, because a model has to start from a whole grid.

Missing values are interpolated in space, one frame and one channel at a time, by one of three rules without physics:

- nearest: the value of the nearest observed point;
- harmonic: the discrete Laplace equation, with the observed points as its boundary values;
- spectral: the thin-plate spline, ``argmin_u |m (u - d)|^2 + sum_k (|k| / c)^4 |u_k|^2`` over the spectrum ``u_k`` of
  the frame, with data ``d`` under the mask ``m``. It is where Papoulis' and Gerchberg's iteration
  ``u <- F(m d + (1 - m) u)`` with the low-pass ``F = 1 / (1 + (|k| / c)^4)`` comes to rest; conjugate gradients get
  there sooner.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax.metrics import relative_l2

Array = jax.Array
Method = Literal["nearest", "harmonic", "spectral"]
Boundary = Literal["walls", "periodic"]

ITERATIONS = 300  # of conjugate gradients, at most
TOLERANCE = 1e-5  # of their residual, relative
OPEN = 2.0  # cutoff over the grid's Nyquist wavenumber where none is asked for: next to nothing is smoothed


@dataclass(frozen=True)
class Fill:
    """A function ``(frame [*space, C], mask [*space]) -> frame`` that completes what was not observed; hashable.

    Attributes:
        method: ``"nearest"``, ``"harmonic"`` or ``"spectral"``.
        boundary: ``"walls"``, no flux through the ends of every axis, or ``"periodic"``.
        cutoff: wavenumber, in cycles along the longest axis, at which half of a mode's amplitude is kept, for frames
            with noise; None keeps observed points exactly.

    Example:
        >>> frame = jnp.array([[0.0], [9.0], [2.0]])
        >>> Fill("harmonic")(frame, jnp.array([True, False, True])).round(3).ravel().tolist()
        [0.0, 1.0, 2.0]
    """

    method: Method = "spectral"
    boundary: Boundary = "walls"
    cutoff: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.boundary not in ("walls", "periodic"):
            raise ValueError(
                f"Fill: method is {self.method!r} and boundary {self.boundary!r}, expected one of "
                f"{', '.join(METHODS)}, and walls or periodic."
            )
        if self.cutoff is not None and not self.cutoff > 0:
            raise ValueError(
                f"Fill: cutoff is {self.cutoff}, expected a wavenumber above 0, or None to smooth nothing."
            )

    def __call__(self, frame: Array, mask: Array) -> Array:
        """The whole frame, ``[*space, C]``; where nothing at all is observed, it is 0 or not finite."""
        periodic = self.boundary == "periodic"
        data = jnp.where(mask[..., None], frame, 0)  # what is not observed may be NaN
        if self.method == "spectral" and self.cutoff is not None:
            return _spectral(data, mask, periodic, self.cutoff)
        filled = jnp.where(mask[..., None], data, METHODS[self.method](data, mask, periodic))
        return filled if self.cutoff is None else _low_pass(filled, periodic, self.cutoff)


def fill_nearest(data: Array, mask: Array, periodic: bool) -> Array:
    """The value of the nearest observed point, by distance transforms along one axis after the other."""
    distance = jnp.where(mask, 0.0, jnp.inf)
    for axis in range(mask.ndim):
        lines = jnp.moveaxis(distance, axis, 0), jnp.moveaxis(data, axis, 0)
        distance, data = (jnp.moveaxis(x, 0, axis) for x in _nearest_along(*lines, periodic))
    return data


def _nearest_along(distance: Array, data: Array, periodic: bool) -> tuple[Array, Array]:
    """Squared distances ``[n, ...]``, and the values at them, minimised over steps along the first axis."""
    n = len(distance)

    def at(i: Array) -> tuple[Array, Array]:
        away = jnp.abs(jnp.arange(n) - i)
        away = jnp.minimum(away, n - away) if periodic else away
        total = distance + (away**2).reshape(-1, *(1,) * (distance.ndim - 1))
        best = jnp.argmin(total, axis=0)[None]
        return jnp.take_along_axis(total, best, 0)[0], jnp.take_along_axis(data, best[..., None], 0)[0]

    return jax.lax.map(at, jnp.arange(n))


def fill_harmonic(data: Array, mask: Array, periodic: bool) -> Array:
    """The solution of the discrete Laplace equation, by conjugate gradients over the points that are missing."""
    missing = ~mask[..., None]

    def laplacian(u: Array) -> Array:
        total = jnp.zeros_like(u)
        for axis in range(mask.ndim):
            ends = [(1, 1) if i == axis else (0, 0) for i in range(u.ndim)]
            padded = jnp.pad(u, ends, mode="wrap" if periodic else "edge")
            low, high = (jax.lax.slice_in_dim(padded, i, i + u.shape[axis], axis=axis) for i in (0, 2))
            total = total + 2 * u - low - high
        return total

    def operator(u: Array) -> Array:
        return jnp.where(missing, laplacian(jnp.where(missing, u, 0)), u)

    right = jnp.where(missing, -laplacian(data), 0)
    return data + jnp.where(missing, _solve(operator, right), 0)


def fill_spectral(data: Array, mask: Array, periodic: bool) -> Array:
    """The thin-plate spline through the observed points."""
    return _spectral(data, mask, periodic, OPEN * max(mask.shape) / 2)


METHODS = {"nearest": fill_nearest, "harmonic": fill_harmonic, "spectral": fill_spectral}


def _spectral(data: Array, mask: Array, periodic: bool, cutoff: float) -> Array:
    """The minimum of the spline's functional, in the space of coefficients; the density of points preconditions it."""
    bases, k = _bases(mask.shape, periodic)
    penalty = jnp.asarray((k / cutoff) ** 4, data.dtype)[..., None]
    observed = mask[..., None].astype(data.dtype)

    def operator(c: Array) -> Array:
        return _transform(observed * _transform(c, bases, inverse=True), bases) + penalty * c

    def precondition(c: Array) -> Array:
        return c / (jnp.maximum(observed.mean(), 1e-6) + penalty)

    coefficients = _solve(operator, _transform(observed * data, bases), precondition)
    return _transform(coefficients, bases, inverse=True)


def _low_pass(frame: Array, periodic: bool, cutoff: float) -> Array:
    """The same minimum where all points are observed, which needs no iteration."""
    bases, k = _bases(frame.shape[:-1], periodic)
    kept = jnp.asarray(1 / (1 + (k / cutoff) ** 4), frame.dtype)[..., None]
    return _transform(kept * _transform(frame, bases), bases, inverse=True)


def _solve(operator: Any, right: Array, precondition: Any = None) -> Array:
    solution, _ = jax.scipy.sparse.linalg.cg(operator, right, tol=TOLERANCE, maxiter=ITERATIONS, M=precondition)
    return solution


@functools.lru_cache(maxsize=16)
def _bases(shape: tuple[int, ...], periodic: bool) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Orthonormal modes along each axis, rows of ``[n, n]``, and all wavenumbers ``[*space]``.

    In cycles along the longest axis, the spacing being the same along all.
    """
    bases: list[np.ndarray] = []
    squares = np.zeros(shape)
    for axis, n in enumerate(shape):
        j, x = np.arange(n)[:, None], np.arange(n)[None]
        if periodic:  # 1, cos, sin, cos, sin ...
            wavenumber = np.floor((np.arange(n) + 1) / 2)
            phase = 2 * np.pi * wavenumber[:, None] * x / n
            modes = np.where(j % 2 == 1, np.cos(phase), np.where(j == 0, 1.0, np.sin(phase)))
        else:  # cosines that are flat half a point beyond either end
            wavenumber = np.arange(n) / 2
            modes = np.cos(np.pi * j * (x + 0.5) / n)
        bases.append(modes / np.linalg.norm(modes, axis=1, keepdims=True))
        along = wavenumber * max(shape) / n
        squares = squares + (along**2).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return tuple(bases), np.sqrt(squares)


def _transform(x: Array, bases: Sequence[np.ndarray], *, inverse: bool = False) -> Array:
    """Coefficients ``[*space, C]`` of a frame, or the frame of coefficients."""
    for axis, modes in enumerate(bases):
        matrix = jnp.asarray(modes.T if inverse else modes, x.dtype)
        x = jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


@functools.partial(jax.jit, static_argnames=("fill",))
def complete_frames(fill: Fill, frames: Array, mask: Array) -> Array:
    """Completes trajectories ``[N, T, *space, C]`` under masks ``[N, T, *space]``, True where a point was observed.

    What stands where nothing was observed, NaN included, is not looked at; observed points are unchanged unless the
    fill smooths.
    """
    return jax.vmap(jax.vmap(fill))(frames, mask)


FILLS = (Fill("nearest"), Fill("harmonic"), Fill("spectral"))
CUTOFFS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)


def fills_with_noise(boundary: Boundary = "walls") -> tuple[Fill, ...]:
    """What :func:`choose_fill` is worth asking about: all methods, and the spectral one with several cutoffs."""
    plain = [dataclasses.replace(fill, boundary=boundary) for fill in FILLS]
    return (*plain, *(Fill("spectral", boundary, cutoff) for cutoff in CUTOFFS))


def choose_fill(
    validation: Sequence[Any],
    mask: Any,
    *,
    noise: float = 0.0,
    fills: Sequence[Fill] = FILLS,
    seed: int = 0,
) -> Fill:
    """Chooses the fill that restores validation frames best, under the expected masks and noise.

    Args:
        validation: complete trajectories of each regime, ``[N, T, *space, C]``; a few frames of each are enough.
        mask: True where a point is observed, of a shape that broadcasts to ``[N, T, *space]``.
        noise: standard deviation of the noise over the root mean square of each field of a frame.
        fills: the fills to compare, for instance :func:`fills_with_noise`.
        seed: seed of the noise.

    Returns:
        The fill with the smallest mean relative L2 error over all frames.

    Raises:
        ValueError: if ``fills`` or ``validation`` is empty.
    """
    if not fills or not len(validation):
        raise ValueError(
            f"choose_fill: {counted(len(fills), 'fill')} and {counted(len(validation), 'validation regime')}, expected "
            "at least one of each."
        )
    rng, errors = np.random.default_rng(seed), np.zeros(len(fills))
    for x in validation:
        truth = np.asarray(x)
        size = np.sqrt(np.mean(truth**2, axis=tuple(range(2, truth.ndim - 1)), keepdims=True))
        noisy = jnp.asarray(truth + noise * size * rng.standard_normal(truth.shape), truth.dtype)
        where = jnp.broadcast_to(jnp.asarray(mask), truth.shape[:-1])
        errors += [float(relative_l2(complete_frames(fill, noisy, where), jnp.asarray(truth)).mean()) for fill in fills]
    best = int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))
    return fills[best]
