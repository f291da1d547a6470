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
# **Start here. What you get:** the viscosity of a flow from five of its frames, with an interval; weights that forecast
# the flow; and `merge_from_frames`, a function that does the same with your networks.
#
# **Requirements:** two CPU cores; nothing is trained. Networks and flows come with the package. The other notebooks:
# [the main experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb),
# [many devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb),
# your own network in [Equinox or Flax](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb) or in
# [PyTorch](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb).
#
# A small Fourier neural operator forecasts the vorticity of a forced flow. It was trained at viscosities from 0.001 to
# 0.002 (the *anchor*), then fine-tuned at either end (the *low* and the *high expert*). We observe five frames of a flow
# at a lower viscosity, 0.00075, and look for its viscosity and for weights that forecast it.

# %% cellView="form" jupyter={"source_hidden": true}
# @title Run this cell first: finds ccm_jax or, as on Colab, installs it
# Uses the clone that holds this notebook, or else an installed ccm_jax; without either it makes a clone. The jax that is
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
clone = next((place for place in places if (place / "ccm_jax" / "__init__.py").exists()), None)
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
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from ccm_jax import example
from ccm_jax.metrics import relative_l2

family = example.load()  # an anchor, two experts, their model, and trajectories
anchor, experts = family.anchor, [family.low, family.high]
flow = family.test[1][0]  # 21 frames at viscosity 0.00075, below the training range
print(f"flow: {flow.shape} = [T, H, W, C]; experts at viscosity {family.low_value} and {family.high_value}")

# %% [markdown]
# ## The problem
#
# The anchor starts from the fifth frame and continues by itself. At this viscosity its forecast drifts away from the
# truth.

# %%
OBSERVED = 5


def forecast(params, x):
    """The frames of a flow [T, H, W, C] after the observed ones, and the relative L2 error of each."""
    x = jnp.asarray(x)
    frames = family.rollout_fn(params, x[None, OBSERVED - 1 : OBSERVED], len(x) - OBSERVED)
    return frames[0], relative_l2(frames, x[None, OBSERVED:])[0]


frames, error = forecast(anchor, flow)
print(f"anchor: mean error of {len(error)} forecast frames {error.mean():.1%}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the truth, and the anchor's forecast
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10, "legend.frameon": False}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
COLOURS = {"anchor": "black", "low expert": "#56B4E9", "merged": "#009E73"}
bound = np.abs(flow).max()
FIELD = {"vmin": -bound, "vmax": bound, "cmap": "RdBu_r", "origin": "lower", "interpolation": "bicubic"}
figure, axes = plt.subplots(2, 4, figsize=(6, 3.1))
for ax, t in zip(axes.T, (0, 5, 10, 15)):
    ax[0].imshow(flow[OBSERVED + t, ..., 0].T, **FIELD)
    image = ax[1].imshow(frames[t, ..., 0].T, **FIELD)
    ax[0].set_title(f"frame {OBSERVED + t + 1}", fontsize=10)
    ax[1].set_title(f"error {error[t]:.0%}", fontsize=10)
axes[0, 0].set_ylabel("truth")
axes[1, 0].set_ylabel("anchor")
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(image, ax=axes, label="vorticity", shrink=0.8)
plt.show()

# %% [markdown]
# ## Find the weights
#
# `fit_chart` turns the three sets of weights into a function of two numbers, the coordinate $\alpha$ and the gate $g$:
#
# $$\theta(\alpha, g) = \theta_0 + g \, \Delta^+ + \alpha \, \Delta^-$$
#
# - $\Delta^- = \frac{1}{2}(\theta_\text{high} - \theta_\text{low})$, the *direction*: $\alpha = -1$ is the low expert,
#   $\alpha = +1$ the high one, and values beyond extrapolate.
# - $\Delta^+ = \frac{1}{2}(\theta_\text{high} + \theta_\text{low}) - \theta_0$, the *shared update*:
#   $g = 1$ keeps all of it, $g = 0$ nothing.
#
# `fit_prefix_readout` chooses the settings of a readout on validation flows of other viscosities. The readout then finds
# the two numbers whose rollout fits observed frames best.

# %%
chart = ccm_jax.fit_chart(anchor, experts, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)
found = readout(flow[:5])
weights = chart(found)  # as a pytree, like the anchor's

print(f"coordinate {found.coordinate[0]:+.2f}, gate {found.coordinate[1]:.2f}")
print(f"error on the last observed frame, one step ahead: merged {found.loss:.4f}, anchor {found.anchor_loss:.4f}")

# %% [markdown]
# `fit_uncertainty` learns the typical error of the coordinate from validation flows of known viscosity. The coordinate
# stays the same; the estimate now has a viscosity, intervals and a p-value.

# %%
readout = ccm_jax.fit_uncertainty(readout, family.validation, family.validation_values)
found = readout(flow[:5])
low, high = found.interval(0.9)[0]
print(f"viscosity {found.value()[0]:.6f}, 90 % interval {low:.6f} to {high:.6f}; true 0.00075")

# %% [markdown]
# ## Forecast
#
# The merged weights forecast the same 16 frames. The low expert is the network to beat: its viscosity is nearest.

# %%
networks = {"anchor": anchor, "low expert": family.low, "merged": weights}
forecasts = {name: forecast(params, flow) for name, params in networks.items()}
for name, (_, error) in forecasts.items():
    print(f"{name:10}  mean error {error.mean():5.1%}, last frame {error[-1]:5.1%}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the forecast as an animation
import io

from IPython.display import Image as show
from PIL import Image

figure = plt.figure(figsize=(6, 3.7), dpi=140)
above, below = figure.subfigures(2, 1, height_ratios=(1.6, 2))
panels, ax = above.subplots(1, 4), below.subplots()
steps = np.arange(OBSERVED + 1, len(flow) + 1)
shown = {"truth": (flow[OBSERVED:], None), **forecasts}
images = [panel.imshow(flow[-1, ..., 0].T, **FIELD) for panel in panels]
lines = [ax.plot(steps, error, color=COLOURS[name], lw=2, label=name)[0] for name, (_, error) in forecasts.items()]
plt.setp(panels, xticks=[], yticks=[], frame_on=False)
above.colorbar(images[0], ax=panels, label="vorticity", shrink=0.8, ticks=[-1.5, 0, 1.5])
ax.set(xlabel="frame", ylabel="relative L2 error", xlim=(6, 21), ylim=(0, None), xticks=[6, 11, 16, 21])
ax.legend(loc="upper left")


def page(t):
    """The picture after t steps."""
    for panel, image, (name, (frames, error)) in zip(panels, images, shown.items()):
        image.set_data(frames[t, ..., 0].T)
        panel.set_title(f"truth\nframe {steps[t]}" if error is None else f"{name}\n{error[t]:.0%}", fontsize=10)
    for line, (_, error) in zip(lines, forecasts.values()):
        line.set_data(steps[: t + 1], error[: t + 1])
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])


pages = [page(t) for t in (len(steps) - 1, *range(len(steps)))]  # begins with the last, for readers of a still
few = pages[0].quantize(192, kmeans=1)  # colours, the same for all
first, *others = (each.quantize(palette=few, dither=Image.Dither.NONE) for each in pages)
times = [1500] + [250] * len(others)
first.save(file := io.BytesIO(), "png", save_all=True, append_images=others, duration=times, loop=0, optimize=True)
plt.close(figure)
show(file.getvalue())

# %% [markdown]
# ## Three flows
#
# The same for one flow at each test viscosity, all outside the training range.

# %%
flows = {value: x[0] for value, x in zip(family.test_values, family.test)}
found = {value: readout(x[:OBSERVED]) for value, x in flows.items()}
errors = {}
print("mean error:   anchor  low expert  high expert  merged")
for value, x in flows.items():
    networks = {"anchor": anchor, "low expert": family.low, "high expert": family.high, "merged": chart(found[value])}
    errors[value] = {name: forecast(params, x)[1] for name, params in networks.items()}
    print(f"  at {value:<9g}", "     ".join(f"{error.mean():6.1%}" for error in errors[value].values()))

# %% [markdown]
# How good is this coordinate? Roll out 81 networks along the line, and look where the error is smallest: the *oracle*,
# the best coordinate given the true future.


# %%
coordinates = jnp.linspace(-2.5, 2.5, 81)


@jax.jit
def sweep(gate, x):
    """The mean error of the forecast at each coordinate."""
    return jax.lax.map(lambda c: forecast(chart([c, gate]), x)[1].mean(), coordinates)


curves = {value: sweep(found[value].coordinate[1], x) for value, x in flows.items()}
print("viscosity  on the experts' scale  found in five frames  best in hindsight")
for value, curve in curves.items():
    linear = ccm_jax.coordinate_from_metadata(value, family.low_value, family.high_value).coordinate[0]
    print(f"{value:<9g}  {linear:+21.2f}  {found[value].coordinate[0]:+20.2f}  {coordinates[curve.argmin()]:+17.2f}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the error along the coordinate; dots: found in five frames
figure, ax = plt.subplots(figsize=(6, 4))
ax.axvspan(-1, 1, color="#eef2f6")
ax.text(0, 0.98, "training range", transform=ax.get_xaxis_transform(), ha="center", va="top", color="#666666")
for (value, curve), colour in zip(curves.items(), ("#3a9bd9", "#004c8c", "#d55e00")):
    ax.plot(coordinates, curve, color=colour, lw=2, label=f"viscosity {value:g}")
    ax.plot(found[value].coordinate[0], errors[value]["merged"].mean(), "o", color=colour, ms=9, mec="white", zorder=5)
ax.set(yscale="log", ylim=(0.01, 1), xlim=(-2.5, 2.5), xlabel="coordinate", ylabel="relative L2 error of the forecast")
ax.set_yticks([0.01, 0.1, 1], ["1 %", "10 %", "100 %"])
figure.legend(loc="outside lower center", ncols=3, columnspacing=1)
plt.show()

# %% [markdown]
# ## How certain is it?
#
# The viscosity of each flow, its 90 % interval, and a p-value: how often frames of this family fit as badly or worse.
# The cell counts how often the intervals contain the truth, for all test flows: too few for a verdict, and of one family
# only. See the
# [coverage on three systems](https://github.com/OWNER/ccm_jax/blob/main/docs/beyond.md).

# %%
contain = 0
for value, x in zip(family.test_values, family.test):
    low, high = np.asarray(readout(x[:, :OBSERVED], batch="each").interval(0.9)).reshape(-1, 2).T
    contain += np.sum((low <= value) & (value <= high))
n = sum(len(x) for x in family.test)
print(f"{contain} of {n} intervals contain the true viscosity; 90 % of them would be {0.9 * n:.1f}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: estimated viscosities
figure, ax = plt.subplots(figsize=(6, 2.6))
ax.axvspan(family.low_value, family.high_value, color="#eef2f6")
ax.text(0.0015, 2.55, "training range", ha="center", va="top", color="#666666")
for i, (value, estimate) in enumerate(found.items()):
    ax.plot(estimate.interval(0.9)[0], [i, i], lw=9, color="#9fd8c4", solid_capstyle="butt")
    ax.plot(estimate.value()[0], i, "o", color="#009E73", ms=7)
    ax.plot(value, i, "|", color="black", ms=22, mew=2)
ax.set_yticks(range(3), [f"{v:g}, p = {e.p_value:.2f}" for v, e in found.items()])
ax.set(ylim=(-0.6, 2.7), xlabel="viscosity", xticks=[0.0005, 0.001, 0.0015, 0.002, 0.0025])
ax.set_title("viscosity of the flow, and p-value", loc="left", fontsize=10)
names = ["90 % interval", "estimate", "truth"]
figure.legend(ax.lines[:3], names, loc="outside lower center", ncols=3, markerscale=0.6)
plt.show()

# %% [markdown]
# ## When it fails
#
# ### The frames fit, the forecast fails
#
# At 0.0005, twice as far from the training range, even the best coordinate of the sweep above has a larger error: a
# straight line through two experts no longer reaches the right network. Below are all flows at this viscosity.
# Coordinate, interval and p-value come from five frames, and say how well *these* are explained, not how long a forecast
# stays accurate.

# %%
far = jnp.asarray(family.test[0])
print("at 0.0005  viscosity       90 % interval     p   error of the last frame: merged  low expert  anchor")
last, p_values = [], []
for i, x in enumerate(far):
    estimate = readout(x[:OBSERVED])
    trio = (chart(estimate), family.low, anchor)
    last.append([forecast(params, x)[1][-1] for params in trio])
    p_values.append(estimate.p_value)
    low, high = estimate.interval(0.9)[0]
    numbers = f"{last[i][0]:31.0%}  {last[i][1]:10.0%}  {last[i][2]:6.0%}"
    print(f"flow {i}  {estimate.value()[0]:12.6f}  {low:.6f} to {high:.6f}  {estimate.p_value:.2f}  {numbers}")

last = np.asarray(last)
worst = last[:, 0].argmax()
merged, of_merged = forecast(chart(readout(far[worst, :OBSERVED])), far[worst])
of_low = forecast(family.low, far[worst])[1]
print(f"\nlast frame: the low expert beats the merge on {np.sum(last[:, 0] > last[:, 1])} of {len(last)} flows")
if of_merged[-1] > of_low[-1]:
    ahead = OBSERVED + 1 + np.flatnonzero(of_merged <= of_low).max()
    print(f"flow {worst}: the merge is better up to frame {ahead}, then the low expert")
beyond = [f"{value:g}" for value, estimate in found.items() if estimate.posterior.beyond().all()]
print(f"outside the validation values, by posterior.beyond(): flows at {', '.join(beyond)}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the flow on which the merge fails most
figure, axes = plt.subplots(2, 4, figsize=(6, 3.1))
for ax, t in zip(axes.T, (0, 5, 10, 15)):
    ax[0].imshow(far[worst, OBSERVED + t, ..., 0].T, **FIELD)
    image = ax[1].imshow(merged[t, ..., 0].T, **FIELD)
    ax[0].set_title(f"frame {OBSERVED + t + 1}", fontsize=10)
    ax[1].set_title(f"error {of_merged[t]:.0%}", fontsize=10)
axes[0, 0].set_ylabel("truth")
axes[1, 0].set_ylabel("merged")
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(image, ax=axes, label="vorticity", shrink=0.8)
plt.show()

# %% [markdown]
# In the last frames, the merged network produces vortices that the flow does not have.
#
# The one warning is `found.posterior.beyond()`: the value lies outside the validation values. It is also true of flows on
# which the merge works. Only later frames can distinguish them: `ccm evaluate` compares the merge with the anchor and the
# nearest expert on them. If you have none, validate on values beyond both experts, as far out as you forecast.
#
# ### The frames are out of the family
#
# Frames that this family cannot explain get a coordinate, too. Two common mistakes: a wrong time step, and a rotated
# grid. The p-value detects both. Below 0.05, no weights on the chart explain the frames as well as they explain validation
# flows: check time step, axes, channels and units. It also flags one in twenty flows of the family itself, and more
# outside the validation regimes: there, compare the merge with the anchor on held-out frames first. A large p-value is
# [no guarantee](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/how-sure.md).

# %%
import textwrap
import warnings

rotated = np.rot90(flow[:5], axes=(1, 2))
given = {"correct": flow[:5], "every second frame": flow[:10:2], "rotated by 90°": rotated}
checked = {}
for name, frames in given.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checked[name] = readout(frames)
    print(f"{name:20s}p = {checked[name].p_value:.2g}")
    for one in caught:
        said = str(one.message).removeprefix("PrefixReadout: ").split(";")[0]
        print(textwrap.fill(said, 95, initial_indent="    warns: ", subsequent_indent="           "))

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the last observed frame, and its error one step ahead
wrong = {}
for name, frames in given.items():
    x = jnp.asarray(frames)[None]
    wrong[name] = np.asarray(family.rollout_fn(chart(checked[name]), x[:, -2:-1], 1) - x[:, -1:])[0, 0, ..., 0]
largest = max(np.abs(each).max() for each in wrong.values())
ERROR = FIELD | {"vmin": -largest, "vmax": largest, "cmap": "PuOr_r"}
figure, axes = plt.subplots(2, 3, figsize=(6, 3.9))
for ax, (name, frames) in zip(axes.T, given.items()):
    field = ax[0].imshow(frames[-1, ..., 0].T, **FIELD)
    error = ax[1].imshow(wrong[name].T, **ERROR)
    ax[0].set_title(name, fontsize=10)
    ax[1].set_title(f"p = {checked[name].p_value:.2g}", fontsize=10)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(field, ax=axes[0], label="observed\nvorticity")
figure.colorbar(error, ax=axes[1], label="error, one\nstep ahead")
plt.show()

# %% [markdown]
# ## Use it for your own networks
#
# All of the above in one function. **Give it your weights, your rollout and your flows**; the lines below it call it for
# the flow at 0.0025 as if they were yours.

# %%
import tempfile

from ccm_jax.io.safetensors import load_safetensors, save_safetensors


def merge_from_frames(networks, rollout_fn, validation, values, observed, file):
    """Finds the weights that explain observed frames, and writes them to a file.

    Args:
        networks: weights of the anchor, the low and the high expert: pytrees of arrays with the same shapes.
        rollout_fn: (params, window [N, 1, *space, C], steps) -> frames, such as ccm_jax.make_rollout(apply).
        validation: trajectories [N, T, *space, C] of each of three or more values.
        values: these values.
        observed: five or more frames of one trajectory, [T, *space, C].
        file: where to write the merged weights, NAME.safetensors.

    Returns:
        An Estimate: its coordinate, value(), interval(0.9) and p_value.
    """
    anchor, low, high = networks
    chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
    readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, validation)
    readout = ccm_jax.fit_uncertainty(readout, validation, values)
    found = readout(observed)
    save_safetensors(file, chart(found))
    return found


networks, regimes = (family.anchor, family.low, family.high), (family.validation, family.validation_values)
file = Path(tempfile.mkdtemp()) / "merged.safetensors"
mine = merge_from_frames(networks, family.rollout_fn, *regimes, flows[0.0025][:5], file)
low, high = mine.interval(0.9)[0]
print(f"viscosity {mine.value()[0]:.5f}, 90 % interval {low:.5f} to {high:.5f}, p = {mine.p_value:.2f}; true 0.0025")
error = forecast(load_safetensors(file), flows[0.0025])[1].mean()
print(f"{file.name}, {file.stat().st_size / 1e3:.0f} kB: its forecast has error {error:.1%}")

# %% [markdown]
# The same in a terminal. `ccm example` copies the files of this family; `ccm calibrate` finds coordinate and viscosity
# from the first frames of flow 0 and writes the merged weights; `ccm evaluate` compares them with anchor and experts on
# three other flows of this viscosity, and recommends one. **Replace the names of files by yours**: a folder with the
# checkpoints `anchor`, `low` and `high`, a file with observed frames, and one with trajectories of known values.

# %% language="bash"
# set -e
# cd "$(mktemp -d)" && ccm example > /dev/null && cd example
# ccm calibrate --family . --prefix test-0.00075.npz --sample 0 --validation validation.npz -o merged.safetensors
# ccm evaluate --family . --merged merged.safetensors --trajectories test-0.00075.npz --sample 1:4

# %% [markdown]
# **Where next.** [The main experiment](https://github.com/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb)
# trains such a family and tests it at eight values. Your own network
# [in Equinox or Flax](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb), or [in
# PyTorch](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb).
# [Many devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) calibrates many
# trajectories at once. [All commands and file
# formats](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/command-line.md).
