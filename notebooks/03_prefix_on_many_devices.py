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
# Every candidate coordinate rolls out every trajectory: `vmap` over both, in one compiled call, spread over a mesh with the
# axes `candidate` and `data`. On a TPU runtime (*Runtime → Change runtime type → TPU*) it takes all cores; on a CPU, eight
# devices are made of one, which shows the same code, not its speed.

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
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")  # counts on a CPU only

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax.models import make_model
from ccm_jax.parallel import make_mesh

print(jax.devices())

# %% [markdown]
# Three FNOs stand for an anchor and its experts, and frames of the model merged at +1.3 for what was observed.

# %%
GRID, TRAJECTORIES, FRAMES = 32, 16, 4
model = make_model("fno", modes=(6, 6), width=16, depth=3, out_channels=1)
window = jnp.zeros((1, 1, GRID, GRID, 1))
weights = [model.init(jax.random.key(i), window) for i in range(3)]
anchor, low, high = (jax.tree.map(lambda a, b: a + 0.2 * (b - a), weights[0], w) for w in weights)
chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0])
rollout_fn = ccm_jax.make_rollout(model.apply)

start = jax.random.normal(jax.random.key(9), (TRAJECTORIES, 1, GRID, GRID, 1))
observed = jnp.concatenate([start, rollout_fn(chart(1.3), start, FRAMES)], axis=1)
candidates = jnp.linspace(-2.5, 2.5, 51)

# %%
count = jax.device_count()
mesh = make_mesh(max(d for d in (1, 2, 4) if count % d == 0)) if count > 1 else None
print(mesh)


def calibrate(mesh):
    return ccm_jax.coordinate_from_prefix(
        chart, rollout_fn, observed, candidates, frames=FRAMES, batch="each", mesh=mesh
    )


one, many = calibrate(None), calibrate(mesh)
np.testing.assert_allclose(one.losses, many.losses, rtol=2e-3, atol=1e-5)
assert np.allclose(many.coordinate, 1.3, atol=0.051)

# %%
for label, where in (("one device", None), (f"{count} devices", mesh)):
    jax.block_until_ready(calibrate(where))
    begin = time.perf_counter()
    jax.block_until_ready(calibrate(where))
    rollouts = candidates.size * TRAJECTORIES / (time.perf_counter() - begin)
    print(f"{label}: {rollouts:.0f} rollouts of {FRAMES} frames a second")

# %%
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(candidates, np.asarray(many.losses).T, color="#0072b2", lw=0.7, alpha=0.6)
ax.axvline(1.3, color="black", lw=0.8, ls=":")
ax.set(yscale="log", xlabel="coordinate", ylabel="error on the observed frames")
plt.show()
