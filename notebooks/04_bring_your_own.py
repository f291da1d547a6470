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
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("ccm_jax") is None:
    source = "git+https://github.com/OWNER/ccm_jax"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ccm_jax @ {source}"], check=True)

# %% [markdown]
# Files that stand for yours: the `state_dict` of neuraloperator's FNO, with its names, as safetensors.

# %%
import os
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
    print(subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout)


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
run("ccm data generate --config rd_ood:smoke --value 5e-4 --value 4e-3 --count 2 -o family.h5")
run("ccm data describe family.h5")

# %%
from ccm_jax.io.recordings import common_parameter, open_recording

recording = open_recording("family.h5")
print(recording.trajectory(0).shape, common_parameter(recording, "diffusivity_u"))
