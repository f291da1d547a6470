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
# Reaction–diffusion, with a diffusivity that the state hides: data, anchor, experts, calibration, evaluation. On a
# CPU, a GPU or a TPU: the same functions, on whatever devices there are.

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

SIZE = os.environ.get("CCM_SIZE", "")  # "smoke" tests the machinery in seconds; "" takes minutes; "paper" hours

# %%
import tempfile

import jax
from IPython.display import Image, display

from experiments.configs.rd_ood import get_config
from experiments.pipeline.stages import Run, run_all
from experiments.report.page import report

print(jax.devices())

# %%
config = get_config(SIZE)
workdir = Path(tempfile.mkdtemp()) / "rd_ood"  # on Colab, a folder of your Drive keeps it
workdir.mkdir()
run = Run(config, workdir / "stages")
results = report(run, run_all(run), workdir)

# %% [markdown]
# The error against the diffusivity, and where on the direction it is smallest. `report.html` in the same folder has all of
# it, with a slider.

# %%
for name in ("error_by_regime", "coordinate_sweep", "frames"):
    display(Image(workdir / "figures" / f"{name}.png"))

# %%
summary = results["summary"]
for name, gain in summary["reduction"].items():
    print(f"{name:18} {gain:+.1%} less error outside the support than the better anchor")
