"""The same numbers on one device, on eight, and on two processes of two."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.io import checkpoint
from ccm_jax.parallel import batch_axes, candidates_at_once, make_mesh, map_candidates

ROOT = Path(__file__).parent.parent

EIGHT = """
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp, numpy as np
from ccm_jax import (
    Choices, Gated, fit_chart, fit_prefix_readout, make_rollout
)
from ccm_jax.prefix import coordinate_from_prefix, plane_bank, prefix_errors
from ccm_jax.evaluate import future_error_each, future_error_sweep
from ccm_jax.models import make_model
from ccm_jax.parallel import batch_axes, make_mesh, place
from ccm_jax.train import batch_order, init_state, make_loss, make_noise, make_optimizer, train_chunk

model = make_model("fno", modes=(2, 2), width=4, depth=1)
x = np.asarray(jax.random.normal(jax.random.key(0), (6, 9, 8, 8, 1)))  # six trajectories, which four do not divide
trees = [jax.jit(model.init)(jax.random.key(s), x[:, :1]) for s in range(3)]
chart = fit_chart(trees[0], trees[1:], [[-1.0, 1.0], [1.0, 1.0]], features=Gated())
bank, rollout_fn, mesh = plane_bank(np.linspace(-2, 2, 7), [0.5, 1.0]), make_rollout(model.apply), make_mesh(2)
assert dict(mesh.shape) == {"candidate": 2, "data": 4} and len(bank) == 15
assert [batch_axes(mesh, n) for n in (8, 4, 2, 3)] == [("candidate", "data"), ("data",), ("candidate",), None]
spread = place(chart, mesh)

def same(alone, together):
    assert together.sharding.is_fully_replicated and len(together.sharding.device_set) == 8
    np.testing.assert_allclose(alone, together, rtol=2e-5, atol=1e-6)

same(prefix_errors(chart, rollout_fn, x, bank), prefix_errors(spread, rollout_fn, x, bank, mesh=mesh))
same(future_error_sweep(chart, rollout_fn, x, bank), future_error_sweep(spread, rollout_fn, x, bank, mesh=mesh))
same(
    future_error_each(chart, rollout_fn, x, bank[:6]), future_error_each(spread, rollout_fn, x, bank[:6], mesh=mesh)
)
one, many = (
    coordinate_from_prefix(c, rollout_fn, x, bank, batch="each", mesh=m) for c, m in ((chart, None), (spread, mesh))
)
np.testing.assert_array_equal(one.coordinate, many.coordinate)
how = {"choices": Choices(free_gate=(True,), begin=(0,), pull=(0.0,)), "frames": 2}
readout = fit_prefix_readout(chart, rollout_fn, [x[:, ::-1], x], **how)
shared = fit_prefix_readout(chart, rollout_fn, [x[:, ::-1], x], **how, mesh=mesh)
assert readout.free_gate == shared.free_gate
one, many = (r(x, batch="each", mesh=m) for r, m in ((readout, None), (shared, mesh)))
np.testing.assert_allclose(one.coordinate, many.coordinate, atol=2e-2)  # noise: flat minima
np.testing.assert_allclose(one.loss, many.loss, rtol=1e-4)

optimizer, loss_fn = make_optimizer(1e-2, 30), make_loss(model.apply)
order = batch_order(0, 0, 30, 6 * 8, 8)
losses = []
for m in (None, mesh):
    state = place(init_state(jax.tree.map(jnp.copy, trees[0]), optimizer), m)
    how = dict(loss_fn=loss_fn, optimizer=optimizer, mesh=m, corrupt=make_noise(0.1))
    state, loss = train_chunk(state, place(x, m), place(order, m), **how)
    losses.append(np.asarray(loss))
assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == 8
np.testing.assert_allclose(*losses, rtol=1e-3)
"""


@pytest.mark.long
def test_eight_devices_give_what_one_gives() -> None:
    done = subprocess.run([sys.executable, "-c", EIGHT], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # three runs; CI calls it by name
def test_two_processes_of_two_devices_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = f"--coordinator=localhost:{free.getsockname()[1]}"
    size = ["--config=rd_ood:smoke", "--config.train.steps=20", "--config.finetune.steps=10"]
    size += ["--config.regimes.test=(5e-4,)", "--config.regimes.support=(1e-3,3e-3)", "--config.model.args.depth=1"]
    size += ["--config.regimes.validation=(7.5e-4,2.25e-3)", "--config.calibration.search=bank"]
    command = [sys.executable, "-m", "experiments.run", *size]
    two = [
        subprocess.Popen(
            [*command, f"--workdir={tmp_path / 'two'}", where, "--processes=2", f"--process={i}"],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for i in range(2)
    ]
    try:
        texts = [process.communicate(timeout=200) for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], texts
    assert "report.html" in texts[0][0] and "report.html" not in texts[1][0]  # one writer
    subprocess.run([*command, f"--workdir={tmp_path / 'one'}"], check=True, timeout=200, cwd=ROOT)

    def of(folder: str, pattern: str) -> Path:
        (path,) = (tmp_path / folder / "stages").glob(pattern)
        return path

    losses = [np.load(of(folder, "anchor-*") / "anchor-losses.npy") for folder in ("one", "two")]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    weights = [checkpoint.load(of(folder, "anchor-*") / "anchor") for folder in ("one", "two")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), *weights)
    one, together = (json.loads((tmp_path / folder / "results.json").read_text()) for folder in ("one", "two"))
    for a, b in zip(one["regimes"], together["regimes"], strict=True):
        np.testing.assert_allclose(a["errors"]["anchor"], b["errors"]["anchor"], rtol=1e-2)
        np.testing.assert_allclose(a["chosen"]["ccm_prefix"], b["chosen"]["ccm_prefix"], atol=0.05)


def test_a_batch_is_cut_where_it_divides() -> None:
    assert batch_axes(None, 16) is None
    assert batch_axes(make_mesh(devices=jax.devices()[:1]), 16) is None
    with pytest.raises(ValueError, match="candidate is 3, expected a divisor of the 1 devices"):
        make_mesh(3, devices=jax.devices()[:1])


def test_candidates_side_by_side_fit_into_memory() -> None:
    weights, x = {"w": jnp.zeros(1000)}, np.zeros((2, 9, 4, 4, 1), np.float32)
    one = 4 * 1000 + 64 * 4 * 2 * 16
    assert candidates_at_once(weights, x, 13, limit=5.5 * one) == 5
    assert candidates_at_once(weights, x, 13, limit=1e9) == 13
    assert candidates_at_once(weights, x, 13, limit=1.0) == 1  # what does not fit is tried one by one


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_chunks_do_not_change_what_comes_out(chunk: int) -> None:
    candidates = jnp.arange(7.0)[:, None]
    np.testing.assert_allclose(map_candidates(lambda c: c[0] ** 2, candidates, chunk), jnp.arange(7.0) ** 2)
