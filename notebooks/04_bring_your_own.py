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
# We train a PyTorch network on a range of diffusivities, and fine-tune it at both ends. From five observed frames, the readout
# then finds weights for a diffusivity outside that range, and the merged checkpoint loads back into the network. The same then
# from the command line, and with a network in Equinox. It takes some minutes, most of them for training.

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

# %%
import importlib.util

for library in ("torch", "equinox"):
    if importlib.util.find_spec(library) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)

import copy
import tempfile

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import torch

import ccm_jax
from ccm_jax.interop.torch import torch_params, torch_rollout
from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.metrics import relative_l2

os.chdir(tempfile.mkdtemp())
SMOKE = os.environ.get("CCM_SIZE") == "smoke"  # a quick test with meaningless errors
STEPS, FINE = (20, 10) if SMOKE else (1000, 500)

# %% [markdown]
# ## Trajectories
#
# We simulate reaction–diffusion and save it in PDEBench's layout: five diffusivities for training, three for validation, and
# 4e-3, which no network is trained on. Use your own files here: PDEBench, PDEInvBench, The Well, MATLAB and numpy are supported,
# and `ccm data describe FILE` shows what a file contains.

# %%
LOW, HIGH, TARGET = 1e-3, 3e-3, 4e-3


def simulate(name, values, count):
    command = (
        f"{sys.executable} -m experiments.generate --config=rd_ood --value={values} --count={count} --output={name}"
    )
    print(subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout.splitlines()[0])


def by_diffusivity(file):
    """Trajectories [N, T, H, W, C] by diffusivity."""
    recording = open_recording(file)
    x = np.stack([recording.trajectory(i) for i in range(recording.shape[0])]).astype(np.float32)
    of = common_parameter(recording, "diffusivity_u")
    return {float(value): x[of == value] for value in np.unique(of)}


simulate("support.h5", "1e-3,1.5e-3,2e-3,2.5e-3,3e-3", 24)
simulate("validation.h5", "0.75e-3,2.25e-3,3.25e-3", 8)
simulate("test.h5", "4e-3", 8)
family, validation = by_diffusivity("support.h5"), list(by_diffusivity("validation.h5").values())
truth = by_diffusivity("test.h5")[TARGET]
seen, future = truth[:, :5], truth[:, 5:]

# %% [markdown]
# ## A network in PyTorch
#
# Any `torch.nn.Module` works, from any package. This one is a residual network of dilated convolutions, after
# [Stachenfeld et al.](https://arxiv.org/abs/2112.15275), in a file, where the command line will find it as `my_networks:Net`.

# %%
# %%writefile my_networks.py
import torch


class Net(torch.nn.Module):
    """The next frame from this one, [N, C, H, W]; walls reflect."""

    def __init__(self, width=24):
        super().__init__()
        sizes = [(2, width, 1), (width, width, 2), (width, width, 4), (width, width, 2), (width, 2, 1)]
        convolutions = [torch.nn.Conv2d(a, b, 3, padding=d, dilation=d, padding_mode="reflect") for a, b, d in sizes]
        self.layers = torch.nn.ModuleList(convolutions)

    def forward(self, x):
        y = x
        for layer in self.layers[:-1]:
            y = torch.nn.functional.gelu(layer(y))
        return x + self.layers[-1](y)


# %%
sys.path.insert(0, os.getcwd())
from my_networks import Net


def batches(data, steps, seed, size=16):
    """Frames and those after them, in the same order for both ends, so that their noise cancels in the difference."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=size), rng.integers(data.shape[1] - 1, size=size)
        yield tuple(np.moveaxis(data[i, t + k], -1, 1).copy() for k in (0, 1))


def train(net, data, steps, rate, seed=0):
    net = copy.deepcopy(net).train()
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for x, y in batches(data, steps, seed):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        error = ((net(x) - y) ** 2).sum((1, 2, 3)).sqrt() / (y**2).sum((1, 2, 3)).sqrt()
        optimizer.zero_grad()
        error.mean().backward()
        optimizer.step()
        schedule.step()
    return net.eval()


torch.set_num_threads(1)  # more threads do not speed up networks this small
torch.manual_seed(0)
anchor = train(Net(), np.concatenate(list(family.values())), STEPS, 3e-3)
low, high = (train(anchor, family[end], FINE, 1e-3, seed=1) for end in (LOW, HIGH))
for name, net in (("anchor", anchor), ("low", low), ("high", high)):
    torch.save(net.state_dict(), f"{name}.pt")

# %% [markdown]
# ## Find the weights
#
# The chart gives weights as a function of one coordinate, −1 at the low end and +1 at the high one, with a gate back to the
# anchor. The readout is fitted once, on validation trajectories. One call with observed frames finds the coordinate.

# %%
rollout_fn = torch_rollout(anchor)
ends = [torch_params(low), torch_params(high)]
chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, validation)

found = readout(jnp.asarray(seen), batch="pooled")  # all trajectories share one diffusivity
coordinate, gate = found.coordinate
print(f"coordinate {coordinate:+.2f}, gate {gate:.2f}")
print(f"a diffusivity of {(LOW + HIGH) / 2 + coordinate * (HIGH - LOW) / 2:.2e}; it is {TARGET:.2e}")
print(f"error of the observed frames: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

merged = copy.deepcopy(anchor)
weights = {name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found.coordinate).items()}
print(merged.load_state_dict(weights, strict=True))


# %% [markdown]
# ## Forecast
#
# All networks start from the fifth frame, and are scored on the sixteen after it.


# %%
def forecast(net):
    return np.asarray(rollout_fn(torch_params(net), jnp.asarray(seen[:, -1:]), future.shape[1]))


forecasts = {"anchor": forecast(anchor), "high expert": forecast(high), "merged": forecast(merged)}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained")
bound = np.abs(future[0, -1, ..., 0]).max()
for ax, (name, frames) in zip(axes, {"truth": future, **forecasts}.items()):
    ax.imshow(frames[0, -1, ..., 0].T, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="bilinear")
    error = relative_l2(jnp.asarray(frames[:1, -1:]), jnp.asarray(future[:1, -1:]))[0, 0]
    ax.set(xticks=[], yticks=[], title=name if name == "truth" else f"{name}, error {error:.0%}")
plt.show()

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, frames in forecasts.items():
    errors = relative_l2(jnp.asarray(frames), jnp.asarray(future))
    ax.plot(range(6, 6 + future.shape[1]), np.asarray(errors).mean(axis=0), marker="o", ms=4, label=name)
ax.set(xlabel="frame", ylabel="relative L2 error", title="PyTorch, diffusivity 4e-3", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## On the command line
#
# The merged file keeps PyTorch's names. The estimate comes with the diffusivity and its interval; the verdict is on trajectories
# that were not used for calibration.

# %%
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
os.environ["PYTHONPATH"] = f"{os.getcwd()}{os.pathsep}{os.environ['PYTHONPATH']}"  # where `ccm` finds my_networks
os.environ["FORCE_COLOR"] = ""  # or commands draw their progress into outputs
commands = """
family="--anchor anchor.pt --low low.pt --high high.pt --model my_networks:Net"
ccm calibrate $family --prefix test.h5 --sample 0:4 --validation validation.h5 -o merged.pt
ccm evaluate $family --merged merged.pt --trajectories test.h5 --sample 4:8
"""
done = subprocess.run(commands, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(done.stdout)
print(anchor.load_state_dict(torch.load("merged.pt", weights_only=True), strict=True))

# %% [markdown]
# ## A network in Equinox
#
# The same network as an Equinox module, trained with optax. Its arrays are the parameters; `apply` puts them back into the module.


# %%
class EqxNet(eqx.Module):
    layers: list

    def __init__(self, key, width=24):
        sizes = [(2, width, 1), (width, width, 2), (width, width, 4), (width, width, 2), (width, 2, 1)]
        self.layers = [
            eqx.nn.Conv2d(a, b, 3, padding=d, dilation=d, padding_mode="REFLECT", key=k)
            for (a, b, d), k in zip(sizes, jax.random.split(key, len(sizes)))
        ]

    def __call__(self, x):
        y = x
        for layer in self.layers[:-1]:
            y = jax.nn.gelu(layer(y))
        return x + self.layers[-1](y)


def train_equinox(net, data, steps, rate, seed=0):
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    state = optimizer.init(eqx.filter(net, eqx.is_array))

    @eqx.filter_jit
    def step(net, state, x, y):
        def loss(net):
            error = jnp.linalg.norm((jax.vmap(net)(x) - y).reshape(len(y), -1), axis=1)
            return (error / jnp.linalg.norm(y.reshape(len(y), -1), axis=1)).mean()

        update, state = optimizer.update(eqx.filter_grad(loss)(net), state)
        return eqx.apply_updates(net, update), state

    for x, y in batches(data, steps, seed):
        net, state = step(net, state, x, y)
    return net


eqx_anchor = train_equinox(EqxNet(jax.random.key(0)), np.concatenate(list(family.values())), STEPS, 3e-3)
eqx_ends = [train_equinox(eqx_anchor, family[end], FINE, 1e-3, seed=1) for end in (LOW, HIGH)]

params, rest = eqx.partition(eqx_anchor, eqx.is_array)


def apply(params, window):
    """``[N, 1, H, W, C]`` to the next frame ``[N, H, W, C]``."""
    net = eqx.combine(params, rest)
    return jnp.moveaxis(jax.vmap(net)(jnp.moveaxis(window[:, -1], -1, 1)), 1, -1)


ends = [eqx.filter(net, eqx.is_array) for net in eqx_ends]
chart = ccm_jax.fit_chart(params, ends, [-1.0, 1.0], features=ccm_jax.Gated())
rollout_fn = ccm_jax.make_rollout(apply)
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, validation)
found = readout(jnp.asarray(seen), batch="pooled")
print(f"coordinate {found.coordinate[0]:+.2f}, gate {found.coordinate[1]:.2f}")
for name, weights in {"anchor": params, "high expert": ends[1], "merged": chart(found.coordinate)}.items():
    frames = rollout_fn(weights, jnp.asarray(seen[:, -1:]), future.shape[1])
    print(f"{name:11s} mean error of the future frames {relative_l2(frames, jnp.asarray(future)).mean():.3f}")

# %% [markdown]
# ## Take it with you
#
# The merged module is an ordinary Equinox file. Such files contain leaves without names, so the command line assigns them to the
# network that a function of yours returns: in `my_networks.py`, `def build(): return EqxNet(jax.random.key(0))`, and then
# `--model my_networks:build`.

# %%
merged = eqx.combine(chart(found.coordinate), rest)
eqx.tree_serialise_leaves("merged.eqx", merged)
again = eqx.tree_deserialise_leaves("merged.eqx", EqxNet(jax.random.key(0)))
frame = jnp.moveaxis(truth[0, 0], -1, 0)
print("the file gives the same frame:", np.array_equal(again(frame), merged(frame)))

# %% [markdown]
# **Supported networks need no code.** Checkpoints of neuraloperator's FNO, PDEBench's FNO2d and DPOT run by name, without
# PyTorch: `--model neuraloperator`. Describe history, increments, normalisation or static fields in a YAML file; see
# [your own network](../docs/how-to/own-network.md).
