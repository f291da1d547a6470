"""Readouts from several starting frames: one coordinate where nothing is noisy, the mean where something is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart, fit_prefix_readout, make_rollout, mean_over_starts, starting_at
from ccm_jax.starts import mean_of_known


def decay(params: dict[str, jax.Array], window: jax.Array) -> jax.Array:
    return params["a"] * window[:, -1]


CHART = fit_chart({"a": jnp.float32(0.8)}, [{"a": jnp.float32(0.6)}, {"a": jnp.float32(1.0)}], [-1.0, 1.0])
READOUT = fit_prefix_readout(CHART, make_rollout(decay))


def frames(noise: float) -> jax.Array:
    clean = 0.9 ** jnp.arange(5.0)[None, :, None, None, None] * jnp.ones((24, 5, 2, 2, 1))
    return clean + noise * jax.random.normal(jax.random.key(1), clean.shape)


@pytest.mark.long
def test_every_start_finds_the_same_coordinate_where_nothing_is_noisy() -> None:
    starts = starting_at(READOUT, (0, 1, 2))
    np.testing.assert_allclose(mean_over_starts(starts, frames(0.0)), 0.5, atol=1e-3)


def test_with_noise_it_is_the_mean_of_the_single_readouts() -> None:
    starts, x = starting_at(READOUT, (0, 1)), frames(0.1)
    alone = [np.asarray(one(x, batch="each").coordinate) for one in starts]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(mean_over_starts(starts, x), (alone[0] + alone[1]) / 2, rtol=1e-6)


def test_a_start_that_finds_nothing_is_left_out() -> None:
    found = np.array([[[0.2]], [[np.nan]], [[0.4]]])
    np.testing.assert_allclose(mean_of_known(found), [[0.3]])
    assert np.isnan(mean_of_known(found[1:2])).all()


@pytest.mark.parametrize("begins", [(), (4,), (-1,)])
def test_starts_that_leave_no_frame_are_refused(begins: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"starting_at: begins are .*expected one or more of 0 to 3"):
        starting_at(READOUT, begins)
    with pytest.raises(ValueError, match="no readouts"):
        mean_over_starts((), frames(0.0))
