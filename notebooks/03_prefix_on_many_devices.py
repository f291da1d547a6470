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
# Prefix calibration rolls out every candidate coordinate on every observed trajectory. These rollouts are independent,
# so one compiled call runs them all, and a mesh of devices shares them. You will see
#
# - which device computes which part of the table of errors,
# - the speed of a Python loop, of one compiled call, and of the same call on 2, 4 and 8 devices,
# - and the coordinates of a file with trajectories, found on all devices.
#
# It takes about a minute on two CPU cores.
#
# On a TPU (*Runtime → Change runtime type*) the devices are its cores. A CPU is divided into eight devices, which have
# to share its cores: this shows how a mesh works, and that the results agree. How much faster it is depends on the
# machine.

# %% cellView="form"
# @title Setup: finds the package, or installs it; divides a CPU into eight devices
# Uses the clone that holds this notebook; anywhere else, as on Colab, makes a clone and installs it.
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
import csv
import tempfile
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example
from ccm_jax.io.recordings import open_recording
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import make_mesh

plt.rcParams["figure.dpi"] = 140
ROUNDS = 1 if os.environ.get("CCM_SIZE") == "smoke" else 9
print(f"{jax.device_count()} devices ({jax.default_backend()}), {os.cpu_count()} CPU cores")

# %% [markdown]
# ## What is calibrated
#
# The package's example family: an anchor, two experts, and flows at nine viscosities inside and outside the training
# range. Of each flow, five frames are observed: the first starts the rollout, and the other four are scored.

# %%
family = example.load()
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])
FRAMES = 4
flows = dict(zip(family.test_values + family.validation_values, family.test + family.validation))
viscosities = sorted(flows)
observed = jnp.asarray(np.concatenate([flows[v][:, : FRAMES + 1] for v in viscosities]))
values = np.repeat(viscosities, [len(flows[v]) for v in viscosities])
candidates = jnp.linspace(-2.5, 2.5, 48)
print(f"{len(candidates)} candidates x {len(observed)} trajectories = {len(candidates) * len(observed)} rollouts")

# %% [markdown]
# ## One call on a mesh
#
# A mesh arranges devices in a grid. Its axis `candidate` divides the candidates, its axis `data` the trajectories, and
# each device computes one tile of the table of errors, without waiting for the others. `make_mesh(n)` puts n devices
# along `candidate`, and the rest along `data`.


# %%
def calibrate(mesh):
    return ccm_jax.coordinate_from_prefix(
        chart, family.rollout_fn, observed, candidates, frames=FRAMES, batch="each", mesh=mesh
    )


meshes = {n: make_mesh(max(1, n // 2), devices=jax.devices()[:n]) for n in (1, 2, 4, 8) if n <= jax.device_count()}
mesh = meshes[max(meshes)]
found = calibrate(mesh)
print(f"mesh {dict(mesh.shape)}: losses {found.losses.shape}, coordinates {found.coordinate.shape}")

# %% cellView="form"
# @title Plot: the table of errors, and which device computes which tile
losses, (rows, columns) = np.asarray(found.losses).T, mesh.devices.shape
h, w = losses.shape[0] / rows, losses.shape[1] / columns
best = losses.argmin(axis=0)
figure, ax = plt.subplots(figsize=(5.7, 4.2), layout="constrained")
image = ax.imshow(losses, cmap="viridis_r", norm="log", origin="lower", aspect="auto", interpolation="nearest")
ax.plot(best, "o", color="white", mec="black", ms=5.5, clip_on=False, zorder=4)
for (i, j), device in np.ndenumerate(mesh.devices):
    ax.add_patch(plt.Rectangle((j * w - 0.5, i * h - 0.5), w, h, fill=False, ec="white", lw=2))
    near = best[int(j * w) : int(j * w) + 4] / h - i  # in this tile: 0 at its bottom, 1 at its top
    top = ((near > 0) & (near < 0.5)).any()  # the label goes where no dot is
    label = {"color": "white", "fontsize": 8.5, "bbox": {"fc": "#00000066", "ec": "none", "pad": 1.5}}
    ax.text(
        j * w - 0.2,
        (i + top) * h + (-1.4 if top else 0.4),
        f"device {device.id}",
        va="top" if top else "bottom",
        **label,
    )
ticks = [-2, -1, 0, 1, 2]
ax.set_yticks(np.interp(ticks, candidates, np.arange(len(candidates))), [f"{c:+d}" if c else "0" for c in ticks])
centres = [np.flatnonzero(values == v).mean() for v in viscosities]
ax.set_xticks(centres, [f"{1e3 * v:g}" for v in viscosities], rotation=60)
ax.set(ylabel="coordinate  (axis candidate)", xlabel="1000 × viscosity of the trajectory  (axis data)")
ax.set_title(f"{losses.size} rollouts on {mesh.size} devices", fontsize=10, loc="left")
bar = figure.colorbar(image, ax=ax, label="error on the observed frames", ticks=[0.05, 0.1, 0.2, 0.3], format="{x:g}")
bar.minorticks_off()
plt.show()

# %% [markdown]
# Each column is a trajectory, each row a candidate, and each white frame the share of one device. The dots are the
# candidates with the smallest error: the coordinates that the call returns.
#
# ## How fast
#
# The Python loop calls a compiled function for each pair, and waits for its result. The others are the call above, on
# one device and on more: only the argument `mesh` differs. Methods take turns, so that whatever else the machine does
# slows all of them.


# %%
@jax.jit
def one(c, x):
    return relative_l2(family.rollout_fn(chart(c), x[:, :1], FRAMES), x[:, 1:]).mean()


STRIDE = 8  # the loop is slow: every eighth candidate will do


def loop():
    return np.array([[float(one(c, x[None])) for c in candidates[::STRIDE]] for x in observed])


methods = {"Python loop": loop} | {
    "one compiled call" if n == 1 else f"{n} devices": lambda mesh=mesh: calibrate(mesh).losses
    for n, mesh in meshes.items()
}
results = {name: method() for name, method in methods.items()}  # compiles
seconds = {name: [] for name in methods}
for _ in range(ROUNDS):
    for name, method in methods.items():
        begin = time.perf_counter()
        jax.block_until_ready(method())
        seconds[name].append(time.perf_counter() - begin)

for name, losses in results.items():
    same = results["one compiled call"][:, :: STRIDE if name == "Python loop" else 1]
    np.testing.assert_allclose(losses, same, rtol=2e-3, atol=1e-5)
print("all give the same losses; rollouts per second: median, [the middle half of the rounds], times the loop")
speeds = {name: np.quantile(results[name].size / np.array(taken), [0.25, 0.5, 0.75]) for name, taken in seconds.items()}
ratios = {name: speed[1] / speeds["Python loop"][1] for name, speed in speeds.items()}
for name, (low, median, high) in speeds.items():
    print(f"  {name:18s} {median:7.0f}  {f'[{low:.0f}, {high:.0f}]':15s} {ratios[name]:4.1f} x")

# %% cellView="form"
# @title Plot: rollouts per second
figure, ax = plt.subplots(figsize=(5.7, 2.8), layout="constrained")
for name, (low, median, high) in speeds.items():
    ax.barh(name, median, color="#999999" if name == "Python loop" else "#0072b2", height=0.7)
    ax.plot([low, high], [name, name], color="black", lw=1.2)
    ax.text(high, name, f"  {ratios[name]:.1f} x", va="center")
ax.set(xlabel="rollouts per second  (median, and the middle half)", xlim=(0, 1.15 * np.max(list(speeds.values()))))
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Use it on your own files
#
# `fit_prefix_readout` and the readouts that it returns take `mesh`, too; they also search between the candidates. This
# function finds the coordinate of every trajectory of a file. **Replace the chart, the rollout function, and the names
# of files by yours**: PDEBench, The Well, MATLAB and numpy are read.

# %%
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn)  # with validation flows: add them, and mesh=mesh


def coordinates(file):
    """The coordinates of the trajectories of a file, from their first frames, [N]."""
    recording = open_recording(file)
    frames = [recording.trajectory(i, slice(FRAMES + 1)) for i in range(recording.shape[0])]
    return readout(jnp.asarray(np.stack(frames)), batch="each", mesh=mesh).coordinate[:, 0]


workdir = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp())
with (workdir / "coordinates.csv").open("w", newline="") as csvfile:
    table = csv.writer(csvfile)
    table.writerow(["file", "true", "found"])
    for value in family.test_values:
        name = f"test-{value:g}.npz"
        true = float(ccm_jax.coordinate_from_metadata(value, family.low_value, family.high_value).coordinate[0])
        found = np.asarray(coordinates(example.path(name)))
        print(f"{name:18s} true {true:+.2f}, found {' '.join(f'{c:+.2f}' for c in found)}")
        table.writerows([name, true, one] for one in found.tolist())

# %% [markdown]
# `coordinates.csv` in `workdir` holds the table. Training takes a mesh, too (`train_chunk`). `python -m
# experiments.run` uses all devices that it finds; on several hosts, start it on each with `--distributed`. More: [many
# devices](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/many-devices.md).
