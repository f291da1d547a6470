"""A convolutional U-Net in Linen: a non-spectral backbone."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from ccm_jax.models.dpot import patches
from ccm_jax.models.registry import register_model

Array = jax.Array

PADDINGS = {"periodic": "wrap", "zero-flux": "edge", "walls": "constant"}


class Conv3(nn.Module):
    """A 3 x 3 convolution as one dense layer on the nine neighbours, which XLA runs many times faster on CPU."""

    features: int
    padding: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h, w = x.shape[1:3]
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), self.padding)
        near = [x[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
        return nn.Dense(self.features, name="dense")(jnp.concatenate(near, axis=-1))


@register_model("unet")
class UNet(nn.Module):
    """U-Net: window of past frames -> next frame, on any grid divisible by ``2 ** (len(widths) - 1)``.

    Two group-normalized 3 x 3 convolutions per level, strided convolutions down, nearest neighbours up, and skip
    connections at each level.

    Attributes:
        out_channels: channels of a frame.
        widths: features of each level, from the finest; divisible by ``groups``.
        boundary: ``"periodic"``; ``"zero-flux"``, which repeats the edge; or ``"walls"``, zeros beyond the edge.
        groups: groups of the normalization.
        residual: whether the network predicts the increment over the newest frame.

    Example:
        >>> model = UNet(out_channels=2, widths=(8, 16))
        >>> window = jnp.zeros((3, 1, 16, 16, 2))  # [N, history, H, W, C]
        >>> variables = jax.jit(model.init)(jax.random.key(0), window)
        >>> jax.jit(model.apply)(variables, window).shape
        (3, 16, 16, 2)

    Reference: Ronneberger et al., U-Net (2015).
    """

    out_channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    boundary: str = "periodic"
    groups: int = 4
    residual: bool = True

    @nn.compact
    def __call__(self, window: Array) -> Array:
        if self.boundary not in PADDINGS:
            raise ValueError(f"UNet: boundary is {self.boundary!r}, expected one of {tuple(PADDINGS)}.")
        if window.ndim != 5:
            raise ValueError(f"UNet: window has shape {window.shape}, expected [N, history, H, W, C].")
        n, history, h, w, channels = window.shape
        factor = 2 ** (len(self.widths) - 1)
        if h % factor or w % factor:
            raise ValueError(f"UNet: the grid {h} x {w} is not divisible by {factor}; use fewer widths.")
        padding = PADDINGS[self.boundary]

        def block(v: Array, width: int, name: str) -> Array:
            for i in range(2):
                v = Conv3(width, padding, name=f"{name}_conv_{i}")(v)
                v = nn.gelu(nn.GroupNorm(self.groups, name=f"{name}_norm_{i}")(v))
            return v

        v = jnp.moveaxis(window, 1, 3).reshape(n, h, w, history * channels)
        across = []
        for level, width in enumerate(self.widths):
            if level:
                v = nn.Dense(width, name=f"down_{level}")(patches(v, 2))
            v = block(v, width, f"encode_{level}")
            across.append(v)
        for level in reversed(range(len(self.widths) - 1)):
            v = nn.Dense(self.widths[level], name=f"up_{level}")(v)
            v = v.repeat(2, axis=1).repeat(2, axis=2)
            v = block(jnp.concatenate([v, across[level]], axis=-1), self.widths[level], f"decode_{level}")
        out = nn.Dense(self.out_channels, name="project")(v)
        return window[:, -1, ..., : self.out_channels] + out if self.residual else out
