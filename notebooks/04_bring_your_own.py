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
# **You will have** your own network merged at a value that it was never trained on, as an ordinary `state_dict`; the same
# by two commands; and `merged_module`, a function from your three PyTorch modules and your frames to the merged one.
#
# **You need** three checkpoints of a network in PyTorch or JAX: an *anchor*, trained on a range of a parameter, and two
# *experts*, fine-tuned from it at the ends of that range; and trajectories of known values to validate on. As it stands,
# the notebook makes such files itself, with a small convolutional network in PyTorch.
#
# **It takes** some minutes on two CPU cores, less than one of them for training. PyTorch runs on its GPU if it has one.
#
# What a merge is: [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). To train the experts on
# your trajectories with this package:
# [your own data](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md).

# %% cellView="form"
# @title Run this cell first: finds ccm_jax or, as on Colab, installs it
# Uses the clone that holds this notebook; anywhere else it makes one. The jax that is there stays.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/OWNER/ccm_jax"
START = globals().get("START") or Path.cwd()  # run again, the cell looks where it looked first
clone = START.parent
if not (clone / "ccm_jax" / "__init__.py").exists():
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

for module in ("torch", "equinox"):
    if importlib.util.find_spec(module) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", module], check=True)

import copy
import tempfile
import time

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import torch

from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch import torch_params, torch_rollout
from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.metrics import relative_l2

folder = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve() / "bring_your_own"
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)
sys.path.insert(0, str(folder))
torch.set_num_threads(1)  # more threads do not speed up a network this small
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10, "legend.frameon": False}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}

# %% [markdown]
# ## Your files
#
# **Replace these names and the two files below them by yours.** Files that do not exist are made: a
# reaction–diffusion system whose diffusivity is hidden from the network, 0.001 to 0.003 in the anchor's training, and
# observed at 0.004.

# %%
ANCHOR, LOW, HIGH = "anchor.pt", "low.pt", "high.pt"  # checkpoints
OBSERVED = "test.h5"  # trajectories whose first frames are observed
VALIDATION, PARAMETER = "validation.h5", "diffusivity_u"  # trajectories of other, known values, and their name

# %%
# %%writefile my_network.py
from torch import nn


def build(width=32):  # or your class
    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")

    return nn.Sequential(
        conv(2, width), nn.GELU(), conv(width, width), nn.GELU(), conv(width, width), nn.GELU(), conv(width, 2)
    )


# %% [markdown]
# A YAML file says how the network is called:
#
# | if your network | say |
# |---|---|
# | takes channels first, `[N, C, H, W]` | `channels: first`; the default is `last` |
# | returns what is to be added to the last frame | `predicts: increment`; the default is `frame`; or `rate`, with `time_step` |
# | takes several frames | `history: 3`, and `window: merged` as channels or `axis` as an axis of their own |
# | has a normalisation outside it | `mean` and `std`, per channel |
# | takes static fields as channels | `static: terrain.npy` |
# | has complex weights | nothing, they merge like real ones |
# | has buffers, as of BatchNorm | `keep: anchor` in a [recipe](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/command-line.md#recipes) |
# | takes a forcing, the time or a parameter | [wrap it](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md) |

# %% language="bash"
# cat > network.yaml << END
# model: my_network:build
# args: {width: 32}
# channels: first
# predicts: increment
# END

# %% cellView="form"
# @title Setup: simulates the trajectories that do not exist
TRAIN = not all(Path(file).exists() for file in (ANCHOR, LOW, HIGH))
missing = {
    "support.h5": ("1e-3,1.5e-3,2e-3,2.5e-3,3e-3", 24),  # to train on
    VALIDATION: ("0.75e-3,1.25e-3,1.75e-3,2.25e-3,2.75e-3,3.25e-3", 2),
    OBSERVED: ("4e-3", 8),
}
if not TRAIN:
    del missing["support.h5"]
for name, (values, count) in missing.items():
    flags = f"--config=rd_ood:{os.environ.get('CCM_SIZE', '')} --value={values} --count={count} --output={name}".split()
    if not Path(name).exists():
        subprocess.run([sys.executable, "-m", "experiments.generate", *flags], capture_output=True, check=True)

# %% [markdown]
# ### Trajectories
#
# PDEBench, PDEInvBench, The Well, MATLAB and numpy are read. From other data, make an `.npz` with `frames`, and the
# parameter under its name. `ccm data describe` shows what a file contains; `--axes` says what its axes are where the file
# does not: here number, time, x, y and channel.


# %%
def by_value(file):
    """Trajectories [N, T, H, W, C] of each value of the parameter."""
    recording = open_recording(file)
    x = np.stack([recording.trajectory(i) for i in range(recording.shape[0])]).astype(np.float32)
    of = common_parameter(recording, PARAMETER)
    return {float(value): x[of == value] for value in np.unique(of)}


validation = by_value(VALIDATION)
((true, truth),) = by_value(OBSERVED).items()  # here the value is known, to compare with; the readout does not get it
seen, unseen = truth[:4, :5], truth[4:]  # calibrate on five frames of four flows, judge on others
np.savez("mine.npz", frames=truth, **{PARAMETER: np.full(len(truth), true)})  # one value for each trajectory

# %% language="bash"
# ccm data describe mine.npz --axes NTXYC | sed '/^Next/d'

# %% [markdown]
# ### Three checkpoints
#
# Both experts start from the anchor, and see the same initial states in the same order, so that most of the noise of
# training cancels in their difference.

# %%
from my_network import build


def load(file):
    net = build()
    net.load_state_dict(torch.load(file, weights_only=True))
    return net.eval()


# %% cellView="form"
# @title Setup: trains the networks whose checkpoints do not exist


def norm(x):
    return torch.linalg.vector_norm(x, dim=(1, 2, 3))


def train(file, net, data, steps, rate, seed, size=8):
    """Saves a trained copy."""
    if Path(file).exists():
        return
    net, rng, losses, begin = copy.deepcopy(net), np.random.default_rng(seed), [], time.process_time()
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=size), rng.integers(data.shape[1] - 1, size=size)
        x, y = (torch.from_numpy(np.moveaxis(data[i, t + k], -1, 1).copy()) for k in (0, 1))
        loss = (norm(x + net(x) - y) / norm(y)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    torch.save(net.state_dict(), file)
    seconds = time.process_time() - begin
    print(f"{file:9} {steps} steps in {seconds:.0f} s of CPU time, one-step error {np.mean(losses[-50:]):.4f}")


if TRAIN:
    torch.manual_seed(0)
    steps, fine = (100, 50) if os.environ.get("CCM_SIZE") == "smoke" else (1000, 500)
    support = by_value("support.h5")
    train(ANCHOR, build(), np.concatenate(list(support.values())), steps, 3e-3, seed=0)
    train(LOW, load(ANCHOR), support[min(support)], fine, 1e-3, seed=1)
    train(HIGH, load(ANCHOR), support[max(support)], fine, 1e-3, seed=1)

# %%
anchor, low, high = load(ANCHOR), load(LOW), load(HIGH)

# %% [markdown]
# ## Is the network called correctly?
#
# `torch_rollout` runs the network on arrays `[N, T, H, W, C]`. Compare it with a rollout by hand, and its error with that
# of repeating the last frame: if it is not far smaller, channels, units or normalisation are wrong.

# %%
rollout_fn = torch_rollout(anchor, Layout(channels="first", predicts="increment"))
x = torch.from_numpy(seen[:, 0]).movedim(-1, 1)
with torch.no_grad():
    for _ in range(4):
        x = x + anchor(x)
frames = rollout_fn(torch_params(anchor), jnp.asarray(seen[:, :1]), 4)
np.testing.assert_allclose(frames[:, -1], x.movedim(1, -1), rtol=1e-3, atol=1e-4)

one_step = relative_l2(frames[:, :1], jnp.asarray(seen[:, 1:2])).mean()
repeated = relative_l2(jnp.asarray(seen[:, :1]), jnp.asarray(seen[:, 1:2])).mean()
print(f"rollouts agree; error one step ahead: anchor {one_step:.4f}, last frame repeated {repeated:.4f}")

# %% [markdown]
# `ccm inspect` compares the checkpoints, and warns if the experts were probably not fine-tuned from this anchor.

# %%
os.environ |= {"ANCHOR": ANCHOR, "LOW": LOW, "HIGH": HIGH, "OBSERVED": OBSERVED, "VALIDATION": VALIDATION}

# %% language="bash"
# ccm inspect $ANCHOR $LOW $HIGH | sed -n '/^The experts/p' | fold -s -w 95

# %% [markdown]
# ## Find the weights
#
# The chart gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one, and of a gate: how
# much to keep of what both learned in common, all of it at 1. Validation decides whether the gate is searched, too. A gate
# above 1 means that more of the common update would help: the anchor was not trained to the end.
#
# The readout is fitted once, on validation flows; one call with observed frames then finds the coordinate. JAX computes
# the weights of each candidate; PyTorch runs its rollout.

# %%
ends = [torch_params(low), torch_params(high)]
chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))
found = readout(jnp.asarray(seen), batch="pooled")  # all four flows share one value

print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))
print(f"error on the last observed frame, one step ahead: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %% [markdown]
# `fit_uncertainty` fits a curve through the coordinates of the validation flows: from coordinate to value, with an
# interval. It needs three values or more, and extrapolates beyond them: its interval then says more with more values.
#
# **This interval is no blind test**: validation has six values here because with three an interval of these very test
# flows was seen to be cut off.

# %% tags=["full"]
readout = ccm_jax.fit_uncertainty(readout, list(validation.values()), list(validation))
sure = readout(jnp.asarray(seen), batch="pooled")
print("value {:.5f}, 90 % interval {:.5f} to {:.5f};".format(*sure.value(), *sure.interval(0.9)[0]), f"true {true}")

# %% [markdown]
# The merged weights are an ordinary `state_dict`:

# %%
merged = copy.deepcopy(anchor)
merged.load_state_dict({name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found).items()}, strict=True)

# %% [markdown]
# ## Forecast
#
# Four other flows at that value: all networks start from the fifth frame, and are scored on those after it.

# %%
networks = {"anchor": anchor, "high expert": high, "merged": merged}
future = jnp.asarray(unseen[:, 5:])
forecasts, errors = {}, {}
for name, net in networks.items():
    forecasts[name] = rollout_fn(torch_params(net), jnp.asarray(unseen[:, 4:5]), future.shape[1])
    errors[name] = relative_l2(forecasts[name], future)  # [N, T]
    print(f"{name:11} mean error {errors[name].mean():.1%}")

# %% cellView="form"
# @title Plot: the last frame of a flow, and its error
COLOURS = {"anchor": "#777777", "high expert": "#E69F00", "merged": "#009E73"}
FIELD = {"origin": "lower", "cmap": "RdBu_r", "interpolation": "bilinear"}
figure, axes = plt.subplots(2, 4, figsize=(6, 3.2))
bound = np.abs(future[0, -1, ..., 0]).max()
for ax, (name, frames) in zip(axes.T, {"truth": future, **forecasts}.items()):
    field = ax[0].imshow(frames[0, -1, ..., 0].T, vmin=-bound, vmax=bound, **FIELD)
    wrong = ax[1].imshow(
        (frames - future)[0, -1, ..., 0].T, vmin=-bound / 2, vmax=bound / 2, **FIELD | {"cmap": "PuOr_r"}
    )
    ax[0].set_title(name, fontsize=10)
    if name != "truth":
        error = relative_l2(frames[:1, -1:, ..., :1], future[:1, -1:, ..., :1])[0, 0]
        ax[1].set_title(f"error {error:.1%}", fontsize=10)
axes[1, 0].set_visible(False)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(field, ax=axes[0], label="$u$, last frame")
figure.colorbar(wrong, ax=axes[1], extend="both", label="error of $u$")
plt.show()

# %% cellView="form"
# @title Plot: the error of each frame
figure, ax = plt.subplots(figsize=(6, 2.8))
for name, each in errors.items():
    ax.plot(range(6, 6 + each.shape[1]), each.mean(axis=0), color=COLOURS[name], lw=2, label=name)
ax.set_title("Mean error of four flows, after five observed frames", fontsize=10, loc="left")
ax.set(xlabel="frame", ylabel="relative L2 error", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# ## The same in a terminal
#
# No code of one's own: `--model network.yaml` says how the network is called, and `my_network.py` is found on Python's
# path.

# %% language="bash"
# set -eo pipefail
# export PYTHONPATH=.:$PYTHONPATH
# rm -f merged.*
# ccm calibrate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --prefix $OBSERVED --sample 0:4 --validation $VALIDATION -o merged.pt |
#   sed -n -e '/^coordinate [+-]/p' -e '/^Wrote/p'
# ccm evaluate --anchor $ANCHOR --low $LOW --high $HIGH --model network.yaml \
#   --merged merged.pt --trajectories $OBSERVED --sample 4:8 |
#   sed -n '/^Verdict/,/^  merged.*high/p'

# %% [markdown]
# The merged file keeps PyTorch's names, so that the module loads it:

# %%
print(load("merged.pt").load_state_dict(torch.load("merged.pt", weights_only=True), strict=True))

# %% [markdown]
# ## The same network in JAX: Equinox
#
# A network in JAX needs no callback, and runs compiled. Here the PyTorch network is written again in Equinox, with the
# same weights. Split a module into its arrays and the rest; `apply` puts them together. Flax:
# [your own network](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md).


# %%
def in_equinox(net):
    """The same layers, with the same weights."""

    def layer(module):
        if isinstance(module, torch.nn.GELU):
            return eqx.nn.Lambda(lambda x: jax.nn.gelu(x, approximate=False))
        sizes = (module.in_channels, module.out_channels, 3)
        conv = eqx.nn.Conv2d(*sizes, padding=1, padding_mode="REPLICATE", key=jax.random.key(0))
        weights = [jnp.asarray(leaf.detach().numpy()) for leaf in (module.weight, module.bias)]
        return eqx.tree_at(lambda conv: (conv.weight, conv.bias), conv, (weights[0], weights[1][:, None, None]))

    return eqx.nn.Sequential([layer(module) for module in net])


params, rest = eqx.partition(in_equinox(anchor), eqx.is_array)
ends = [eqx.filter(in_equinox(net), eqx.is_array) for net in (low, high)]


def apply(params, window):  # [N, 1, H, W, C] to the next frame [N, H, W, C]
    x = jnp.moveaxis(window[:, -1], -1, 1)
    return jnp.moveaxis(x + jax.vmap(eqx.combine(params, rest))(x), 1, -1)


chart = ccm_jax.fit_chart(params, ends, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, ccm_jax.make_rollout(apply), list(validation.values()))
again = readout(jnp.asarray(seen), batch="pooled")
for name, estimate in {"PyTorch": found, "Equinox": again}.items():
    print("{}: coordinate {:+.2f}, gate {:.2f}".format(name, *estimate.coordinate))
eqx.tree_serialise_leaves("merged.eqx", eqx.combine(chart(again), rest))  # an ordinary Equinox file

# %% [markdown]
# ## Use it for your own networks
#
# All of the above in one function. **Put your modules, your layout and your arrays into its slots.**


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
    rollout_fn = torch_rollout(anchor, layout)
    ends = [torch_params(expert) for expert in experts]
    chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
    found = ccm_jax.fit_prefix_readout(chart, rollout_fn, validation)(jnp.asarray(observed), batch="pooled")
    merged = copy.deepcopy(anchor)
    merged.load_state_dict({name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found).items()})
    return merged.eval(), found


layout = Layout(channels="first", predicts="increment")
net, mine = merged_module((anchor, low, high), layout, list(validation.values()), seen)
print("coordinate {:+.2f}, gate {:.2f}".format(*mine.coordinate))
torch.save(net.state_dict(), "mine.pt")

# %% [markdown]
# ## Summary

# %% cellView="form" tags=["full"]
# @title Code: prints the summary
means = {name: each.mean() for name, each in errors.items()}
print(f"""\
- From five frames of four flows: {PARAMETER} {sure.value()[0]:.5f}, 90 % interval {sure.interval(0.9)[0][0]:.5f} to \
{sure.interval(0.9)[0][1]:.5f}; true {true}.
- Error on other flows there: anchor {means["anchor"]:.1%}, high expert {means["high expert"]:.1%}, merged \
{means["merged"]:.1%}.
- Python, the terminal and the same network in Equinox: coordinates {found.coordinate[0]:+.2f} and \
{again.coordinate[0]:+.2f}.""")

# %% [markdown]
# **Checklist for your own**
#
# 1. The experts were fine-tuned from this anchor, in the same way: `ccm inspect` does not warn.
# 2. The network is called correctly: the rollouts agree, and the anchor's error is far below that of the last frame
#    repeated.
# 3. Validation: three values or more, at least two trajectories of each, other than those you will observe.
# 4. The merge beats the anchor *and* the nearest expert on held-out frames: `ccm evaluate`.
# 5. How sure it is, and when not to merge: [how certain is the
#    coordinate](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/how-sure.md).
#
# **Where next.** [The main
# experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb) shows how this package
# trains and compares such families. [Many
# devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) is for networks in JAX.
