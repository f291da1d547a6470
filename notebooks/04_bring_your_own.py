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
# # Bring your own checkpoints and data
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ccm_jax/blob/main/notebooks/04_bring_your_own.ipynb)
#
# Three files of fine-tuned neuraloperator FNOs and a few observed frames become one merged file. Nothing of PyTorch is
# needed: `.pt` files are read without running what they hold, and the result loads back into PyTorch by its own names.

# %%
# In a clone, the code beside this notebook. Elsewhere, as on Colab: clones it, and installs what is missing beside the jax
# that is there, which it does not replace.
import os
import subprocess
import sys
from pathlib import Path

clone = Path.cwd().parent
if not (clone / "ccm_jax" / "__init__.py").exists():
    clone = Path.cwd() / "ccm_jax"
    if not clone.exists():
        subprocess.run(["git", "clone", "-q", "https://github.com/OWNER/ccm_jax"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"], check=True)
sys.path.insert(0, str(clone))
os.environ["PYTHONPATH"] = f"{clone}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # for the programs below

# %% [markdown]
# Files that stand for yours: the `state_dict` of neuraloperator's FNO, with its names, as safetensors.

# %%
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

import ccm_jax
from ccm_jax.interop import fno_to_neuraloperator
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.models import make_model

os.chdir(tempfile.mkdtemp())
settings = {"modes": (6, 6), "width": 12, "depth": 3, "out_channels": 1, "lifting": 2, "channel_mlp": 0.5}
model = make_model("fno", activation="gelu_exact", residual=False, **settings)
drawn = [model.init(jax.random.key(i), jnp.zeros((1, 1, 24, 24, 1))) for i in range(3)]
anchor, low, high = (jax.tree.map(lambda a, b: a + 0.15 * (b - a), drawn[0], w) for w in drawn)
for name, tree in (("anchor", anchor), ("low", low), ("high", high)):
    save_safetensors(f"{name}.safetensors", {k: np.array(v) for k, v in fno_to_neuraloperator(tree).items()})
start = jax.random.normal(jax.random.key(5), (4, 1, 24, 24, 1))
regime = ccm_jax.merge_pytree(anchor, low, high, 1.75)  # what the frames were made with
frames = ccm_jax.make_rollout(model.apply)(regime, start, 8)
np.save("seen.npy", np.concatenate([start, frames], axis=1))


# %%
def run(line):
    done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    done.check_returncode()


run("ccm inspect anchor.safetensors low.safetensors high.safetensors")

# %% [markdown]
# The coordinate from the observed frames, and the weights there, in one command.

# %%
run(
    "ccm calibrate --anchor anchor.safetensors --low low.safetensors --high high.safetensors"
    " --model neuraloperator --prefix seen.npy --report found.json -o merged.safetensors"
)

# %%
run("ccm rollout merged.safetensors --model neuraloperator --initial seen.npy --truth -o rollout.npz")

# %%
from IPython.display import Image, display

display(Image("found.png"), Image("rollout.png"))

# %% [markdown]
# Data: files of PDEBench, PDEInvBench, The Well, the FNO's MATLAB files and numpy are read by what they hold. Here is one in
# PDEBench's layout, made by our own solver; with `--config.data.path=FOLDER` the whole experiment runs on such files.

# %%
generate = f"{sys.executable} -m experiments.generate --config=rd_ood:smoke"
run(f"{generate} --value=5e-4,4e-3 --count=2 --output=family.h5")
run("ccm data describe family.h5")

# %%
from ccm_jax.io.recordings import common_parameter, open_recording

recording = open_recording("family.h5")
print(recording.trajectory(0).shape, common_parameter(recording, "diffusivity_u"))
