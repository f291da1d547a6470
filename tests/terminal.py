"""The command line in tests, and small families of checkpoints for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from click.testing import CliRunner, Result

from ccm_jax import make_rollout, merge_pytree
from ccm_jax.cli import main
from ccm_jax.interop import fno_to_neuraloperator
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from ccm_jax.models import make_model
from ccm_jax.normalize import Normalization, normalized
from ccm_jax.rollout import RolloutFn

SETTINGS: dict[str, Any] = {
    "modes": (3, 3),
    "width": 6,
    "depth": 2,
    "out_channels": 1,
    "lifting": 2,
    "channel_mlp": 0.5,
    "activation": "gelu_exact",
    "residual": False,
}
NAMES = ("anchor", "low", "high")


def ccm(*arguments: Any) -> Result:
    """Runs ``ccm`` in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


@jax.jit
def _init(key: jax.Array) -> Any:
    return make_model("fno", **SETTINGS).init(key, jnp.zeros((1, 1, 12, 12, 1)))


def weights(seed: int, anchor: Any = None) -> Any:
    """Random weights, or such near an anchor."""
    params = _init(jax.random.key(seed))
    return params if anchor is None else jax.tree.map(lambda a, b: a + 0.15 * (b - a), anchor, params)


def of(folder: Path) -> list[Any]:
    """The options that name the family in a folder."""
    return [part for name in NAMES for part in (f"--{name}", folder / f"{name}.safetensors")]


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint."""
    return {name: np.array(leaf) for name, leaf in open_weights(path).arrays.items()}


def make_family(folder: Path) -> Path:
    """Three files with neuraloperator's names, and frames of the model merged at 1.25."""
    anchor = weights(0)
    trees = {"anchor": anchor, "low": weights(1, anchor), "high": weights(2, anchor)}
    for name, tree in trees.items():
        flat = {key: np.array(value) for key, value in fno_to_neuraloperator(tree).items()}
        save_safetensors(folder / f"{name}.safetensors", flat)
    model = make_model("fno", **SETTINGS)
    start = jax.random.normal(jax.random.key(5), (3, 1, 12, 12, 1))
    run = jax.jit(make_rollout(model.apply), static_argnums=2)
    frames = run(merge_pytree(trees["anchor"], trees["low"], trees["high"], 1.25), start, 6)
    np.save(folder / "seen.npy", np.concatenate([start, frames], axis=1))
    return folder


class Slow(NamedTuple):
    """A family of two channels in physical units, whose states change by some per cent a frame."""

    folder: Path
    trees: list[Any]
    rollout_fn: RolloutFn

    def frames(self, params: Any, count: int = 4, samples: int = 3, seed: int = 7) -> np.ndarray:
        """Trajectories of weights from random states, ``[samples, 1 + count, 12, 12, 2]``."""
        start = MEAN + STD * jax.random.normal(jax.random.key(seed), (samples, 1, 12, 12, 2))
        return np.concatenate([start, self.rollout_fn(params, start, count)], axis=1)


MEAN, STD = np.array([[[[[5.0, -3.0]]]]]), np.array([[[[[2.0, 0.5]]]]])


def make_slow_family(folder: Path) -> Slow:
    """Anchor, low, high and a third expert; ``model.yaml`` says mean and std, ``mute.yaml`` does not."""
    args: dict[str, Any] = {"modes": (3, 3), "width": 6, "depth": 1, "out_channels": 2}
    model = make_model("fno", **args)
    init = jax.jit(lambda key: model.init(key, jnp.zeros((1, 1, 12, 12, 2))))
    anchor, *others = (init(jax.random.key(i)) for i in range(4))
    trees = [anchor, *(jax.tree.map(lambda a, b: a + 0.3 * (b - a), anchor, other) for other in others)]
    for name, tree in zip((*NAMES, "third"), trees, strict=True):
        save_safetensors(folder / f"{name}.safetensors", tree)
    said = "model: fno\nargs: {modes: [3, 3], width: 6, depth: 1, out_channels: 2}\n"
    (folder / "mute.yaml").write_text(said)
    (folder / "model.yaml").write_text(f"{said}mean: {MEAN.ravel().tolist()}\nstd: {STD.ravel().tolist()}\n")
    scale = Normalization(jnp.asarray(MEAN.ravel()), jnp.asarray(STD.ravel()))
    return Slow(folder, trees, jax.jit(make_rollout(normalized(model.apply, scale)), static_argnums=2))
