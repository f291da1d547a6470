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
# A surrogate of the heat equation in one dimension: the next state is the present one, convolved with 31 learned numbers.
# Three sets of numbers, the *anchor* (all diffusivities mixed), a *low* and a *high* expert, are fitted in closed form, in
# seconds. Merged along their difference, they give weights for diffusivities that nothing was fitted on.

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

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ccm_jax

POINTS, WIDTH = 128, 15
wavenumbers = jnp.fft.rfftfreq(POINTS, 1 / POINTS)


def heat(u, diffusivity):
    """One step of the heat equation on the unit circle, exact."""
    decay = jnp.exp(-diffusivity * (2 * jnp.pi * wavenumbers) ** 2)
    return jnp.fft.irfft(jnp.fft.rfft(u) * decay, n=POINTS)


def starts(seed, count):
    """Smooth random states `[count, POINTS]`."""
    noise = jnp.fft.rfft(jax.random.normal(jax.random.key(seed), (count, POINTS)))
    return jnp.fft.irfft(noise * jnp.exp(-((wavenumbers / 12) ** 2)), n=POINTS)


# %% [markdown]
# The model is a pure function of its weights, which are any pytree. `window [N, history, *space, C]` goes in, a frame
# comes out.


# %%
def apply(params, window):
    u = window[:, -1, :, 0]
    shifted = jnp.stack([jnp.roll(u, k, axis=1) for k in range(-WIDTH, WIDTH + 1)], axis=-1)
    return (shifted @ params["kernel"])[..., None]


def fit(diffusivities):
    """Least squares over states of several regimes: what training would find."""
    u = starts(0, 64)
    shifted = jnp.stack([jnp.roll(u, k, axis=1) for k in range(-WIDTH, WIDTH + 1)], axis=-1)
    inputs = jnp.concatenate([shifted.reshape(-1, 2 * WIDTH + 1)] * len(diffusivities))
    targets = jnp.concatenate([jax.vmap(lambda x, d=d: heat(x, d))(u).ravel() for d in diffusivities])
    return {"kernel": jnp.linalg.lstsq(inputs, targets, rcond=1e-4)[0]}


LOW, HIGH = 2e-4, 4e-4
anchor, low, high = fit([2e-4, 3e-4, 4e-4]), fit([LOW]), fit([HIGH])

# %% [markdown]
# One line merges. The coordinate is −1 at the low expert, +1 at the high one, and may lie beyond.

# %%
merged = ccm_jax.merge_pytree(anchor, low, high, coordinate=1.5)
print({name: leaf.shape for name, leaf in merged.items()})

# %% [markdown]
# How far does it reach? Roll out ten steps in regimes inside and outside the fitted range.

# %%
rollout_fn = ccm_jax.make_rollout(apply)


def truth(diffusivity, seed=7, count=8, steps=14):
    u = starts(seed, count)
    frames = [u]
    for _ in range(steps):
        frames.append(jax.vmap(lambda x: heat(x, diffusivity))(frames[-1]))
    return jnp.stack(frames, axis=1)[..., None]


def error(params, diffusivity):
    x = truth(diffusivity)
    predicted = rollout_fn(params, x[:, 4:5], 10)
    return float(jnp.linalg.norm(predicted - x[:, 5:]) / jnp.linalg.norm(x[:, 5:]))


diffusivities = np.linspace(0.8e-4, 5.2e-4, 12)
chart = ccm_jax.fit_chart(anchor, [low, high], [-1.0, 1.0])
found = []
for d in diffusivities:
    told = ccm_jax.coordinate_from_metadata(d, LOW, HIGH).coordinate
    # Or without knowing the diffusivity: from the first frames alone.
    seen = ccm_jax.coordinate_from_prefix(chart, rollout_fn, truth(d), jnp.linspace(-2.5, 2.5, 41), batch="pooled")
    found.append([error(anchor, d), error(chart(told), d), error(chart(seen.coordinate), d)])
found = np.array(found)

figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.axvspan(LOW, HIGH, color="#eef2f6", label="fitted range")
for i, label in enumerate(["anchor", "merged, from metadata", "merged, from four frames"]):
    ax.plot(diffusivities, found[:, i], "o-", label=label, color=["#6f6f6f", "#0072b2", "#d55e00"][i])
ax.set(yscale="log", xlabel="diffusivity", ylabel="relative L2 error")
ax.legend(frameon=False)
plt.show()

# %%
outside = (diffusivities < LOW) | (diffusivities > HIGH)
print(f"outside the range, merged over anchor: {found[outside, 1].mean() / found[outside, 0].mean():.2f}")
assert found[outside, 1].mean() < 0.5 * found[outside, 0].mean()
