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
# # Bring your own networks, checkpoints and data
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb)
#
# **What you get:** your own network merged at a value outside its training data, in a file that your own code loads,
# with the value and an interval; the same by one command; and `merged_module`, a function that does it for PyTorch.
#
# **Requirements:** two CPU cores; three checkpoints of one network: an *anchor*, trained on a range of a parameter, and two *experts*,
# fine-tuned from it at the ends of that range; and trajectories of known values to validate on. As it stands, the
# notebook makes such files itself, with a small convolutional network.
#
# - **Part 1: JAX.** Equinox step by step, and what Flax changes. It needs no PyTorch.
# - **Part 2: PyTorch**, neuraloperator included. Run *Your trajectories* first, and read Part 1.
#
# **The lines to keep**, of all that follows, for an Equinox module:
#
# ```python
# initial, rest = eqx.partition(build(), eqx.is_array)
#
# def apply(params, window):  # [N, 1, H, W, C] to the next frame [N, H, W, C]
#     x = jnp.moveaxis(window[:, -1], -1, 1)
#     return jnp.moveaxis(x + jax.vmap(eqx.combine(params, rest))(x), 1, -1)
#
# anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)  # eqx.tree_deserialise_leaves, and the arrays of it
# rollout_fn = ccm_jax.make_rollout(apply)
# chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
# readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))
# found = readout(jnp.asarray(seen), batch="pooled")  # all four trajectories share one value
# eqx.tree_serialise_leaves("merged.eqx", eqx.combine(chart(found), rest))
# ```
#
# If you bring no checkpoints, the notebook trains three small networks, and prints how long that took.
#
# What a merge is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). To train the experts on
# your trajectories with this package:
# [your own data](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md).

# %% cellView="form"
# @title Run this cell first: finds ccm_jax or, as on Colab, installs it
# Uses the clone that holds this notebook, or that ccm_jax was installed from; without either it makes one. The jax that is
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
clone = next((place for place in places if (place / "experiments" / "__init__.py").exists()), None)
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

import jax

import ccm_jax

print(f"Ready: ccm_jax {ccm_jax.__version__}, jax {jax.__version__}, device {jax.devices()[0].platform}")

# %%
# To work in a folder of your Drive, uncomment these lines on Colab.
# from google.colab import drive
# drive.mount("/content/drive")
# os.environ["CCM_WORKDIR"] = "/content/drive/MyDrive/ccm"

# %% cellView="form"
# @title Setup: imports, and a folder to work in
import importlib.util


def install_if_missing(module):
    if importlib.util.find_spec(module) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", module], check=True)


install_if_missing("equinox")

import tempfile
import time
import warnings

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.metrics import relative_l2

folder = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve() / "bring_your_own"
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)
sys.path.insert(0, str(folder))  # finds my_network.py, here
os.environ["PYTHONPATH"] += f"{os.pathsep}{folder}"  # and in commands
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10, "legend.frameon": False}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}

# %% [markdown]
# ## Your trajectories
#
# **Replace these names by yours.** Files that do not exist are made: a reaction–diffusion system whose diffusivity is
# hidden from the network. The networks are trained at 0.001 to 0.003, and the observed trajectories are at 0.004: their weights
# are extrapolated. Validation reaches beyond both experts, from 0.00075 to 0.0045.

# %%
OBSERVED = "test.h5"  # trajectories whose first frames are observed
VALIDATION, PARAMETER = "validation.h5", "diffusivity_u"  # trajectories of other, known values, and their name
BLIND = "blind.h5"  # trajectories of one more known value, to test an interval

# %% cellView="form"
# @title Setup: simulates the trajectories that do not exist
for name, values, count in (
    ("support.h5", "1e-3,1.5e-3,2e-3,2.5e-3,3e-3", 24),  # to train on
    (VALIDATION, "0.75e-3,1.25e-3,1.75e-3,2.25e-3,2.75e-3,3.25e-3,3.75e-3,4.5e-3", 2),
    (OBSERVED, "4e-3", 8),
    (BLIND, "3.4e-3", 4),
):
    flags = f"--config=rd_ood:{os.environ.get('CCM_SIZE', '')} --value={values} --count={count} --output={name}".split()
    if not Path(name).exists():
        subprocess.run([sys.executable, "-m", "experiments.generate", *flags], capture_output=True, check=True)


# %%
def by_value(file):
    """Trajectories [N, T, H, W, C] of each value of the parameter."""
    recording = open_recording(file)
    x = np.stack([recording.trajectory(i) for i in range(recording.shape[0])]).astype(np.float32)
    of = common_parameter(recording, PARAMETER)
    return {float(value): x[of == value] for value in np.unique(of)}


validation = by_value(VALIDATION)
((true, truth),) = by_value(OBSERVED).items()  # here the value is known, to compare with; the readout does not get it
seen, unseen = truth[:4, :5], truth[4:]  # calibrate on five frames of four trajectories, judge on others

# %% [markdown]
# PDEBench, PDEInvBench, The Well, MATLAB and numpy are read. From other data, make an `.npz` with `frames`, and the
# parameter under its name. `ccm data describe` shows what a file contains; `--axes` says what its axes are where the file
# does not: here number, time, x, y and channel.

# %%
np.savez("mine.npz", frames=truth, **{PARAMETER: np.full(len(truth), true)})  # one value for each trajectory

# %% language="bash"
# ccm data describe mine.npz --axes NTXYC | sed '/^Next/,$d'

# %% [markdown]
# ## Part 1: JAX
#
# **Replace the names of the checkpoints, and the network below them, by yours.** Checkpoints that do not exist are
# trained.

# %%
ANCHOR, LOW, HIGH = "anchor.eqx", "low.eqx", "high.eqx"

# %%
# %%writefile my_network.py
import equinox as eqx
import jax


def build(width=16):  # or your class
    sizes = (2, width, width, width, 2)
    layers = []
    for key, inputs, outputs in zip(jax.random.split(jax.random.key(0), 4), sizes, sizes[1:]):
        layers += [eqx.nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="REPLICATE", key=key)]
        layers += [eqx.nn.Lambda(jax.nn.gelu)]
    return eqx.nn.Sequential(layers[:-1])  # [C, H, W] to what is added to the frame


# %% [markdown]
# ccm_jax merges any pytree of arrays, and rolls out any function `apply(params, window)` that gives the next frame,
# channels last. Split a module into its arrays and the rest; `apply` puts them together:

# %%
from my_network import build

initial, rest = eqx.partition(build(), eqx.is_array)


def apply(params, window):  # [N, 1, H, W, C] to the next frame [N, H, W, C]
    x = jnp.moveaxis(window[:, -1], -1, 1)
    return jnp.moveaxis(x + jax.vmap(eqx.combine(params, rest))(x), 1, -1)


# %% [markdown]
# **In Flax**, only this differs. Linen's parameters are a pytree already; with nnx, split the module into its graph and
# its parameters:
#
# ```python
# apply = lambda params, window: module.apply({"params": params}, window[:, -1])  # Linen
#
# graph, anchor = nnx.split(module, nnx.Param)  # nnx; of the experts: nnx.state(expert, nnx.Param)
# apply = lambda params, window: nnx.merge(graph, params)(window[:, -1])
# ```
#
# **Three checkpoints.** Both experts start from the anchor, and see the same initial states in the same order, so that
# most of the noise of training cancels in their difference.

# %% cellView="form"
# @title Setup: trains the networks whose checkpoints do not exist


def train(file, params, data, steps, rate, seed, size=8):
    """Saves a trained copy."""
    rng, losses, begin = np.random.default_rng(seed), [], time.perf_counter()
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    @jax.jit
    def step(params, state, x, y):
        loss, gradient = jax.value_and_grad(lambda p: relative_l2(apply(p, x[:, None]), y).mean())(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=size), rng.integers(data.shape[1] - 1, size=size)
        params, state, loss = step(params, state, data[i, t], data[i, t + 1])
        losses.append(loss)
    eqx.tree_serialise_leaves(file, eqx.combine(params, rest))
    seconds = time.perf_counter() - begin
    print(f"{file:10} {steps} steps in {seconds:.0f} s, one-step error {np.mean(losses[-50:]):.4f}")


def load(file):
    return eqx.filter(eqx.tree_deserialise_leaves(file, build()), eqx.is_array)


if not all(Path(file).exists() for file in (ANCHOR, LOW, HIGH)):
    steps, fine = (100, 50) if os.environ.get("CCM_SIZE") == "smoke" else (1000, 500)
    support = by_value("support.h5")
    train(ANCHOR, initial, np.concatenate(list(support.values())), steps, 3e-3, seed=0)
    train(LOW, load(ANCHOR), support[min(support)], fine, 1e-3, seed=1)
    train(HIGH, load(ANCHOR), support[max(support)], fine, 1e-3, seed=1)

# %%
anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)  # eqx.tree_deserialise_leaves, and the arrays of it

# %% [markdown]
# ### Is the network called correctly?
#
# Compare its error one step ahead with that of *persistence*, the last frame repeated: if it is not far smaller, channels, units or
# normalisation are wrong. `ccm inspect` compares the checkpoints tensor by tensor. Its verdict says whether the experts can
# have been fine-tuned from this anchor.

# %%
rollout_fn = ccm_jax.make_rollout(apply)
one_step = relative_l2(rollout_fn(anchor, jnp.asarray(seen[:, :1]), 1), jnp.asarray(seen[:, 1:2])).mean()
repeated = relative_l2(jnp.asarray(seen[:, :1]), jnp.asarray(seen[:, 1:2])).mean()
print(f"error one step ahead: anchor {one_step:.4f}, last frame repeated {repeated:.4f}")
os.environ |= {"ANCHOR": ANCHOR, "LOW": LOW, "HIGH": HIGH, "OBSERVED": OBSERVED, "VALIDATION": VALIDATION}

# %% language="bash"
# ccm inspect $ANCHOR $LOW $HIGH

# %% [markdown]
# ### Find the weights
#
# The chart gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one, and of a gate: how
# much of the experts' shared update to keep, all of it at 1. Validation decides whether the gate is searched, too. A gate
# above 1 takes more of the shared update than the experts have, which may help where the anchor was not fully trained.
#
# The readout is fitted once, on validation trajectories; one call with observed frames then finds the coordinate.

# %%
chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))
found = readout(jnp.asarray(seen), batch="pooled")  # all four trajectories share one value

print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))
print(f"error on the last observed frame, one step ahead: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %% [markdown]
# `fit_uncertainty` fits a curve through the coordinates of the validation trajectories: from coordinate to value, with an
# interval. It needs three values or more.
#
# **Validate at least as far out as you forecast.** Between validation values, the curve is interpolated; beyond the last
# one, it rests on an assumption about how it continues. Here the weights are extrapolated (the experts end at 0.003, the
# trajectories are at 0.004), but the curve is not: validation ends at 0.0045. An end of the interval may still lie beyond the
# last value, where the curve is uncertain; where that end is only a bound, the cell says so.
#
# This interval is not a blind test: we extended validation after seeing that, with values up to 0.00325, an interval of
# these very trajectories was cut off. The second one is: its value, 0.0034, was fixed before its trajectories were simulated.

# %% tags=["full"]
readout = ccm_jax.fit_uncertainty(readout, list(validation.values()), list(validation))
sure = readout(jnp.asarray(seen), batch="pooled")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a posterior that is cut off: printed below
    value, (least, most) = sure.value()[0], sure.interval(0.9)[0]

print(f"value {value:.5f}, 90 % interval {least:.5f} to {most:.5f}; true {true}")
for end, cut in zip(("lower", "upper"), np.ravel(sure.posterior.cut())):
    if cut:
        print(f"the {end} end is not known: the interval ends where the values considered end")

((hidden, other),) = by_value(BLIND).items()
blind = readout(jnp.asarray(other[:, :5]), batch="pooled")
print("value {:.5f}, 90 % interval {:.5f} to {:.5f}; true {}".format(blind.value()[0], *blind.interval(0.9)[0], hidden))

# %% [markdown]
# The merged weights make a module again, and an ordinary Equinox file:

# %%
eqx.tree_serialise_leaves("merged.eqx", eqx.combine(chart(found), rest))

# %% [markdown]
# ### Forecast
#
# Four other trajectories at that value: all networks start from the fifth frame, and are scored on those after it. The high
# expert is the network to beat: its value is nearest.

# %%
networks = {"anchor": anchor, "high expert": high, "merged": load("merged.eqx")}
future = jnp.asarray(unseen[:, 5:])
forecasts, errors = {}, {}
for name, params in networks.items():
    forecasts[name] = rollout_fn(params, jnp.asarray(unseen[:, 4:5]), future.shape[1])
    errors[name] = relative_l2(forecasts[name], future)  # [N, T]
    print(f"{name:11} mean error {errors[name].mean():.1%}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the last frame of a trajectory, and its error
COLOURS = {"anchor": "black", "high expert": "#E69F00", "merged": "#009E73"}
FIELD = {"origin": "lower", "cmap": "RdBu_r", "interpolation": "bilinear"}
figure, axes = plt.subplots(2, 4, figsize=(6, 3.2))
u = {name: frames[0, -1, ..., 0].T for name, frames in {"truth": future, **forecasts}.items()}
bound = np.abs(u["truth"]).max()
for ax, (name, each) in zip(axes.T, u.items()):
    field = ax[0].imshow(each, vmin=-bound, vmax=bound, **FIELD)
    wrong = ax[1].imshow(each - u["truth"], vmin=-bound / 2, vmax=bound / 2, **FIELD | {"cmap": "PuOr_r"})
    ax[0].set_title(name, fontsize=10)
    error = jnp.linalg.norm(each - u["truth"]) / jnp.linalg.norm(u["truth"])
    ax[1].set_title(f"error {error:.1%}", fontsize=10)
axes[1, 0].set_visible(False)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(field, ax=axes[0], label="$u$, last frame")
figure.colorbar(wrong, ax=axes[1], extend="both", label="error of $u$")
plt.show()

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the error of each frame
figure, ax = plt.subplots(figsize=(6, 2.8))
for name, each in errors.items():
    ax.plot(range(6, 6 + each.shape[1]), each.mean(axis=0), color=COLOURS[name], lw=2, label=name)
ax.set_title("Mean error of four trajectories, after five observed frames", fontsize=10, loc="left")
ax.set(xlabel="frame", ylabel="relative L2 error", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# ### The same in a terminal
#
# Besides the checkpoints, the command needs the class of the network, here `build` in `my_network.py` (its folder is on
# `PYTHONPATH`), and a YAML file that says how it is called.

# %% language="bash"
# set -e
# cat > network.yaml << END
# model: my_network:build
# args: {width: 16}
# predicts: increment
# END
# ccm calibrate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --prefix $OBSERVED --sample 0:4 --validation $VALIDATION -o merged-by-command.eqx --force

# %% language="bash"
# ccm evaluate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --merged merged-by-command.eqx --trajectories $OBSERVED --sample 4:8

# %% [markdown]
# | if your network | say |
# |---|---|
# | has its channels elsewhere than its library | `channels: first` or `last`; the default is `first` for Equinox and PyTorch |
# | returns what is to be added to the last frame | `predicts: increment`; the default is `frame`; or `rate`, with `time_step` |
# | takes several frames | `history: 3`, and `window: merged` as channels or `axis` as an axis of their own |
# | has a normalisation outside it | `mean` and `std`, per channel |
# | takes static fields as channels | `static: terrain.npy` |
# | has complex weights | nothing, they merge like real ones |
# | has buffers, as of BatchNorm | `keep: anchor` in a [recipe](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/command-line.md#recipes) |
# | takes a forcing, the time or a parameter | [wrap it](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md#inputs-beside-the-window) |
#
# ## Part 2: PyTorch
#
# PyTorch runs the network itself, on its GPU if it has one; JAX computes the weights of each candidate. **Put your
# checkpoints and your class here.** Where files do not exist, the network of Part 1 is written as a PyTorch module with the
# same weights, so that both parts must find the same coordinate.

# %%
TORCH = "anchor.pt", "low.pt", "high.pt"

# %%
# %%writefile my_torch_network.py
from torch import nn


def build(width=16):  # or your class
    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")

    def gelu():
        return nn.GELU(approximate="tanh")

    return nn.Sequential(conv(2, width), gelu(), conv(width, width), gelu(), conv(width, width), gelu(), conv(width, 2))


# %% cellView="form"
# @title Setup: PyTorch, and the checkpoints that do not exist
install_if_missing("torch")

import copy

import torch
from my_torch_network import build as build_torch

torch.set_num_threads(1)  # more threads do not speed up a network this small
for file, params in zip(TORCH, (anchor, low, high)):
    if not Path(file).exists():
        layers = enumerate(eqx.combine(params, rest).layers)
        convs = {i: layer for i, layer in layers if isinstance(layer, eqx.nn.Conv2d)}
        state = {f"{i}.weight": torch.tensor(np.asarray(conv.weight)) for i, conv in convs.items()}
        state |= {f"{i}.bias": torch.tensor(np.asarray(conv.bias)).flatten() for i, conv in convs.items()}
        torch.save(state, file)

# %%
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch import torch_params, torch_rollout


def load_torch(file):
    net = build_torch()
    net.load_state_dict(torch.load(file, weights_only=True), strict=True)
    return net.eval()


nets = [load_torch(file) for file in TORCH]
layout = Layout(channels="first", predicts="increment")  # what the YAML file says, in Python

# %% [markdown]
# ### Is it called correctly?
#
# `torch_rollout` runs the network on arrays `[N, T, H, W, C]`. It must agree with a rollout by hand:

# %%
x = torch.from_numpy(seen[:, 0]).movedim(-1, 1)
with torch.no_grad():
    for _ in range(4):
        x = x + nets[0](x)
frames = torch_rollout(nets[0], layout)(torch_params(nets[0]), jnp.asarray(seen[:, :1]), 4)
print(f"largest difference after four steps: {np.abs(np.asarray(frames[:, -1]) - x.movedim(1, -1).numpy()).max():.0e}")


# %% [markdown]
# ### From three modules to the merged one
#
# The steps of Part 1 in one function. **Pass your modules, layout and arrays as its arguments.**


# %%
def merged_module(networks, layout, validation, observed):
    """A copy of the anchor with the weights that explain observed frames.

    Args:
        networks: the anchor, the low and the high expert: PyTorch modules.
        layout: how they are called, a Layout; see the table above.
        validation: trajectories [N, T, *space, C] of each of some other values.
        observed: frames [N, T, *space, C] of one or more trajectories that share one value.

    Returns:
        The merged module, and its Estimate, with `coordinate`: coordinate and gate.
    """
    anchor, *experts = networks
    ends = [torch_params(expert) for expert in experts]
    chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, torch_rollout(anchor, layout), validation)
    found = readout(jnp.asarray(observed), batch="pooled")
    merged = copy.deepcopy(anchor)
    merged.load_state_dict({name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found).items()})
    return merged.eval(), found


net, mine = merged_module(nets, layout, list(validation.values()), seen)
torch.save(net.state_dict(), "merged.pt")
for name, estimate in {"Equinox": found, "PyTorch": mine}.items():
    print("{}: coordinate {:+.2f}, gate {:.2f}".format(name, *estimate.coordinate))

# %% [markdown]
# `fit_uncertainty` works as in Part 1. In a terminal, only the files differ, and the merged file keeps PyTorch's names:
#
# ```bash
# ccm calibrate --anchor anchor.pt --low low.pt --high high.pt --model network.yaml \
#   --prefix test.h5 --sample 0:4 --validation validation.h5 -o merged.pt  # network.yaml: model: my_torch_network:build
# ```
#
# **neuraloperator.** Its `FNO` is such a module: `merged_module` takes it as it is. In a terminal, `--model
# neuraloperator` runs its checkpoints in JAX, compiled and without PyTorch; in Python,
# [`fno_from_neuraloperator`](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/tried-networks.md) converts the
# weights.

# %% [markdown]
# ## Summary

# %% cellView="form" jupyter={"source_hidden": true} tags=["full"]
# @title Code: prints the summary
means = {name: each.mean() for name, each in errors.items()}
print(f"""\
- From five frames of four flows: {PARAMETER} {value:.5f}, 90 % interval {least:.5f} to {most:.5f}; true {true}.
- Error on other flows there: anchor {means["anchor"]:.1%}, high expert {means["high expert"]:.1%}, merged \
{means["merged"]:.1%}.
- The same network in Equinox and in PyTorch: coordinates {found.coordinate[0]:+.2f} and {mine.coordinate[0]:+.2f}.""")

# %% [markdown]
# **Checklist for your own networks**
#
# 1. The experts were fine-tuned from this anchor, in the same way: `ccm inspect` does not warn.
# 2. The network is called correctly: the anchor's error is far below that of persistence.
# 3. Validation: three values or more, at least two trajectories of each, other than those you will observe; to
#    extrapolate, values beyond both experts.
# 4. The merge beats the anchor *and* the nearest expert on held-out frames: `ccm evaluate`.
# 5. How certain it is, and when not to merge: [how certain is the
#    coordinate](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/how-sure.md).
#
# **Where next.** [The main
# experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) shows how this package
# trains and compares such families. [Many
# devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) is for networks in JAX.
