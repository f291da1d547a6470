"""Taking named arrays out of a flat tree, one by one, so that what is left at the end has no place and is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ccm_jax._wrappers import unwrapped

Params = dict[str, Any]


class Names:
    """The arrays of a ``state_dict`` that are still to be placed.

    Args:
        function: the importer, for its messages.
        state: arrays by name; an entry ``_metadata`` is left aside, and so are prefixes of wrappers.
    """

    def __init__(self, function: str, state: Mapping[str, Any]) -> None:
        self.function = function
        arrays = {key: np.asarray(value) for key, value in state.items() if key != "_metadata"}
        self.left = {plain: arrays[full] for full, plain in unwrapped(arrays).items()}

    def __contains__(self, key: str) -> bool:
        return key in self.left

    def take(self, key: str, hint: str = "it is of another architecture") -> np.ndarray:
        """An array, which is then no longer left."""
        if key not in self.left:
            raise ValueError(f"{self.function}: there is no {key}; {hint}.")
        return self.left.pop(key)

    def dense(self, prefix: str, hint: str = "it is of another architecture") -> Params:
        """A pointwise layer, stored as a matrix ``[out, in]`` or a convolution ``[out, in, 1, ...]``."""
        weight = self.take(f"{prefix}.weight", hint)
        if weight.size != weight.shape[0] * weight.shape[1]:
            raise ValueError(f"{self.function}: {prefix}.weight is {weight.shape}, expected a pointwise layer.")
        return {"kernel": weight.reshape(weight.shape[:2]).T, "bias": self.take(f"{prefix}.bias", hint)}

    def finish(self, model: str) -> None:
        """Raises ValueError if anything is left."""
        if self.left:
            raise ValueError(f"{self.function}: {model} has no place for {', '.join(sorted(self.left))}.")
