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
# # The main experiment, end to end
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/02_rd_ood_end_to_end.ipynb)
#
# **What you get:** four networks, trained here; their errors at eight diffusivities, inside and outside the training
# range; a report in one file; and weights merged at a diffusivity of your choice, by one command that takes your own
# checkpoints too.
#
# **Requirements:** two CPU cores, or any GPU runtime; the second setup cell prints how long a run takes. To see a merge
# without training, begin with [merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). Your own checkpoints:
# [Equinox or Flax](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb),
# [PyTorch](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb).
#
# The system is reaction–diffusion on a square with zero-flux walls, as in PDEBench:
#
# $$\partial_t u = D_u \nabla^2 u + u - u^3 - k - v$$
#
# $$\partial_t v = D_v \nabla^2 v + u - v$$
#
# A Fourier neural operator maps one frame $(u, v)$ to the next. **$D_u$ is hidden**: it is in none of the input
# channels.

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

# %%
# To keep data and networks on your Drive, uncomment these lines on Colab.
# from google.colab import drive
# drive.mount("/content/drive")
# os.environ["CCM_WORKDIR"] = "/content/drive/MyDrive/ccm"

# %% cellView="form" jupyter={"source_hidden": true}
# @title Setup: imports, and a folder to work in
import html
import json
import tempfile
import warnings

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display

from ccm_jax.evaluate import future_error, future_frames, sweep_errors

os.environ.setdefault("CCM_SIZE", "")  # "" for minutes; "smoke" for a quick test; "paper" for hours
folder = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve()
folder.mkdir(parents=True, exist_ok=True)
os.chdir(folder)
plt.rcParams |= {"figure.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10, "legend.frameon": False}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
BLACK, BLUE, ORANGE, GREEN = "black", "#56B4E9", "#E69F00", "#009E73"  # anchor, low and high expert, merged
FIELD = {"origin": "lower", "cmap": "RdBu_r", "interpolation": "bilinear"}
timed = json.loads((clone / "results" / "rd_ood_time.json").read_text())
print(f"On {timed['machine']['cores']} idle CPU cores, such a run took {timed['cold_seconds'] / 60:.1f} minutes.")

# %% [markdown]
# ## What the diffusivity does
#
# One initial state, simulated at three diffusivities: below, inside and above the training range.

# %%
from solvers.initial import smooth_zero_flux
from solvers.reaction_diffusion import make_step

start = smooth_zero_flux(jax.random.key(1), (64, 64), 2, length=2.0, scale=0.3)
simulated = {}
for value in (0.0005, 0.002, 0.004):
    step = make_step(dt=0.25, diffusivity_u=value)
    simulated[value] = ccm_jax.rollout(step, 20, include_init=True)(start)  # [T, H, W, C]

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: one start, three diffusivities
figure, axes = plt.subplots(3, 4, figsize=(6, 4.9))
for column, t in zip(axes.T, (0, 6, 13, 20)):
    bound = max(np.abs(x[t, ..., 0]).max() for x in simulated.values())
    for ax, (value, x) in zip(column, simulated.items()):
        ax.imshow(x[t, ..., 0].T, vmin=-bound, vmax=bound, **FIELD)
        ax.set_ylabel(f"$D_u$ = {value:g}" if t == 0 else "")
    column[0].set_title(f"frame {t + 1}", fontsize=10)
    column[2].set_xlabel(f"±{bound:.2f}")
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.supxlabel("$u$; below each column the ends of its scale, blue and red", fontsize=10)
plt.show()

# %% [markdown]
# ## The method
#
# An *anchor* $\theta_0$ is trained on a range of $D_u$. Two *experts* start from it and are fine-tuned at either end. The
# merged weights lie on the line through both experts:
#
# $$\theta(\alpha, g) = \theta_0 + g \, \tfrac{1}{2}(\theta_\text{high} + \theta_\text{low} - 2 \theta_0)
#   + \alpha \, \tfrac{1}{2}(\theta_\text{high} - \theta_\text{low})$$
#
# The coordinate $\alpha$ is −1 at the low expert and +1 at the high one, and extrapolates beyond; the gate $g$ says how
# much of their shared update to keep.
#
# Both experts see the same initial states in the same order, each simulated at its own diffusivity (*paired batches*).
# Most of the noise of training is then the same in both, and cancels in their difference.
#
# For a fair comparison, a second anchor is trained for as many extra steps as both experts together: the *longer anchor*,
# `anchor+` in the table below.
#
# ## Run it
#
# One command simulates the data, trains the four networks, fits the readouts, tests everything and writes a report.
# Finished stages are kept: run the cell again, and only what has changed is computed.

# %% language="bash"
# python -m experiments.run --config=rd_ood:$CCM_SIZE --workdir=rd_ood

# %% [markdown]
# Every setting is a flag. These shape the run; `--config.train.steps=8000`, say, trains the anchor longer.

# %%
run = Path("rd_ood")
results = json.loads((run / "results.json").read_text())
for part, name in (
    ("regimes", "support"),  # the diffusivities that the anchor is trained on,
    ("data", "support"),  # trajectories at each,
    ("train", "steps"),  # and steps
    ("axis", "low"),  # the experts' diffusivities,
    ("axis", "high"),
    ("data", "endpoint"),  # trajectories at each,
    ("finetune", "steps"),  # and steps
    ("regimes", "validation"),  # on which the readouts are fitted
    ("regimes", "test"),  # on which nothing is chosen
):
    print(f"--config.{part}.{name}={results['config'][part][name]}")

# %% [markdown]
# ## One trajectory by hand
#
# The folder `weights` of the run holds the networks, and in `validation.npz` the trajectories that the run fitted its readouts
# on. To judge forecasts, this makes others, at the eight test diffusivities.

# %% language="bash"
# python -m experiments.generate --config=rd_ood:$CCM_SIZE --count=16 --output=test.h5

# %%
from ccm_jax.io.recordings import by_value

test = by_value("test.h5", "diffusivity_u")  # {value: trajectories [N, T, H, W, C]}
validation = by_value(run / "weights" / "validation.npz", "diffusivity_u")

# %% [markdown]
# These lines open any three checkpoints of one network.

# %%
from ccm_jax.io.weights import open_weights
from ccm_jax.surrogate import surrogate_of

opened = [open_weights(run / "weights" / name) for name in ("anchor", "low", "high")]
network = surrogate_of(opened[0], None, test[0.004].shape[2:])  # for frames of this shape, [H, W, C]
anchor, low, high = (network.to_params(each.arrays) for each in opened)
rollout_fn = network.rollout_fn
print(f"{sum(leaf.size for leaf in jax.tree.leaves(anchor)):,} weights in each network")

# %% [markdown]
# `fit_chart` turns the three networks into the function $\theta(\alpha, g)$. `fit_prefix_readout` chooses the settings of
# a readout on the validation trajectories. The readout then finds the coordinate of a trajectory from its first five frames, here at
# the largest test diffusivity, where no network was trained. It is not told the diffusivity.

# %%
chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, rollout_fn, list(validation.values()))

true, truths = 0.004, jnp.asarray(test[0.004])
found = readout(truths[0, :5])
print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))

networks = {"anchor": anchor, "high expert": high, "merged": chart(found)}
for name, params in networks.items():
    error = future_error(params, rollout_fn, truths[:1])[0]  # of each frame after the fifth
    print(f"{name:11}  mean error {error.mean():5.1%}, last frame {error[-1]:5.1%}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: the last frame
figure, axes = plt.subplots(2, 4, figsize=(6, 3.2))
last = np.asarray(truths[0, -1, ..., 0])
frames = {"truth": last}
frames |= {name: np.asarray(future_frames(p, rollout_fn, truths[:1])[0, -1, ..., 0]) for name, p in networks.items()}
bound = np.abs(last).max()
for ax, (name, u) in zip(axes.T, frames.items()):
    field = ax[0].imshow(u.T, vmin=-bound, vmax=bound, **FIELD)
    wrong = ax[1].imshow((u - last).T, vmin=-bound / 2, vmax=bound / 2, **FIELD | {"cmap": "PuOr_r"})
    ax[0].set_title(name, fontsize=10)
    ax[1].set_title(f"error {np.linalg.norm(u - last) / np.linalg.norm(last):.0%}", fontsize=10)
axes[1, 0].set_visible(False)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(field, ax=axes[0], label=f"$u$, frame {truths.shape[1]}")
figure.colorbar(wrong, ax=axes[1], extend="both", label="error")
plt.show()

# %% [markdown]
# The errors in the picture are those of $u$ in this frame; those printed above are of both fields.
#
# How certain is the diffusivity? `fit_uncertainty` learns its typical error from the validation trajectories. Below, all
# test trajectories of this diffusivity. It lies beyond the validation values: the intervals are extrapolated, and their
# errors are correlated.
# [How often such intervals contain the truth](https://github.com/OWNER/ccm_jax/blob/main/docs/beyond.md), on three
# systems.

# %% tags=["full"]
readout = ccm_jax.fit_uncertainty(readout, list(validation.values()), list(validation))
sure = readout(truths[:, :5], batch="each")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of posteriors that are cut off: counted below
    value, interval = np.ravel(sure.value()), np.reshape(sure.interval(0.9), (-1, 2))

n, inside = len(value), np.sum((interval[:, 0] <= true) & (true <= interval[:, 1]))
cut = np.any(sure.posterior.cut(), axis=(-2, -1)).sum()
print(
    f"trajectory 0: diffusivity {value[0]:.5f}, 90 % interval {interval[0, 0]:.5f} to {interval[0, 1]:.5f}; true {true}"
)
print(f"{inside} of {n} intervals contain the true value; 90 % of them would be {0.9 * n:.1f}")
if cut:
    print(f"{cut} of {n} intervals end where the values considered end: their upper end is not known")

# %% cellView="form" jupyter={"source_hidden": true} tags=["full"]
# @title Plot: the diffusivity of each trajectory
figure, ax = plt.subplots(figsize=(6, 2.7))
ax.axhline(true, color="black", lw=1, label="truth")
ax.vlines(range(n), *interval.T, color="#9fd8c4", lw=6, label="90 % interval")
ax.plot(value, "o", color=GREEN, ms=6, label="estimate")
ax.set(xlabel="trajectory", ylabel="diffusivity $D_u$", xticks=range(0, n, 3))
figure.legend(loc="outside upper right", ncols=3)
plt.show()

# %% [markdown]
# ## CCM and its parts on every diffusivity
#
# The run has done this for all test trajectories, with three ways to choose the coordinate:
#
# | method | coordinate | needs $D_u$? | needs frames? |
# |---|---|---|---|
# | CCM-Coord | $D_u$ on the linear scale of the two experts | yes | no |
# | CCM-Scale | a map from $D_u$, fitted on the validation trajectories | yes | no |
# | CCM-Prefix | the best fit to the observed frames, as above | no | five |
# | best in hindsight (oracle) | the best one given the true future: a bound, not a method | | |
#
# *Outside* means outside the anchor's training range. CCM-Scale and CCM-Prefix are fitted on validation values that reach
# a little beyond that range on both sides (the cell prints how far); the outer test values are extrapolated from there.
# CCM-Coord uses no validation.

# %%
names = {"anchor": "anchor", "anchor_more": "longer anchor", "ccm_coord": "CCM-Coord"}
names |= {"ccm_scale": "CCM-Scale", "ccm_prefix": "CCM-Prefix", "best": "best in hindsight"}
outside = results["summary"]["ood_error"]
regimes = results["config"]["regimes"]
ranges = {part: (min(regimes[part]), max(regimes[part])) for part in ("support", "validation", "test")}
for part, (least, most) in ranges.items():
    print(f"{part:10} values {least:g} to {most:g}")
beyond = [v for v in regimes["validation"] if not ranges["support"][0] <= v <= ranges["support"][1]]
print(f"validation values outside the training range (support): {', '.join(f'{v:g}' for v in beyond) or 'none'}")
print("\nmean error outside the training range")
for name, label in names.items():
    print(f"  {label:17} {outside[name]:.3f}")

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: error by diffusivity
rows = sorted(results["regimes"], key=lambda row: row["value"])
ends = results["config"]["axis"]["low"], results["config"]["axis"]["high"]
figure, ax = plt.subplots(figsize=(6, 4.4))
ax.axvspan(*ends, color="#eef2f6")
style = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "top", "color": "#666666"}
ax.text(np.mean(ends), 0.97, "training range", **style)
for name, label, colour, dash in (
    ("low", "low expert", BLUE, "-o"),
    ("anchor_more", "longer anchor", BLACK, "--o"),
    ("anchor", "anchor", BLACK, "-o"),
    ("high", "high expert", ORANGE, "-o"),
    ("ccm_prefix", "CCM-Prefix", GREEN, "-o"),
    ("best", "best in hindsight", "#777777", ":o"),
):
    errors = [row["errors"][name] for row in rows]
    ax.plot([row["value"] for row in rows], errors, dash, color=colour, lw=2, ms=4, label=label)
ax.set(yscale="log", xlabel="diffusivity $D_u$", ylabel="relative L2 error of the forecast")
ax.set_yticks([0.02, 0.05, 0.1, 0.2], ["2 %", "5 %", "10 %", "20 %"], minor=False)
ax.set_yticks([], minor=True)
figure.legend(loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# The longer anchor has a smaller error than the anchor at the upper diffusivities, but a larger one at the smallest, and so
# a larger mean outside the training range: more training on the same values need not help beyond them. Gains are measured
# against the better of the two.
#
# These are parts of CCM and the networks it starts from. Alternatives (a conditioned network, LoRA adapters, other
# merges, fine-tuning on the frames) are compared in
# [which method to use](https://github.com/OWNER/ccm_jax/blob/main/docs/peers.md). If you can train one network from
# scratch on labelled data of all diffusivities, conditioning it on $D_u$ gives a smaller error than CCM.
#
# **Is the merged direction the physical one?** For each test diffusivity, the error along the line through both experts,
# over the smallest error on it. On the diagonal, the coordinate is $D_u$ on the experts' linear scale.

# %%
bank = np.linspace(-2.5, 2.5, 21)
at = np.stack([bank, np.ones_like(bank)], axis=1)  # coordinate, and gate 1
sweep = {value: sweep_errors(chart, rollout_fn, x, at).mean(axis=(1, 2)) for value, x in test.items()}

# %% cellView="form" jupyter={"source_hidden": true}
# @title Plot: error along the line
fine = np.linspace(bank[0], bank[-1], 201)
figure, ax = plt.subplots(figsize=(6, 4.2))
gap = rows[1]["value"] - rows[0]["value"]
for row, errors in zip(rows, map(np.log10, sweep.values())):
    band = (bank[0], bank[-1], row["value"] - 0.45 * gap, row["value"] + 0.45 * gap)
    curve = np.interp(fine, bank, errors - errors.min())[None]
    image = ax.imshow(curve, extent=band, aspect="auto", cmap="cividis_r", vmin=0, vmax=1)
    chosen = np.ravel(row["chosen"]["ccm_prefix"])
    ax.plot(chosen, np.full(len(chosen), row["value"]), "o", color=GREEN, ms=5, mec="white", mew=0.5)
    ax.plot(row["chosen"]["best"], row["value"], "*", color="white", ms=11, mec="black", mew=0.8)
reach = np.array([-2.8, 2.8])
ax.plot(reach, np.mean(ends) + reach * np.ptp(ends) / 2, "--", color="#d55e00", lw=1.5)
ax.set(xlim=(bank[0], bank[-1]), ylim=(rows[0]["value"] - gap / 2, rows[-1]["value"] + gap / 2))
ax.set(xlabel="coordinate", ylabel="diffusivity $D_u$", yticks=[row["value"] for row in rows])
labels = [f"CCM-Prefix, {len(chosen)} trajectories", "best in hindsight", "CCM-Coord"]
figure.legend(ax.lines[-3:], labels, loc="outside upper center", ncols=3, fontsize=9, columnspacing=1)
ticks = {"ticks": np.log10([1, 2, 5, 10]), "format": lambda power, _: f"{10**power:.0f}"}
figure.colorbar(image, extend="max", label="error / smallest error", **ticks)
plt.show()

# %% [markdown]
# ## The report
#
# `report.html` has all results in one file: forecasts as a film, a slider along the direction, posteriors of the
# diffusivity, and every number. Here is
# [the report of such a run](https://github.com/OWNER/ccm_jax/blob/main/docs/report.html).

# %%
page = run / "report.html"
if "google.colab" in sys.modules:  # elsewhere, open the file
    display(HTML(f'<iframe srcdoc="{html.escape(page.read_text())}" width="100%" height="700"></iframe>'))
print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Merge at a known value
#
# If you know the value, you need no frames of the trajectory. `fit_scale_readout` fits a map from value to coordinate on the
# validation trajectories (CCM-Scale):

# %%
line = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0])
flows, values = list(validation.values()), list(validation)
scale = ccm_jax.fit_scale_readout(line, rollout_fn, flows, values, low=ends[0], high=ends[1])
known = scale(3.6e-3)
weights = line(known)

linear = ccm_jax.coordinate_from_metadata(3.6e-3, *ends).coordinate[0]
print(f"D_u = 0.0036: coordinate {known.coordinate[0]:+.3f}; on the linear scale it would be {linear:+.2f}")

# %% [markdown]
# One command does the same and writes the merged weights to a file; two more check them on new trajectories of that value.
# **Replace the names of files by yours, and `--range` by the values of your experts.** Without `--validation`, the
# coordinate is the one on the experts' linear scale.

# %% language="bash"
# set -e
# ccm merge --family rd_ood/weights --value 3.6e-3 --range 1e-3:3e-3 --validation rd_ood/weights/validation.npz \
#   -o merged.safetensors --force
# python -m experiments.generate --config=rd_ood:$CCM_SIZE --value=3.6e-3 --count=4 --output=flow.h5
# ccm evaluate --family rd_ood/weights --merged merged.safetensors --trajectories flow.h5

# %% [markdown]
# ## Summary

# %% cellView="form" jupyter={"source_hidden": true} tags=["full"]
# @title Code: prints the summary
better = min(outside["anchor"], outside["anchor_more"])
print(f"""\
- Mean error outside the training range: {better:.3f} with the better anchor, {outside["ccm_scale"]:.3f} with
  CCM-Scale if D_u is known, {outside["ccm_prefix"]:.3f} with CCM-Prefix from five frames. Validation values reach from
  {ranges["validation"][0]:g} to {ranges["validation"][1]:g}, the training range from {ranges["support"][0]:g} to \
{ranges["support"][1]:g}.
- The best coordinate in hindsight gives {outside["best"]:.3f}; its correlation with D_u is \
{results["summary"]["best_correlation"]:.3f}.
- D_u of the furthest trajectory: {value[0]:.5f}, 90 % interval {interval[0, 0]:.5f} to {interval[0, 1]:.5f}; true {true}.""")

# %% [markdown]
# **Where next.** The whole pipeline on
# [your own equation](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-equation.md), or on
# [your own trajectories](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md). [Your own
# checkpoints](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb), also [in
# PyTorch](https://github.com/OWNER/ccm_jax/blob/main/notebooks/05_bring_your_own_pytorch.ipynb). [Many
# devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) calibrates many
# trajectories at once. [Merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb) shows where it fails.
