"""Every field once, with its unit. A configuration starts here and changes what its experiment is about."""

from __future__ import annotations

import itertools
from typing import Any

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """The fields of every experiment, with the defaults of the laptop size."""
    c = ConfigDict()
    c.name = ""
    c.size = ""  # "" for a laptop, "smoke" for a test of the machinery, "paper" for the paper's sizes
    c.seed = 0  # everything random follows from it

    c.system = ""  # a module of solvers, or MODULE:NAME for a solvers.system.System of your own
    c.physics = ConfigDict()  # parameters of the solver that the axis does not change, in the solver's units

    # The physical axis: which parameters it sets, or by which factor it scales them.
    c.axis = ConfigDict()
    c.axis.label = ""
    c.axis.unit = ""
    c.axis.parameters = ()  # names of solver parameters
    c.axis.kind = "value"  # "value": the axis is the parameter; "factor": it multiplies c.physics
    c.axis.low = 0.0  # where the low expert is fine-tuned, coordinate -1
    c.axis.high = 0.0  # where the high expert is fine-tuned, coordinate +1
    c.axis.scale = "linear"  # or "log": how the normalised coordinate is read off the value

    # Values on the axis. Test regimes are never used for a choice; validation regimes are, and are others.
    c.regimes = ConfigDict()
    c.regimes.support = ()
    c.regimes.validation = ()
    c.regimes.test = ()

    c.solver = ConfigDict()
    c.solver.grid = _grid(64)  # points of the simulation along every axis, or one number per axis: (64, 32)
    c.solver.dt = 0.25  # time between stored frames
    c.solver.substeps = 6  # steps of the solver between stored frames
    c.solver.frames = 20  # stored frames after the first one
    c.solver.burn_in = 0  # intervals simulated before the first stored frame

    c.initial = ConfigDict()
    c.initial.kind = "smooth"  # or "white", PDEBench's start; "fno", the start of its vorticity; "dam"
    c.initial.scale = 0.3  # correlation length of the smooth start, in units of length
    c.initial.radius = (0.3, 0.7)  # of the dam, uniform between the two, in units of length
    c.initial.center = 0.5  # of the dam, uniform within this distance of the middle, on either axis

    # Trajectories, all different: per support regime, per endpoint, per validation and per test regime.
    c.data = ConfigDict()
    c.data.grid = _grid(32)  # points of the stored frames, likewise
    c.data.path = ""  # a file or folder of trajectories to read instead of simulating; see ccm_jax.io.recordings
    c.data.observe = ()  # fields that are stored, by name; none named: all of the system's
    c.data.support = 96
    c.data.endpoint = 240
    c.data.validation = 16
    c.data.test = 16

    c.model = ConfigDict()
    c.model.name = "fno"  # a module of ccm_jax.models, or MODULE:NAME for a network of your own
    c.model.history = 1  # frames in the model's window
    c.model.args = ConfigDict()  # arguments of the model

    # The anchor, on the mixture of the support regimes.
    c.train = ConfigDict()
    c.train.steps = 5500
    c.train.learning_rate = 2e-3  # peak; cosine to zero
    c.train.batch_size = 16
    c.train.unroll = 1  # autoregressive steps in the loss
    c.train.noise = 0.0  # on the model's input, in units of its root mean square
    c.train.chunk = 100  # steps in one compiled scan; progress is shown between two
    c.train.save_every = 500  # steps between checkpoints of a running stage

    # Each endpoint expert, from the anchor. `anchor_more` gets the steps of both, on the mixture.
    c.finetune = ConfigDict()
    c.finetune.steps = 1000
    c.finetune.learning_rate = 2e-3
    c.finetune.batch_size = 16
    c.finetune.unroll = 1
    c.finetune.noise = 0.0
    c.finetune.chunk = 100
    c.finetune.save_every = 500
    c.finetune.seed = 0  # of the order of the batches, beside c.seed: experts anew from the same anchor
    c.finetune.paired = True  # both experts: same initial conditions, same batch order

    c.calibration = ConfigDict()
    c.calibration.low = -2.5  # the bank of candidate coordinates
    c.calibration.high = 2.5
    c.calibration.step = 0.25
    c.calibration.frames = 4  # K: observed frames that are scored
    c.calibration.search = "continuous"  # between candidates; "bank" or "parabola": among those of the bank
    c.calibration.begin = config_dict.placeholder(int)  # observed frames before the scored rollout; none: by validation
    c.calibration.skip = config_dict.placeholder(int)  # first frames of that rollout not scored; none: all are
    c.calibration.free_gate = config_dict.placeholder(bool)  # whether the gate is searched; none: by validation
    c.calibration.gates = (0.0, 0.5, 1.0)  # scales of the shared update that the search starts from
    c.calibration.pull = config_dict.placeholder(float)  # toward the anchor; none: by validation
    c.calibration.clip = config_dict.placeholder(float)  # largest |coordinate| from metadata; none: no clip
    c.calibration.pooled = False  # one coordinate per test trajectory, or one per regime
    return c


# Normalised coordinates of the regimes of a plane. Those of validation lie inside the box of the support and a little
# outside, and are none of the others.
SUPPORT = tuple(itertools.product((-1.0, 0.0, 1.0), repeat=2))
NEAR = 1.25
VALIDATION = (
    *itertools.product((-0.5, 0.5), repeat=2),
    *((-NEAR, 0.0), (NEAR, 0.0), (0.0, -NEAR), (0.0, NEAR)),
    *itertools.product((-NEAR, NEAR), repeat=2),
)
TEST = tuple(itertools.product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=2))


def plane(c: ConfigDict, axis: dict[str, Any], axis2: dict[str, Any]) -> ConfigDict:
    """The configuration with a second axis, and regimes on the plane of both.

    Args:
        c: a configuration with one axis.
        axis: fields of its axis that change.
        axis2: fields of the second axis that differ from those of the first.
    """
    c.axis.update(axis)
    c.axis2 = ConfigDict(c.axis.to_dict() | axis2)

    def regimes(coordinates: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(_value(a, s) for a, s in zip((c.axis, c.axis2), pair, strict=True)) for pair in coordinates)

    few = c.size == "smoke"
    c.regimes.support = regimes(SUPPORT[::2] if few else SUPPORT)
    c.regimes.validation = regimes(VALIDATION[:6] if few else VALIDATION)
    c.regimes.test = regimes(TEST[::6] if few else TEST)
    if c.size == "":
        c.data.update(support=27, validation=4, test=8)
    return c


def _value(axis: ConfigDict, s: float) -> float:
    middle, half = (axis.low + axis.high) / 2, (axis.high - axis.low) / 2
    return round(middle + s * half, 8)


def _grid(points: int) -> config_dict.FieldReference:
    """A field that takes a number or a tuple of numbers."""
    return config_dict.FieldReference(points, field_type=object)


def smoke(c: ConfigDict) -> ConfigDict:
    """The same path in seconds: it tests the machinery, and its errors mean nothing."""
    c.solver.update(grid=32, substeps=4, frames=10)
    c.data.update(grid=16, support=4, endpoint=8, validation=2, test=4)
    c.train.update(steps=60, chunk=20, save_every=20)
    c.finetune.update(steps=40, chunk=20, save_every=20)
    c.calibration.update(begin=0, free_gate=False)  # one program instead of four: compiling is most of a smoke run
    return c
