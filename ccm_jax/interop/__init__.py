"""Converts weights of other packages to and from this package's trees, by flat names and without their code."""

from __future__ import annotations

from ccm_jax.interop.dpot import dpot_from_torch
from ccm_jax.interop.fno2d import fno_from_fno2d
from ccm_jax.interop.neuraloperator import fno_from_neuraloperator, fno_to_neuraloperator

__all__ = ["dpot_from_torch", "fno_from_fno2d", "fno_from_neuraloperator", "fno_to_neuraloperator"]
