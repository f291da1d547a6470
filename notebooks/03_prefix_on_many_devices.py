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
# **For anyone who calibrates many trajectories, or has several GPUs or TPU chips.** Nothing is trained: about a minute on two CPU
# cores. What a coordinate is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb).
#
# Prefix calibration rolls out every candidate coordinate on every observed trajectory. These rollouts are independent:
# one compiled call runs them all, and a mesh of devices shares them.
#
# Colab's GPU and TPU runtimes have one accelerator, and so one device. To see several, choose a CPU: the next cell
# divides it into eight devices. They share its cores: they show how a mesh works and that the results agree, not how much
# faster real devices are.

# %% cellView="form"
# @title Setup: finds the package, or installs it; divides a CPU into eight devices
# Uses the clone that holds this notebook; anywhere else, as on Colab, makes one. The jax that is there stays.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/OWNER/ccm_jax"
os.environ["GIT_TERMINAL_PROMPT"] = "0"  # git does not wait for a password
clone = Path.cwd().parent
if not (clone / "ccm_jax" / "__init__.py").exists():
    clone = Path.cwd() / "ccm_jax"
    if not clone.exists() and subprocess.run(["git", "clone", "-q", REPOSITORY], check=False).returncode:
        raise SystemExit(f"{REPOSITORY} cannot be cloned. Copy the repository to {clone}, and run this cell again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"], check=True)
sys.path.insert(0, str(clone))
for name, first in (("PYTHONPATH", clone), ("PATH", Path(sys.executable).parent)):  # for commands run from cells
    os.environ[name] = f"{first}{os.pathsep}{os.environ.get(name, '')}"
os.environ["FORCE_COLOR"] = ""
_ = os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")  # affects CPUs only

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import make_mesh

DEVICES = jax.device_count()
print(f"{DEVICES} {jax.default_backend()} device{'s' if DEVICES > 1 else ''}, {os.cpu_count()} CPU cores")
if DEVICES == 1:
    print("A mesh of one device: everything below runs, in one tile.")

# %% [markdown]
# ## What is calibrated
#
# The package's example family: an anchor, two experts, and flows at nine viscosities inside and outside the training
# range. Of each flow, five frames are observed.

# %%
family = example.load()
anchor, experts = family.anchor, [family.low, family.high]
chart = ccm_jax.fit_chart(anchor, experts, [-1.0, 1.0])
flows = dict(sorted(zip(family.test_values + family.validation_values, family.test + family.validation)))
observed = jnp.asarray(np.concatenate([x[:, :5] for x in flows.values()]))
candidates = jnp.linspace(-2.5, 2.5, 48)
print(f"{len(candidates)} candidates x {len(observed)} trajectories = {len(candidates) * len(observed)} rollouts")

# %% [markdown]
# ## One call on a mesh
#
# A mesh arranges devices in a grid. Its axis `candidate` divides the candidates, its axis `data` the trajectories, and
# each device computes one tile of the table of errors, without waiting for the others. `make_mesh(4)` puts four devices
# along `candidate` and the rest along `data`.
#
# - **Which axis?** Any division gives the same result. Put devices along `data` if there are many trajectories, along
#   `candidate` if there is one.
# - **Numbers that do not divide** are padded by repetition, and what is repeated is dropped: best are multiples.
# - **Memory.** Each device runs its candidates in chunks that fit its memory: more candidates take longer, not more
#   memory.

# %%
mesh = make_mesh(min(4, DEVICES))
found = ccm_jax.coordinate_from_prefix(
    chart, family.rollout_fn, observed, candidates, frames=4, batch="each", mesh=mesh
)
print(f"mesh {dict(mesh.shape)}: losses {found.losses.shape}, coordinates {found.coordinate.shape}")

# %% cellView="form"
# @title Plot: the table of errors, and which device computes which tile
plt.rcParams |= {"figure.dpi": 120, "figure.constrained_layout.use": True, "font.size": 11}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
losses, (rows, columns) = np.asarray(found.losses).T, mesh.devices.shape
h, w = losses.shape[0] / rows, losses.shape[1] / columns
figure, ax = plt.subplots(figsize=(7.5, 5))
image = ax.imshow(losses, cmap="cividis_r", norm="log", origin="lower", aspect="auto", interpolation="nearest")
ax.plot(losses.argmin(axis=0), "o", color="white", mec="black", ms=6, clip_on=False)
for (i, j), device in np.ndenumerate(mesh.devices):
    ax.add_patch(plt.Rectangle((j * w - 0.5, i * h - 0.5), w, h, fill=False, ec="white", lw=3))
    x, y, side = (0.98, 0.08, "right") if j else (0.02, 0.86, "left")  # away from the dots
    label = {"color": "white", "ha": side, "fontsize": 10, "bbox": {"fc": "#000000aa", "ec": "none", "pad": 2}}
    ax.text((j + x) * w - 0.5, (i + y) * h - 0.5, f"device {device.id}", **label)
ticks = [-2, -1, 0, 1, 2]
ax.set_yticks(np.interp(ticks, candidates, np.arange(len(candidates))), [f"{c:+d}" if c else "0" for c in ticks])
counts = [len(x) for x in flows.values()]
ends = [k for k, v in enumerate(flows) if v in (*family.test_values, 0.001125, 0.001875)]
ax.set_xticks((np.cumsum(counts) - np.add(counts, 1) / 2)[ends], [f"{list(flows)[k]:g}" for k in ends])
ax.set(ylabel="coordinate (axis candidate)", xlabel="viscosity of the trajectory (axis data)")
ax.set_title(f"{losses.size} rollouts on {mesh.size} devices; dots: smallest error", fontsize=11, loc="left")
bar = figure.colorbar(image, ax=ax, label="error on the observed frames", ticks=[0.05, 0.1, 0.2, 0.3], format="{x:g}")
bar.minorticks_off()
plt.show()

# %% [markdown]
# Each column is a trajectory, each row a candidate, and each white frame the share of one device, with its number. The
# dots are the candidates with the smallest error: the coordinates that the call returns.
#
# ## How fast
#
# Four ways to compute the table: a Python loop with one compiled call for each candidate, `jax.vmap` over candidates,
# the call above on one device, and the same on more; only the argument `mesh` differs.
#
# On a CPU, one candidate fills the cores, and the call runs one after another, as a loop does. On an accelerator, a small
# rollout leaves most of it idle: there the call runs as many candidates side by side as its memory allows.

# %% cellView="form"
# @title Setup: the measurement
ROUNDS = 1 if os.environ.get("CCM_SIZE") == "smoke" else 7


def errors(c):
    frames = family.rollout_fn(chart(c), observed[:, :1], 4)
    return relative_l2(frames, observed[:, 1:]).mean(axis=-1)


one, together = jax.jit(errors), jax.jit(jax.vmap(errors))
methods = {
    "loop over candidates": lambda: jnp.stack([one(c) for c in candidates], axis=1),  # calls are not waited for
    "vmap over candidates": lambda: together(candidates).T,
}
for n in [n for n in (1, 2, 4, 8) if n <= DEVICES]:
    on = make_mesh(max(1, n // 2), devices=jax.devices()[:n])
    methods["one call, 1 device" if n == 1 else f"one call, {n} devices"] = lambda on=on: (
        ccm_jax.coordinate_from_prefix(
            chart, family.rollout_fn, observed, candidates, frames=4, batch="each", mesh=on
        ).losses
    )
results = {name: jax.block_until_ready(method()) for name, method in methods.items()}  # compiles
seconds = {name: [] for name in methods}
for _ in range(ROUNDS):  # methods take turns: what else the machine does slows all of them
    for name, method in methods.items():
        begin = time.perf_counter()
        jax.block_until_ready(method())
        seconds[name].append(time.perf_counter() - begin)
for losses in results.values():
    np.testing.assert_allclose(losses, results["one call, 1 device"], rtol=2e-3, atol=1e-5)
speeds = {name: found.losses.size / np.quantile(taken, [0.75, 0.5, 0.25]) for name, taken in seconds.items()}

# %%
print("all give the same losses; rollouts per second: median, [the middle half of the rounds]")
for name, (slow, median, fast) in speeds.items():
    print(f"  {name:21} {median:6.0f}  [{slow:.0f}, {fast:.0f}]")

# %% cellView="form"
# @title Plot: rollouts per second
figure, ax = plt.subplots(figsize=(7.5, 3))
for name, (slow, median, fast) in speeds.items():
    ax.barh(name, median, color="#0072b2" if "call" in name else "#999999")
    ax.plot([slow, fast], [name, name], color="black", lw=1.5)
ax.set(xlabel="rollouts per second (median, and the middle half of the rounds)")
ax.invert_yaxis()
plt.show()

# %% cellView="form"
# @title Setup: says what that means here
base = speeds["one call, 1 device"][1]
loop, together = (base / speeds[f"{name} over candidates"][1] for name in ("loop", "vmap"))
print(f"One compiled call: {loop:.1f} x the speed of the loop, {together:.1f} x that of vmap.")
for name, (_, median, _) in speeds.items():
    if name.endswith("devices"):
        print(f"{name.split(', ')[1]}: {median / base:.1f} x the speed of one.")
if DEVICES > 1 and jax.default_backend() == "cpu":
    print("These devices share the cores of one CPU: the factors say nothing about real devices.")

# %% [markdown]
# - **With one device, do nothing**: the call without `mesh` is one compiled program already. For one trajectory of a
#   small network, more devices are not worth it either.
# - **With several GPUs or TPU chips**, pass `mesh=make_mesh(n)`. Nothing else changes.
# - **For a network in PyTorch**, a mesh does not help: its candidates run one after another.
#
# ## Use it on your own files
#
# `fit_prefix_readout` and the readouts that it returns take `mesh`, too. Here they find a coordinate for every test flow.
# **Replace the family by yours**; `ccm_jax.io.recordings.open_recording` reads
# [your files](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md).

# %%
chart = ccm_jax.fit_chart(anchor, experts, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation, mesh=mesh)
found = {}
for value, x in zip(family.test_values, family.test):
    found[value] = readout(x[:, :5], batch="each", mesh=mesh).coordinate[:, 0]
    true = ccm_jax.coordinate_from_metadata(value, family.low_value, family.high_value).coordinate[0]
    print(f"viscosity {value:<8g} true {true:+.2f}, found {found[value].mean():+.2f} ± {found[value].std():.2f}")

# %% [markdown]
# **Where next.** Training and data generation take a mesh, too, and `experiments.run` works on several hosts:
# [many devices](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/many-devices.md). [The main
# experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) uses all devices that it
# finds. [Your own networks and
# data](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb).
