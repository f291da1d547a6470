"""Fourier neural operator in Linen, for periodic fields, walls by padding, and zero-flux walls by cosines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.models import spectral
from ccm_jax.models.pairs import is_real_pair
from ccm_jax.models.products import dense_product, pair_products, product
from ccm_jax.models.registry import register_model

Array = jax.Array

_SQRT_2_PI = float(np.sqrt(2 / np.pi))
BOUNDARIES = ("periodic", "padded", "zero-flux")


# Both end in a quotient: XLA computes one once for all that read it, where it would repeat a product for each of them.
# Their slopes are written out, because those that JAX derives keep more in memory than they save.
@jax.custom_jvp
def gelu(x: Array) -> Array:
    """``x / (1 + e)`` with ``e = exp(-2 z)`` and ``z = sqrt(2 / pi) (x + 0.044715 x^3)``: the same as by tanh."""
    return x / (1 + _gelu_exp(x))


@gelu.defjvp
def _gelu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    e = _gelu_exp(x)
    r = 1 / (1 + e)
    slope_of_2z = 2 * _SQRT_2_PI + 6 * 0.044715 * _SQRT_2_PI * (x * x)
    return gelu(x), dx * (r * (1 + x * slope_of_2z * (e * r)))


def _gelu_exp(x: Array) -> Array:
    minus_2z = x * (-2 * _SQRT_2_PI - 2 * 0.044715 * _SQRT_2_PI * (x * x))
    return jnp.exp(jnp.minimum(minus_2z, 80))  # beyond, its slope would be infinity over infinity


@jax.custom_jvp
def gelu_exact(x: Array) -> Array:
    """``x Phi(x)``, with ``Phi`` the normal distribution, exact to the rounding of float32."""
    p, q = _erf_parts(x)
    return (0.5 * x * (q + p) / q).astype(x.dtype)


@gelu_exact.defjvp
def _gelu_exact_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    p, q = _erf_parts(x)
    slope = (0.5 * (q + p) + x * np.float32(1 / np.sqrt(2 * np.pi)) * jnp.exp(-0.5 * x * x) * q) / q
    return gelu_exact(x), dx * slope.astype(x.dtype)


def _erf_parts(x: Array) -> tuple[Array, Array]:
    """Numerator and denominator of the rational function by which XLA computes ``erf(x / sqrt(2))`` in float32."""
    x = jnp.clip(x.astype(jnp.float32) * np.float32(np.sqrt(0.5)), -3.832506856900711, 3.832506856900711)
    square = x * x

    def polynomial(coefficients: tuple[float, ...]) -> Array:
        y = jnp.full_like(x, coefficients[0])
        for c in coefficients[1:]:
            y = y * square + np.float32(c)
        return y

    return x * polynomial(_ERF_P), polynomial(_ERF_Q)


_ERF_P = (0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861, 0.18520832239976145, 1.128379143519084)
_ERF_Q = (
    *(-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667),
    *(0.11098505178285362, 0.49746925110067538, 1.0),
)
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"gelu": gelu, "gelu_exact": gelu_exact}


class SpectralConv(nn.Module):
    """Multiplies the low modes of a field by learned matrices, one per mode.

    Input and output are ``[n_d, ..., n_1, N, C]``, see :mod:`ccm_jax.models.spectral`. Fourier weights are stored as
    real pairs ``[2, m_d + 1, ..., 2 m_1, C_in, C_out]``, cosine weights are real, ``[2 m_d, ..., 2 m_1, C_in, C_out]``.
    """

    modes: tuple[int, ...]
    cosine: bool = False
    transform: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width, d = x.shape[-1], len(self.modes)
        grid = x.shape[:d][::-1]
        spectral.check_modes("SpectralConv", self.modes, grid, 2)
        how = spectral.choose_transform(self.transform, grid)
        if self.cosine:
            kept = tuple(2 * m for m in self.modes)
            weight = self.param("weight", nn.initializers.normal(width**-0.5), (*kept[::-1], width, width))
            c = product(spectral.cosine_analysis(x, kept, how), weight, jax.lax.Precision.HIGHEST)
            return spectral.cosine_synthesis(c, grid, how)
        kept = tuple(len(f) for f in spectral.kept_frequencies(self.modes)[::-1])
        init = nn.initializers.normal((2 * width) ** -0.5)
        weight = self.param("weight", init, (2, *kept, width, width))
        c = spectral.fourier_analysis(x, self.modes, how)
        # Both parts as rows of one matrix a mode: each weight is read once, most of the cost at small batches.
        products = pair_products(c.reshape(*kept, -1, width), weight).reshape(2, *c.shape)
        re, im = jnp.split(products, 2, axis=d + 1)
        c = jnp.concatenate([re[0] - im[1], re[1] + im[0]], axis=d)
        return spectral.fourier_synthesis(c, self.modes, grid, how)


@register_model("fno", is_pair=is_real_pair)
class FNO(nn.Module):
    """Fourier neural operator: window of past frames -> next frame.

    ``v <- gelu(K v + W v + b)`` ``depth`` times between a pointwise lift and a pointwise projection, ``K`` a
    :class:`SpectralConv`. Works on any 1-D, 2-D or 3-D grid, even or odd, that holds the modes; the same
    parameters act at another resolution.

    Attributes:
        modes: modes per side and axis.
        width: channels of the hidden fields.
        depth: number of layers.
        out_channels: channels of a frame.
        boundary: ``"periodic"``; ``"padded"``, zeros beyond the far walls; or ``"zero-flux"``, a cosine
            basis that satisfies zero flux exactly and costs half.
        padding: fraction of each side that ``"padded"`` adds.
        lifting: hidden channels of the lift, as a multiple of ``width``; 0 is a lift by one linear map.
        projection: hidden channels of the projection, as a multiple of ``width``.
        channel_mlp: hidden channels of a pointwise network behind each layer, as a fraction of ``width``; 0 is none.
        activation: ``"gelu"``, by tanh, or ``"gelu_exact"``, by the error function.
        twice: whether the activation between layers acts twice, as neuraloperator's does without a channel MLP.
        grid_channels: whether the coordinates of each point are appended to the input.
        residual: whether the network predicts the increment over the newest frame.
        transform: ``"matrix"``, ``"fft"``, or ``"auto"``, the faster one on this device and grid.
        dtype: of the hidden fields outside the transform; ``"bfloat16"`` is for accelerators. Weights, transforms and
            frames stay in float32.

    Example:
        >>> model = FNO(modes=(4, 4), width=8, depth=2, out_channels=2)
        >>> window = jnp.zeros((3, 1, 16, 16, 2))  # [N, history, H, W, C]
        >>> variables = jax.jit(model.init)(jax.random.key(0), window)
        >>> jax.jit(model.apply)(variables, window).shape
        (3, 16, 16, 2)

    Reference: Li et al., Fourier Neural Operator for Parametric PDEs (2021).
    """

    modes: tuple[int, ...]
    width: int = 32
    depth: int = 4
    out_channels: int = 1
    boundary: str = "periodic"
    padding: float = 0.125
    lifting: int = 0
    projection: float = 2
    channel_mlp: float = 0.0
    activation: str = "gelu"
    twice: bool = False
    grid_channels: bool = True
    residual: bool = True
    transform: str = "auto"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, window: Array) -> Array:
        d = len(self.modes)
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"FNO: boundary is {self.boundary!r}, expected one of {BOUNDARIES}.")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"FNO: activation is {self.activation!r}, expected one of {tuple(ACTIVATIONS)}.")
        if window.ndim != d + 3:
            raise ValueError(
                f"FNO: window has shape {window.shape}, expected [N, history, *space, C] with {d} space axes "
                f"for modes {tuple(self.modes)}."
            )
        n, history, *grid, channels = window.shape
        # [N, T, n_1, ..., n_d, C] -> [n_d, ..., n_1, N, T * C]: from here on every product is in memory order.
        space, fields = tuple(range(d + 1, 1, -1)), (*grid[::-1], n)
        x = jnp.transpose(window, (*space, 0, 1, d + 2)).reshape(*fields, history * channels)
        if self.grid_channels:
            x = jnp.concatenate([x, _coordinates(grid, n, self.boundary, x.dtype)], axis=-1)

        def dense(features: int, name: str) -> nn.Dense:
            return nn.Dense(features, dtype=self.dtype, dot_general=dense_product, name=name)

        # Points are one axis outside the transforms: gradients of weights then are plain products too.
        act = ACTIVATIONS[self.activation]
        v = x.reshape(-1, x.shape[-1])
        v = act(dense(self.lifting * self.width, "lift_hidden")(v)) if self.lifting else v
        v = dense(self.width, "lift")(v)
        extra = [round(self.padding * size) if self.boundary == "padded" else 0 for size in grid[::-1]]
        if any(extra):
            v = jnp.pad(v.reshape(*fields, self.width), [(0, e) for e in extra] + [(0, 0), (0, 0)])
            fields = v.shape[:-1]
            v = v.reshape(-1, self.width)
        for layer in range(self.depth):
            conv = SpectralConv(self.modes, self.boundary == "zero-flux", self.transform, name=f"spectral_{layer}")
            between = act if layer < self.depth - 1 else _identity
            far = conv(v.astype(x.dtype).reshape(*fields, self.width)).reshape(v.shape).astype(v.dtype)
            y = between(far + dense(self.width, f"pointwise_{layer}")(v))
            if self.channel_mlp:
                gate = self.param(f"gate_{layer}", nn.initializers.ones, (self.width,))
                hidden = act(dense(round(self.channel_mlp * self.width), f"channel_{layer}_0")(y))
                gated = jnp.broadcast_to(gate, v.shape).astype(v.dtype) * v
                y = between(dense(self.width, f"channel_{layer}_1")(hidden) + gated)
            v = between(y) if self.twice else y
        if any(extra):
            v = v.reshape(*fields, self.width)[tuple(slice(0, size) for size in grid[::-1])].reshape(-1, self.width)
        v = act(dense(round(self.projection * self.width), "project_0")(v))
        out = dense(self.out_channels, "project_1")(v).reshape(*grid[::-1], n, self.out_channels)
        out = jnp.transpose(out, (d, *range(d - 1, -1, -1), d + 1)).astype(window.dtype)
        return window[:, -1, ..., : self.out_channels] + out if self.residual else out


def _identity(x: Array) -> Array:
    return x


def _coordinates(grid: Sequence[int], n: int, boundary: str, dtype: jnp.dtype) -> Array:
    """Coordinates in [0, 1): nodes of a periodic grid, cell centres between walls; ``[n_d, ..., n_1, N, d]``."""
    shift = 0.0 if boundary == "periodic" else 0.5
    axes = np.meshgrid(*((np.arange(size) + shift) / size for size in grid), indexing="ij")
    points = jnp.asarray(np.stack([axis.T for axis in axes], axis=-1), dtype)
    return jnp.broadcast_to(points[..., None, :], (*grid[::-1], n, len(grid)))
