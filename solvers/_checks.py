"""Clear errors for what can be checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def check_time(function: str, dt: float, substeps: int) -> None:
    """Raises ValueError unless ``dt > 0`` and ``substeps >= 1``."""
    if not dt > 0 or substeps < 1:
        raise ValueError(f"{function}: dt is {dt} and substeps {substeps}, expected dt > 0 and substeps >= 1.")


def check_sign(function: str, *, positive: bool = False, **values: Any) -> None:
    """Raises ValueError if a named value that is not traced is negative (or zero, with ``positive``), or not finite."""
    for name, value in values.items():
        if isinstance(value, jax.core.Tracer):
            continue
        number = np.asarray(value)
        if not (np.all(number > 0 if positive else number >= 0) and np.all(np.isfinite(number))):
            raise ValueError(f"{function}: {name} is {value}, expected a number {'> 0' if positive else '>= 0'}.")


def check_order(function: str, order: int) -> None:
    """Raises ValueError unless ``order`` is 2 or 4."""
    if order not in (2, 4):
        raise ValueError(f"{function}: order is {order!r}, expected 2 or 4.")


def check_state(equation: str, state: jax.Array, space: Sequence[str], channels: int) -> None:
    """Raises ValueError unless ``state`` is ``[*space, channels]``."""
    if state.ndim != len(space) + 1 or state.shape[-1] != channels:
        raise ValueError(
            f"{equation}: state has shape {state.shape}, expected [{', '.join(space)}, {channels}]; "
            "for a batch use jax.vmap."
        )
    if not jax.numpy.issubdtype(state.dtype, jax.numpy.floating):
        raise ValueError(f"{equation}: state has dtype {state.dtype}, expected a floating-point one.")
