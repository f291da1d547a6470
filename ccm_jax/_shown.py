"""How objects that hold arrays print: short arrays in full, long ones by type and shape, trees of weights by
size, functions by name; None and empty arrays are left out."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

ROW = 100  # letters of one line of a representation in two
LEAST = 1e-12  # smaller p-values are not told apart
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
    told = ", ".join(f"{name}={_value(value)}" for name, value in fields.items() if _is_told(value))
    return f"{type(self).__name__}({told})"


def _is_told(value: Any) -> bool:
    return value is not None and getattr(value, "size", 1) != 0


def shown_estimate(found: Any) -> str:
    """An Estimate with known numbers in at most two lines: the answer and how far to trust it, then its errors.

    Of a larger batch, the smallest and the largest number of each column.
    """
    many = np.size(found.coordinate) > LONGEST
    first: dict[str, Any] = {"trajectories": len(found.coordinate)} if many else {}
    first |= {"keeps_anchor": found.keeps_anchor} if np.any(found.keeps_anchor) else {}
    first["coordinate"] = found.coordinate
    if found.posterior is not None:
        sure = {"value()": found.posterior.value(), "interval(0.9)": found.posterior.interval()}
        if (flat := np.asarray(found.posterior.flat())).any():
            sure |= {"posterior.flat()": f"{flat.any(axis=-1).sum()} of {len(flat)}" if flat.size > LONGEST else flat}
        first |= sure | ({} if found.posterior.known is None else {"posterior.beyond()": _outside(found.posterior)})
        if (unusual := np.asarray(found.posterior.unusual_gate())).any():
            first |= {"posterior.unusual_gate()": f"{unusual.sum()} of {unusual.size}" if unusual.ndim else True}
    names = ("p_value", "loss", "anchor_loss", "persistence_loss")
    second = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    second |= {"candidates": found.losses.shape[-1]} if found.losses.size else {}
    said = _ends if many else _said
    rows = [", ".join(f"{name}={said(value)}" for name, value in row.items()) for row in (first, second) if row]
    between = ",\n         " if sum(map(len, rows)) > ROW else ", "
    return f"Estimate({between.join(rows)})"


def _outside(posterior: Any) -> Any:
    """Whether values lie outside the validation regimes, or partly, if only an end of the interval does."""
    outside, partly = np.asarray(posterior.beyond()), np.asarray(posterior.partly_beyond())
    if outside.size > LONGEST:
        return f"{outside.any(axis=-1).sum()} of {len(outside)}"
    if not partly.any():
        return outside
    words = np.where(partly, "partly", outside.astype(str))
    return np.array2string(words, separator=", ", formatter={"str_kind": str}).replace("\n", "")


def _ends(value: Any) -> str:
    """The smallest to the largest number of an array, for each column; of intervals, those of their widths."""
    if np.ndim(value) == 0:
        return _said(value)
    array = np.asarray(value)
    if array.dtype == bool:
        return f"{array.reshape(len(array), -1).any(axis=-1).sum()} of {len(array)}"
    if array.ndim == 3:
        array = array[..., 1] - array[..., 0]
    columns = [f"{column.min():.4g} to {column.max():.4g}" for column in array.reshape(len(array), -1).T]
    said = columns[0] if array.ndim == 1 else f"[{', '.join(columns)}]"
    return f"{said} wide" if np.ndim(value) == 3 else said


def _said(value: Any) -> str:
    return value if isinstance(value, str) else _value(value)


def shown_readout(readout: Any) -> str:
    """A PrefixReadout in one line or two: what it reads and searches, then what validation told it."""
    low, high = _array(readout.low), _array(readout.high)
    gate = ", gate searched" if readout.free_gate else ""
    first = (
        f"history={readout.history}, frames={readout.frames}, begin={readout.begin}, search={readout.search!r} from "
        f"{low} to {high}{gate}"
    )
    told = [f"chart of {_numbers(jax.tree.leaves(readout.chart.origin))}"]
    told += [] if readout.known is None else [f"validated on frames of shape {list(readout.known)}"]
    if readout.error_over_anchor is not None:
        told[-1] += f" (future error {typical(readout.error_over_anchor):.2g} times the anchor's)"
    if readout.uncertainty is None:
        told.append("no uncertainty: see fit_uncertainty")
    else:
        known = readout.uncertainty.known()
        ends = "" if known is None else " for values " + ", ".join(f"{low:.4g} to {high:.4g}" for low, high in known)
        told.append(f"knows its uncertainty{ends}")
    between = ", " if readout.known is None and readout.uncertainty is None else ",\n              "
    return f"PrefixReadout({first}{between}{', '.join(told)})"


def shown_p(p: float) -> str:
    """A p-value in words; one that is 0 in the computer's numbers is not 0.

    Example:
        >>> shown_p(0.714), shown_p(0.0)
        ('p = 0.71', 'p < 1e-12')
    """
    return f"p = {p:.2g}" if p >= LEAST else f"p < {LEAST:.0e}"


def typical(ratios: Any) -> float:
    """The geometric mean of errors over those of the anchor; infinite if one of them is."""
    return float(np.exp(np.mean(np.log(np.maximum(np.asarray(ratios, float), 1e-30)))))


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
    if known and value.ndim < 4 and value.size <= LONGEST and np.dtype(value.dtype).kind in "fiub":
        how: Any = {"separator": ", ", "formatter": {"float_kind": lambda number: f"{number:.4g}", "bool": str}}
        return np.array2string(np.asarray(value), **how).replace("\n", "")
    return f"{value.dtype}{list(value.shape)}"
