"""Converts weights of other packages to and from this package's trees, by flat names and without their code.

:func:`~ccm_jax.interop.torch.torch_rollout` runs a PyTorch module as it is, in the layout that
:class:`~ccm_jax.interop.layout.Layout` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ccm_jax._extras import import_ours
from ccm_jax.interop.dpot import dpot_from_torch
from ccm_jax.interop.fno2d import fno_from_fno2d
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.neuraloperator import fno_from_neuraloperator, fno_to_neuraloperator

if TYPE_CHECKING:
    from ccm_jax.interop.torch import torch_params, torch_rollout
else:  # what runs PyTorch is imported on first use; PyTorch itself when it runs

    def __getattr__(name: str) -> Any:
        if name == "torch":
            return import_ours(f"{__name__}.torch")
        if name not in ("torch_params", "torch_rollout"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_ours(f"{__name__}.torch"), name)


__all__ = [
    "Layout",
    "dpot_from_torch",
    "fno_from_fno2d",
    "fno_from_neuraloperator",
    "fno_to_neuraloperator",
    "torch_params",
    "torch_rollout",
]


def __dir__() -> list[str]:
    return sorted(__all__)
