"""Which weights of these networks are complex numbers stored as pairs of reals."""

from __future__ import annotations

from typing import Any

SPECTRAL = ("fno", "dpot")  # networks of this package with such weights


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
