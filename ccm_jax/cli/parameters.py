"""The physical parameters of validation trajectories: which of them the axes of a chart stand for."""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np

from ccm_jax._checks import counted
from ccm_jax._reasons import meant
from ccm_jax.cli.frames import Regimes

MORE = "it needs trajectories of three or more known values of the parameter"


def parameter_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option that names the parameters of validation whose values are read."""
    return click.option(
        "--parameter",
        multiple=True,
        metavar="NAME",
        help="Parameter of --validation along the axis; repeat for each axis. Default: the one that varies.",
    )(function)


def common_names(validation: Regimes) -> list[str]:
    """Parameters that all regimes have."""
    return sorted(set.intersection(*(set(parameters) for parameters in validation.parameters)))


def varying_names(validation: Regimes) -> list[str]:
    """Those of them whose values differ."""
    return [name for name in common_names(validation) if len({row[name] for row in validation.parameters}) > 1]


def values_of(validation: Regimes, names: Sequence[str], axes: int) -> tuple[tuple[str, ...], np.ndarray, str]:
    """Names and values ``[R, axes]`` of the parameters that the axes stand for; or what is wrong with ``--validation``.

    Args:
        validation: the regimes.
        names: of the parameters, in the order of the axes; if empty, that which varies.
        axes: of the chart.

    Raises:
        ValueError: for a name that the file does not have, or another number of them than axes.
    """
    known = validation.parameters
    common, varying = common_names(validation), varying_names(validation)
    unknown = [name for name in names if name not in common]
    if unknown:
        raise ValueError(
            f"--parameter {unknown[0]}: {validation.path} has {', '.join(common) or 'no parameters'}, and no "
            f"{unknown[0]}{meant(unknown[0], common)}."
        )
    if names and len(names) != axes:
        raise ValueError(
            f"--parameter {', '.join(names)}: expected {counted(axes, 'parameter')}, one for each axis of the chart."
        )
    chosen = tuple(names) or tuple(varying)
    if not names and (len(varying) != 1 or axes != 1):
        if varying:
            there = f"{', '.join(varying)} for {counted(axes, 'axis')}"
            why = f"has {there}; name them in their order with --parameter."
        else:
            have = f"has the same {', '.join(common)} everywhere" if common else "has no values of a parameter"
            why = f"{have}; {MORE}."
        return (), np.zeros((0, axes)), why
    return chosen, np.array([[parameters[name] for name in chosen] for parameters in known], np.float64), ""
