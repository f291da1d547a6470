"""How far outside the training range regimes lie: coordinates of validation and test, from the configurations."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from ml_collections import ConfigDict

from experiments.pipeline.data import coordinate_of
from experiments.report.ratios import named

Reach = tuple[float, float]


def reach_of(config: ConfigDict, split: str) -> Reach:
    """The smallest and the largest coordinate of the regimes of a split, ``"validation"`` or ``"test"``."""
    coordinates = [float(coordinate_of(config, float(value))) for value in config.regimes[split]]
    return min(coordinates), max(coordinates)


def config_of(system: str) -> ConfigDict:
    """The configuration of a system, in its usual size."""
    return importlib.import_module(f"experiments.configs.{system}").get_config()


def validation_of(systems: Iterable[str]) -> str:
    """How many validation values the configurations of the systems have, and of how many trajectories each."""
    configs = [config_of(system) for system in systems]
    counts = [{len(config.regimes.validation) for config in configs}, {config.data.validation for config in configs}]
    values, trajectories = (" or ".join(map(str, sorted(found))) for found in counts)
    return f"{values} validation values of {trajectories} trajectories each"


def reaches(systems: Iterable[str]) -> dict[str, str]:
    """In words, for the configurations of the systems: between which coordinates validation and test regimes lie."""
    configs = {system: config_of(system) for system in systems}
    return {
        split: in_words({system: reach_of(config, split) for system, config in configs.items()})
        for split in ("validation", "test")
    }


def in_words(found: dict[str, Reach]) -> str:
    """Where each system reaches, once if all reach as far.

    Example:
        >>> in_words({"rd_ood": (-1.25, 1.25), "ns_ood": (-1.25, 1.25)})
        '−1.25 to +1.25'
        >>> in_words({"rd_ood": (-1.5, 2.0), "ns_ood": (-2.0, 2.0)})
        '−1.5 to +2 for reaction–diffusion, and −2 to +2 for Navier–Stokes'
    """
    systems: dict[Reach, list[str]] = {}
    for system, reach in found.items():
        systems.setdefault(reach, []).append(system)
    words = {" to ".join(f"{end:+g}".replace("-", "−") for end in reach): names for reach, names in systems.items()}
    if len(words) == 1:
        return next(iter(words))
    said = [f"{ends} for {named(names)}" for ends, names in words.items()]
    return f"{', '.join(said[:-1])}, and {said[-1]}"
