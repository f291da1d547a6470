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
# Reaction–diffusion on a square with zero-flux walls, as in PDEBench:
#
# $$\partial_t u = D_u \nabla^2 u + u - u^3 - k - v$$
#
# $$\partial_t v = D_v \nabla^2 v + u - v$$
#
# A Fourier neural operator maps one frame $(u, v)$ to the next. **$D_u$ is hidden**: it is in none of the input
# channels. You will see
#
# - the data simulated, an anchor trained on a range of $D_u$, and an expert fine-tuned at either end,
# - $D_u$ found from five frames, at values outside the range, and forecasts with the merged weights,
# - every method on every $D_u$, and a report of all results as one HTML page.
#
# It takes four to five minutes on two idle CPU cores.

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
# @title Setup: imports, the size of the experiment, and how long it takes
import html
import json
import tempfile
import textwrap

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.ticker import MultipleLocator

import ccm_jax
from ccm_jax.metrics import relative_l2
from experiments.configs.rd_ood import get_config
from experiments.pipeline import data, stages
from experiments.pipeline.networks import load_family
from experiments.report.page import report
from experiments.report.results import verdict

# Or "smoke": a quick test of the same pipeline, with meaningless errors; or "paper": hours.
SIZE = os.environ.get("CCM_SIZE", "")
config = get_config(SIZE)
low, high = config.axis.low, config.axis.high
plt.rcParams["figure.dpi"] = 120
GREY, BLUE, ORANGE, GREEN = "#777777", "#56B4E9", "#E69F00", "#009E73"  # anchor, low and high expert, merged

timed = json.loads((clone / "results" / "rd_ood_time.json").read_text())
print("devices:", *jax.devices())
print(f"measured on {timed['machine']['cores']} idle CPU cores: {timed['cold_seconds'] / 60:.1f} minutes,", end=" ")
print(f'{timed["smoke_seconds"]:.0f} seconds with SIZE = "smoke"')

# %% [markdown]
# ## What the diffusivity does
#
# One initial state, simulated at three diffusivities: below, inside and above the range that the anchor is trained on.
# White is 0, orange positive, purple negative; each column has its own scale.

# %% cellView="form"
# @title Plot: one start, three diffusivities
values = (config.regimes.test[0], config.regimes.support[2], config.regimes.test[-1])
flows = np.stack([data.simulate(config, value, 1, "test")[0, ..., 0] for value in values])
figure, axes = plt.subplots(3, 4, figsize=(5.7, 4.6), layout="constrained")
for column, t in zip(axes.T, np.linspace(0, flows.shape[1] - 1, 4).astype(int)):
    bound = np.abs(flows[:, t]).max()
    for ax, u, value in zip(column, flows[:, t], values):
        ax.imshow(u.T, origin="lower", cmap="PuOr_r", vmin=-bound, vmax=bound, interpolation="bilinear")
        ax.set(xticks=[], yticks=[], ylabel=f"$D_u$ = {value:g}" if t == 0 else "")
    column[0].set_title(f"$u$, frame {t + 1}", fontsize=9)
plt.show()

# %% [markdown]
# ## Data, anchor and experts
#
# Every stage is stored in `workdir`: run a cell again, and only what has changed is computed. The anchor sees five
# diffusivities. Both experts start from it, and see the same initial states in the same order, each at its own
# diffusivity, so that the noise of training cancels in their difference.

# %%
workdir = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()).resolve() / "rd_ood"  # on Colab, of your Drive
workdir.mkdir(parents=True, exist_ok=True)
experiment = stages.Run(config, workdir / "stages")

support, ends = stages.support_data(experiment), stages.endpoint_data(experiment)
anchor = stages.anchor(experiment, support)
experts = stages.endpoints(experiment, ends, anchor)

# %% cellView="form"
# @title Plot: the losses
figure, axes = plt.subplots(1, 2, figsize=(6.1, 2.4), sharey=True, width_ratios=(3, 2), layout="constrained")
curves = (axes[0], anchor, "anchor", GREY), (axes[1], experts, "low", BLUE), (axes[1], experts, "high", ORANGE)
for ax, stage, name, colour in curves:
    losses = np.load(stage.path / f"{name}-losses.npy")
    losses = losses[: len(losses) // 20 * 20].reshape(-1, 20).mean(axis=1)
    ax.plot(10 + 20 * np.arange(len(losses)), losses, color=colour, label=name)
    ax.set(yscale="log", xlabel="step", title="anchor" if ax is axes[0] else "experts")
    ax.spines[["top", "right"]].set_visible(False)
axes[1].legend(frameon=False)
axes[0].set_ylabel("relative L2, one step")
plt.show()

# %% [markdown]
# ## The method
#
# `fit_chart` gives weights as a function of a coordinate, −1 at the low expert and +1 at the high one; beyond, it
# extrapolates. `fit_prefix_readout` finds the coordinate from observed frames; flows at six other diffusivities decide
# its settings. From the same flows, `fit_uncertainty` learns how far off it usually is.

# %%
validation, test = stages.validation_data(experiment), stages.test_data(experiment)
family = load_family(config, anchor, experts)
flows = list(stages.load_trajectories(validation))  # an array [N, T, H, W, C] for each diffusivity
chart = ccm_jax.fit_chart(family.anchor, family.experts, [-1.0, 1.0], features=ccm_jax.Gated())
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, flows)
if SIZE != "smoke":  # whose networks do not tell diffusivities apart
    readout = ccm_jax.fit_uncertainty(readout, flows, config.regimes.validation)

# %% [markdown]
# ## One flow by hand
#
# The furthest test diffusivity, which no network has seen. The readout gets five frames and no diffusivity.

# %%
truth = jnp.asarray(stages.load_trajectories(test)[-1][0])  # [T, H, W, C]
observed, future = truth[:5], truth[5:]
found = readout(observed)
print("coordinate {:+.2f}, gate {:.2f}".format(*found.coordinate))
if SIZE != "smoke":
    value, interval = found.value(), found.interval(0.9)[0]
    print("diffusivity {:.5f}, 90 % interval {:.5f} to {:.5f}".format(*value, *interval), end="; ")
print(f"true {config.regimes.test[-1]:.5f}")

networks = {"anchor": family.anchor, "high expert": family.high, "merged": chart(found)}
forecasts = {}
for name, params in networks.items():
    forecasts[name] = family.rollout_fn(params, observed[None, -1:], len(future))[0]
    error = relative_l2(forecasts[name][None], future[None]).mean()
    print(f"error of the forecast, {name:11} {error:.3f}")

# %% cellView="form"
# @title Plot: the last frame
figure, axes = plt.subplots(2, 4, figsize=(6.1, 3.3), layout="constrained")
bound = np.abs(future[-1, ..., 0]).max()
for ax, (name, frames) in zip(axes.T, {"truth": future, **forecasts}.items()):
    style = {"origin": "lower", "interpolation": "bilinear"}
    ax[0].imshow(frames[-1, ..., 0].T, cmap="PuOr_r", vmin=-bound, vmax=bound, **style)
    ax[0].set_title(name)
    if name == "truth":
        ax[1].axis("off")
        ax[1].text(1, 0.5, f"error of $u$,\nframe {len(truth)}", transform=ax[1].transAxes, ha="right", va="center")
    else:
        image = ax[1].imshow(np.abs(frames - future)[-1, ..., 0].T, cmap="Purples", vmin=0, vmax=bound / 2, **style)
        ax[1].set_title(f"mean {relative_l2(frames[None], future[None]).mean():.1%}", fontsize=9)
plt.setp(axes, xticks=[], yticks=[])
figure.colorbar(image, ax=axes[1], extend="max", label="|error| of $u$")
plt.show()

# %% [markdown]
# ## Every method on every regime
#
# What remains: the baselines, and all methods on all test diffusivities, with three ways to choose the coordinate:
#
# | method | coordinate | needs $D_u$? | needs frames? |
# |---|---|---|---|
# | CCM-Coord | $D_u$ on the linear scale of the two experts | yes | no |
# | CCM-Scale | a map from $D_u$, fitted on the validation flows | yes | no |
# | CCM-Prefix | the best fit to the observed frames, as above | no | five |

# %%
everything = stages.run_all(experiment)
results = report(experiment, everything, workdir)

# %% [markdown]
# The error of the frames after the observed ones, by diffusivity; the number at each name is its mean outside the
# shaded range. *Best in hindsight* is the coordinate with the smallest error of the forecast itself: a bound.

# %% cellView="form"
# @title Plot: error by diffusivity
rows = sorted(results["regimes"], key=lambda row: row["value"])
lines = {"low": ("low expert", BLUE), "anchor": ("anchor", GREY), "high": ("high expert", ORANGE)}
lines |= {"ccm_prefix": ("CCM-Prefix", GREEN), "best": ("best in hindsight", "black")}
outside = results["summary"]["ood_error"]
figure, ax = plt.subplots(figsize=(6.1, 3.6), layout="constrained")
ax.axvspan(low, high, color="#eef2f6")
ax.text((low + high) / 2, 0.95, "training range", transform=ax.get_xaxis_transform(), ha="center", color=GREY)
at = 0.0
for name in sorted(lines, key=lambda name: rows[-1]["errors"][name]):
    (label, colour), errors = lines[name], [row["errors"][name] for row in rows]
    dash = ":o" if name == "best" else "-o"
    ax.plot([row["value"] for row in rows], errors, dash, color=colour, lw=2, ms=4)
    at = max(errors[-1], 1.17 * at)  # labels do not overlap
    ax.text(rows[-1]["value"], at, f"  {label} {outside[name]:.3f}", color=colour, va="center")
ax.set(yscale="log", xlabel="diffusivity $D_u$", ylabel="relative L2 error of the forecast")
ax.set_title("Error of the forecast after five observed frames", fontsize=10, loc="left")
ax.xaxis.set_major_locator(MultipleLocator(0.001))
ax.set_yticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"], minor=False)
ax.set_yticks([], minor=True)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
print(f"known diffusivity: CCM-Coord {outside['ccm_coord']:.3f}, CCM-Scale {outside['ccm_scale']:.3f}\n")
print(textwrap.fill(verdict(results), 95))

# %% [markdown]
# Is the merged direction the physical one? For each test diffusivity, the error along the line through both experts,
# over the smallest error on it. On the diagonal, the coordinate is $D_u$ on the experts' linear scale.

# %% cellView="form"
# @title Plot: error along the line
bank = np.asarray(results["bank"])
fine = np.linspace(bank[0], bank[-1], 201)
sweep = np.load(everything.evaluation.path / "evaluation.npz")["sweep"].mean(axis=-1)  # [regimes, coordinates]
figure, ax = plt.subplots(figsize=(6.1, 3.6), layout="constrained")
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
figure.legend(ax.lines[-3:], names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
ticks = {"ticks": np.log10([1, 2, 5, 10]), "format": lambda power, _: f"{10**power:.0f}"}
figure.colorbar(image, extend="max", label="error / smallest error", **ticks)
plt.show()

# %% [markdown]
# `report.html` has all results in one file: forecasts as a film, a slider along the direction, and every number.

# %%
page = workdir / "report.html"
print(f"{page.relative_to(workdir.parent)}: {page.stat().st_size / 1e6:.1f} MB")
if "CCM_WORKDIR" not in os.environ:  # set for runs whose outputs are stored, where the page would be too large
    content = html.escape(page.read_text(encoding="utf-8"))
    display(HTML(f'<div><iframe srcdoc="{content}" width="100%" height="700"></iframe></div>'))

# %% [markdown]
# ## Use it on your own files
#
# The folder `weights` in `workdir` holds the three networks. These commands merge them at a diffusivity of your choice,
# simulate flows there, and judge the merged network on them. **Replace `weights` and `flow.h5` by yours.**

# %%
os.chdir(workdir)
_ = [old.unlink() for name in ("merged.*", "flow.h5") for old in workdir.glob(name)]  # of an earlier run
run(f"""
ccm merge --family weights --value 3.6e-3 --range {low}:{high} -o merged.safetensors
python -m experiments.generate --config=rd_ood:{SIZE} --value=3.6e-3 --count=4 --output=flow.h5
ccm evaluate --family weights --merged merged.safetensors --trajectories flow.h5
""")

# %% [markdown]
# The whole pipeline on [your own equation](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-equation.md), or
# on [your own trajectories](https://github.com/OWNER/ccm_jax/blob/main/docs/how-to/own-data.md).
