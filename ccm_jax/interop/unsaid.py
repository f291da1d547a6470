"""Options that leave no trace in weights: what files say of them is checked, and what they do not say is told.

neuraloperator writes its options into its ``state_dict``, and DPOT's training script its arguments beside the weights.
Others say nothing; then the usual options are assumed, and a line tells which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of each network: its options, and what is assumed of them.
_ASSUMED = {
    "neuraloperator": "non_linearity gelu, domain_padding none, positional_embedding grid on [0, 1], n_modes as stored",
    "fno2d": "padding 0, coordinates 0 to 1",
    "dpot-torch": "act gelu, modes all, normalize False, mixing_type afno",
}
_DPOT: dict[str, tuple[Any, ...]] = {
    "act": ("gelu",),
    "mixing_type": ("afno",),
    "normalize": (False, 0),
    "time_agg": ("exp_mlp",),
}


def unsaid(name: str, metadata: Mapping[str, Any], args: Mapping[str, Any], path: Any) -> str | None:
    """A line that tells what is assumed of a network whose file says nothing; None if it does, or if nothing is.

    Args:
        name: of the network, as ``--model`` has it.
        metadata: what the file says of itself.
        args: what the user says.
        path: of the file, for the line.

    Raises:
        ValueError: if the file says an option that the network has not here.
    """
    if name not in _ASSUMED:
        return None
    if name == "neuraloperator" and (metadata.get("_metadata") or args):
        return None
    if name == "fno2d" and {"padding", "coordinates"} <= set(args):
        return None
    said = _arguments(metadata.get("said"))
    if name == "dpot-torch" and "act" in said:
        _check_dpot(said, path)
        return None
    known = f", args {', '.join(args)} given" if args else ""
    return (
        f"{path} does not record the options that {name} was built with{known}; assumed are those that leave no trace "
        f"in weights: {_ASSUMED[name]}."
    )


def _arguments(said: Any) -> dict[str, Any]:
    """The options that a training script wrote down, whatever it called them."""
    found: dict[str, Any] = {}
    for options in said.values() if isinstance(said, Mapping) else ():
        found |= dict(options) if isinstance(options, Mapping) else {}
    return found


def _check_dpot(said: Mapping[str, Any], path: Any) -> None:
    refused = [f"{key}={said[key]!r}" for key, allowed in _DPOT.items() if key in said and said[key] not in allowed]
    size = [n for n in (said.get(key) for key in ("res", "patch_size", "modes")) if isinstance(n, int) and n > 0]
    if len(size) == 3 and size[2] < size[0] // size[1]:
        refused.append(f"modes={size[2]} of {size[0] // size[1]}")
    if refused:
        raise ValueError(f"{path} says {', '.join(refused)}, which models.DPOT does not have.")
