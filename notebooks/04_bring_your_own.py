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
# We train a PyTorch network and an Equinox network on a range of diffusivities, and fine-tune each at both ends. From five
# observed frames, the readout then finds the weights for a diffusivity outside that range. The notebook goes from files of
# trajectories to a merged checkpoint that loads back into the network, in Python and on the command line.

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
import tempfile

for library in ("torch", "equinox"):
    if importlib.util.find_spec(library) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)

import copy

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
sys.path.insert(0, os.getcwd())
os.environ["PYTHONPATH"] = f"{os.getcwd()}{os.pathsep}{os.environ['PYTHONPATH']}"  # `ccm` finds our networks there
os.environ["FORCE_COLOR"] = ""  # or commands draw their progress into outputs
torch.set_num_threads(1)  # more threads do not speed up networks this small
SMOKE = os.environ.get("CCM_SIZE") == "smoke"  # a quick test with meaningless errors
SAMPLES, STEPS, FINE = (4, 30, 10) if SMOKE else (16, 800, 250)


def run(line):
    done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    done.check_returncode()


# %% [markdown]
# ## Trajectories
#
# We generate reaction–diffusion files in PDEBench's layout: five diffusivities for training, three for validation, and 4e-3,
# which no network is trained on. Use your own files here: PDEBench, PDEInvBench, The Well, MATLAB and numpy are supported, and
# `ccm data describe FILE` shows what a file contains.

# %%
LOW, HIGH, TARGET = 1e-3, 3e-3, 4e-3
files = {"support": "1e-3,1.5e-3,2e-3,2.5e-3,3e-3", "validation": "0.75e-3,2.25e-3,3.25e-3", "test": "4e-3"}
for name, values in files.items():
    options = f"--config=rd_ood:smoke --value={values} --count={SAMPLES} --output={name}.h5"
    run(f"{sys.executable} -m experiments.generate {options}")


def regimes(file):
    """Trajectories [N, T, H, W, C] by diffusivity."""
    recording = open_recording(file)
    x = np.stack([recording.trajectory(i) for i in range(recording.shape[0])]).astype(np.float32)
    of = common_parameter(recording, "diffusivity_u")
    return {float(value): x[of == value] for value in np.unique(of)}


family, validation = regimes("support.h5"), list(regimes("validation.h5").values())
support = np.concatenate(list(family.values()))
truth = regimes("test.h5")[TARGET]
seen = truth[:, :5]

# %% [markdown]
# ## A network in PyTorch
#
# Any `torch.nn.Module` works, from any package. The command line takes it by name, as `my_networks:build`.

# %%
Path("my_networks.py").write_text('''
import equinox as eqx
import jax
import torch

SIZES = [(2, 24), (24, 24), (24, 24), (24, 2)]


class Net(torch.nn.Module):
    """The next frame from this one, [N, C, H, W]; walls reflect."""

    def __init__(self):
        super().__init__()
        layers = [torch.nn.Conv2d(a, b, 3, padding=1, padding_mode="reflect") for a, b in SIZES]
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x):
        y = x
        for layer in self.layers[:-1]:
            y = torch.nn.functional.gelu(layer(y))
        return x + 0.1 * self.layers[-1](y)


build = Net


class EqxNet(eqx.Module):
    """The same in Equinox, of one state [C, H, W]."""

    layers: list

    def __init__(self, key):
        keys = jax.random.split(key, len(SIZES))
        self.layers = [eqx.nn.Conv2d(*s, 3, padding=1, padding_mode="REFLECT", key=k) for s, k in zip(SIZES, keys)]

    def __call__(self, x):
        y = x
        for layer in self.layers[:-1]:
            y = jax.nn.gelu(layer(y))
        return x + 0.1 * self.layers[-1](y)


def build_equinox():
    return EqxNet(jax.random.key(0))
''')
from my_networks import build, build_equinox


def pairs(data, steps, seed, batch=16):
    """Batches in the same order for both ends, so that their noise cancels in the difference."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=batch), rng.integers(data.shape[1] - 1, size=batch)
        yield tuple(np.moveaxis(data[i, t + k], -1, 1).copy() for k in (0, 1))


def train_torch(net, data, steps, rate, seed=0):
    net = copy.deepcopy(net).train()
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for x, y in pairs(data, steps, seed):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        error = ((net(x) - y) ** 2).sum((1, 2, 3)).sqrt() / (y**2).sum((1, 2, 3)).sqrt()
        optimizer.zero_grad()
        error.mean().backward()
        optimizer.step()
        schedule.step()
    return net.eval()


torch.manual_seed(0)
anchor = train_torch(build(), support, STEPS, 3e-3)
low, high = (train_torch(anchor, family[end], FINE, 1e-3, seed=1) for end in (LOW, HIGH))
for name, net in (("anchor", anchor), ("low", low), ("high", high)):
    torch.save(net.state_dict(), f"{name}.pt")

# %% [markdown]
# ## The readout
#
# The chart gives weights as a function of one coordinate, −1 at the low end and +1 at the high one, with a gate back to the
# anchor. The readout is fitted once, on validation trajectories. One call with observed frames finds the coordinate.


# %%
def place(found):
    c, gate = found.coordinate
    value = (LOW + HIGH) / 2 + c * (HIGH - LOW) / 2
    print(f"coordinate {c:+.2f}, gate {gate:.2f}: a diffusivity of {value:.2e}; it is {TARGET:.0e}")
    print(f"error of the observed frames: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")


torch_fn = torch_rollout(anchor)
ends = [torch_params(net) for net in (low, high)]
chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, torch_fn, validation)
found = readout(jnp.asarray(seen), batch="pooled")  # all trajectories share one diffusivity
place(found)

# %% [markdown]
# The gate is at the end of its range, 2: these frames ask for still more of what both experts learned.
# The merged weights load into the network by name. We score them on the frames after the observed ones.

# %%
merged = copy.deepcopy(anchor)
weights = {name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found.coordinate).items()}
print(merged.load_state_dict(weights, strict=True))


def errors(rollout_fn, params):
    """Relative L2 error of each future frame, mean over trajectories."""
    steps = truth.shape[1] - seen.shape[1]
    frames = rollout_fn(params, jnp.asarray(seen[:, -1:]), steps)
    return np.asarray(relative_l2(frames, jnp.asarray(truth[:, seen.shape[1] :]))).mean(axis=0)


for name, net in {"anchor": anchor, "high end": high, "merged": merged}.items():
    plt.plot(range(5, 11), errors(torch_fn, torch_params(net)), marker="o", label=name)
plt.xlabel("frame"), plt.ylabel("relative L2 error"), plt.title("PyTorch, diffusivity 4e-3"), plt.legend()
plt.show()

# %% [markdown]
# The same on the command line: a merged file with PyTorch's names, the diffusivity with an interval, and a verdict on trajectories
# that were not used for calibration.

# %%
three = "--anchor anchor.pt --low low.pt --high high.pt --model my_networks:build"
half = SAMPLES // 2
run(f"ccm calibrate {three} --prefix test.h5 --sample 0:{half} --validation validation.h5 -o merged.pt")
run(f"ccm evaluate {three} --merged merged.pt --trajectories test.h5 --sample {half}:{SAMPLES}")
print(anchor.load_state_dict(torch.load("merged.pt", weights_only=True), strict=True))

# %% [markdown]
# ## A network in Equinox
#
# The same, trained with optax. The arrays of the module are the parameters; `apply` closes over the rest.


# %%
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

    for x, y in pairs(data, steps, seed):
        net, state = step(net, state, x, y)
    return net


eqx_anchor = train_equinox(build_equinox(), support, STEPS, 3e-3)
eqx_ends = [train_equinox(eqx_anchor, family[end], FINE, 1e-3, seed=1) for end in (LOW, HIGH)]

origin, rest = eqx.partition(eqx_anchor, eqx.is_array)
ends = [eqx.filter(net, eqx.is_array) for net in eqx_ends]


def apply(params, window):
    """``[N, 1, H, W, C]`` to the next frame ``[N, H, W, C]``."""
    net = eqx.combine(params, rest)
    return jnp.moveaxis(jax.vmap(net)(jnp.moveaxis(window[:, -1], -1, 1)), 1, -1)


eqx_fn = ccm_jax.make_rollout(apply)
eqx_chart = ccm_jax.fit_chart(origin, ends, [-1.0, 1.0], features=ccm_jax.Gated())
found = ccm_jax.fit_prefix_readout(eqx_chart, eqx_fn, validation)(jnp.asarray(seen), batch="pooled")
place(found)
merged = eqx_chart(found.coordinate)
for name, params in (("anchor", origin), ("high end", ends[1]), ("merged", merged)):
    print(f"{name:8s} error of the future frames {errors(eqx_fn, params).mean():.4f}")

# %% [markdown]
# Equinox files contain leaves without names. The command line assigns them to the network that `my_networks:build_equinox`
# returns: `ccm calibrate --anchor anchor.eqx --low low.eqx --high high.eqx --model my_networks:build_equinox --prefix test.h5`.

# %%
eqx.tree_serialise_leaves("merged.eqx", eqx.combine(merged, rest))
again = eqx.tree_deserialise_leaves("merged.eqx", build_equinox())
state = jnp.moveaxis(truth[0, 0], -1, 0)
print("the file gives the same frame:", np.array_equal(again(state), eqx.combine(merged, rest)(state)))

# %% [markdown]
# **Supported networks need no code.** Checkpoints of neuraloperator's FNO, PDEBench's FNO2d and DPOT run by name, without
# PyTorch: `--model neuraloperator`. Describe history, increments, normalisation or static fields in a YAML file; see
# [your own network](../docs/how-to/own-network.md).
