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
# # Bring your own network: PyTorch
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb)
#
# **What you get:** your own PyTorch network, merged at a value outside its training data, as a module and in a `.pt`
# file; the value with an interval; and the same by one command. PyTorch runs the network, on its GPU if it has one; JAX
# only computes the weights of each candidate.
#
# **Requirements:** two CPU cores; three checkpoints of one network: an *anchor*, trained on a range of a parameter, and
# two *experts*, fine-tuned from it at the ends of that range; and trajectories of known values to validate on. Without
# such files the notebook makes its own, with a small convolutional network, in a few minutes.
#
# **The lines to keep**, of all that follows:
#
# ```python
# anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)  # your modules
# layout = Layout(channels="first", predicts="increment")  # how they are called
#
# experts = [torch_params(low), torch_params(high)]
# chart = ccm_jax.fit_chart(torch_params(anchor), experts, [-1.0, 1.0], features=ccm_jax.Gated())
# readout = ccm_jax.fit_prefix_readout(chart, torch_rollout(anchor, layout), list(validation.values()))
# found = readout(seen, batch="pooled")  # all four trajectories share one value
# merged = torch_module(anchor, chart(found))  # a copy of the anchor with the merged weights
# torch.save(merged.state_dict(), "merged.pt")
# ```
#
# What a merge is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). The same for Equinox and
# Flax: [the notebook before](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb).

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

if importlib.util.find_spec("torch") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "torch"], check=True)

import tempfile

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import torch

from ccm_jax.evaluate import future_error, future_frames, persistence_error
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch import torch_module, torch_params, torch_rollout
from ccm_jax.io.recordings import by_value

# On Colab, a folder of your Drive keeps the files: os.environ["CCM_WORKDIR"] = "/content/drive/MyDrive/ccm"
folder = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve() / "bring_your_own_pytorch"
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)
sys.path.insert(0, str(folder))  # finds my_torch_network.py, here
os.environ["PYTHONPATH"] += f"{os.pathsep}{folder}"  # and in commands
torch.set_num_threads(1)  # more threads do not speed up a network this small
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10, "legend.frameon": False}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}

# %% [markdown]
# ## Your trajectories
#
# **Replace these names by yours.** Files of PDEBench, PDEInvBench and The Well, MATLAB, HDF5 and numpy are read; from other
# data, write `np.savez("mine.npz", frames=x, diffusivity_u=values)`, with `x` `[N, T, *space, C]`, channels last, and one
# value for each trajectory. `ccm data describe FILE` shows what a file contains.
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
# **Replace the names of the checkpoints, and the class below them, by yours.**

# %%
ANCHOR, LOW, HIGH = "anchor.pt", "low.pt", "high.pt"

# %%
# %%writefile my_torch_network.py
from torch import nn


def build(width=16):  # or your class
    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")

    def gelu():
        return nn.GELU(approximate="tanh")

    return nn.Sequential(conv(2, width), gelu(), conv(width, width), gelu(), conv(width, width), gelu(), conv(width, 2))


# %%
from my_torch_network import build


def load(file):
    net = build()
    net.load_state_dict(torch.load(file, weights_only=True))
    return net.eval()


# %% [markdown]
# **Three checkpoints.** Those that do not exist are trained. Both experts start from the anchor and see the same initial
# states in the same order, so that most of the noise of training cancels in their difference.

# %% cellView="form" jupyter={"source_hidden": true}
# @title Setup: trains the networks whose checkpoints do not exist


def train(file, net, data, steps, rate, seed):
    """Saves the network, trained one step ahead."""
    rng, losses = np.random.default_rng(seed), []
    optimizer = torch.optim.Adam(net.train().parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = torch.from_numpy(data).movedim(-1, 2)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=8), rng.integers(data.shape[1] - 1, size=8)
        x, y = data[i, t], data[i, t + 1]
        wrong = (x + net(x) - y).flatten(1).norm(dim=1)
        loss = (wrong / y.flatten(1).norm(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    torch.save(net.state_dict(), file)
    print(f"{file:10} {steps} steps, error one step ahead {np.mean(losses[-50:]):.4f}")


if not all(Path(file).exists() for file in (ANCHOR, LOW, HIGH)):
    steps, fine = (100, 50) if os.environ.get("CCM_SIZE") == "smoke" else (1000, 500)
    support = by_value("support.h5", PARAMETER)
    torch.manual_seed(0)
    train(ANCHOR, build(), np.concatenate(list(support.values())), steps, 3e-3, seed=0)
    train(LOW, load(ANCHOR), support[min(support)], fine, 1e-3, seed=1)
    train(HIGH, load(ANCHOR), support[max(support)], fine, 1e-3, seed=1)

# %%
anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)  # your modules
layout = Layout(channels="first", predicts="increment")  # how they are called

# %% [markdown]
# `Layout` has an option for what differs between networks: several frames in the window, increments or rates, static
# fields. [All options](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network-terminal.md#describe-the-network-in-a-file).
#
# ## Is the network called correctly?
#
# `torch_rollout` runs the network on arrays `[N, T, H, W, C]`. Two checks: it agrees with a loop by hand, and its error one
# step ahead is far below that of *persistence*, the last frame repeated. If not, channels, units or normalisation are
# wrong. `ccm inspect` compares the checkpoints tensor by tensor; its verdict says whether the experts can have been
# fine-tuned from this anchor.

# %%
rollout_fn = torch_rollout(anchor, layout)
frames = rollout_fn(torch_params(anchor), jnp.asarray(seen[:, :1]), 4)

x = torch.from_numpy(seen[:, 0]).movedim(-1, 1)
with torch.no_grad():
    for _ in range(4):
        x = x + anchor(x)
print(f"largest difference after four steps: {np.abs(np.asarray(frames[:, -1]) - x.movedim(1, -1).numpy()).max():.0e}")

one_step = future_error(torch_params(anchor), rollout_fn, seen, frames=3).mean()  # the fifth frame, from the fourth
repeated = persistence_error(seen, frames=3).mean()
print(f"error one step ahead: anchor {one_step:.4f}, last frame repeated {repeated:.4f}")
os.environ |= {"ANCHOR": ANCHOR, "LOW": LOW, "HIGH": HIGH, "OBSERVED": OBSERVED, "VALIDATION": VALIDATION}

# %% language="bash"
# ccm inspect $ANCHOR $LOW $HIGH

# %% [markdown]
# ## Find the weights
#
# The chart gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one, and of a gate: how
# much of the experts' shared update to keep, all of it at 1. The readout is fitted once, on validation trajectories; one
# call with observed frames then finds the coordinate.

# %%
experts = [torch_params(low), torch_params(high)]
chart = ccm_jax.fit_chart(torch_params(anchor), experts, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, torch_rollout(anchor, layout), list(validation.values()))
found = readout(seen, batch="pooled")  # all four trajectories share one value

print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))
print(f"error on the last observed frame, one step ahead: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %% [markdown]
# The merged weights make a module, and an ordinary PyTorch file:

# %%
merged = torch_module(anchor, chart(found))  # a copy of the anchor with the merged weights
torch.save(merged.state_dict(), "merged.pt")

# %% [markdown]
# ## Forecast
#
# Four other trajectories at that value: all networks start from the fifth frame, and are scored on those after it. The high
# expert is the network to beat: its value is nearest.

# %%
networks = {"anchor": anchor, "high expert": high, "merged": merged}
weights = {name: torch_params(net) for name, net in networks.items()}
future = unseen[:, 5:]
forecasts = {name: future_frames(params, rollout_fn, unseen) for name, params in weights.items()}
errors = {name: future_error(params, rollout_fn, unseen) for name, params in weights.items()}  # [N, T]
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
# Besides the checkpoints, the command needs the class of the network, here `build` in `my_torch_network.py` (its folder is
# on `PYTHONPATH`), and a YAML file with the options of `Layout`. The merged file keeps PyTorch's names.
#
# The interval that `ccm calibrate` prints here is not blind: we chose how far validation reaches after seeing that, with
# less, an interval of such trajectories was cut off.

# %% language="bash"
# set -e
# cat > network.yaml << END
# model: my_torch_network:build
# args: {width: 16}
# predicts: increment
# END
# ccm calibrate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --prefix $OBSERVED --sample 0:4 --validation $VALIDATION -o merged-by-command.pt --force

# %% language="bash"
# ccm evaluate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --merged merged-by-command.pt --trajectories $OBSERVED --sample 4:8

# %% [markdown]
# **neuraloperator.** Its `FNO` is such a module, and works as it is. In a terminal, `--model neuraloperator` runs its
# checkpoints in JAX, compiled and without PyTorch; in Python,
# [`fno_from_neuraloperator`](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/tried-networks.md) converts the
# weights.
#
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
# **Where next.** [Options and limits of PyTorch
# networks](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/pytorch.md). [The main
# experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) shows how this package trains
# and compares such families.
