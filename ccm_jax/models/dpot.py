"""A DPOT-style backbone in Linen: patches, temporal aggregation, Fourier attention, patches back."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.models import spectral
from ccm_jax.models.fno import gelu_exact
from ccm_jax.models.pairs import is_real_pair
from ccm_jax.models.registry import register_model

Array = jax.Array


class Size(NamedTuple):
    """Width D, hidden width of the channel MLP, blocks, heads, and width of the output layers."""

    width: int
    mlp: int
    depth: int
    heads: int
    out_width: int


# The published models, at patches of 8, ten frames and four channels; tested against their parameter counts.
SIZES = {
    "tiny": Size(512, 512, 4, 4, 32),
    "small": Size(1024, 1024, 6, 8, 32),
    "medium": Size(1024, 4096, 12, 8, 32),
    "large": Size(1536, 6144, 24, 16, 128),
    "huge": Size(2048, 8092, 27, 8, 128),
}


def _pixels(n: int) -> np.ndarray:
    return np.linspace(0.0, 1.0, n)


class TimeAggregation(nn.Module):
    """``sum_t W_t (x_t cos(gamma t))``: the frames of a window ``[N, T, ..., D]`` become one state ``[N, ..., D]``."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        frames, width = x.shape[1], x.shape[-1]
        weight = self.param("w", nn.initializers.normal(1 / (frames * width**0.5)), (frames, width, width))
        gamma = self.param("gamma", lambda _: 2.0 ** jnp.linspace(-10.0, 10.0, width)[None])
        wave = jnp.cos(jnp.asarray(_pixels(frames), x.dtype)[:, None] * gamma)
        return jnp.einsum("nt...d,td,tde->n...e", x, wave, weight)


class FourierAttention(nn.Module):
    """A two-layer complex MLP on every frequency, block-diagonal over heads, the same for all; its input is added.

    ``[N, H, W, D] -> [N, H, W, D]``. Weights are stored as real pairs, ``[2, heads, D / heads, D / heads]``.
    """

    heads: int
    transform: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h, w, width = x.shape[1:]
        block = width // self.heads

        def weights(name: str, shape: tuple[int, ...]) -> Array:
            # As published: uniform on [0, 1), over the square of the block.
            return self.param(name, lambda key: jax.random.uniform(key, shape) / block**2)

        def layer(i: int, re: Array, im: Array) -> tuple[Array, Array]:
            a, b = weights(f"w{i}", (2, self.heads, block, block)), weights(f"b{i}", (2, self.heads, block))

            def dot(z: Array, matrix: Array) -> Array:
                return jnp.einsum("nhwkb,kbc->nhwkc", z, matrix)

            bias = b[:, None, None, None]
            return dot(re, a[0]) - dot(im, a[1]) + bias[0], dot(im, a[0]) + dot(re, a[1]) + bias[1]

        how = spectral.choose_transform(self.transform, (h, w))
        re, im = (z.reshape(*z.shape[:3], self.heads, block) for z in _analysis(x, how))
        re, im = layer(1, re, im)
        re, im = (z.reshape(*z.shape[:3], width) for z in layer(2, gelu_exact(re), gelu_exact(im)))
        return x + _synthesis(re, im, w, how)


def _analysis(x: Array, transform: str) -> tuple[Array, Array]:
    """Real and imaginary part of all Fourier coefficients of ``[N, H, W, D]``, orthonormal."""
    h, w = x.shape[1:3]
    if transform == "fft":
        z = jnp.fft.rfft2(x, axes=(1, 2), norm="ortho")
        return z.real, z.imag
    cos, sin = spectral.waves(np.arange(w // 2 + 1), w)
    re, im = _along(2, cos, x), -_along(2, sin, x)
    cos, sin = spectral.waves(np.arange(h), h) / np.sqrt(h * w)
    return _along(1, cos, re) + _along(1, sin, im), _along(1, cos, im) - _along(1, sin, re)


def _synthesis(re: Array, im: Array, w: int, transform: str) -> Array:
    """The field ``[N, H, W, D]`` of such coefficients."""
    h = re.shape[1]
    if transform == "fft":
        # Two one-dimensional inverses: cuFFT's irfft2 leaves artefacts where a spectrum is not Hermitian.
        columns = jnp.fft.ifft(jax.lax.complex(re, im), n=h, axis=1, norm="ortho")
        return jnp.fft.irfft(columns, n=w, axis=2, norm="ortho")
    cos, sin = spectral.waves(np.arange(h), h) / np.sqrt(h * w)
    re, im = _along(1, cos, re) - _along(1, sin, im), _along(1, cos, im) + _along(1, sin, re)
    frequencies = np.arange(w // 2 + 1)
    weight = np.where((frequencies == 0) | (2 * frequencies == w), 1.0, 2.0)
    cos, sin = spectral.waves(frequencies, w) * weight[:, None]
    return _along(2, cos.T, re) - _along(2, sin.T, im)


def _along(axis: int, matrix: np.ndarray, x: Array) -> Array:
    """Applies ``matrix [k, n]`` along an axis of ``[N, H, W, D]``."""
    subscripts = "kh,nhwd->nkwd" if axis == 1 else "kw,nhwd->nhkd"
    return jnp.einsum(subscripts, jnp.asarray(matrix, x.dtype), x, precision=jax.lax.Precision.HIGHEST)


def patches(x: Array, patch: int) -> Array:
    """Cuts ``[..., H, W, C]`` into ``[..., H / p, W / p, p * p * C]``, what a convolution of stride p sees."""
    *lead, h, w, c = x.shape
    x = x.reshape(*lead, h // patch, patch, w // patch, patch, c)
    return jnp.swapaxes(x, -4, -3).reshape(*lead, h // patch, w // patch, patch * patch * c)


def unpatched(x: Array, patch: int) -> Array:
    """The inverse of :func:`patches`."""
    *lead, h, w, pc = x.shape
    x = x.reshape(*lead, h, w, patch, patch, pc // patch**2)
    return jnp.swapaxes(x, -4, -3).reshape(*lead, h * patch, w * patch, pc // patch**2)


@register_model("dpot", is_pair=is_real_pair)
class DPOT(nn.Module):
    """DPOT-style operator: window of past frames -> next frame, on any grid that the patch divides.

    Attributes:
        out_channels: channels of a frame.
        patch: side of a patch.
        width: features of a patch, divisible by ``heads`` and by 8.
        mlp: hidden features of the channel MLP.
        depth: number of blocks.
        heads: blocks of the Fourier attention.
        out_width: features of the output layers.
        positions: patches ``(H, W)`` of the learned position; another grid resizes it. None: of the grid that
            initialises the model, which then is the only one.
        residual: whether the network predicts the increment over the newest frame (DPOT itself does not).
        classes: outputs of the published class head, whose logits nothing here uses; 0 leaves it out.
        transform: of the Fourier attention, as in :class:`~ccm_jax.models.FNO`.

    Example:
        >>> model = DPOT(out_channels=2, patch=4, width=16, mlp=16, depth=1, heads=2, out_width=8)
        >>> window = jnp.zeros((3, 4, 16, 16, 2))  # [N, history, H, W, C]
        >>> variables = jax.jit(model.init)(jax.random.key(0), window)
        >>> jax.jit(model.apply)(variables, window).shape
        (3, 16, 16, 2)

    Reference: Hao et al., DPOT: Auto-Regressive Denoising Operator Transformer (2024).
    """

    out_channels: int = 1
    patch: int = 8
    width: int = 128
    mlp: int = 128
    depth: int = 4
    heads: int = 4
    out_width: int = 32
    positions: tuple[int, int] | None = None
    residual: bool = False
    classes: int = 0
    transform: str = "auto"

    @nn.compact
    def __call__(self, window: Array) -> Array:
        self._check(window)
        n, frames, h, w, channels = window.shape
        p, act = self.patch, gelu_exact
        t, y, x = np.meshgrid(_pixels(frames), _pixels(h), _pixels(w), indexing="ij")
        points = jnp.broadcast_to(jnp.asarray(np.stack([y, x, t], axis=-1), window.dtype), (n, frames, h, w, 3))
        v = jnp.concatenate([window, points], axis=-1)

        # Convolutions of stride p and of one point, as dense layers: XLA runs these many times faster on a CPU.
        v = nn.Dense(channels * p + 3, name="patch_0")(patches(v, p))
        v = nn.Dense(self.width, name="patch_1")(act(v))
        grid = v.shape[2:4]
        at = tuple(self.positions or grid)
        position = self.param("position", nn.initializers.truncated_normal(0.02), (*at, self.width))
        if at != grid:
            position = jax.image.resize(position, (*grid, self.width), "bilinear")
        v = TimeAggregation(name="time")(v + position[None, None])

        for i in range(self.depth):
            u = nn.GroupNorm(8, epsilon=1e-5, name=f"norm_{i}_0")(v)
            u = FourierAttention(self.heads, self.transform, name=f"attention_{i}")(u)
            u = nn.GroupNorm(8, epsilon=1e-5, name=f"norm_{i}_1")(u)
            u = nn.Dense(self.width, name=f"mlp_{i}_1")(act(nn.Dense(self.mlp, name=f"mlp_{i}_0")(u)))
            v = v + u
        if self.classes:
            self._class_head(v)

        bias = self.param("out_bias", nn.initializers.zeros, (self.out_width,))  # one for all points of a patch
        out = unpatched(nn.Dense(p * p * self.out_width, use_bias=False, name="out_0")(v), p)
        out = act(nn.Dense(self.out_width, name="out_1")(act(out + bias[None, None, None])))
        out = nn.Dense(self.out_channels, name="out_2")(out)
        return window[:, -1, ..., : self.out_channels] + out if self.residual else out

    def _class_head(self, v: Array) -> Array:
        features = v.mean(axis=(1, 2))
        for i in range(2):
            features = gelu_exact(nn.Dense(self.width, name=f"class_{i}")(features))
        return nn.Dense(self.classes, name="class_2")(features)

    def _check(self, window: Array) -> None:
        if window.ndim != 5:
            raise ValueError(f"DPOT: window has shape {window.shape}, expected [N, history, H, W, C].")
        h, w = window.shape[2:4]
        if h % self.patch or w % self.patch:
            raise ValueError(f"DPOT: patches of {self.patch} do not divide the grid {h} x {w}; use another patch.")
        if self.width % self.heads or self.width % 8:
            raise ValueError(f"DPOT: width is {self.width}, expected a multiple of heads, {self.heads}, and of 8.")
