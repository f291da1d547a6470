"""Files in and out: checkpoints of every common kind, and recorded trajectories.

:mod:`~ccm_jax.io.weights` opens a checkpoint of any kind, :mod:`~ccm_jax.io.recordings` a file of trajectories. Only
this folder knows file formats; Orbax and h5py are imported where they are needed, and the modules on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ccm_jax._extras import import_ours

if TYPE_CHECKING:
    from ccm_jax.io import checkpoint as checkpoint
    from ccm_jax.io import lora as lora
    from ccm_jax.io import names as names
    from ccm_jax.io import recordings as recordings
    from ccm_jax.io import safetensors as safetensors
    from ccm_jax.io import save as save
    from ccm_jax.io import weights as weights
else:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_ours(f"{__name__}.{name}")


_LAZY = ("checkpoint", "lora", "names", "recordings", "safetensors", "save", "weights")


def __dir__() -> list[str]:
    return sorted(_LAZY)
