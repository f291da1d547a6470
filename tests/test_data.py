"""From a configuration to trajectories: reproducible, resolved, checked, whatever the number of devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ccm_jax.rollout import rollout
from experiments.configs import ns_ood, rd_f2, rd_ood, rdb_gravity, rdb_ood
from experiments.pipeline import data, systems
from experiments.pipeline.checks import check_config
from experiments.pipeline.systems import regime_parameters, settings_for, system_of
from solvers.spectral import resample_fourier
from solvers.system import find_system


def test_samples_depend_on_their_number_alone() -> None:
    config = rd_ood.get_config("smoke")
    many = data.simulate(config, 2e-3, 20, "test")
    np.testing.assert_array_equal(data.simulate(config, 2e-3, 3, "test", first=17), many[17:])
    assert not np.array_equal(data.simulate(config, 2e-3, 1, "validation"), many[:1])
    config.seed = 1
    assert not np.array_equal(data.simulate(config, 2e-3, 1, "test"), many[:1])


def test_a_blow_up_is_an_error_that_names_regime_frame_and_remedy() -> None:
    config = rd_ood.get_config("smoke")
    config.solver.update(dt=4.0, substeps=1)
    with pytest.raises(
        ValueError, match=r"reaction_diffusion at .* = 0.002 is not finite from frame \d+ on; .*substeps=2, or"
    ):
        data.simulate(config, 2e-3, 2, "test")


def test_the_smoke_size_stays_finite() -> None:
    data.simulate(rd_ood.get_config("smoke"), 5e-4, 24, "test", first=48)  # one of them diverged with fewer substeps


def test_an_axis_may_scale_several_parameters() -> None:
    config = rd_ood.get_config()
    config.axis.update(kind="factor", parameters=("diffusivity_u", "diffusivity_v"))
    parameters = systems.regime_parameters(config, 0.5)
    assert parameters["diffusivity_u"] == pytest.approx(1e-3) and parameters["diffusivity_v"] == pytest.approx(2.5e-3)


def test_a_factor_scales_both_diffusivities() -> None:
    parameters = regime_parameters(rd_f2.get_config(), 2.0)
    assert (parameters["diffusivity_u"], parameters["diffusivity_v"]) == (4e-3, 1e-2)


@pytest.mark.long
@pytest.mark.parametrize("viscosity", [0.5e-3, 2.5e-3])
def test_the_viscosities_of_the_configuration_are_resolved(viscosity: float) -> None:
    """Twice the grid and half the step change the stored frames by less than one per cent."""
    config = ns_ood.get_config()
    system, parameters = system_of(config), regime_parameters(config, viscosity)

    def frames(config: ConfigDict) -> np.ndarray:
        def one(key: jax.Array) -> jax.Array:
            settings = settings_for(config)
            step, start = system.make_step(settings, parameters), system.starts[config.initial.kind]
            states = rollout(step, config.solver.frames)(start(settings, parameters, key))
            return jax.vmap(lambda w: resample_fourier(w, (32, 32)))(states)

        return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 2)))

    fine = ns_ood.get_config()
    fine.solver.update(grid=2 * config.solver.grid, substeps=2 * config.solver.substeps)
    a, b = frames(config), frames(fine)
    error = np.sqrt(((a - b) ** 2).sum((-3, -2, -1)) / (b**2).sum((-3, -2, -1)))
    assert error.max() < 0.01


def test_dams_vary_in_radius_and_centre_and_their_parameter_reaches_the_start() -> None:
    config = rdb_ood.get_config("smoke")
    low, high = (data.simulate(config, height, 6, "pair") for height in (1.5, 2.5))
    assert low.shape == (6, config.solver.frames + 1, config.data.grid, config.data.grid, 3)
    volumes = (low[:, 0, ..., 0] - 1).sum(axis=(1, 2))
    assert volumes.max() > 1.3 * volumes.min()
    # A pair starts from the same circles: the water above the outer depth is in proportion.
    np.testing.assert_allclose(high[:, 0, ..., 0] - 1, 3 * (low[:, 0, ..., 0] - 1), atol=1e-5)
    centres = [np.argwhere(frame == frame.max()).mean(axis=0) for frame in low[:, 0, ..., 0]]
    assert np.ptp(centres, axis=0).min() > 0.5


def test_gravity_is_hidden_from_the_start() -> None:
    config = rdb_gravity.get_config("smoke")
    slow, fast = (data.simulate(config, gravity, 2, "pair") for gravity in (0.5, 1.5))
    np.testing.assert_array_equal(slow[:, 0], fast[:, 0])
    assert np.abs(slow[:, -1] - fast[:, -1]).max() > 0.05


def test_some_fields_may_be_stored_alone() -> None:
    config = rdb_ood.get_config("smoke")
    every = data.simulate(config, 2.0, 2, "test")
    config.data.observe = ("h",)
    np.testing.assert_array_equal(data.simulate(config, 2.0, 2, "test"), every[..., :1])
    config.data.observe = ("depth",)
    with pytest.raises(ValueError, match="config.data.observe is depth, expected among h, hu, hv"):
        check_config(config)


def test_frames_are_stored_as_averages_over_cells() -> None:
    state = jnp.arange(4 * 4 * 3.0).reshape(4, 4, 3)
    stored = find_system("shallow_water").store(state, (2, 2))
    np.testing.assert_allclose(stored[0, 1], state[:2, 2:].mean(axis=(0, 1)))


def test_a_burn_in_drops_the_first_intervals() -> None:
    config = rd_ood.get_config("smoke")
    whole = data.simulate(config, 2e-3, 2, "test")
    config.solver.update(burn_in=3, frames=config.solver.frames - 3)
    np.testing.assert_allclose(data.simulate(config, 2e-3, 2, "test"), whole[:, 3:], atol=1e-6)


def test_the_courant_number_is_reported_and_too_long_steps_are_refused() -> None:
    config = rdb_ood.get_config()
    config.data.update(grid=16)
    config.solver.update(grid=32, substeps=2)
    (_, courant), *_ = data.simulate_batches(config, 3.5, 2, "test")
    assert 0.2 < courant < 0.5
    config.solver.substeps = 1
    with pytest.raises(ValueError, match=r"substeps is 1, expected at least 2: waves of height .* run at up to"):
        check_config(config)
    config = rdb_ood.get_config()
    config.data.grid = 24
    with pytest.raises(ValueError, match=r"data.grid is \(24, 24\), expected divisors of solver.grid, \(64, 64\)"):
        check_config(config)


def test_as_many_devices_make_the_same_samples(tmp_path: Path) -> None:
    script = f"""
import jax, numpy as np
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
from experiments.pipeline import data
from experiments.configs import rd_ood
config = rd_ood.get_config("smoke")
out = data.simulate(config, 2e-3, 37, "test")
assert jax.local_device_count() == 4 and out.shape[0] == 37
np.save({str(tmp_path / "many.npy")!r}, out[[0, 20, 36], -1])
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=240)
    one = data.simulate(rd_ood.get_config("smoke"), 2e-3, 37, "test")
    np.testing.assert_allclose(np.load(tmp_path / "many.npy"), one[[0, 20, 36], -1], atol=1e-5)
