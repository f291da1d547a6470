"""Two common networks in PyTorch, of about a million weights each: a U-Net and a vision transformer; for the command
line ``--model benchmarks.torch_networks:unet`` and ``:vit``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions on a periodic grid, and a skip."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, out, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(out, out, 3, padding=1, padding_mode="circular")
        self.norm = nn.GroupNorm(4, out)
        self.skip = nn.Conv2d(inside, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inside, H, W] -> [N, out, H, W]``."""
        y = nn.functional.gelu(self.norm(self.first(x)))
        return nn.functional.gelu(self.second(y)) + self.skip(x)


class UNet(nn.Module):
    """Three resolutions; predicts the change of the last frame."""

    def __init__(self, channels: int = 1, history: int = 1, width: int = 52) -> None:
        super().__init__()
        self.channels = channels
        sizes = (width, 2 * width, 3 * width)
        self.down = nn.ModuleList(Block(a, b) for a, b in zip((channels * history, *sizes[:2]), sizes, strict=True))
        self.up = nn.ModuleList(Block(a + b, a) for a, b in zip(sizes[1::-1], sizes[:0:-1], strict=True))
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, history C, H, W] -> [N, C, H, W]``; sides are multiples of 4."""
        last, kept = x[:, -self.channels :], []
        for i, block in enumerate(self.down):
            x = block(nn.functional.avg_pool2d(x, 2) if i else x)
            kept.append(x)
        x = kept.pop()
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = block(torch.cat([kept.pop(), x], dim=1))
        return last + self.out(x)


class ViT(nn.Module):
    """Patches, PyTorch's own encoder layers, patches again; predicts the change of the last frame."""

    def __init__(
        self, channels: int = 1, history: int = 1, grid: int = 32, patch: int = 4, width: int = 144, depth: int = 4
    ) -> None:
        super().__init__()
        self.channels, self.patch = channels, patch
        self.embed = nn.Conv2d(channels * history, width, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (grid // patch) ** 2, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.ConvTranspose2d(width, channels, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, history C, grid, grid] -> [N, C, grid, grid]``."""
        z = self.embed(x)
        tokens = self.encoder(z.flatten(2).mT + self.position)
        return x[:, -self.channels :] + self.out(tokens.mT.reshape(z.shape))


def unet(**arguments: int) -> nn.Module:
    """The U-Net."""
    return UNet(**arguments)


def vit(**arguments: int) -> nn.Module:
    """The vision transformer."""
    return ViT(**arguments)
