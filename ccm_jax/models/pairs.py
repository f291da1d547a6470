"""Which weights of these networks are complex numbers stored as pairs of reals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IsPair = Callable[[Any, Any], bool]


def is_real_pair(path: Any, leaf: Any) -> bool:
    """Whether a leaf of these models is a complex weight stored as a pair of reals, on a leading axis of two.

    For :func:`ccm_jax.baselines.complex_view`: Fourier weights ``[2, m_d + 1, ..., 2 m_1, C, C]``, and those of DPOT's
    Fourier attention. The real weights of a cosine basis have no such axis (one with a single mode a side on its first
    axis would be taken for a pair).
    """
    names = [str(getattr(entry, "key", entry)) for entry in path]
    layer, name = names[-2:] if len(names) > 1 else ("", "")
    spectral = layer.startswith("spectral_") and name == "weight" and leaf.ndim >= 4
    return (spectral or layer.startswith("attention_")) and leaf.shape[0] == 2


def is_torch_pair(path: Any, leaf: Any) -> bool:
    """Whether a leaf of PyTorch's DPOT is such a pair: the weights and biases of its Fourier filters."""
    names = [str(getattr(entry, "key", entry)) for entry in path]
    return len(names) > 1 and names[-2] == "filter" and names[-1] in ("w1", "w2", "b1", "b2") and leaf.shape[:1] == (2,)


def no_pair(path: Any, leaf: Any) -> bool:
    """Of networks without such weights."""
    return False


# By name, so that the base installation merges the weights of these networks without the libraries that build them.
PAIRS: dict[str, IsPair] = {
    "fno": is_real_pair,
    "dpot": is_real_pair,
    "unet": no_pair,
    "neuraloperator": no_pair,
    "fno2d": no_pair,
    "dpot-torch": is_torch_pair,
}
