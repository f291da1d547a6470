# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Prefix calibration on many devices
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb)
#
# To calibrate many trajectories, every candidate coordinate rolls out every trajectory. One compiled call does this by `vmap`
# over both, distributed over a mesh with the axes `candidate` and `data`. On a TPU runtime (*Runtime → Change runtime type →
# TPU*) it uses all cores. On a CPU, this notebook splits the processor into eight devices: the results must agree, but more
# devices than cores bring little. The outputs stored here come from two cores.

# %%
# Setup: uses the clone that holds this notebook; anywhere else, as on Colab, makes a clone and installs it.
# It keeps the jax that is there, and with it the GPU or TPU.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/OWNER/ccm_jax"
clone = Path.cwd().parent
if not (clone / "ccm_jax" / "__init__.py").exists():
    clone = Path.cwd() / "ccm_jax"
    if not clone.exists() and subprocess.run(["git", "clone", "-q", REPOSITORY], check=False).returncode:
        raise SystemExit(f"{REPOSITORY} cannot be cloned. Copy the repository to {clone}, and run this cell again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"], check=True)
sys.path.insert(0, str(clone))
os.environ["PYTHONPATH"] = f"{clone}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # for commands run from cells
_ = os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")  # affects CPUs only

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example
from ccm_jax.parallel import make_mesh

print(f"{jax.device_count()} devices ({jax.default_backend()}), {os.cpu_count()} CPU cores")

# %% [markdown]
# ## A real calibration
#
# The example family: an anchor, two experts, and flows at three viscosities outside the training range. We repeat its
# trajectories, so that every device has work.

# %%
family = example.load()
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])
FRAMES = 4
COPIES = 1 if os.environ.get("CCM_SIZE") == "smoke" else 4
observed = jnp.asarray(np.concatenate([x[:, : FRAMES + 1] for x in family.test] * COPIES))
values = np.repeat(family.test_values, [len(x) for x in family.test])
candidates = jnp.linspace(-2.5, 2.5, 48)
print(f"{len(candidates)} candidates x {len(observed)} trajectories = {len(candidates) * len(observed)} rollouts")

# %% [markdown]
# ## The same call on one and on many devices
#
# `make_mesh(n)` puts n devices along `candidate` and the others along `data`; here, n devices of those there are. Only the
# argument `mesh` differs. Devices forced on a CPU share its cores, so more of them than cores bring little; they show that
# the losses agree.


# %%
def calibrate(mesh):
    return ccm_jax.coordinate_from_prefix(
        chart, family.rollout_fn, observed, candidates, frames=FRAMES, batch="each", mesh=mesh
    )


meshes = {"one device": None}
for n in (2, 4, 8):
    if n <= jax.device_count():
        meshes[f"{n} devices"] = make_mesh(n // 2, devices=jax.devices()[:n])
found, speeds = {}, {}
for label, mesh in meshes.items():
    found[label] = jax.block_until_ready(calibrate(mesh))  # compiles
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(calibrate(mesh))
        times.append(time.perf_counter() - begin)
    speeds[label] = len(candidates) * len(observed) / min(times)
    print(f"{label:12s} {speeds[label]:7.0f} rollouts per second, {speeds[label] / speeds['one device']:.2f} x")

for one in found.values():
    np.testing.assert_allclose(one.losses, found["one device"].losses, rtol=2e-3, atol=1e-5)
print("all meshes give the same losses")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
bars = left.barh(list(speeds), list(speeds.values()), color="#0072b2")
left.bar_label(bars, [f"{s / speeds['one device']:.2f} x" for s in speeds.values()], padding=3)
left.set(xlabel="rollouts per second", xlim=(0, 1.25 * max(speeds.values())))
left.spines[["top", "right"]].set_visible(False)
for value, colour in zip(family.test_values, ("#0072b2", "#009e73", "#d55e00")):
    losses = np.asarray(found["one device"].losses)[: len(values)][values == value]
    right.plot(candidates, losses.T, color=colour, lw=0.9, alpha=0.7)
    right.plot([], [], color=colour, label=f"viscosity {value:g}")
right.set(yscale="log", xlabel="coordinate", ylabel="error on four observed frames")
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## Use it
#
# Pass `mesh=make_mesh(n)` to `fit_prefix_readout`, to its readouts, and to `train_chunk`
# ([many devices](../docs/how-to/many-devices.md)). `python -m experiments.run` uses all devices that it finds. On several hosts,
# start it on each with `--distributed`.
