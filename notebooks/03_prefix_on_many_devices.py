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
# # Calibrate many trajectories at once
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb)
#
# **What you get:** `calibrate_all`, a function that finds a coordinate for each of many trajectories in one compiled call.
# Compared with `jax.vmap` over the candidates, the call needs a small fraction of the memory. It gives the same
# coordinates on any mesh of devices, each doing its share of the rollouts. The notebook measures both, and times on a CPU;
# [no GPU or TPU was measured](https://github.com/OWNER/ccm_jax/blob/main/docs/performance.md).
#
# **Requirements:** two CPU cores; nothing is trained. What a coordinate is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb).
#
# Prefix calibration rolls out every candidate coordinate on every observed trajectory. These rollouts are independent:
# one compiled call runs them all, and a mesh of devices shares them.
#
# **On Colab, choose a CPU runtime.** The first cell divides it into eight devices, to show how work is shared
# and that the results agree. They share cores, so timings are not meaningful. A GPU or TPU runtime with one chip also runs
# everything, in one tile.

# %% cellView="form" jupyter={"source_hidden": true}
# @title Run this cell first: finds ccm_jax or, as on Colab, installs it; makes eight devices of a CPU
# Uses the clone that holds this notebook, or else an installed ccm_jax; without either it makes a clone. The jax that is
# there stays.
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/OWNER/ccm_jax"
START = globals().get("START") or Path.cwd()  # run again, the cell looks where it looked first
installed = importlib.util.find_spec("ccm_jax")
places = [START.parent, *([Path(installed.origin).parents[1]] if installed and installed.origin else [])]
clone = next((place for place in places if (place / "ccm_jax" / "__init__.py").exists()), None)
if clone is None:
    clone = START / "ccm_jax"
    print(f"Installing ccm_jax from {REPOSITORY} …")
    os.environ["GIT_TERMINAL_PROMPT"] = "0"  # git does not wait for a password
    if not clone.exists() and subprocess.run(["git", "clone", "-q", REPOSITORY], check=False).returncode:
        raise SystemExit(f"{REPOSITORY} cannot be cloned. Copy the repository to {clone}, and run this cell again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"], check=True)
sys.path.insert(0, str(clone))
for name, first in (("PYTHONPATH", clone), ("PATH", Path(sys.executable).parent)):  # for commands run from cells
    os.environ[name] = f"{first}{os.pathsep}{os.environ.get(name, '')}"
os.environ |= {"FORCE_COLOR": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # commands share a GPU with the notebook
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")  # eight devices of a CPU

import jax

import ccm_jax

print(f"Ready: ccm_jax {ccm_jax.__version__}, jax {jax.__version__}, {jax.device_count()} devices")

# %%
import time

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from ccm_jax import example
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import make_mesh

DEVICES = jax.device_count()
print(f"{DEVICES} {jax.default_backend()} device{'s' if DEVICES > 1 else ''}, {os.cpu_count()} CPU cores")

# %% [markdown]
# ## The family and the flows
#
# The package's example family: an anchor, two experts, and flows at nine viscosities inside and outside the training
# range. Of each flow, five frames are observed.

# %%
family = example.load()
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])
flows = dict(sorted(zip(family.test_values + family.validation_values, family.test + family.validation)))
observed = jnp.asarray(np.concatenate([x[:, :5] for x in flows.values()]))
candidates = jnp.linspace(-2.5, 2.5, 48)
print(f"{len(candidates)} candidates x {len(observed)} trajectories = {len(candidates) * len(observed)} rollouts")

# %% [markdown]
# ## One call on a mesh
#
# A mesh arranges devices in a grid. Its axis `candidate` divides the candidates, its axis `data` the trajectories, and
# each device computes one tile of the table of errors. `make_mesh(4)` puts four devices along `candidate` and the rest
# along `data`.


# %%
def calibrate(mesh):
    """The coordinate of each trajectory, and the table of errors [N, n] that it was chosen from."""
    how = {"frames": 4, "batch": "each", "mesh": mesh}
    return ccm_jax.prefix.coordinate_from_prefix(chart, family.rollout_fn, observed, candidates, **how)


mesh = make_mesh(min(4, DEVICES))
found = calibrate(mesh)
print(f"mesh {dict(mesh.shape)}: errors {found.losses.shape}, coordinates {found.coordinate.shape}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the table of errors, and which device computes which tile
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
losses, (rows, columns) = np.asarray(found.losses).T, mesh.devices.shape
h, w = losses.shape[0] / rows, losses.shape[1] / columns
figure, ax = plt.subplots(figsize=(4.6, 4.6))
image = ax.imshow(losses, cmap="cividis_r", norm="log", origin="lower", aspect="auto", interpolation="nearest")
PAPER = "#f6f6f6"  # what is pure white would be dark on the site's dark pages
ax.plot(losses.argmin(axis=0), "o", color=PAPER, mec="black", ms=5, clip_on=False)
for (i, j), device in np.ndenumerate(mesh.devices):
    ax.add_patch(plt.Rectangle((j * w - 0.5, i * h - 0.5), w, h, fill=False, ec=PAPER, lw=3))
    low = i == 0 or (j > 0 and i < rows - 1)  # away from the dots
    x, y, *side = (0.95, 0.08, "right", "bottom") if low else (0.05, 0.92, "left", "top")
    label = dict(zip(("ha", "va"), side), fontsize=11, bbox={"fc": PAPER, "ec": "none", "pad": 2})
    ax.text((j + x) * w - 0.5, (i + y) * h - 0.5, f"device {device.id}", **label)
ticks = [-2, -1, 0, 1, 2]
ax.set_yticks(np.interp(ticks, candidates, np.arange(len(candidates))), ["−2", "−1", "0", "+1", "+2"])
counts = [len(x) for x in flows.values()]
ax.set_xticks(np.cumsum(counts) - np.add(counts, 1) / 2, [f"{value:g}" for value in flows], rotation=90)
ax.set(ylabel="coordinate (axis candidate)", xlabel="trajectories, by viscosity (axis data)")
bar = figure.colorbar(image, ax=ax, label="error on the observed frames", ticks=[0.05, 0.1, 0.2, 0.3], format="{x:g}")
bar.minorticks_off()
plt.show()

# %% [markdown]
# Each column is a trajectory, each row a candidate, and each white frame the tile of one device. The dots are the
# candidates with the smallest error: the coordinates that the call returns.
#
# ## Memory and communication
#
# XLA reports how much memory a compiled program needs on each device, before it runs. `jax.vmap` over all candidates needs
# memory for the weights and hidden fields of all of them. The call instead runs as many at once as fit the memory of an
# accelerator, and one after another on a CPU: more candidates then take longer, not more memory. So the saving comes from
# the call itself: here, where devices are parts of a CPU, more of them share the rollouts but need hardly less memory each.
# The only communication between devices is to gather the table at the end.


# %%
def errors(c):
    """Errors of one candidate, [N]."""
    frames = family.rollout_fn(chart(c), observed[:, :1], 4)
    return relative_l2(frames, observed[:, 1:]).mean(axis=-1)


def on_mesh(mesh):
    return lambda c: ccm_jax.prefix.prefix_errors(chart, family.rollout_fn, observed, c[:, None], frames=4, mesh=mesh)


meshes = {n: make_mesh(max(1, n // 2), devices=jax.devices()[:n]) for n in (1, 2, 4, 8) if n <= DEVICES}
programs = {"vmap, 1 device": jax.vmap(errors)}
programs |= {f"one call, {n} device{'s' * (n > 1)}": on_mesh(on) for n, on in meshes.items()}
needs = {}
print("                       memory of each device    reductions    gathers")
for name, program in programs.items():
    compiled = jax.jit(program).lower(candidates).compile()
    needs[name], text = compiled.memory_analysis().temp_size_in_bytes / 1e6, compiled.as_text()
    print(f"{name:21}  {needs[name]:18.1f} MB    {text.count('all-reduce('):10}    {text.count('all-gather('):7}")
print(f"on one device, one call needs {needs['vmap, 1 device'] / needs['one call, 1 device']:.0f} times less than vmap")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: memory of each device
figure, ax = plt.subplots(figsize=(6, 2.2))
bars = ax.barh(list(needs), needs.values(), color=["#999999"] + ["#0072b2"] * len(meshes))
ax.bar_label(bars, [f"{each:.1f} MB" for each in needs.values()], padding=4)
ax.set(xlabel="working memory of each device, MB", xlim=(0, 1.25 * max(needs.values())))
ax.invert_yaxis()
plt.show()

# %% [markdown]
# ## The same numbers on any number of devices
#
# Only the argument `mesh` changes. The chosen candidates must be the same, and the errors equal up to rounding.

# %%
results = {n: jax.device_get(calibrate(on)) for n, on in meshes.items()}
print("devices = candidate x data   rollouts of each   other coordinates   errors differ by at most")
for n, result in results.items():
    shape, each = meshes[n].devices.shape, result.losses.size // n
    others = (result.coordinate != results[1].coordinate).any(axis=-1).sum()
    far = np.abs(result.losses / results[1].losses - 1).max()
    print(f"{n:7} = {shape[0]:9} x {shape[1]:<4} {each:18} {others:13} of {len(observed)}   {far:24.1e}")
    np.testing.assert_allclose(result.losses, results[1].losses, rtol=1e-4)

# %% [markdown]
# ## Times on this machine
#
# Devices of one CPU share its cores: with more of them, one call uses the cores better, which says nothing about real
# devices. Each time is the median of a few interleaved rounds.

# %% cellView="form" jupyter={"source_hidden": true}
# @title Code: the measurement
ROUNDS = 1 if os.environ.get("CCM_SIZE") == "smoke" else 7
load = os.getloadavg()[0]  # how many processes want a core
one, together = jax.jit(errors), jax.jit(jax.vmap(errors))
methods = {
    "loop over candidates": lambda: jnp.stack([one(c) for c in candidates], axis=1),  # calls are not waited for
    "vmap over candidates": lambda: together(candidates).T,
}
methods |= {f"one call, {n} device{'s' * (n > 1)}": lambda on=on: calibrate(on).losses for n, on in meshes.items()}
for method in methods.values():  # compiles
    np.testing.assert_allclose(method(), found.losses, rtol=2e-3, atol=1e-5)
seconds = {name: [] for name in methods}
for _ in range(ROUNDS):  # methods take turns: what else the machine does slows all of them
    for name, method in methods.items():
        begin = time.perf_counter()
        jax.block_until_ready(method())
        seconds[name].append(time.perf_counter() - begin)

# %%
print(f"seconds for {found.losses.size} rollouts: median, [the middle half of the rounds]")
if load > 2 * os.cpu_count():
    print(f"other work keeps the {os.cpu_count()} cores busy (load {load:.0f}), and slows all of these")
for name, taken in seconds.items():
    low, median, high = np.quantile(taken, [0.25, 0.5, 0.75])
    print(f"  {name:21} {median:5.2f}  [{low:.2f}, {high:.2f}]")
medians = {name: np.median(taken) for name, taken in seconds.items()}
loop, best = medians["loop over candidates"], min(medians, key=medians.get)
print(f"{best} is fastest: {loop / medians[best]:.1f} times as fast as the loop")

# %% [markdown]
# ## What to expect on real devices
#
# Pass a mesh of your devices, and change nothing else:
#
# ```python
# readout(frames, batch="each", mesh=make_mesh())  # all devices along `data`; make_mesh(4): four along `candidate`
# ```
#
# - **Devices work independently**, so the time should be nearly inversely proportional to their number, if each share
#   keeps a device busy: many trajectories or candidates, or a large network. We have not measured that.
# - **Which axis?** Put devices along `data` if there are many trajectories, along `candidate` if there is one; any
#   division gives the same result.
# - **Counts that do not divide evenly** are padded and the padding discarded; multiples are most efficient.
# - **With one device, do nothing**: the call without `mesh` is one compiled program already.
# - **For a network in PyTorch**, a mesh does not help: its candidates run one after another.
#
# ## Use it for your own networks
#
# `calibrate_all` takes your networks, your rollout and your frames;
# `ccm_jax.io.recordings.open_recording` reads
# [your files](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md). Here it finds a coordinate for every
# test flow.


# %%
def calibrate_all(anchor, low, high, rollout_fn, validation, observed, mesh=None):
    """A coordinate for each of many trajectories.

    Args:
        anchor: weights, a pytree of arrays.
        low: weights of the expert at the lower value, fine-tuned from the anchor.
        high: those of the expert at the higher value.
        rollout_fn: (params, window [N, 1, *space, C], steps) -> frames, such as ccm_jax.make_rollout(apply).
        validation: trajectories [N, T, *space, C] of each of some other values.
        observed: frames [N, T, *space, C].
        mesh: the devices to use, of `make_mesh`; without one, a single device.

    Returns:
        An Estimate, with `coordinate` [N, 2]: coordinate and gate of each trajectory.
    """
    chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, validation, mesh=mesh)
    return readout(observed, batch="each", mesh=mesh)


frames = np.concatenate([x[:, :5] for x in family.test])
values = np.repeat(family.test_values, [len(x) for x in family.test])
networks = family.anchor, family.low, family.high
found = calibrate_all(*networks, family.rollout_fn, family.validation, frames, mesh)
for value in family.test_values:
    mine = found.coordinate[values == value, 0]
    true = ccm_jax.coordinate_from_metadata(value, family.low_value, family.high_value).coordinate[0]
    print(f"viscosity {value:<8g} linear scale {true:+.2f}, found {mine.mean():+.2f} ± {mine.std():.2f}")

# %% [markdown]
# **Where next.** Training and data generation take a mesh, too, and `experiments.run` works on several hosts:
# [many devices](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/many-devices.md). [The main
# experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) uses all devices that it
# finds. Your own network [in Equinox or
# Flax](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb).
