"""Matrix products with fast reverse mode on CPUs.

XLA's fast kernels for CPUs want the contracted axis of the left factor last. Reverse mode puts it first and falls back
to slower kernels, especially for narrow results. The tangents here are written such that their transposes have it last:
the transposed matrix as a constant of its own, or a transposed copy of the left factor, in blocks of rows that the
cores share out. Results equal those of plain products up to rounding. Accelerators handle either layout, so there these
are plain products.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

_HIGHEST = jax.lax.Precision.HIGHEST

# Rows of the blocks that a gradient of weights is summed over.
_ROWS = 128
# Columns up to which it is a few sums.
_NARROW = 4


def constant_product(matrix: np.ndarray, x: Array) -> Array:
    """``matrix [k, n]`` times ``x [n, m]``, or times each of ``x [K, n, m]``."""

    def stack(matrix: np.ndarray, x: Array) -> Array:
        return jnp.broadcast_to(jnp.asarray(matrix, x.dtype), (*x.shape[:-2], *matrix.shape))

    def plain(x: Array) -> Array:
        return jnp.matmul(stack(matrix, x), x, precision=_HIGHEST)

    if not _left_matters(x):
        return plain(x)
    known = jax.custom_jvp(plain)

    @known.defjvp
    def tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return known(*primals), _first_axes(stack(matrix.T, *tangents), *tangents, _HIGHEST)

    return known(x)


def product(x: Array, weight: Array, precision: Any = None) -> Array:
    """``x [..., P, i]`` times ``weight [..., i, o]``, for many more rows than columns."""
    return _product(x, weight, precision) if _left_matters(x) else jnp.matmul(x, weight, precision=precision)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _product(x: Array, weight: Array, precision: Any) -> Array:
    return jnp.matmul(x, weight, precision=precision)


@_product.defjvp
def _product_jvp(precision: Any, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, weight), (dx, dweight) = primals, tangents
    y, by_x = _product(x, weight, precision), jnp.matmul(dx, weight, precision=precision)
    rows, columns = x.shape[-2:]
    if weight.shape[-1] <= _NARROW:
        sums = [jnp.sum(x * column[..., None, :], axis=-1) for column in jnp.moveaxis(dweight, -1, 0)]
        return y, by_x + jnp.stack(sums, axis=-1)
    if rows % _ROWS == 0:
        x = x.reshape(*x.shape[:-2], rows // _ROWS, _ROWS, columns)
        dweight = jnp.broadcast_to(dweight[..., None, :, :], (*x.shape[:-2], *dweight.shape[-2:]))
    by_weight = _first_axes(_transposed(x), dweight, precision)
    return y, by_x + by_weight.reshape(y.shape)


@jax.custom_jvp
def pair_products(c: Array, weight: Array) -> Array:
    """Real coefficients times both parts of complex weights: ``[..., N, i], [2, ..., i, o] -> [2, ..., N, o]``."""
    return jnp.matmul(jnp.broadcast_to(c, (2, *c.shape)), weight, precision=_HIGHEST)


@pair_products.defjvp
def _pair_products_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (c, weight), (dc, dweight) = primals, tangents
    # Stacked, not broadcast: its transpose, a sum of two, stays out of the products, which would take longer with it.
    by_c = jnp.matmul(jnp.stack([dc, dc]), weight, precision=_HIGHEST)
    first = _transposed(c) if _left_matters(c) else jnp.swapaxes(c, -1, -2)
    by_weight = _first_axes(jnp.broadcast_to(first, (2, *first.shape)), dweight, _HIGHEST)
    return pair_products(c, weight), by_c + by_weight


def _transposed(x: Array) -> Array:
    """A copy of ``x`` with its last two axes exchanged."""
    # Without barriers the transposition is undone, or becomes part of whatever made x, element by element.
    return jax.lax.optimization_barrier(jnp.swapaxes(jax.lax.optimization_barrier(x), -1, -2))


def _first_axes(a: Array, b: Array, precision: Any) -> Array:
    """``a [..., n, k]``, ``b [..., n, m]`` -> ``[..., k, m]``, contracted over their first axes."""
    stacked = tuple(range(a.ndim - 2))
    dimensions = ((a.ndim - 2,), (b.ndim - 2,)), (stacked, stacked)
    return jax.lax.dot_general(a, b, dimensions, precision=precision)


def dense_product(x: Array, weight: Array, dimensions: Any, precision: Any = None, **options: Any) -> Array:
    """:func:`product` in the place of ``jax.lax.dot_general``, as ``flax.linen.Dense`` takes one."""
    if dimensions != (((x.ndim - 1,), (0,)), ((), ())) or weight.ndim != 2 or any(options.values()):
        return jax.lax.dot_general(x, weight, dimensions, precision=precision, **options)
    return product(x.reshape(-1, x.shape[-1]), weight, precision).reshape(*x.shape[:-1], weight.shape[-1])


def _left_matters(x: Array) -> bool:
    """Whether it is a CPU, and not half precision, of which sums in blocks would lose digits."""
    return jax.default_backend() == "cpu" and x.dtype in (jnp.float32, jnp.float64)
