"""How objects that hold arrays print: short arrays in full, long ones by type and shape, trees of weights by
size, functions by name; None is left out."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

LONGEST = 8  # numbers that are printed one by one


def shown(self: Any, **first: Any) -> str:
    """The representation of a dataclass or NamedTuple, for its ``__repr__``.

    Args:
        self: the object.
        **first: what is told before its fields.

    Example:
        >>> from ccm_jax import fit_chart
        >>> fit_chart({"w": np.zeros(9)}, [{"w": -np.ones(9)}, {"w": np.ones(9)}], [-1.0, 1.0])
        Chart(origin=<tree of 1 array, 9 numbers>, basis=<tree of 1 array, 18 numbers>, \
features=Polynomial(degree=1, dim=1, constant=True))
    """
    names = getattr(type(self), "_fields", None) or type(self).__dataclass_fields__
    fields = first | {name: getattr(self, name) for name in names}
    told = ", ".join(f"{name}={_value(value)}" for name, value in fields.items() if value is not None)
    return f"{type(self).__name__}({told})"


def sized(self: Any) -> str:
    """The representation of what is only of interest to the object that holds it: how many numbers it has."""
    return f"<{type(self).__name__} of {_numbers(jax.tree.leaves(self))}>"


def _numbers(leaves: list[Any]) -> str:
    return f"{sum(int(np.size(leaf)) for leaf in leaves):,} numbers"


def _value(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if hasattr(value, "__qualname__"):  # without the address that changes with every session
        return f"<{type(value).__name__} {value.__qualname__.rpartition('<locals>.')[2]}>"
    leaves = jax.tree.leaves(value)
    arrays = [leaf for leaf in leaves if hasattr(leaf, "shape")]
    if type(value).__module__.startswith("ccm_jax.") or not arrays and len(leaves) <= LONGEST:
        return repr(value)
    if not arrays:
        return f"<{_numbers(leaves)}>" if all(isinstance(leaf, int | float) for leaf in leaves) else repr(value)
    return f"<tree of {len(arrays)} array{'s' * (len(arrays) != 1)}, {_numbers(arrays)}>"


def _array(value: Any) -> str:
    known = not isinstance(value, jax.core.Tracer) and getattr(value, "is_fully_addressable", True)
    if known and value.ndim < 3 and value.size <= LONGEST and np.dtype(value.dtype).kind in "fiub":
        how: Any = {"separator": ", ", "formatter": {"float_kind": lambda number: f"{number:.4g}", "bool": str}}
        return np.array2string(np.asarray(value), **how).replace("\n", "")
    return f"{value.dtype}{list(value.shape)}"
