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
# # Merge in five minutes
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb)
#
# A small Fourier neural operator forecasts the vorticity of a forced flow. It was trained at viscosities from 0.001 to 0.002
# (the *anchor*), then fine-tuned at either end (the *low* and the *high* expert). We observe five frames of a flow at a lower
# viscosity, find the weights for it, and forecast the rest. Nothing is trained, and everything comes with the package.

# %% cellView="form"
# @title Setup: finds the package, or installs it
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


def run(command, folder):
    """Runs a shell command in a folder, and prints its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
    how = {"shell": True, "cwd": folder, "env": os.environ | {"PATH": path, "FORCE_COLOR": ""}, "text": True}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    print(done.stdout.rstrip())
    done.check_returncode()


def progress(done, total):
    """Shows how far a function is, until the next output."""
    from IPython.display import clear_output

    print(f"{done} of {total} steps")
    clear_output(wait=True)


# %%
import tempfile
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example, processor
from ccm_jax.metrics import relative_l2

plt.rcParams["figure.dpi"] = 140
processor.keep_compiled(shortest=0.0)  # compiled programs stay on disk: the next run is faster

family = example.load()
print(f"{family.label}: experts at {family.low_value} and {family.high_value}")
print(f"test flows at {family.test_values}, trajectories {family.test[0].shape} = [N, T, H, W, C]")

# %% [markdown]
# ## Find the coordinate
#
# `fit_chart` turns the three sets of weights into a function of two numbers:
#
#     weights = anchor + gate · shared + coordinate · direction
#     shared = (low + high) / 2 − anchor,   direction = (high − low) / 2
#
# - *coordinate*: how far along low → high. −1 is the low expert, +1 the high one, and values beyond extrapolate.
# - *gate*: how much of the experts' common change to keep (0 none, 1 all).
#
# `fit_prefix_readout` chooses its settings on validation flows at other viscosities. The readout then finds the two numbers
# whose rollout fits the observed frames best. Most of the time is compilation.

# %%
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation, progress=progress)

flows = {value: x[0] for value, x in zip(family.test_values, family.test)}  # all outside the training range
OBSERVED = 5
found = {value: readout(x[:OBSERVED]) for value, x in flows.items()}

here = found[0.00075]
weights = chart(here.coordinate)
scored = list(range(1 + readout.history + readout.begin, OBSERVED + 1))
print(f"viscosity 0.00075: coordinate {here.coordinate[0]:+.2f}, gate {here.coordinate[1]:.2f}")
print(f"error on the observed frames that validation chose to score, {scored}:", end=" ")
print(f"merged {here.loss:.3f}, anchor {here.anchor_loss:.3f}")

# %% [markdown]
# ## Forecast
#
# From the fifth frame on, both networks continue by themselves.


# %%
def forecast(params, x):
    """The frames after the observed ones, of one trajectory [T, H, W, C]."""
    return family.rollout_fn(params, jnp.asarray(x)[None, OBSERVED - 1 : OBSERVED], len(x) - OBSERVED)[0]


def errors(params, x):
    """Relative L2 error of each of these frames."""
    return relative_l2(forecast(params, x)[None], jnp.asarray(x)[None, OBSERVED:])[0]


x = flows[0.00075]
fields = {"truth": x[OBSERVED:], "anchor": forecast(family.anchor, x), "merged": forecast(weights, x)}
fields = {name: np.asarray(frames)[..., 0] for name, frames in fields.items()}
error = {"anchor": np.asarray(errors(family.anchor, x)), "merged": np.asarray(errors(weights, x))}
for name, each in error.items():
    print(f"{name}: mean error of {len(each)} forecast frames {each.mean():.1%}")

# %% cellView="form"
# @title Plot: the forecast as an animation
from IPython.display import Image as show
from PIL import Image

folder = Path(tempfile.mkdtemp())
bound = np.abs(fields["truth"]).max()
style = {"vmin": -bound, "vmax": bound, "origin": "lower", "interpolation": "bilinear"}
figure, axes = plt.subplots(1, 3, figsize=(5.7, 2.2), dpi=125, layout="constrained")
few = plt.get_cmap("RdBu_r", 30)  # few colours make a small file
images = [ax.imshow(frames[0].T, cmap=few, **style) for ax, frames in zip(axes, fields.values())]
pages = []
for t in range(len(x) - OBSERVED):
    for ax, image, (name, frames) in zip(axes, images, fields.items()):
        image.set_data(frames[t].T)
        said = f"truth, frame {t + OBSERVED + 1}" if name == "truth" else f"{name}, error {error[name][t]:.0%}"
        ax.set_title(said, fontsize=10)
        ax.set(xticks=[], yticks=[])
    figure.canvas.draw()
    page = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    pages.append(page.quantize(64, dither=Image.Dither.NONE))
plt.close(figure)
times = [250] * (len(pages) - 1) + [1500]  # the last frame stays
pages[0].save(folder / "forecast.gif", save_all=True, append_images=pages[1:], duration=times, loop=0)
show(filename=folder / "forecast.gif")

# %% cellView="form"
# @title Plot: the truth, and what each forecast gets wrong
rows = {"truth": fields["truth"]} | {f"{name} − truth": fields[name] - fields["truth"] for name in error}
shown = np.linspace(0, len(x) - OBSERVED - 1, 5).astype(int)
figure, axes = plt.subplots(3, len(shown), figsize=(5.7, 3.5), layout="constrained")
for line, (label, frames) in zip(axes, rows.items()):
    name = label.split()[0]
    for ax, t in zip(line, shown):
        image = ax.imshow(frames[t].T, cmap="RdBu_r", **style)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"frame {t + OBSERVED + 1}" if name == "truth" else f"error {error[name][t]:.0%}", fontsize=9)
    line[0].set_ylabel(label, fontsize=9)
figure.colorbar(image, ax=axes, shrink=0.8, label="vorticity", aspect=30)
plt.show()

# %% [markdown]
# ## How the error depends on the coordinate
#
# For each test flow, the mean error of the forecast along the coordinate, at the gate that was chosen. The dot is the choice from
# five frames, without seeing the forecast; the minimum of the curve is the best choice at this gate.

# %%
coordinates = jnp.linspace(-2.5, 2.5, 81)
sweep = jax.jit(lambda gate, x: jax.lax.map(lambda c: errors(chart(jnp.stack([c, gate])), x).mean(), coordinates))
curves = {value: sweep(found[value].coordinate[1], x) for value, x in flows.items()}
anchor_error = {value: errors(family.anchor, x) for value, x in flows.items()}
merged_error = {value: errors(chart(found[value].coordinate), x) for value, x in flows.items()}

# %% cellView="form"
# @title Plot: the error along the coordinate
figure, ax = plt.subplots(figsize=(5.7, 3.6), layout="constrained")
ax.axvspan(-1, 1, color="#eef2f6")
ax.text(0, 0.94, "training range", transform=ax.get_xaxis_transform(), ha="center", va="top", color="#666666")
places = {0.0005: (-2.42, 0.28, "left"), 0.00075: (-1.35, 0.017, "left"), 0.0025: (2.45, 0.0088, "right")}
for (value, curve), colour in zip(curves.items(), ("#3a9bd9", "#004c8c", "#d55e00")):
    before, after = anchor_error[value].mean(), merged_error[value].mean()
    ax.plot(coordinates, curve, color=colour, lw=1.8)
    ax.plot(found[value].coordinate[0], after, "o", color=colour, ms=9, mec="white", zorder=5)
    left, height, side = places[value]
    said = f"viscosity {value:g}\nanchor {before:.2g} → merged {after:.2g}"
    ax.text(left, height, said, color=colour, ha=side, fontsize=9.5)
ax.set(yscale="log", ylim=(0.008, 1), xlim=(-2.5, 2.5), xlabel="coordinate", ylabel="relative L2 error of the forecast")
ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Further out
#
# The further a flow is from the training range, the less a straight line through the experts explains it. Below, the error of each
# frame at the lowest test viscosity, beside the one above. Compare merged network and anchor on held-out frames before you rely
# on a merge.

# %% cellView="form"
# @title Plot: error of each frame
figure, axes = plt.subplots(1, 2, figsize=(5.7, 2.7), sharey=True, layout="constrained")
for ax, value in zip(axes, (0.00075, 0.0005)):
    frames = np.arange(OBSERVED + 1, len(flows[value]) + 1)
    for name, each, colour in (("anchor", anchor_error, "#777777"), ("merged", merged_error, "#009e73")):
        ax.plot(frames, each[value], color=colour, lw=1.8)
        ax.text(frames[-1], each[value][-1], f" {each[value][-1]:.0%}", color=colour, va="center")
        ax.text(frames[8], 0.6 * each[value][8], name, color=colour, ha="center", va="top")
    ax.set(title=f"viscosity {value:g}", xlabel="frame", xlim=(5, 25), xticks=[6, 11, 16, 21], yscale="log")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set(ylabel="relative L2 error", ylim=(0.004, 1))
axes[0].set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
plt.show()

# %% [markdown]
# ## How sure is it?
#
# From validation flows of known viscosity, `fit_uncertainty` learns how far off the readout usually is. Each estimate then
# comes with a viscosity, an interval, and a p-value: how often frames of this family fit as badly as these, or worse.

# %%
sure = ccm_jax.fit_uncertainty(readout, family.validation, family.validation_values, progress=progress)
estimates = {value: sure(x[:OBSERVED]) for value, x in flows.items()}
for value, estimate in estimates.items():
    print(f"true {value:g}: estimated {estimate.value()[0]:.5f}, p = {estimate.p_value:.2f}")

# %% cellView="form"
# @title Plot: estimated viscosities
figure, ax = plt.subplots(figsize=(5.7, 2.3), layout="constrained")
ax.axvspan(family.low_value, family.high_value, color="#eef2f6")
middle = (family.low_value + family.high_value) / 2
ax.text(middle, 2.4, "training range", ha="center", va="center", color="#666666")
for i, (value, estimate) in enumerate(estimates.items()):
    first = i == 0
    ends = np.asarray(estimate.interval(0.9)[0])
    ax.plot(ends, [i, i], lw=9, color="#9fd8c4", solid_capstyle="butt", label="90 % interval" if first else None)
    ax.plot(estimate.value()[0], i, "o", color="#009e73", ms=7, label="estimate" if first else None)
    ax.plot([value, value], [i - 0.32, i + 0.32], color="black", lw=2)
ax.plot([], [], "|", color="black", ms=12, mew=2, label="truth")
ax.set_yticks(range(len(estimates)), [f"true {v:g}\np = {e.p_value:.2f}" for v, e in estimates.items()])
ax.set(ylim=(-0.6, 2.7), xlabel="viscosity, from five frames", xticks=[0.0005, 0.001, 0.0015, 0.002, 0.0025])
ax.legend(frameon=False, loc="center", bbox_to_anchor=(0.48, 0.42))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## When it fails
#
# Frames that this family cannot explain get a coordinate, too. Two common mistakes, a wrong time step and a rotated grid. A
# p-value near 0 says that no weights on the chart explain the frames: then neither the viscosity nor the forecast means
# anything.

# %%
x = flows[0.00075]
given = {
    "correct": x[:OBSERVED],
    "every second frame": x[: 2 * OBSERVED : 2],
    "rotated by 90°": np.rot90(x[:OBSERVED], axes=(1, 2)),
}
for name, frames in given.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        p = sure(frames).p_value
    print(
        f"{name:20s}p = {p:.2g}: {'fits like validation flows' if p > 0.05 else 'not of this family, do not use the merge'}"
    )
    for one in caught:
        print("    readout warns:", str(one.message).removeprefix("PrefixReadout: ").split(";")[0])

# %% [markdown]
# ## Take it with you
#
# The merged weights are an ordinary checkpoint. `ccm evaluate` compares them with anchor and experts on three other flows of
# this viscosity, which the readout has not seen, and recommends one.

# %%
from ccm_jax.io.safetensors import open_safetensors, save_safetensors

described = open_safetensors(example.path("anchor.safetensors")).metadata  # the network and its normalization
save_safetensors(folder / "merged.safetensors", weights, described)
held_out = f"--trajectories {example.path('test-0.00075.npz')} --sample 1:4"
run(f"ccm evaluate --family {example.path()} --merged merged.safetensors {held_out}", folder)

# %% [markdown]
# With your own three checkpoints, observed frames and validation flows, this is the whole notebook in two commands:
#
# ```bash
# ccm calibrate --family FOLDER --prefix frames.npz --validation validation.npz -o merged.safetensors
# ccm evaluate --family FOLDER --merged merged.safetensors --trajectories held_out.npz
# ```
#
# `--model` names a network that is not from this package:
# [your own network](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md).
