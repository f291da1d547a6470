"""How objects that hold arrays print: short arrays in full, long ones by type and shape, trees of weights by
size; None is left out."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

LONGEST = 8  # numbers that are printed one by one


def shown(self: Any) -> str:
    """The representation of a dataclass or NamedTuple, for its ``__repr__``.

    Example:
        >>> from ccm_jax import fit_chart
        >>> fit_chart({"w": np.zeros(9)}, [{"w": -np.ones(9)}, {"w": np.ones(9)}], [-1.0, 1.0])
        Chart(origin=<tree of 1 array, 9 numbers>, basis=<tree of 1 array, 18 numbers>, \
features=Polynomial(degree=1, dim=1, constant=True))
    """
    names = getattr(type(self), "_fields", None) or type(self).__dataclass_fields__
    fields = {name: getattr(self, name) for name in names}
    told = ", ".join(f"{name}={_value(value)}" for name, value in fields.items() if value is not None)
    return f"{type(self).__name__}({told})"


def _value(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    leaves = [leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape")]
    if not leaves or type(value).__module__.startswith("ccm_jax."):
        return repr(value)
    total = sum(int(np.prod(leaf.shape)) for leaf in leaves)
    return f"<tree of {len(leaves)} array{'s' * (len(leaves) != 1)}, {total:,} numbers>"


def _array(value: Any) -> str:
    known = not isinstance(value, jax.core.Tracer) and getattr(value, "is_fully_addressable", True)
    if known and value.ndim < 3 and value.size <= LONGEST and np.dtype(value.dtype).kind in "fiub":
        return np.array2string(np.asarray(value), precision=4, separator=", ", floatmode="maxprec").replace("\n", "")
    return f"{value.dtype}{list(value.shape)}"
