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
# Reaction–diffusion with a diffusivity that the state hides: simulate the data, train the anchor, fine-tune two experts,
# calibrate, and evaluate on diffusivities that no network was trained on. The same code runs on a CPU, a GPU or a TPU.
#
# It takes some minutes on two cores, less on a GPU. `SIZE = "smoke"` runs the whole pipeline in one to two minutes, on networks
# too small to mean anything.

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


SIZE = os.environ.get("CCM_SIZE", "")  # or "smoke", or "paper" (hours)

# %%
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display

from experiments.configs.rd_ood import get_config
from experiments.pipeline import data
from experiments.pipeline.methods import METHODS
from experiments.pipeline.stages import Run, run_all
from experiments.report.page import report

config = get_config(SIZE)
print(jax.devices())

# %% [markdown]
# ## What the diffusivity does
#
# One initial state, simulated at three diffusivities: below, inside and above the range that the anchor is trained on.

# %%
values = (config.regimes.test[0], config.regimes.support[2], config.regimes.test[-1])
figure, axes = plt.subplots(3, 5, figsize=(8, 5), layout="constrained")
for line, value in zip(axes, values):
    u = data.simulate(config, value, 1, "test")[0, ..., 0]
    for ax, t in zip(line, np.linspace(0, len(u) - 1, 5).astype(int)):
        ax.imshow(u[t].T, origin="lower", cmap="PuOr_r", vmin=-0.8, vmax=0.8, interpolation="bilinear")
        ax.set(xticks=[], yticks=[], title=f"frame {t}" if value == values[0] else "")
    line[0].set_ylabel(f"D_u = {value:g}")
plt.show()

# %% [markdown]
# ## The whole pipeline
#
# Every stage is stored: run the cell again, and only what has changed is computed.

# %%
workdir = Path(os.environ.get("CCM_WORKDIR") or tempfile.mkdtemp()) / "rd_ood"  # on Colab, use a folder of your Drive
workdir.mkdir(exist_ok=True)
run = Run(config, workdir / "stages")
results = report(run, run_all(run), workdir)

# %% [markdown]
# ## Results
#
# The error against the diffusivity, the error along the direction for each regime, and forecasts side by side.

# %%
for name in ("error_by_regime", "coordinate_sweep", "frames"):
    display(Image(workdir / "figures" / f"{name}.png"))

# %%
print("errors outside the support:")
for name in ("anchor", "anchor_more", "average", "ccm_coord", "ccm_scale", "ccm_prefix"):
    print(f"  {METHODS[name].label:24} {results['summary']['ood_error'][name]:.3f}")

# %% [markdown]
# ## Take it with you
#
# `weights` in `workdir` holds the three networks. Merge them at a diffusivity of your choice, simulate one flow there, and
# forecast it. `report.html` has all results, with a slider along the direction.

# %%
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts `ccm`
os.environ["FORCE_COLOR"] = ""  # or commands draw their progress into outputs
mine = Path(tempfile.mkdtemp())
commands = f"""
ccm merge --family {workdir}/weights --value 3.6e-3 --range 1e-3:3e-3 -o merged.safetensors
{sys.executable} -m experiments.generate --config=rd_ood:{SIZE} --value=3.6e-3 --count=4 --output=flow.h5
ccm evaluate --family {workdir}/weights --merged merged.safetensors --trajectories flow.h5
"""
done = subprocess.run(commands, shell=True, cwd=mine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(done.stdout.replace(str(workdir), "rd_ood"))
