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
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax
from ccm_jax import example
from ccm_jax.metrics import relative_l2

family = example.load()
print(f"{family.label}: experts at {family.low_value} and {family.high_value}")
print(f"test flows at {family.test_values}, trajectories {family.test[0].shape} = [N, T, H, W, C]")

# %% [markdown]
# ## Find the coordinate
#
# `fit_chart` turns the three sets of weights into a function of a coordinate: −1 gives the low expert, +1 the high one, and
# values beyond extrapolate. `fit_prefix_readout` finds the coordinate whose rollout fits the observed frames best. It is
# configured on validation flows at other viscosities.

# %%
chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)

truth = family.test[1][0]  # viscosity 0.00075: outside the training range
observed, future = truth[:5], truth[5:]
found = readout(observed)
weights = chart(found.coordinate)
print(f"coordinate {found.coordinate[0]:+.2f}, gate {found.coordinate[1]:.2f}")
print(f"error on the observed frames that count: {found.loss:.3f}; anchor {found.anchor_loss:.3f}")

# %% [markdown]
# ## Forecast


# %%
def forecast(params):
    return np.asarray(family.rollout_fn(params, observed[None, -1:], len(future)))[0]


rows = {"truth": future, "anchor": forecast(family.anchor), "merged": forecast(weights)}
bound = np.abs(future).max()
style = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound, "origin": "lower", "interpolation": "bilinear"}
times = [0, 4, 8, 12, 15]
figure, axes = plt.subplots(3, len(times), figsize=(8, 5.2), layout="constrained")
for line, (name, fields) in zip(axes, rows.items()):
    errors = relative_l2(jnp.asarray(fields[None]), jnp.asarray(future[None]))[0]
    for ax, t in zip(line, times):
        ax.imshow(fields[t, ..., 0].T, **style)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"frame {t + 6}" if name == "truth" else f"error {errors[t]:.0%}", fontsize=9)
    line[0].set_ylabel(name)
plt.show()

# %% [markdown]
# ## How the error depends on the coordinate
#
# For each test flow, the error of the forecast along the line through the experts. The dots are what the readout chose from
# five frames, without seeing the forecast; the minimum of each curve is the best that it could have chosen.

# %%
line = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])
coordinates = jnp.linspace(-2.5, 2.5, 41)


def future_error(params, x):
    """Mean error of the frames after the fifth, for trajectories [N, T, H, W, C]."""
    predicted = family.rollout_fn(params, x[:, 4:5], x.shape[1] - 5)
    return jnp.mean(relative_l2(predicted, x[:, 5:]))


sweep = jax.jit(lambda x: jax.lax.map(lambda c: future_error(line(c), x), coordinates))
figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
ax.axvspan(-1, 1, color="#eef2f6")
ax.text(0, 0.9, "training range", transform=ax.get_xaxis_transform(), ha="center", color="#777777")
for value, x, colour in zip(family.test_values, family.test, ("#0072b2", "#009e73", "#d55e00")):
    x = jnp.asarray(x)
    chosen = readout(x[:, :5], batch="pooled").coordinate
    at_anchor = future_error(family.anchor, x)
    ax.plot(coordinates, sweep(x), color=colour, label=f"viscosity {value:g}; anchor {at_anchor:.2f}")
    ax.plot(chosen[0], future_error(chart(chosen), x), "o", color=colour, ms=8)
ax.set(yscale="log", ylim=(0.01, 1), xlabel="coordinate", ylabel="relative L2 error of the forecast")
ax.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ## Where it fails
#
# Further out, at the lowest test viscosity, the merged network starts out far better than the anchor, but its error grows
# faster, until little of the gain is left. Compare both on held-out frames before you rely on a merge.


# %%
def error_by_frame(params, x):
    """Relative L2 error of each frame after the fifth, of one trajectory [T, H, W, C]."""
    predicted = family.rollout_fn(params, jnp.asarray(x)[None, 4:5], len(x) - 5)
    return relative_l2(predicted, jnp.asarray(x)[None, 5:])[0]


figure, axes = plt.subplots(1, 2, figsize=(7.5, 3), sharey=True, layout="constrained")
for ax, i in zip(axes, (1, 0)):
    x = family.test[i][0]
    for name, params, colour in (
        ("anchor", family.anchor, "#777777"),
        ("merged", chart(readout(x[:5]).coordinate), "#009e73"),
    ):
        ax.plot(range(6, len(x) + 1), error_by_frame(params, x), color=colour, label=name)
    ax.set(title=f"viscosity {family.test_values[i]:g}", xlabel="frame", xticks=range(6, 22, 5), yscale="log")
axes[0].set_ylabel("relative L2 error")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## How sure is it?
#
# From validation flows of known viscosity, `fit_uncertainty` learns how far off the readout usually is. The estimate then
# carries a viscosity with an interval, and a p-value: a small one means that these frames do not belong to the family.

# %%
sure = ccm_jax.fit_uncertainty(readout, family.validation, family.validation_values)
figure, ax = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
for i, (value, x) in enumerate(zip(family.test_values, family.test)):
    estimate = sure(x[0, :5])
    lower, upper = np.asarray(estimate.interval(0.9)[0])
    ax.plot([lower, upper], [i, i], lw=7, color="#9ecae1", solid_capstyle="butt")
    ax.plot(
        float(estimate.value()[0]), i, "o", color="#0072b2", label="estimate, with 90 % interval" if i == 0 else None
    )
    ax.plot(value, i, "x", color="#d55e00", ms=9, mew=2, label="truth" if i == 0 else None)
    print(f"true {value:g}: estimated {float(estimate.value()[0]):.5f}, p = {float(estimate.p_value):.2f}")
ax.axvspan(family.low_value, family.high_value, color="#eef2f6", zorder=0)
ax.set(yticks=[], ylim=(-0.6, 2.6), xlabel="viscosity, from five frames")
ax.legend(frameon=False, fontsize=9, loc="center right")
plt.show()

# %% [markdown]
# ## As an animation

# %%
import tempfile

from IPython.display import Image as show
from PIL import Image

folder = Path(tempfile.mkdtemp())
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), dpi=65, layout="constrained")
images = [ax.imshow(fields[0, ..., 0].T, **style) for ax, fields in zip(axes, rows.values())]
for ax, name in zip(axes, rows):
    ax.set(xticks=[], yticks=[], title=name)

pages = []
for t in range(len(future)):
    for image, fields in zip(images, rows.values()):
        image.set_data(fields[t, ..., 0].T)
    figure.canvas.draw()
    page = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    pages.append(page.quantize(96, dither=Image.Dither.NONE))  # a smaller file
plt.close(figure)
pages[0].save(folder / "forecast.gif", save_all=True, append_images=pages[1:], duration=160, loop=0)
show(filename=folder / "forecast.gif")

# %% [markdown]
# ## Take it with you
#
# The merged weights are an ordinary checkpoint. `ccm` does the same from files: replace the three checkpoints and the frames by
# yours, and name your network with `--model` ([your own network](../docs/how-to/own-network.md)). On validation flows, it chooses
# its settings and learns how certain it is.

# %%
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
os.environ["FORCE_COLOR"] = ""  # or commands draw their progress into outputs
commands = """
ccm example
ccm calibrate --family example --prefix example/test-0.00075.npz --sample 0 --validation example/validation.npz \
  -o merged.safetensors
"""
done = subprocess.run(commands, shell=True, cwd=folder, capture_output=True, text=True, check=False)
print(done.stdout or done.stderr)
assert (folder / "merged.safetensors").exists()
