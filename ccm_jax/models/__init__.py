"""Models in Linen behind a plain pair of functions; nothing else of this package knows Flax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ccm_jax.models.dpot import DPOT
from ccm_jax.models.fno import FNO
from ccm_jax.models.unet import UNet

Array = jax.Array
Params = Any

MODELS: dict[str, type] = {"fno": FNO, "dpot": DPOT, "unet": UNet}


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


class Model(NamedTuple):
    """A model as two pure functions.

    Attributes:
        init: ``(key, window [N, history, *space, C]) -> params``, a tree of nested dictionaries.
        apply: ``(params, window) -> frame [N, *space, C]``.
    """

    init: Callable[[Array, Array], Params]
    apply: Callable[[Params, Array], Array]


def make_model(name: str, **arguments: Any) -> Model:
    """Builds a model by name, for instance ``make_model("fno", modes=(12, 12), width=32, out_channels=2)``.

    Raises:
        ValueError: for an unknown name, with those that exist, or an unknown argument.
    """
    if name not in MODELS:
        raise ValueError(f"make_model: no model {name!r}; there are: {', '.join(MODELS)}.")
    try:
        module = MODELS[name](**arguments)
    except TypeError as error:
        raise ValueError(f"make_model: {name}: {error}.") from error

    def init(key: Array, window: Array) -> Params:
        shape = jax.ShapeDtypeStruct(window.shape, window.dtype)  # so that the forward pass is not run, only traced
        return module.lazy_init(key, shape)["params"]

    return Model(
        init=init,
        apply=lambda params, window: module.apply({"params": params}, window),
    )
