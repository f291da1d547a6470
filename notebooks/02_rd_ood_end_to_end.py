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
# **For anyone who wants to see where the networks come from and how they are tested**: data are simulated, four networks
# trained and all methods compared, in some minutes on two CPU cores;
# `python -m experiments.run --config=rd_ood` does the same in a terminal. A first look, without training:
# [merge in five minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb). Your own
# checkpoints: [bring your own](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb).
#
# The system is reaction–diffusion on a square with zero-flux walls, as in PDEBench:
#
# $$\partial_t u = D_u \nabla^2 u + u - u^3 - k - v$$
#
# $$\partial_t v = D_v \nabla^2 v + u - v$$
#
# A Fourier neural operator maps one frame $(u, v)$ to the next. **$D_u$ is hidden**: it is in none of the input
# channels.

# %% cellView="form"
# @title Setup: finds the package, or installs it
# Uses the clone that holds this notebook; anywhere else, as on Colab, makes one. The jax that is there stays.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/OWNER/ccm_jax"
os.environ["GIT_TERMINAL_PROMPT"] = "0"  # git does not wait for a password
clone = Path.cwd().parent
if not (clone / "ccm_jax" / "__init__.py").exists():
    clone = Path.cwd() / "ccm_jax"
    if not clone.exists() and subprocess.run(["git", "clone", "-q", REPOSITORY], check=False).returncode:
        raise SystemExit(f"{REPOSITORY} cannot be cloned. Copy the repository to {clone}, and run this cell again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"], check=True)
sys.path.insert(0, str(clone))
for name, first in (("PYTHONPATH", clone), ("PATH", Path(sys.executable).parent)):  # for commands run from cells
    os.environ[name] = f"{first}{os.pathsep}{os.environ.get(name, '')}"
os.environ["FORCE_COLOR"] = ""

# %%
# To keep data and networks on your Drive, uncomment these lines on Colab.
# from google.colab import drive
# drive.mount("/content/drive")
# os.environ["CCM_WORKDIR"] = "/content/drive/MyDrive/ccm"

# %% cellView="form"
# @title Setup: imports, and the size of the experiment
import html
import json
import tempfile
import textwrap
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Image, display

import ccm_jax
from ccm_jax.metrics import relative_l2
from experiments.configs.rd_ood import get_config
from experiments.pipeline import data, stages
from experiments.pipeline.calibration import load_map
from experiments.pipeline.networks import load_family
from experiments.report.page import report
from experiments.report.results import verdict

SIZE = os.environ.setdefault("CCM_SIZE", "")  # "" for minutes; "smoke" for a quick test; "paper" for hours
config = get_config(SIZE)
low, high = config.axis.low, config.axis.high
workdir = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve() / "rd_ood"
workdir.mkdir(parents=True, exist_ok=True)
experiment = stages.Run(config, workdir / "stages")
plt.rcParams |= {"figure.dpi": 120, "figure.constrained_layout.use": True, "font.size": 11}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
GREY, BLUE, ORANGE, GREEN = "#777777", "#56B4E9", "#E69F00", "#009E73"  # anchor, low and high expert, merged
FIELD = {"origin": "lower", "cmap": "RdBu_r", "interpolation": "bilinear"}
timed = json.loads((clone / "results" / "rd_ood_time.json").read_text())
print("devices:", *jax.devices())
print(f"measured on {timed['machine']['cores']} idle CPU cores: {timed['cold_seconds'] / 60:.1f} minutes")

# %% [markdown]
# ## What the diffusivity does
#
# One initial state, simulated at three diffusivities: below, inside and above the range that the anchor is trained on.
# Each column has its own symmetric scale, written below it.

# %% cellView="form"
# @title Plot: one start, three diffusivities
values = (config.regimes.test[0], config.regimes.support[2], config.regimes.test[-1])
flows = np.stack([data.simulate(config, value, 1, "test")[0, ..., 0] for value in values])
figure, axes = plt.subplots(3, 4, figsize=(7.5, 6))
for column, t in zip(axes.T, np.linspace(0, flows.shape[1] - 1, 4).astype(int)):
    bound = np.abs(flows[:, t]).max()
    for ax, u, value in zip(column, flows[:, t], values):
        ax.imshow(u.T, vmin=-bound, vmax=bound, **FIELD)
        ax.set_ylabel(f"$D_u$ = {value:g}" if t == 0 else "")
    column[0].set_title(f"$u$, frame {t + 1}", fontsize=11)
    column[2].set_xlabel(f"blue −{bound:.2f}, red +{bound:.2f}", fontsize=9)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
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
# much to keep of what both learned in common.
#
# Both experts see the same initial states in the same order, each simulated at its own diffusivity (*paired batches*).
# Most of the noise of training is then the same in both, and cancels in their difference.

# %%
print(f"""\
network     FNO, {config.model.args.depth} layers of width {config.model.args.width}, {config.model.args.modes[0]} × \
{config.model.args.modes[1]} modes, mirrored at the walls; {config.model.history} frame in, the next one out
data        {config.data.grid} × {config.data.grid} points, {config.solver.frames + 1} frames, {config.solver.dt} apart
loss        relative L2 error, one step ahead; Adam, cosine schedule, {config.train.batch_size} pairs of frames a step
anchor      {config.train.steps} steps, rate {config.train.learning_rate}; D_u {config.regimes.support}, \
{config.data.support} trajectories each
experts     {config.finetune.steps} steps each, rate {config.finetune.learning_rate}; D_u {low} and {high}, \
{config.data.endpoint} trajectories each
validation  D_u {config.regimes.validation}, {config.data.validation} trajectories each
test        D_u {config.regimes.test}, {config.data.test} trajectories each""")

# %% [markdown]
# Every stage is stored in `workdir`: run a cell again, and only what has changed is computed.

# %%
support, ends = stages.support_data(experiment), stages.endpoint_data(experiment)
anchor = stages.anchor(experiment, support)
experts = stages.endpoints(experiment, ends, anchor)
family = load_family(config, anchor, experts)
print(f"{sum(leaf.size for leaf in jax.tree.leaves(family.anchor)):,} weights in each network")

# %% [markdown]
# `fit_chart` turns the three networks into the function $\theta(\alpha, g)$. `fit_prefix_readout` chooses the settings of
# a readout on flows at six other diffusivities; the readout then finds a coordinate from observed frames.

# %%
validation, test = stages.validation_data(experiment), stages.test_data(experiment)
flows = list(stages.load_trajectories(validation))  # an array [N, T, H, W, C] for each diffusivity
chart = ccm_jax.fit_chart(family.anchor, family.experts, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, flows)

# %% [markdown]
# ## One flow by hand
#
# The largest test diffusivity, at which no network was trained. The readout gets five frames and no diffusivity.

# %%
truths = jnp.asarray(stages.load_trajectories(test)[-1])  # [N, T, H, W, C]
observed, future = truths[0, :5], truths[0, 5:]
found = readout(observed)
print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))

networks = {"anchor": family.anchor, "high expert": family.high, "merged": chart(found)}
forecasts = {name: family.rollout_fn(params, observed[None, -1:], len(future))[0] for name, params in networks.items()}
errors = {name: relative_l2(frames[None], future[None])[0] for name, frames in forecasts.items()}
for name, error in errors.items():
    print(f"{name:11}  mean error {error.mean():5.1%}, last frame {error[-1]:5.1%}")

# %% cellView="form"
# @title Plot: the last frame
figure, axes = plt.subplots(2, 4, figsize=(7.5, 4.2))
bound = np.abs(future[-1, ..., 0]).max()
for ax, (name, frames) in zip(axes.T, {"truth": future, **forecasts}.items()):
    field = ax[0].imshow(frames[-1, ..., 0].T, vmin=-bound, vmax=bound, **FIELD)
    wrong = ax[1].imshow((frames - future)[-1, ..., 0].T, vmin=-bound / 2, vmax=bound / 2, **FIELD)
    ax[0].set_title(name, fontsize=11)
    if name != "truth":
        error = relative_l2(frames[None, -1:, ..., :1], future[None, -1:, ..., :1])[0, 0]
        ax[1].set_title(f"error {error:.1%}", fontsize=11)
axes[1, 0].set_visible(False)
plt.setp(axes, xticks=[], yticks=[], frame_on=False)
figure.colorbar(field, ax=axes[0], label=f"$u$, frame {len(truths[0])}")
figure.colorbar(wrong, ax=axes[1], extend="both", label="error of $u$")
plt.show()

# %% [markdown]
# The errors in the picture are those of $u$ in this frame; those printed above are of both fields.
#
# How far off is the diffusivity? `fit_uncertainty` learns it from the validation flows. Below, all test flows of this
# diffusivity. It lies beyond the validation regimes, so that the intervals are extrapolated, and their errors have a
# common part: the truth is often near the lower end.
# [How often such intervals contain it](https://github.com/OWNER/ccm_jax/blob/main/docs/beyond.md), on three systems.

# %% tags=["full"]
readout = ccm_jax.fit_uncertainty(readout, flows, config.regimes.validation)
sure = readout(truths[:, :5], batch="each")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of posteriors that are cut off: counted below
    value, interval = np.ravel(sure.value()), np.reshape(sure.interval(0.9), (-1, 2))
cut = np.any(sure.posterior.cut(), axis=(-2, -1)).sum()
inside = (interval[:, 0] <= config.regimes.test[-1]) & (config.regimes.test[-1] <= interval[:, 1])
print(f"flow 0: diffusivity {value[0]:.5f}, 90 % interval {interval[0, 0]:.5f} to {interval[0, 1]:.5f}")
print(f"the true one, {config.regimes.test[-1]:.5f}, is in the interval of {inside.sum()} of {len(value)} flows;")
print(f"the posterior of {cut} reaches the end of the values that validation allows, and its upper end is not known")

# %% cellView="form" tags=["full"]
# @title Plot: the diffusivity of each flow
figure, ax = plt.subplots(figsize=(7.5, 2.8))
ax.axhline(config.regimes.test[-1], color="black", lw=1, label="truth")
ax.vlines(range(len(value)), *interval.T, color="#9fd8c4", lw=6, label="90 % interval")
ax.plot(value, "o", color=GREEN, ms=6, label="estimate")
ax.set(xlabel="flow", ylabel="diffusivity $D_u$", xticks=range(len(value)))
figure.legend(loc="outside upper right", ncols=3)
plt.show()

# %% [markdown]
# ## CCM and its parts on every diffusivity
#
# Now all test flows, with three ways to choose the coordinate:
#
# | method | coordinate | needs $D_u$? | needs frames? |
# |---|---|---|---|
# | CCM-Coord | $D_u$ on the linear scale of the two experts | yes | no |
# | CCM-Scale | a map from $D_u$, fitted on the validation flows | yes | no |
# | CCM-Prefix | the best fit to the observed frames, as above | no | five |
# | best in hindsight | the smallest error of the forecast itself: a bound, not a method | | |
#
# Merging uses the training of two experts. A second anchor, trained on for as many steps as both experts together, shows
# what that training alone would bring: the *longer anchor*.

# %%
longer = stages.anchor_more(experiment, support, anchor)
calibrated = stages.calibration(experiment, validation, anchor, experts)
evaluated = stages.evaluation(experiment, test, (anchor, longer, experts), calibrated)
everything = stages.Stages(support, ends, validation, test, anchor, longer, experts, calibrated, evaluated)
results = report(experiment, everything, workdir)

# %% cellView="form"
# @title Plot: error by diffusivity
rows = sorted(results["regimes"], key=lambda row: row["value"])
outside = results["summary"]["ood_error"]
figure, ax = plt.subplots(figsize=(7.5, 4.6))
ax.axvspan(low, high, color="#eef2f6")
ax.text((low + high) / 2, 0.97, "training range", transform=ax.get_xaxis_transform(), ha="center", va="top", color=GREY)
for name, label, colour, dash in (
    ("low", "low expert", BLUE, "-o"),
    ("anchor_more", "longer anchor", GREY, "--o"),
    ("anchor", "anchor", GREY, "-o"),
    ("high", "high expert", ORANGE, "-o"),
    ("ccm_prefix", "CCM-Prefix", GREEN, "-o"),
    ("best", "best in hindsight", "black", ":o"),
):
    errors = [row["errors"][name] for row in rows]
    ax.plot(
        [row["value"] for row in rows], errors, dash, color=colour, lw=2, ms=4, label=f"{label} {outside[name]:.3f}"
    )
ax.set(yscale="log", xlabel="diffusivity $D_u$", ylabel="relative L2 error of the forecast")
ax.set_yticks([0.02, 0.05, 0.1, 0.2], ["2 %", "5 %", "10 %", "20 %"], minor=False)
ax.set_yticks([], minor=True)
figure.legend(loc="outside lower center", ncols=3, title="and mean outside the training range")
plt.show()

# %%
names = {"anchor": "anchor", "anchor_more": "longer anchor", "ccm_coord": "CCM-Coord"}
names |= {"ccm_scale": "CCM-Scale", "ccm_prefix": "CCM-Prefix", "best": "best in hindsight"}
for name, label in names.items():
    print(f"mean error outside the training range, {label:17} {outside[name]:.3f}")
print("\n" + textwrap.fill(verdict(results), 95))

# %% [markdown]
# These are parts of CCM and the networks it starts from. Alternatives (a conditioned network, LoRA adapters, other
# merges, fine-tuning on the frames) are compared in
# [which method to use](https://github.com/OWNER/ccm_jax/blob/main/docs/peers.md). If you can train one network from
# scratch on labelled data of all diffusivities, conditioning it on $D_u$ gives a smaller error than CCM.
#
# Is the merged direction the physical one? For each test diffusivity, the error along the line through both experts,
# over the smallest error on it. On the diagonal, the coordinate is $D_u$ on the experts' linear scale.

# %% cellView="form"
# @title Plot: error along the line
bank = np.asarray(results["bank"])
fine = np.linspace(bank[0], bank[-1], 201)
sweep = np.load(evaluated.path / "evaluation.npz")["sweep"].mean(axis=-1)  # [regimes, coordinates]
figure, ax = plt.subplots(figsize=(7.5, 4.4))
step = rows[1]["value"] - rows[0]["value"]
for row in rows:
    errors = np.log10(sweep[results["regimes"].index(row)])
    band = (bank[0], bank[-1], row["value"] - 0.45 * step, row["value"] + 0.45 * step)
    curve = np.interp(fine, bank, errors - errors.min())[None]
    image = ax.imshow(curve, extent=band, aspect="auto", cmap="Purples", vmin=0, vmax=1)
    chosen = np.ravel(row["chosen"]["ccm_prefix"])
    ax.plot(chosen, np.full(len(chosen), row["value"]), "o", color=GREEN, ms=5, mec="white", mew=0.5)
    ax.plot(row["chosen"]["best"], row["value"], "k*", ms=9, mec="white", mew=0.5)
ax.plot([-2.8, 2.8], [low - 0.9 * (high - low), high + 0.9 * (high - low)], "k--", lw=1)
ax.set(xlim=(bank[0], bank[-1]), ylim=(rows[0]["value"] - step / 2, rows[-1]["value"] + step / 2))
ax.set(xlabel="coordinate", ylabel="diffusivity $D_u$", yticks=[row["value"] for row in rows])
names = [f"CCM-Prefix, {config.data.test} flows", "best in hindsight", "CCM-Coord"]
figure.legend(ax.lines[-3:], names, loc="outside upper center", ncols=3, fontsize=10)
ticks = {"ticks": np.log10([1, 2, 5, 10]), "format": lambda power, _: f"{10**power:.0f}"}
figure.colorbar(image, extend="max", label="error / smallest error", **ticks)
plt.show()

# %% [markdown]
# ## The report
#
# `report.html` has all results in one file: forecasts as a film, a slider along the direction, and every number. Here is
# [the report of such a run](https://github.com/OWNER/ccm_jax/blob/main/docs/report.html). One of its figures, of a
# diffusivity inside and one outside the training range: the posterior of the diffusivity, the forecast at one point with
# its 90 % interval, and the errors of single flows beside the expected one.

# %%
display(Image(workdir / "figures" / "sure.png", width=900))

# %%
page = workdir / "report.html"
if "google.colab" in sys.modules:  # elsewhere, open the file
    display(HTML(f'<iframe srcdoc="{html.escape(page.read_text())}" width="100%" height="700"></iframe>'))
print(f"{page.relative_to(workdir.parent)}: {page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Use it on your own files
#
# The folder `weights` in `workdir` holds the three networks. These commands merge them at a diffusivity of your choice,
# by CCM-Scale's map, simulate flows there, and judge the merged network on them. **Replace `weights` and `flow.h5` by
# yours.** Without a map, `ccm merge --value 3.6e-3 --range 1e-3:3e-3` takes the experts' linear scale.

# %%
linear = ccm_jax.coordinate_from_metadata(3.6e-3, low, high).coordinate[0]
coordinate = float(load_map(results["calibration"])(linear))
print(f"D_u = 0.0036: on the linear scale {linear:+.2f}, by CCM-Scale's map {coordinate:+.3f}")
os.environ |= {"WORK": str(workdir), "COORDINATE": f"{coordinate:.3f}"}

# %% language="bash"
# set -eo pipefail
# cd "$WORK" && rm -f merged.* flow.h5
# ccm merge --family weights --coordinate $COORDINATE -o merged.safetensors | sed '/^Next/d'
# python -m experiments.generate --config=rd_ood:$CCM_SIZE --value=3.6e-3 --count=4 --output=flow.h5 | sed '/^Next/d'
# ccm evaluate --family weights --merged merged.safetensors --trajectories flow.h5 | sed '/^Next/d'

# %% [markdown]
# ## Summary

# %% cellView="form" tags=["full"]
# @title Setup: prints the summary
better = min(outside["anchor"], outside["anchor_more"])
print(f"""\
- Outside the training range, mean error {better:.3f} with the better anchor, {outside["ccm_scale"]:.3f} with CCM-Scale \
if D_u is known, {outside["ccm_prefix"]:.3f} with CCM-Prefix from five frames.
- The best coordinate in hindsight would give {outside["best"]:.3f}, and its correlation with D_u is \
{results["summary"]["best_correlation"]:.3f}.
- D_u of the furthest flow: {value[0]:.5f}, 90 % interval {interval[0, 0]:.5f} to {interval[0, 1]:.5f}; true \
{config.regimes.test[-1]:.5f}.""")

# %% [markdown]
# **Where next.** The whole pipeline on
# [your own equation](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-equation.md), or on
# [your own trajectories](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md). [Your own networks and
# checkpoints](https://github.com/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb). [Many
# devices](https://github.com/OWNER/ccm_jax/blob/main/notebooks/03_prefix_on_many_devices.ipynb) calibrates many
# trajectories at once. [Merge in five
# minutes](https://github.com/OWNER/ccm_jax/blob/main/notebooks/01_merge_in_five_minutes.ipynb) shows where it fails.
