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
# # Bring your own network: Equinox or Flax
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb)
#
# **What you get:** your own network in JAX, merged at a value outside its training data, in a file that your own code
# loads; the value with an interval; and the same by one command.
#
# **Requirements:** two CPU cores; three checkpoints of one network: an *anchor*, trained on a range of a parameter, and
# two *experts*, fine-tuned from it at the ends of that range; and trajectories of known values to validate on. Without
# such files the notebook makes its own, with a small convolutional network, in a few minutes.
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
# found = readout(seen, batch="pooled")  # all four trajectories share one value
# eqx.tree_serialise_leaves("merged.eqx", eqx.combine(chart(found), rest))
# ```
#
# What a merge is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). The same for PyTorch:
# [the next notebook](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb). To train
# the experts on your trajectories with this package:
# [your own data](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md).

# %% cellView="form" jupyter={"source_hidden": true}
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

# %% cellView="form" jupyter={"source_hidden": true}
# @title Setup: imports, and a folder to work in
import importlib.util

if importlib.util.find_spec("equinox") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "equinox"], check=True)

import tempfile

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from ccm_jax.evaluate import future_error, future_frames, persistence_error
from ccm_jax.io.recordings import by_value

# On Colab, a folder of your Drive keeps the files: os.environ["CCM_WORKDIR"] = "/content/drive/MyDrive/ccm"
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
# **Replace these names by yours.** Files of PDEBench, PDEInvBench and The Well, MATLAB, HDF5 and numpy are read; from other
# data, write `np.savez("mine.npz", frames=x, diffusivity_u=values)`, with `x` `[N, T, *space, C]` and one value for each
# trajectory. `ccm data describe FILE` shows what a file contains.
#
# Files that do not exist are made: a reaction–diffusion system whose diffusivity is hidden from the network. The
# networks are trained at 0.001 to 0.003, and the observed trajectories are at 0.004: their weights are extrapolated.
# Validation reaches beyond both experts, from 0.00075 to 0.0045.

# %%
OBSERVED = "test.h5"  # trajectories whose first frames are observed
VALIDATION, PARAMETER = "validation.h5", "diffusivity_u"  # trajectories of other, known values, and their name
BLIND = "blind.h5"  # trajectories of one more known value, to test an interval

# %% cellView="form" jupyter={"source_hidden": true}
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
validation = by_value(VALIDATION, PARAMETER)  # {value: trajectories [N, T, H, W, C]}
((true, truth),) = by_value(OBSERVED, PARAMETER).items()  # known here, to compare with; the readout does not get it
seen, unseen = truth[:4, :5], truth[4:]  # calibrate on five frames of four trajectories, judge on others
print(f"observed {seen.shape}; validation at {', '.join(map(str, validation))}")

# %% [markdown]
# ## Your network
#
# **Replace the names of the checkpoints, and the network below them, by yours.**

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
# **Three checkpoints.** Those that do not exist are trained, by the training loop of this package. Both experts start
# from the anchor and see the same initial states in the same order, so that most of the noise of training cancels in
# their difference.

# %% cellView="form" jupyter={"source_hidden": true}
# @title Setup: trains the networks whose checkpoints do not exist
from ccm_jax.train import batch_order, init_state, make_loss, make_optimizer, train_chunk


def train(file, params, data, steps, rate, seed):
    """Saves the network, trained."""
    optimizer = make_optimizer(rate, steps)
    order = batch_order(seed, 0, steps, len(data) * (data.shape[1] - 1), 8)  # of pairs of consecutive frames
    how = {"loss_fn": make_loss(apply), "optimizer": optimizer}
    state, losses = train_chunk(init_state(params, optimizer), jnp.asarray(data), order, **how)
    eqx.tree_serialise_leaves(file, eqx.combine(state.params, rest))
    print(f"{file:10} {steps} steps, error one step ahead {losses[-50:].mean():.4f}")


def load(file):
    return eqx.filter(eqx.tree_deserialise_leaves(file, build()), eqx.is_array)


if not all(Path(file).exists() for file in (ANCHOR, LOW, HIGH)):
    steps, fine = (100, 50) if os.environ.get("CCM_SIZE") == "smoke" else (1000, 500)
    support = by_value("support.h5", PARAMETER)
    train(ANCHOR, initial, np.concatenate(list(support.values())), steps, 3e-3, seed=0)
    train(LOW, load(ANCHOR), support[min(support)], fine, 1e-3, seed=1)
    train(HIGH, load(ANCHOR), support[max(support)], fine, 1e-3, seed=1)

# %%
anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)  # eqx.tree_deserialise_leaves, and the arrays of it

# %% [markdown]
# ## Is the network called correctly?
#
# Compare its error one step ahead with that of *persistence*, the last frame repeated: if it is not far smaller,
# channels, units or normalisation are wrong. `ccm inspect` compares the checkpoints tensor by tensor. Its verdict says
# whether the experts can have been fine-tuned from this anchor.

# %%
rollout_fn = ccm_jax.make_rollout(apply)
one_step = future_error(anchor, rollout_fn, seen, frames=3).mean()  # the fifth frame, from the fourth
repeated = persistence_error(seen, frames=3).mean()
print(f"error one step ahead: anchor {one_step:.4f}, last frame repeated {repeated:.4f}")
os.environ |= {"ANCHOR": ANCHOR, "LOW": LOW, "HIGH": HIGH, "OBSERVED": OBSERVED, "VALIDATION": VALIDATION}

# %% language="bash"
# ccm inspect $ANCHOR $LOW $HIGH

# %% [markdown]
# ## Find the weights
#
# The chart gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one, and of a gate: how
# much of the experts' shared update to keep, all of it at 1. Validation decides whether the gate is searched, too. A gate
# above 1 takes more of the shared update than the experts have, which may help where the anchor was not fully trained.
#
# The readout is fitted once, on validation trajectories; one call with observed frames then finds the coordinate.

# %%
chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))
found = readout(seen, batch="pooled")  # all four trajectories share one value

print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))
print(f"error on the last observed frame, one step ahead: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %% [markdown]
# The merged weights make a module again, and an ordinary Equinox file:

# %%
eqx.tree_serialise_leaves("merged.eqx", eqx.combine(chart(found), rest))

# %% [markdown]
# ## Forecast
#
# Four other trajectories at that value: all networks start from the fifth frame, and are scored on those after it. The high
# expert is the network to beat: its value is nearest.

# %%
networks = {"anchor": anchor, "high expert": high, "merged": load("merged.eqx")}
future = unseen[:, 5:]
forecasts = {name: future_frames(params, rollout_fn, unseen) for name, params in networks.items()}
errors = {name: future_error(params, rollout_fn, unseen) for name, params in networks.items()}  # [N, T]
for name, error in errors.items():
    print(f"{name:11} mean error {error.mean():.1%}")

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
# ## How certain is the value?
#
# `fit_uncertainty` fits a curve through the coordinates of the validation trajectories: from coordinate to value, with an
# interval. It needs three values or more. Validate at least as far out as you forecast: beyond the last validation value,
# the curve rests on an assumption about how it continues.
#
# A blind test: four trajectories at 0.0034, outside the training range and between two validation values. We fixed this
# value before we simulated them.

# %% tags=["full"]
readout = ccm_jax.fit_uncertainty(readout, list(validation.values()), list(validation))
((hidden, blind),) = by_value(BLIND, PARAMETER).items()
sure = readout(blind[:, :5], batch="pooled")
value, (least, most) = sure.value()[0], sure.interval(0.9)[0]
print(f"value {value:.5f}, 90 % interval {least:.5f} to {most:.5f}; true {hidden}")

# %% [markdown]
# ## The same in a terminal
#
# Besides the checkpoints, the command needs the class of the network, here `build` in `my_network.py` (its folder is on
# `PYTHONPATH`), and a YAML file that says how it is called: [all
# options](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network-terminal.md#describe-the-network-in-a-file).
#
# The interval that `ccm calibrate` prints here is not blind: we chose how far validation reaches after seeing that, with
# less, an interval of such trajectories was cut off.

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
# ## Summary

# %% cellView="form" jupyter={"source_hidden": true} tags=["full"]
# @title Code: prints the summary
means = {name: each.mean() for name, each in errors.items()}
print(f"""\
- From five frames of four blind trajectories: {PARAMETER} {value:.5f}, 90 % interval {least:.5f} to {most:.5f}; true {hidden}.
- Forecasts at {true}: error of the anchor {means["anchor"]:.1%}, high expert {means["high expert"]:.1%}, merged \
{means["merged"]:.1%}.""")

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
# **Where next.** The same [in
# PyTorch](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb). [A forcing, the time or a
# parameter as input](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md#inputs-beside-the-window). [The
# main experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) shows how this package
# trains and compares such families. [Many
# devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) is for networks in JAX.
