"""A readout without what only judges its answers, so that one compiled program serves it before and after."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccm_jax.readout import PrefixReadout


def plain(readout: PrefixReadout, **other: Any) -> PrefixReadout:
    """The readout without its uncertainty and the errors of validation.

    Args:
        readout: any.
        **other: fields that differ.
    """
    judges: dict[str, Any] = {"uncertainty": None, "worst": None, "error_over_anchor": None}
    return dataclasses.replace(readout, **(judges | other))
