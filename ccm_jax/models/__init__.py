"""Linen models behind a plain pair of functions; no other part of this package depends on Flax."""

from __future__ import annotations

from ccm_jax.models.pairs import is_real_pair
from ccm_jax.models.registry import Model, is_registered, make_model, model_names, pairs_of, register_model

__all__ = ["Model", "is_real_pair", "is_registered", "make_model", "model_names", "pairs_of", "register_model"]
