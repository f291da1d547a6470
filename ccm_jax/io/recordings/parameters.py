"""Physical parameters as files tell them: in attributes of any type, in YAML or JSON text, and in a file's name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.yamltext import load_yaml

_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = rf"[+-]?{_PLAIN}"
_END = r"(?![A-Za-z0-9])"  # 0.5_next and 0.5.train end a number, 0.5x does not

# Names that stand directly before their number in the names of files, as PDEBench's Nu0.001 and Eta1.e-8.
_SYMBOL = re.compile("nu|re|ra|pr|ma|rho|beta|eta|zeta|alpha|gamma|kappa|mu|sigma|du|dv|visc|viscosity|[mkfg]")

# Attributes that say how a file is made, not what it holds.
_FORMAT = re.compile(r"_.*|CLASS|NAME|VERSION|TITLE|DIMENSION_LIST|REFERENCE_LIST|n_spatial_dims|n_trajectories")
NOT_FINITE = "contains NaN or infinite values"  # why a parameter is left out
MOST = 10**6  # samples; a file of more has holes


def number(value: Any) -> float | None:
    """One finite number, whatever its type: numpy's, an array of one, text, bytes; None for anything else.

    Example:
        >>> [number(v) for v in (np.int64(3), np.array([[0.5]]), "1e-3", b"2", True, "no", [1, 2])]
        [3.0, 0.5, 0.001, 2.0, None, None, None]
    """
    if isinstance(value, (np.ndarray, list, tuple)):
        flat = np.ravel(np.asarray(value, object))
        return number(flat[0]) if flat.size == 1 else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if not re.fullmatch(_NUMBER, value.strip()):
            return None
    elif isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


def numbers(content: Any) -> dict[str, float]:
    """All numbers of nested dictionaries, by their last name; YAML or JSON text is read first.

    Example:
        >>> numbers({"sim": {"Du": "1e-3", "seed": 4}, "name": "diff-react"})
        {'Du': 0.001, 'seed': 4.0}
    """
    if isinstance(content, (str, bytes)):
        content = load_yaml(content)
    found: dict[str, float] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        one = number(value)
        if isinstance(value, Mapping):
            found |= numbers(value)
        elif one is not None:
            found[str(key)] = one
    return found


def of_attributes(attributes: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a file's attributes; of text, those in ``config`` and in JSON."""
    found: dict[str, float] = {}
    for name, value in attributes.items():
        plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        one = None if _FORMAT.fullmatch(name) else number(plain)
        if one is not None:
            found[name] = one
        elif isinstance(plain, str) and (name == "config" or plain.lstrip().startswith("{")):
            found |= numbers(plain)
    return found


def lists_of_attributes(attributes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Attributes that are lists of numbers, which may be one for each sample."""
    arrays = {name: np.asarray(value) for name, value in attributes.items() if not _FORMAT.fullmatch(name)}
    return {name: value for name, value in arrays.items() if value.size > 1 and value.dtype.kind in "fiu"}


def in_name(path: Path) -> dict[str, float]:
    """Parameters in a file's name, as in ``Du=0.1_k=-5e-2.h5`` and ``1D_Burgers_Sols_Nu0.001.hdf5``.

    Example:
        >>> in_name(Path("delta=-3.5_ic=42.train.h5")), in_name(Path("1D_CFD_Eta1.e-8_trans_Train.hdf5"))
        ({'delta': -3.5, 'ic': 42.0}, {'Eta': 1e-08})
    """
    named = re.findall(rf"([A-Za-z]\w*?)=({_NUMBER}){_END}", path.stem)
    for name, value in re.findall(rf"(?<![A-Za-z0-9=])([A-Za-z]+)({_PLAIN}){_END}", path.stem):
        # A letter and a whole number, as k3, is the name of a run.
        if _SYMBOL.fullmatch(name.lower()) and (len(name) > 1 or not value.isdigit()):
            named.append((name, value))
    return {name: float(value) for name, value in named}


def alone_in_name(path: Path) -> float | None:
    """The number that is all of a file's name, as in PDEInvBench's ``83.0.h5``."""
    return float(path.stem) if re.fullmatch(_NUMBER, path.stem) else None


def joined(inside: Mapping[str, float], outside: Mapping[str, float]) -> dict[str, float]:
    """Both; where a name is in both, in whatever case, what stands inside the file counts."""
    known = {name.lower() for name in inside}
    return {name: value for name, value in outside.items() if name.lower() not in known} | dict(inside)


def of_arrays(arrays: Mapping[str, Any], samples: int) -> tuple[list[dict[str, float]], list[str]]:
    """Parameters of each sample from arrays: one number is that of all samples, ``[N]`` are those of each.

    Returns:
        The parameters, and what is left out, with the reason.

    Raises:
        ValueError: for more samples than anyone has.
    """
    if samples > MOST:
        raise ValueError(f"it has {samples} samples, more than {MOST}")
    rows: list[dict[str, float]] = [{} for _ in range(samples)]
    left_out = []
    for name, value in arrays.items():
        if value.dtype.kind not in "fiu" or value.size not in (1, samples):
            kind = f"{value.dtype}{list(value.shape)}"
            left_out.append(f"{name}: {kind}, expected one number, or one for each of {samples} samples")
        elif not np.isfinite(values := np.ravel(value[()])).all():
            left_out.append(f"{name}: {NOT_FINITE}")
        else:
            for i, row in enumerate(rows):
                row[name] = float(values[i if values.size == samples else 0])
    return rows, left_out
