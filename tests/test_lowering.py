"""Programs lower for TPU and CUDA: by the branches of an accelerator, in single precision, without the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import optax
import pytest

from ccm_jax import Fill, Gated, fit_chart, fit_prefix_readout, make_rollout, merge_pytree
from ccm_jax.evaluate import future_error_each, future_error_sweep
from ccm_jax.fill import complete_frames
from ccm_jax.metrics import relative_l2
from ccm_jax.models import make_model
from ccm_jax.train import init_state, train_chunk
from solvers import burgers, kuramoto_sivashinsky, navier_stokes, reaction_diffusion, shallow_water

POINTS = 12  # no other test has this grid: programs that were traced for another backend are not met again
MODELS: dict[str, dict[str, Any]] = {
    "fno": {"width": 4, "modes": (3, 3), "depth": 1},
    "dpot": {"width": 8, "mlp": 8, "heads": 2, "depth": 1, "patch": 4, "out_width": 4},
    "unet": {"widths": (4, 8), "groups": 2},
}
STATES: dict[str, tuple[Callable[..., Any], tuple[int, ...], dict[str, Any]]] = {
    "reaction_diffusion": (reaction_diffusion.make_step, (POINTS, POINTS, 2), {"dt": 0.1}),
    "navier_stokes": (navier_stokes.make_step, (POINTS, POINTS, 1), {"dt": 0.1, "viscosity": 1e-2}),
    "shallow_water": (shallow_water.make_step, (POINTS, POINTS, 3), {"dt": 0.01, "substeps": 2}),
    "burgers": (burgers.make_step, (POINTS, 1), {"dt": 0.1, "viscosity": 1e-2}),
    "kuramoto_sivashinsky": (kuramoto_sivashinsky.make_step, (POINTS, 1), {"dt": 0.1, "length": 22.0}),
}


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``(function, *arguments) -> program`` for both platforms, by the branches that a machine with a TPU takes."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")

    def lower(function: Callable[..., Any], *arguments: Any) -> str:
        program = jax.export.export(jax.jit(function), platforms=["tpu", "cuda"])(*arguments).mlir_module()
        for stranger in ("f64", "callback", "lapack"):
            assert stranger not in program, stranger
        return program

    return lower


def family(name: str, **arguments: Any) -> tuple[Any, Any]:
    """An untrained network, and the chart of three draws of its weights."""
    model = make_model(name, out_channels=2, **MODELS[name], **arguments)
    window = jnp.zeros((1, 1, POINTS, POINTS, 2))
    anchor, low, high = (model.init(jax.random.key(seed), window) for seed in range(3))
    return model, fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:fit_chart. experts.* trained independently")
@pytest.mark.parametrize("name", MODELS)
def test_a_readout_and_its_forecast_lower(name: str, lowered: Callable[..., str]) -> None:
    model, chart = family(name)
    rollout_fn = make_rollout(model.apply)

    def forecast(chart: Any, x: jax.Array) -> Any:
        readout = fit_prefix_readout(chart, rollout_fn)
        found = readout(x[:, :5], batch="each").coordinate
        sweep = future_error_sweep(chart, rollout_fn, x, jnp.ones((3, 2)))
        return found, sweep, future_error_each(chart, rollout_fn, x, found)

    lowered(forecast, chart, jnp.ones((2, 7, POINTS, POINTS, 2)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_lowers(dtype: str, lowered: Callable[..., str]) -> None:
    model, chart = family("fno", dtype=dtype)
    optimizer = optax.adam(1e-3)

    def loss_fn(params: Any, frames: jax.Array) -> jax.Array:
        return relative_l2(model.apply(params, frames[:, :1]), frames[:, 1]).mean()

    def train(params: Any, trajectories: jax.Array, order: jax.Array) -> Any:
        state = init_state(params, optimizer)
        return train_chunk(state, trajectories, order, loss_fn=loss_fn, optimizer=optimizer)

    program = lowered(train, chart.origin, jnp.ones((2, 3, POINTS, POINTS, 2)), jnp.zeros((2, 2), jnp.int32))
    assert ("bf16" in program) == (dtype == "bfloat16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merging_lowers(dtype: str, lowered: Callable[..., str]) -> None:
    experts = [{"w": jnp.full((POINTS, 3), value, dtype), "n": jnp.int32(3)} for value in (0.0, -1.0, 1.0)]
    lowered(lambda a, low, high, s: merge_pytree(a, low, high, coordinate=s), *experts, 1.4)


def test_the_transforms_of_a_gpu_lower(lowered: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for transform in ("auto", "fft"):
        model, chart = family("fno", transform=transform)
        lowered(model.apply, chart.origin, jnp.ones((3, 1, POINTS, POINTS, 2)))


def test_frames_with_gaps_lower(lowered: Callable[..., str]) -> None:
    frames = jnp.ones((1, 2, POINTS, POINTS, 1))
    for method in ("nearest", "harmonic", "spectral"):
        fill = Fill(method)
        lowered(lambda x, mask, fill=fill: complete_frames(fill, x, mask), frames, frames[..., 0] > 0)


@pytest.mark.parametrize("name", STATES)
def test_solvers_lower(name: str, lowered: Callable[..., str]) -> None:
    make_step, shape, how = STATES[name]
    lowered(make_step(**how), jnp.ones(shape, jnp.float32))
