"""A convolutional U-Net in Linen: a backbone unlike the spectral ones, to show that merging needs none of them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

PADDINGS = {"periodic": "CIRCULAR", "walls": "SAME"}


class UNet(nn.Module):
    """U-Net: window of past frames -> next frame, on any grid divisible by ``2 ** (len(widths) - 1)``.

    Two 3 x 3 convolutions a level, group-normalised, down by strided convolutions and up by nearest neighbours, with
    the fields of each level handed across.

    Attributes:
        out_channels: channels of a frame.
        widths: features of each level, from the finest; divisible by ``groups``.
        boundary: ``"periodic"``, or ``"walls"`` with zeros beyond them.
        groups: groups of the normalisation.
        residual: whether the network predicts the increment over the newest frame.

    Example:
        >>> model = UNet(out_channels=2, widths=(8, 16))
        >>> window = jnp.zeros((3, 1, 16, 16, 2))  # [N, history, H, W, C]
        >>> variables = model.init(jax.random.key(0), window)
        >>> model.apply(variables, window).shape
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
                v = nn.Conv(width, (3, 3), padding=padding, name=f"{name}_conv_{i}")(v)
                v = nn.gelu(nn.GroupNorm(self.groups, name=f"{name}_norm_{i}")(v))
            return v

        v = jnp.moveaxis(window, 1, 3).reshape(n, h, w, history * channels)
        across = []
        for level, width in enumerate(self.widths):
            if level:
                v = nn.Conv(width, (2, 2), strides=2, padding="VALID", name=f"down_{level}")(v)
            v = block(v, width, f"encode_{level}")
            across.append(v)
        for level in reversed(range(len(self.widths) - 1)):
            v = nn.Conv(self.widths[level], (1, 1), name=f"up_{level}")(v)
            v = v.repeat(2, axis=1).repeat(2, axis=2)
            v = block(jnp.concatenate([v, across[level]], axis=-1), self.widths[level], f"decode_{level}")
        out = nn.Conv(self.out_channels, (1, 1), name="project")(v)
        return window[:, -1, ..., : self.out_channels] + out if self.residual else out
