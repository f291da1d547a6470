"""The readout of a recipe's chart: opened from files, and fitted on validation trajectories if there are any."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax.chart import Chart, Features, Gated, Polynomial, complete, fit_chart
from ccm_jax.cli.checkpoints import check_says
from ccm_jax.cli.faults import line_of
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.merge import open_family
from ccm_jax.cli.parameters import MORE
from ccm_jax.cli.recipe import Recipe, weights_by_name
from ccm_jax.cli.steps import check_step
from ccm_jax.cli.sure import Known, with_uncertainty
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.cli.waiting import waiting
from ccm_jax.fit_readout import REACH, fit_prefix_readout, prefix_readout
from ccm_jax.io.recordings import Recording
from ccm_jax.io.stream import merge_block
from ccm_jax.io.weights import Weights
from ccm_jax.parallel import mesh_of_all
from ccm_jax.readout import PrefixReadout
from ccm_jax.surrogate import Surrogate


class Opened(NamedTuple):
    """A recipe's chart, and the model that it holds weights of."""

    chart: Chart
    surrogate: Surrogate


class Fitted(NamedTuple):
    """A readout, and whether it knows how sure it is.

    Attributes:
        readout: with ``uncertainty`` if validation tells enough for that.
        regimes: of validation, by their parameters in words; None without validation.
        known: the physical values that it was fitted on; empty without uncertainty.
        unsure: why it has none, with the remedy; empty where it has one.
    """

    readout: PrefixReadout
    regimes: list[str] | None
    known: Known
    unsure: str


def open_chart(recipe: Recipe, model: str | None, recording: Recording) -> Opened:
    """Opens the files of a recipe, for the frames of a file; with a gate, so that the anchor is a choice.

    Raises:
        ValueError: for files that do not fit each other, the frames or the model.
    """
    family = open_family(recipe, cast=True)
    check_says(model, family[1:])
    surrogate = surrogate_for(family[0], model, recording)
    trees = [surrogate.to_params(arrays) for arrays in filtered(recipe, family)]
    features = with_gate(recipe.features)
    moves = (jax.tree.map(lambda a, b: bool(np.any(a != b)), trees[1], other) for other in trees[2:])
    if len(trees) > 2 and not any(any(jax.tree.leaves(each)) for each in moves):
        same = " and ".join(str(path) for path in recipe.experts)
        raise ValueError(
            f"{same} contain the same weights, so there is no direction between them; pass two different experts."
        )
    with warnings.catch_warnings():
        # As is said where the files are merged, and by the readout.
        warnings.filterwarnings("ignore", ".*trained independently")
        try:
            chart = fit_chart(trees[0], trees[1:], recipe.coordinates, features=features, ridge=recipe.ridge)
        except ValueError as error:
            raise ValueError(in_files(str(error), recipe)) from error
    return Opened(chart, surrogate)


def in_files(said: str, recipe: Recipe) -> str:
    """What a chart says of the anchor or an expert, with the file of that."""
    said = re.sub(r"`experts\[(\d+)\]`", lambda found: str(recipe.experts[int(found[1])]), said)
    return said.replace("`anchor`", str(recipe.anchor))


def fit_readout(
    opened: Opened,
    frame: tuple[int, ...],
    count: int,
    validation: Regimes | None = None,
    bank: np.ndarray | None = None,
    parameters: tuple[str, ...] = (),
    anyway: bool = False,
    *,
    reach: float = REACH,
) -> Fitted:
    """Fits the readout of a chart.

    Args:
        opened: the chart.
        frame: shape of the observed frames, ``[*space, C]``.
        count: the K observed frames after the model's window.
        validation: trajectories of other regimes; None takes stated settings.
        bank: coordinates ``[n]`` to choose among; None searches in between.
        parameters: those of validation whose values the axes stand for; the one that varies, if not given.
        anyway: validation of another time step is taken with a warning.
        reach: coordinates are searched up to ``±reach``.

    Raises:
        ValueError: for validation trajectories that do not fit the frames or the model.
    """
    chart, surrogate = opened
    shape: dict[str, Any] = {"history": surrogate.history, "frames": count, "reach": reach}
    readout = fit_prefix_readout(chart, surrogate.rollout_fn, **shape)
    if bank is not None:
        return Fitted(in_bank(readout, bank), None, Known(), "a bank has none; leave --bank out.")
    if validation is None:
        return Fitted(readout, None, Known(), f"pass --validation FILE; {MORE}.")
    check_grids(validation, frame)
    check_lengths(validation, surrogate.history, count)
    check_step(opened, validation, count, anyway=anyway)
    regimes, mesh = list(validation.trajectories.values()), mesh_of_all() if surrogate.spreads else None
    try:
        with waiting("compiling and fitting the readout", steps=True) as progress:
            readout = fit_prefix_readout(chart, surrogate.rollout_fn, regimes, mesh=mesh, progress=progress, **shape)
    except ValueError as error:
        names = list(validation.trajectories)
        said = re.sub(r"validation\[(\d+)\]", lambda found: f"the regime {names[int(found[1])]}", line_of(error))
        raise ValueError(f"--validation {validation.path}: {said}") from error
    sure, known, unsure = with_uncertainty(readout, validation, parameters, mesh)
    sure = jax.tree.map(np.asarray, sure)  # from all devices to one, which a few frames do not fill
    return Fitted(sure, list(validation.trajectories), known, unsure)


def check_grids(validation: Regimes, frame: tuple[int, ...]) -> None:
    """Raises ValueError for validation trajectories of another grid or other channels than the observed frames."""
    for name, x in validation.trajectories.items():
        if x.shape[2:] != frame:
            raise ValueError(
                f"--validation: trajectories of the regime {name} have frames {list(x.shape[2:])}, and those observed "
                f"{list(frame)}; both need the grid and the channels that the model was trained on."
            )


def check_lengths(validation: Regimes, history: int, count: int) -> None:
    """Raises ValueError for validation trajectories that end with the prefix, and leave no future to be judged on."""
    length, needed = min(x.shape[1] for x in validation.trajectories.values()), history + count + 1
    if length < needed:
        raise ValueError(
            f"--validation {validation.path} has trajectories of {counted(length, 'frame')}, and --frames {count} "
            f"needs at least {needed}: lower --frames, or use longer trajectories."
        )


def with_gate(features: Features) -> Features:
    """Features with a gate, so that the anchor is a choice; those without a constant pass through it anyway."""
    return Gated(features) if isinstance(features, Polynomial) and features.constant else features


def in_bank(readout: PrefixReadout, bank: np.ndarray) -> PrefixReadout:
    """The readout that chooses among coordinates ``[n]`` only, on one axis, by all observed frames, as the paper does.

    Raises:
        ValueError: for a chart of several axes.
    """
    features = readout.chart.features
    if features.dim - isinstance(features, Gated) != 1:
        raise ValueError(f"--bank is for charts of one axis, and this one has {features}; leave it out.")
    candidates = complete(features, jnp.asarray(bank, jnp.float32)[:, None])
    how: dict[str, Any] = {"history": readout.history, "frames": readout.frames, "begin": 0, "search": "bank"}
    return prefix_readout(readout.chart, readout.rollout_fn, candidates=candidates, **how)


def filtered(recipe: Recipe, family: list[Weights]) -> list[Mapping[str, np.ndarray]]:
    """Arrays of anchor and experts; experts have the fixed weights of the tensors that a filter of the recipe fits."""
    anchor, *experts = (weights.arrays for weights in family)
    if not recipe.filters:
        return [anchor, *experts]
    weights = weights_by_name(recipe._replace(coordinate=recipe.coordinates[0]), list(anchor))
    fixed = {}
    for name, leaf in anchor.items():
        if any(fnmatch.fnmatchcase(name, f.pattern) for f in recipe.filters):
            fixed[name] = np.empty(leaf.size, leaf.dtype)
            merge_block([np.reshape(tree[name], -1) for tree in (anchor, *experts)], weights(name), fixed[name], name)
            fixed[name] = fixed[name].reshape(leaf.shape)
    return [anchor, *(dict(expert) | fixed for expert in experts)]
