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
# A small Fourier neural operator forecasts the vorticity of a forced flow. It was trained at viscosities from 0.001 to
# 0.002 (the *anchor*), then fine-tuned at either end (the *low* and the *high* expert). We observe five frames of a
# flow at a lower viscosity, 0.00075. From these we find
#
# - the viscosity, with a 90 % interval,
# - weights for it, whose forecast of the next 16 frames has a tenth of the anchor's error,
# - and whether the result is to be trusted.
#
# Nothing is trained, and everything comes with the package. It takes about a minute on two CPU cores.

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


def run(commands):
    """Runs shell commands, and prints their output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
    how = {"shell": True, "env": os.environ | {"PATH": path, "FORCE_COLOR": ""}, "text": True}
    done = subprocess.run(commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    print(done.stdout.rstrip())
    done.check_returncode()


def progress(done, total):
    """Shows how far a function is, until the next output."""
    from IPython.display import clear_output

    print(f"{done} of {total} steps")
    clear_output(wait=True)


# %%
import shutil
import tempfile
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example, processor
from ccm_jax.metrics import relative_l2

plt.rcParams["figure.dpi"] = 120
processor.keep_compiled(shortest=0.0)  # compiled programs stay on disk: the next run is faster

family = example.load()
print(f"{family.label}: experts at {family.low_value} and {family.high_value}")
print(f"test flows at {family.test_values}, trajectories {family.test[0].shape} = [N, T, H, W, C]")

# %% [markdown]
# ## Find the viscosity and the weights
#
# `fit_chart` turns the three sets of weights into a function of two numbers, the coordinate $\alpha$ and the gate $g$:
#
# $$\theta(\alpha, g) = \theta_0 + g \, \Delta^+ + \alpha \, \Delta^-$$
#
# - $\Delta^- = \frac{1}{2}(\theta_\text{high} - \theta_\text{low})$, the *direction*: $\alpha = -1$ is the low expert,
#   $\alpha = +1$ the high one, and values beyond extrapolate.
# - $\Delta^+ = \frac{1}{2}(\theta_\text{high} + \theta_\text{low}) - \theta_0$, what both experts learned in common:
#   $g = 1$ keeps all of it, $g = 0$ nothing.
#
# `fit_prefix_readout` chooses the settings of a readout on validation flows of other viscosities, and `fit_uncertainty`
# learns from them how far off it usually is. Given observed frames, the readout then finds the two numbers whose
# rollout fits best.

# %%
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation, progress=progress)
readout = ccm_jax.fit_uncertainty(readout, family.validation, family.validation_values, progress=progress)

OBSERVED = 5
flows = {value: x[0] for value, x in zip(family.test_values, family.test)}  # all outside the training range
found = {value: readout(x[:OBSERVED]) for value, x in flows.items()}

here = found[0.00075]
weights = chart(here)  # as a pytree, like family.anchor
low, high = here.interval(0.9)[0]
print(f"viscosity {here.value()[0]:.6f}, 90 % interval {low:.6f} to {high:.6f}; true 0.00075")
print(f"coordinate {here.coordinate[0]:+.2f}, gate {here.coordinate[1]:.2f}")
print(f"error on the observed frames: merged {here.loss:.3f}, anchor {here.anchor_loss:.3f}")

# %% [markdown]
# ## Forecast
#
# From the fifth frame on, both networks continue by themselves.


# %%
def forecast(params, x):
    """The frames after the observed ones, of one trajectory [T, H, W, C], and the relative L2 error of each."""
    frames = family.rollout_fn(params, jnp.asarray(x)[None, OBSERVED - 1 : OBSERVED], len(x) - OBSERVED)
    return frames[0], relative_l2(frames, jnp.asarray(x)[None, OBSERVED:])[0]


x = flows[0.00075]
fields, error = {"truth": x[OBSERVED:, ..., 0]}, {}
for name, params in {"anchor": family.anchor, "merged": weights}.items():
    frames, error[name] = forecast(params, x)
    fields[name] = np.asarray(frames)[..., 0]
for name, each in error.items():
    print(f"{name}: mean error of {len(each)} forecast frames {each.mean():.1%}")

# %% cellView="form"
# @title Plot: the forecast as an animation
from IPython.display import Image as show
from PIL import Image

folder = Path(tempfile.mkdtemp())
bound = np.abs(fields["truth"]).max()
style = {"vmin": -bound, "vmax": bound, "cmap": "RdBu_r", "origin": "lower", "interpolation": "bicubic"}
figure, axes = plt.subplots(1, 3, figsize=(5.7, 1.95), layout="constrained")
images = [ax.imshow(frames[0].T, **style) for ax, frames in zip(axes, fields.values())]
plt.setp(axes, xticks=[], yticks=[])
figure.colorbar(images[0], ax=axes, label="vorticity", shrink=0.85, ticks=[-1.5, 0, 1.5])
pages = []
for t in range(len(x) - OBSERVED):
    for ax, image, (name, frames) in zip(axes, images, fields.items()):
        image.set_data(frames[t].T)
        title = f"truth, frame {t + OBSERVED + 1}" if name == "truth" else f"{name}, error {error[name][t]:.0%}"
        ax.set_title(title, fontsize=10)
    figure.canvas.draw()
    pages.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))
plt.close(figure)
few = pages[-1].quantize(48, dither=Image.Dither.NONE, kmeans=1)  # few colours make a small file
pages = [page.quantize(palette=few, dither=Image.Dither.NONE) for page in pages]
times = [250] * (len(pages) - 1) + [1500]  # the last frame stays
pages[0].save(folder / "forecast.png", save_all=True, append_images=pages[1:], duration=times, loop=0, optimize=True)
show(filename=folder / "forecast.png")

# %% cellView="form"
# @title Plot: the truth, and what each forecast gets wrong
rows = {"truth": fields["truth"]} | {f"{name} − truth": fields[name] - fields["truth"] for name in error}
shown = np.linspace(0, len(x) - OBSERVED - 1, 4).astype(int)
figure, axes = plt.subplots(3, len(shown), figsize=(4.9, 3.6), layout="constrained")
for line, (label, frames) in zip(axes, rows.items()):
    name = label.split()[0]
    for ax, t in zip(line, shown):
        image = ax.imshow(frames[t].T, **style)
        ax.set_title(f"frame {t + OBSERVED + 1}" if name == "truth" else f"error {error[name][t]:.0%}", fontsize=9)
    line[0].set_ylabel(label, fontsize=9)
plt.setp(axes, xticks=[], yticks=[])
figure.colorbar(image, ax=axes, shrink=0.8, label="vorticity", aspect=30)
plt.show()

# %% [markdown]
# ## How the error depends on the coordinate
#
# For each test flow, the mean error of the forecast along the coordinate, at the gate that was chosen. The dot is the
# choice from five frames, without seeing the forecast; the minimum of the curve is the best choice at this gate.

# %%
coordinates = jnp.linspace(-2.5, 2.5, 81)
sweep = jax.jit(lambda gate, x: jax.lax.map(lambda c: forecast(chart([c, gate]), x)[1].mean(), coordinates))
curves = {value: sweep(found[value].coordinate[1], x) for value, x in flows.items()}
anchor_error = {value: forecast(family.anchor, x)[1] for value, x in flows.items()}
merged_error = {value: forecast(chart(found[value]), x)[1] for value, x in flows.items()}

# %% cellView="form"
# @title Plot: the error along the coordinate
figure, ax = plt.subplots(figsize=(5.7, 3.6), layout="constrained")
ax.axvspan(-1, 1, color="#eef2f6")
ax.text(0, 0.94, "training range", transform=ax.get_xaxis_transform(), ha="center", va="top", color="#666666")
places = (-2.42, 0.28, "left", "#3a9bd9"), (-1.35, 0.017, "left", "#004c8c"), (2.45, 0.0088, "right", "#d55e00")
for (value, curve), (left, height, side, colour) in zip(curves.items(), places):
    before, after = anchor_error[value].mean(), merged_error[value].mean()
    ax.plot(coordinates, curve, color=colour, lw=1.8)
    ax.plot(found[value].coordinate[0], after, "o", color=colour, ms=9, mec="white", zorder=5)
    label = f"viscosity {value:g}\nanchor {before:.2g} → merged {after:.2g}"
    ax.text(left, height, label, color=colour, ha=side, fontsize=9.5)
ax.set_title("Forecast error along the coordinate; dots: found from five frames", fontsize=10, loc="left")
ax.set(yscale="log", ylim=(0.008, 1), xlim=(-2.5, 2.5), xlabel="coordinate", ylabel="relative L2 error of the forecast")
ax.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Further out
#
# The further a flow is from the training range, the less a straight line through the experts explains it. Below, the
# error of each frame at the lowest test viscosity, beside the one above. Compare merged network and anchor on held-out
# frames before you rely on a merge.

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
# The viscosity of each flow, its 90 % interval, and a p-value: how often frames of this family fit as badly or worse.

# %%
print("true       found      90 % interval           p")
for value, estimate in found.items():
    low, high = estimate.interval(0.9)[0]
    print(f"{value:<9g}  {estimate.value()[0]:.6f}   {low:.6f} to {high:.6f}    {estimate.p_value:.2f}")

# %% cellView="form"
# @title Plot: estimated viscosities
figure, ax = plt.subplots(figsize=(5.7, 2.3), layout="constrained")
ax.axvspan(family.low_value, family.high_value, color="#eef2f6")
ax.text(0.0015, 2.4, "training range", ha="center", va="center", color="#666666")
for i, (value, estimate) in enumerate(found.items()):
    ends = np.asarray(estimate.interval(0.9)[0])
    ax.plot(ends, [i, i], lw=9, color="#9fd8c4", solid_capstyle="butt", label="_" if i else "90 % interval")
    ax.plot(estimate.value()[0], i, "o", color="#009e73", ms=7, label="_" if i else "estimate")
    ax.plot(value, i, "|", color="black", ms=22, mew=2, label="_" if i else "truth")
ax.set_yticks(range(len(found)), [f"true {v:g}\np = {e.p_value:.2f}" for v, e in found.items()])
ax.set_title("Viscosity, found from five frames", fontsize=10, loc="left")
ax.set(ylim=(-0.6, 2.7), xlabel="viscosity", xticks=[0.0005, 0.001, 0.0015, 0.002, 0.0025])
ax.legend(frameon=False, loc="center", bbox_to_anchor=(0.48, 0.42), markerscale=0.6)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## When it fails
#
# Frames that this family cannot explain get a coordinate, too. Two common mistakes: a wrong time step, and a rotated
# grid. The readout warns, and a p-value near 0 says that no weights on the chart explain the frames: then neither the
# viscosity nor the forecast means anything.

# %%
x = flows[0.00075]
given = {"correct": x[:5], "every second frame": x[:10:2], "rotated by 90°": np.rot90(x[:5], axes=(1, 2))}
for name, frames in given.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        p = readout(frames).p_value
    verdict = "fits like validation flows" if p > 0.05 else "not of this family, do not use the merge"
    print(f"{name:20s}p = {p:.2g}: {verdict}")
    for one in caught:
        print("    readout warns:", str(one.message).removeprefix("PrefixReadout: ").split(";")[0])

# %% [markdown]
# ## Use it on your own files
#
# The same in a terminal, here on the files of this family: `ccm calibrate` finds coordinate and viscosity from the
# first frames of flow 0, and writes the merged weights. `ccm evaluate` compares them with anchor and experts on three
# other flows of this viscosity, and recommends one.
#
# **Replace `.` and the names of files by yours**: a folder with the checkpoints `anchor`, `low` and `high`, a file with
# observed frames, and one with trajectories of known values.

# %%
os.chdir(shutil.copytree(example.path(), tempfile.mkdtemp(), dirs_exist_ok=True))
run("""
ccm calibrate --family . --prefix test-0.00075.npz --sample 0 --validation validation.npz -o merged.safetensors
ccm evaluate --family . --merged merged.safetensors --trajectories test-0.00075.npz --sample 1:4
""")

# %% [markdown]
# Another network than this package's needs `--model`, see
# [your own network](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-network.md).
# [All commands and file formats](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/command-line.md).
