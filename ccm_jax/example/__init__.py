"""A small family that comes with the package: an anchor, two experts, and trajectories to try them on.

The fields are the vorticity of forced two-dimensional Navier-Stokes on 32 x 32 points, one frame per unit of time. The
anchor is a Fourier neural operator trained at viscosities from 1e-3 to 2e-3; the experts are fine-tuned at both ends of
this range, and the test regimes lie outside. ``python -m experiments.example`` in a clone makes the files again.

The README's snippet, which a test runs::

    import ccm_jax
    from ccm_jax import example

    family = example.load()
    anchor, experts = family.anchor, [family.low, family.high]
    flow = family.test[1][0]
    known = ccm_jax.coordinate_from_metadata(0.00075, 0.001, 0.002)
    merged = ccm_jax.merge_pytree(anchor, *experts, known)
    chart = ccm_jax.fit_chart(anchor, experts, [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)
    found = readout(flow[:5])
    weights = chart(found)
    print(found.coordinate)
    for params in (anchor, family.low, merged, weights):
        errors = ccm_jax.evaluate.future_error(params, family.rollout_fn, flow[None])
        print(errors.mean())

The same files serve the terminal::

    cd $(python -c "from ccm_jax import example; print(example.path())")
    ccm calibrate --family . --prefix test-0.0005.npz
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax._shown import shown
from ccm_jax.rollout import Apply, RolloutFn, make_rollout

Params = Any

WEIGHTS = ("anchor", "low", "high")
VALIDATION, TEST = "validation.npz", "test-{}.npz"


class Family(NamedTuple):
    """The example family.

    Attributes:
        anchor: parameters trained on all regimes of the training range.
        low: those of the expert at ``low_value``, coordinate -1.
        high: those of the expert at ``high_value``, coordinate +1.
        apply: the model in physical units, ``(params, window [N, history, H, W, C]) -> frame [N, H, W, C]``.
        rollout_fn: ``make_rollout(apply)``, the same object in every call, so that programs compile once.
        history: frames in the model's window.
        validation: trajectories ``[N, T, H, W, C]`` of each validation regime, in float32.
        validation_values: the axis values of these regimes.
        test: trajectories ``[N, T, H, W, C]`` of each test regime, all outside the training range.
        test_values: the axis values of these regimes.
        low_value: the axis value of the low expert.
        high_value: the axis value of the high expert.
        label: name of the axis.
    """

    anchor: Params
    low: Params
    high: Params
    apply: Apply
    rollout_fn: RolloutFn
    history: int
    validation: list[np.ndarray]
    validation_values: list[float]
    test: list[np.ndarray]
    test_values: list[float]
    low_value: float
    high_value: float
    label: str

    def __repr__(self) -> str:
        return shown(self)


class _Model(NamedTuple):
    """What needs to be made once: the weights, the model that they are of, and what they say of their axis."""

    params: tuple[Params, ...]
    apply: Apply
    rollout_fn: RolloutFn
    history: int
    axis: dict[str, Any]


def path(name: str = "") -> Path:
    """The folder of the example's files, or one of them.

    Args:
        name: a file in it: ``anchor.safetensors``, ``low.safetensors``, ``high.safetensors``, ``validation.npz``, or
            ``test-VALUE.npz``.

    Raises:
        ValueError: if there is no such file, with those that there are.

    Example:
        >>> path("anchor.safetensors").name
        'anchor.safetensors'
    """
    folder = Path(__file__).parent
    if name and not (folder / name).is_file():
        there = ", ".join(sorted(file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".npz")))
        raise ValueError(f"example.path: there is no file {name!r}, expected one of {there}.")
    return folder / name


def load() -> Family:
    """Loads the example family.

    Returns:
        A :class:`Family`.

    Raises:
        ModuleNotFoundError: if flax, which runs the network, is not installed, with the extra that brings it.

    Example:
        >>> family = load()
        >>> family.label, family.low_value, family.high_value, family.test_values
        ('viscosity', 0.001, 0.002, [0.0005, 0.00075, 0.0025])
        >>> family.test[0].shape
        (4, 21, 32, 32, 1)
    """
    model = _model()
    validation, validation_values = _regimes([path(VALIDATION)], model.axis["parameters"][0])
    test, test_values = _regimes(sorted(path().glob(TEST.format("*"))), model.axis["parameters"][0])
    anchor, low, high = model.params
    return Family(
        anchor=anchor,
        low=low,
        high=high,
        apply=model.apply,
        rollout_fn=model.rollout_fn,
        history=model.history,
        validation=validation,
        validation_values=validation_values,
        test=test,
        test_values=test_values,
        low_value=float(model.axis["low"]),
        high_value=float(model.axis["high"]),
        label=str(model.axis["label"]),
    )


@functools.cache
def _model() -> _Model:
    from ccm_jax.io.weights import open_weights
    from ccm_jax.surrogate import surrogate_of  # needs flax

    opened = [open_weights(path(f"{name}.safetensors")) for name in WEIGHTS]
    with np.load(path(VALIDATION)) as stored:
        frame = stored["frames"].shape[2:]
    surrogate = surrogate_of(opened[0], None, frame)
    params = tuple(surrogate.to_params(weights.arrays) for weights in opened)
    axis = json.loads(opened[0].metadata["config"])["axis"]
    return _Model(params, surrogate.apply, make_rollout(surrogate.apply), surrogate.history, axis)


def _regimes(files: list[Path], parameter: str) -> tuple[list[np.ndarray], list[float]]:
    """Trajectories ``[N, T, H, W, C]`` of each value of a parameter, and the values, ascending."""
    found: dict[float, list[np.ndarray]] = {}
    for file in files:
        with np.load(file) as stored:
            frames, values = stored["frames"].astype(np.float32), stored[parameter]
        for value, trajectory in zip(values.tolist(), frames, strict=True):
            found.setdefault(value, []).append(trajectory)
    values = sorted(found)
    return [np.stack(found[value]) for value in values], values
