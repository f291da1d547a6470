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
# You need three checkpoints of one network: an anchor, trained on a range of a parameter, and two experts, fine-tuned
# at its ends. Here the network is an FNO of the package neuraloperator, in PyTorch. You will see
#
# - a diffusivity outside the range found from five frames of four flows, with its 90 % interval,
# - the merged weights, loaded back into the PyTorch network, and their forecast of other flows,
# - the same from files, by two commands that take your own checkpoints and trajectories,
# - and the lines for a network in Equinox.
#
# It takes about four minutes on two idle CPU cores, one of them to train the three networks.

# %% cellView="form"
# @title Setup: finds the package, or installs it; runs commands
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


def run(commands):
    """Runs shell commands, and prints their output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
    how = {"shell": True, "env": os.environ | {"PATH": path, "FORCE_COLOR": ""}, "text": True}
    done = subprocess.run(commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    print(done.stdout.rstrip())
    done.check_returncode()


# %% cellView="form"
# @title Setup: PyTorch, neuraloperator and Equinox; a new folder to work in
import importlib.util

for module, name in (("torch", "torch"), ("neuralop", "neuraloperator"), ("equinox", "equinox")):
    if importlib.util.find_spec(module) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", name], check=True)

import copy
import json
import tempfile
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import torch
from neuralop.models import FNO

import ccm_jax
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch import torch_params, torch_rollout
from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.metrics import relative_l2

folder = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()) / "bring_your_own"  # on Colab, of your Drive
folder.mkdir(parents=True, exist_ok=True)
_ = [old.unlink() for old in folder.glob("merged.*")]  # of an earlier run
os.chdir(folder)
torch.set_num_threads(1)  # more threads do not speed up networks this small
plt.rcParams["figure.dpi"] = 120
SMOKE = os.environ.get("CCM_SIZE") == "smoke"  # a quick test with meaningless errors

# %% [markdown]
# ## Trajectories
#
# We simulate reaction–diffusion and save it in PDEBench's layout: five diffusivities for training, three for
# validation, and 4e-3, which no network is trained on. Use your own files here: PDEBench, PDEInvBench, The Well, MATLAB
# and numpy are supported. `ccm data describe` shows what a file contains.

# %% cellView="form"
# @title Setup: simulates three files, and reads trajectories [N, T, H, W, C] by diffusivity
LOW, HIGH, TARGET = 1e-3, 3e-3, 4e-3
for name, values, count in (
    ("support.h5", "1e-3,1.5e-3,2e-3,2.5e-3,3e-3", 24),
    ("validation.h5", "0.75e-3,2.25e-3,3.25e-3", 4),
    ("test.h5", "4e-3", 8),
):
    flags = f"--config=rd_ood --value={values} --count={count} --output={name}".split()
    if not Path(name).exists():
        subprocess.run([sys.executable, "-m", "experiments.generate", *flags], capture_output=True, check=True)


def by_diffusivity(file):
    recording = open_recording(file)
    x = np.stack([recording.trajectory(i) for i in range(recording.shape[0])]).astype(np.float32)
    of = common_parameter(recording, "diffusivity_u")
    return {float(value): x[of == value] for value in np.unique(of)}


# %%
run("ccm data describe test.h5")
family, validation = by_diffusivity("support.h5"), by_diffusivity("validation.h5")
truth = by_diffusivity("test.h5")[TARGET]
seen, unseen = truth[:4, :5], truth[4:]  # calibrate on five frames of four flows, judge on others

# %% [markdown]
# ## Three checkpoints of an FNO
#
# Any `torch.nn.Module` would do, from any package. This one predicts the increment to the next frame. Both experts
# start from the anchor and see their batches in the same order, so that the noise of training cancels in their
# difference. Skip this if you have checkpoints.

# %% cellView="form"
# @title Setup: batches, and the error


def batches(data, steps, seed, size=8):
    """Frames and those after them, channels first."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        i, t = rng.integers(len(data), size=size), rng.integers(data.shape[1] - 1, size=size)
        yield tuple(torch.from_numpy(np.moveaxis(data[i, t + k], -1, 1).copy()) for k in (0, 1))


def norm(x):
    return torch.linalg.vector_norm(x, dim=(1, 2, 3))


# %% cellView="form"
# @title Setup: the training loop


def train(name, net, data, steps, rate, seed=0):
    """A trained copy, also as NAME.pt; one that the folder has from an earlier run is loaded."""
    net, begin, losses, record = copy.deepcopy(net).train(), time.process_time(), [], Path(f"{name}.json")
    facts = json.loads(record.read_text()) if record.exists() else {}
    if facts.get("steps") == steps:
        net.load_state_dict(torch.load(f"{name}.pt", weights_only=False))
    else:
        optimizer = torch.optim.Adam(net.parameters(), rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for x, y in batches(data, steps, seed):
            loss = (norm(x + net(x) - y) / norm(y)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        torch.save(net.state_dict(), f"{name}.pt")
        facts = {"steps": steps, "seconds": time.process_time() - begin, "error": float(np.mean(losses[-50:]))}
        record.write_text(json.dumps(facts))
    print(f"{name:6} {steps} steps in {facts['seconds']:.0f} s of CPU time, one-step error {facts['error']:.4f}")
    return net.eval()


# %%
STEPS, FINE = (20, 10) if SMOKE else (1000, 500)
torch.manual_seed(0)
net = FNO(n_modes=(12, 12), in_channels=2, out_channels=2, hidden_channels=16)
anchor = train("anchor", net, np.concatenate(list(family.values())), STEPS, 5e-3)
low = train("low", anchor, family[LOW], FINE, 2e-3, seed=1)
high = train("high", anchor, family[HIGH], FINE, 2e-3, seed=1)

# %% [markdown]
# ## Find the weights
#
# The chart gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one, and of a gate: how
# much to keep of what both learned. The readout is fitted once, on validation flows; one call with observed frames then
# finds the coordinate. JAX computes the weights of each candidate; PyTorch runs its rollout in a callback.

# %%
rollout_fn = torch_rollout(anchor, Layout(channels="first", predicts="increment"))
ends = [torch_params(low), torch_params(high)]
chart = ccm_jax.fit_chart(torch_params(anchor), ends, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))
if not SMOKE:  # its networks do not tell diffusivities apart
    readout = ccm_jax.fit_uncertainty(readout, list(validation.values()), list(validation))
found = readout(jnp.asarray(seen), batch="pooled")  # all four flows share one diffusivity

print("coordinate {:+.2f}, gate {:.2f}; true diffusivity {}".format(*found.coordinate, TARGET))
if not SMOKE:
    print("found {:.5f}, 90 % interval {:.5f} to {:.5f}".format(*found.value(), *found.interval(0.9)[0]))
print(f"error on the observed frames: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %%
merged = copy.deepcopy(anchor)
weights = {name: torch.tensor(np.asarray(leaf)) for name, leaf in chart(found).items()}
print(merged.load_state_dict(weights, strict=True))

# %% [markdown]
# ## Forecast
#
# Four other flows at that diffusivity: all networks start from the fifth frame, and are scored on those after it.

# %%
COLOURS = {"anchor": "#777777", "high expert": "#E69F00", "merged": "#009E73"}
future = jnp.asarray(unseen[:, 5:])
forecasts = {}
for name, net in zip(COLOURS, (anchor, high, merged)):
    forecasts[name] = rollout_fn(torch_params(net), jnp.asarray(unseen[:, 4:5]), future.shape[1])
    print(f"{name:11} mean error {relative_l2(forecasts[name], future).mean():.1%}")

# %% cellView="form"
# @title Plot: the last frame of a flow
figure, axes = plt.subplots(2, 2, figsize=(5.2, 4.6), layout="constrained")
bound = np.abs(future[0, -1, ..., 0]).max()
for ax, (name, frames) in zip(axes.flat, {"truth": future, **forecasts}.items()):
    image = ax.imshow(
        frames[0, -1, ..., 0].T, origin="lower", cmap="PuOr_r", vmin=-bound, vmax=bound, interpolation="bilinear"
    )
    error = relative_l2(frames[:1, -1:], future[:1, -1:])[0, 0]
    ax.set(xticks=[], yticks=[])
    title = "truth, frame 21" if name == "truth" else f"{name}, error {error:.0%}"
    ax.set_title(title, fontsize=10, color=COLOURS.get(name, "black"))
figure.colorbar(image, ax=axes, label="$u$", shrink=0.7)
plt.show()

# %% cellView="form"
# @title Plot: the error of each frame
figure, ax = plt.subplots(figsize=(6.1, 2.8), layout="constrained")
for name, frames in forecasts.items():
    errors = relative_l2(frames, future).mean(axis=0)
    ax.plot(range(6, 6 + len(errors)), errors, color=COLOURS[name], lw=2)
    ax.text(5 + len(errors), errors[-1], f"  {name}", color=COLOURS[name], va="center")
ax.set_title("Mean error of four flows, after five observed frames", fontsize=10, loc="left")
ax.set(xlabel="frame", ylabel="relative L2 error", ylim=(0, None))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Use it on your own files
#
# The same from files, without code of one's own: a YAML file names the class and says what it predicts. [Your own
# network](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md) lists all that it can say.
#
# **Replace the lines above `run` by yours**: the network, the checkpoints, the data.

# %%
network = """
model: neuralop.models:FNO
args: {n_modes: [12, 12], in_channels: 2, out_channels: 2, hidden_channels: 16}
predicts: increment
"""
checkpoints = "--anchor anchor.pt --low low.pt --high high.pt"
data, known = "test.h5", "validation.h5"

Path("network.yaml").write_text(network)
run(f"""
ccm calibrate {checkpoints} --model network.yaml --prefix {data} --sample 0:4 \
  --validation {known} -o merged.pt
ccm evaluate {checkpoints} --model network.yaml --merged merged.pt \
  --trajectories {data} --sample 4:8
""")

# %% [markdown]
# The merged file keeps PyTorch's names, so that the module loads it:

# %%
print(anchor.load_state_dict(torch.load("merged.pt", weights_only=True), strict=True))

# %% [markdown]
# ## Appendix: a network in Equinox
#
# Split a module into its arrays and the rest; `apply` puts them together. The three modules here stand for yours and
# are not trained. `fit_prefix_readout(chart, rollout_fn, validation)` then works as above.

# %%
net = eqx.nn.Conv2d(2, 2, 3, padding=1, key=jax.random.key(0))  # your anchor
params, rest = eqx.partition(net, eqx.is_array)
ends = [jax.tree.map(lambda leaf, s=s: s * leaf, params) for s in (0.9, 1.1)]  # of your experts


def apply(params, window):  # [N, 1, H, W, C] to the next frame [N, H, W, C]
    module = eqx.combine(params, rest)
    return jnp.moveaxis(jax.vmap(module)(jnp.moveaxis(window[:, -1], -1, 1)), 1, -1)


chart = ccm_jax.fit_chart(params, ends, [-1.0, 1.0], features=ccm_jax.Gated())
rollout_fn = ccm_jax.make_rollout(apply)
weights = chart([1.5, 1.0])  # or chart(readout(frames))
print("forecast [N, T, H, W, C]:", rollout_fn(weights, jnp.asarray(seen[:, -1:]), 16).shape)
eqx.tree_serialise_leaves("merged.eqx", eqx.combine(weights, rest))  # an ordinary Equinox file
