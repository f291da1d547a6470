"""Random input beside files: trees, recipes, descriptions, configurations and command lines.

Each kind is a function ``case(number, folder)``, and the same number is the same case. What ends in a result, or in one
line of a ValueError or OSError, ended well.
"""

from __future__ import annotations

import functools
import importlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml

from ccm_jax import Gated, Polynomial, fit_chart, merge_pytree, split_residuals
from ccm_jax.baselines import BASELINES
from ccm_jax.cli.recipe import read_recipe
from ccm_jax.cli.units import Where
from ccm_jax.io.description import describe
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from tests.fuzz import make_whole, mutate

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**9, 10**30, -(10**30), 0.5, -1.4, 1e300, float("nan"), float("inf")),
    *(
        "",
        "1",
        "x",
        "nan",
        "../../etc/passwd",
        "/dev/null",
        "\x1b]0;x\x07",
        "a\nb",
        "é\u202e",
        "<script>",
        "{",
        "x" * 999,
    ),
    *([], [1], [1, 2, 3], [[1]], ["a"], {}, {"a": 1}, {"name": "x"}, {1: 2}, (), [None], [float("nan")]),
)


def odd(chance: random.Random) -> Any:
    """A value that nobody expects."""
    return chance.choice(ODD)


def spoil(content: Any, chance: random.Random) -> Any:
    """The same nested values with one of them replaced, left out, doubled or under another name."""
    if isinstance(content, dict) and content and chance.random() < 0.8:
        key = chance.choice(list(content))
        match chance.randrange(6):
            case 0:
                return {k: v for k, v in content.items() if k != key}
            case 1:
                return content | {odd_key(chance): content[key]}
            case 2:
                return content | {key: odd(chance)}
        return content | {key: spoil(content[key], chance)}
    if isinstance(content, list) and content and chance.random() < 0.8:
        at = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                return content[:at] + content[at + 1 :]
            case 1:
                return content + [content[at]] * chance.choice([1, 3])
        return content[:at] + [spoil(content[at], chance)] + content[at + 1 :]
    return odd(chance)


def odd_key(chance: random.Random) -> Any:
    value = odd(chance)
    return value if isinstance(value, (str, int, float, bool, type(None))) else "other"


RECIPE = {
    "anchor": "anchor.safetensors",
    "experts": [{"path": "low.safetensors", "coordinate": -1}, {"path": "high.safetensors", "coordinate": 1}],
    "coordinate": 0.5,
    "features": {"name": "Polynomial", "degree": 1},
    "ridge": 0.0,
    "filters": [{"name": "w*", "keep": "anchor"}, {"name": "*", "coordinate": 0}],
}
VALUED = {
    "anchor": "anchor.safetensors",
    "experts": [{"path": "low.safetensors", "value": 1e-3}, {"path": "high.safetensors", "value": 3e-3}],
    "range": [1e-3, 3e-3],
    "scale": "log",
    "value": 2e-3,
    "method": "ties",
    "arguments": {"density": 0.3},
}
DESCRIPTION = {
    "model": "fno",
    "args": {"modes": [3, 3], "width": 4, "depth": 1, "out_channels": 1},
    "history": 1,
    "mean": [0.0],
    "std": [1.0],
    "predicts": "rate",
    "time_step": 0.1,
    "static": "frames.npy",
}


def _written(number: int, folder: Path, contents: tuple[dict[str, Any], ...]) -> Path:
    """A text of YAML, spoilt by value or by byte."""
    chance = random.Random(number)
    content: Any = chance.choice(contents)
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        content = spoil(content, chance)
    text = yaml.safe_dump(content, allow_unicode=True).encode()
    path = folder / "bad.yaml"
    path.write_bytes(mutate(text, chance) if chance.random() < 0.4 else text)
    return path


def recipe(number: int, folder: Path) -> None:
    """A recipe is read."""
    read_recipe(_written(number, folder, (RECIPE, VALUED)), Where() if number % 2 else None)


def description(number: int, folder: Path) -> None:
    """A description of a network is read."""
    describe(_weights(folder), str(_written(number, folder, (DESCRIPTION,))))


@functools.cache
def _weights(folder: Path) -> Any:
    return open_weights(_family(folder)[0])


@functools.cache
def _family(folder: Path) -> list[Path]:
    paths = []
    for i, name in enumerate(("anchor", "low", "high")):
        rng = np.random.default_rng(i)
        tree = {"w": rng.normal(size=(4, 3)).astype(np.float32), "b": np.ones(3, np.float16), "n": np.arange(3)}
        paths.append(folder / f"{name}.safetensors")
        save_safetensors(paths[-1], tree)
    np.save(folder / "frames.npy", np.ones((3, 4, 4, 1), np.float32))
    digest.note([*paths, folder / "frames.npy"])
    return paths


LEAVES: tuple[Callable[[np.random.Generator], Any], ...] = (
    lambda rng: rng.normal(size=(2, 3)).astype(np.float32),
    lambda rng: rng.normal(size=(2, 3)),
    lambda rng: (rng.normal(size=3) + 1j).astype(np.complex64),
    lambda rng: jnp.asarray(rng.normal(size=3), jnp.bfloat16),
    lambda rng: np.float16(1e4) * rng.normal(size=3).astype(np.float16),
    lambda rng: np.array([np.nan, np.inf, 1], np.float32),
    lambda rng: np.arange(3),
    lambda rng: np.zeros((0, 3), np.float32),
    lambda rng: np.float32(3e38) * np.ones(3, np.float32),
    lambda rng: jax.random.key(0),
    lambda rng: np.array([True, False]),
    lambda rng: 1.5,
    lambda rng: None,
    lambda rng: np.array(["a"]),
    lambda rng: np.array([object()]),
    lambda rng: "text",
)


def tree(number: int, folder: Path) -> None:
    """Trees, mostly of one layout, are merged by every way there is."""
    chance, rng = random.Random(number), np.random.default_rng(number)
    layout = {
        name: chance.choice(LEAVES[:9] if chance.random() < 0.9 else LEAVES) for name in "abc"[: chance.randrange(4)]
    }
    trees: list[Any] = [{name: leaf(rng) for name, leaf in layout.items()} for _ in range(3)]
    if chance.random() < 0.5:
        at = chance.randrange(3)
        trees[at] = chance.choice(
            (
                dict(list(trees[at].items())[1:]),
                trees[at] | {"d": np.ones(2, np.float32)},
                list(trees[at].values()),
                None,
                {name: np.asarray(chance.choice(LEAVES[:9])(rng)) for name in trees[at]},
                odd(chance),
            )
        )
    c = chance.choice([0.5, -1, 1e30, float("nan"), [1.0], [1.0, 2.0], None, "x", True, np.float32(2)])
    match chance.randrange(5):
        case 0:
            merge_pytree(*trees, c)
        case 1:
            split_residuals(*trees)
        case 2:
            merge_pytree(*trees, 0.5, shared_scale=c)
        case 3:
            features = chance.choice([None, Polynomial(), Polynomial(2), Gated(), Polynomial(dim=2)])
            at = chance.choice([[-1.0, 1.0], [0.0, 0.0], [1.0], [[1.0], [2.0]], [[1, 2], [3, 4]], [float("nan"), 1.0]])
            fit_chart(trees[0], trees[1:], at, features=features, ridge=chance.choice([0.0, 0.1]))(1.0)
        case 4:
            method = chance.choice([name for name, baseline in BASELINES.items() if not baseline.needs])
            BASELINES[method].merge(trees[0], trees[1:], [-1.0, 1.0], 0.5)


@functools.cache
def _config(name: str) -> Any:
    stem, _, size = name.partition(":")
    return importlib.import_module(f"experiments.configs.{stem}").get_config(size)


def config(number: int, folder: Path) -> None:
    """A configuration with a field of another value is checked, or refuses the value as its own flags do."""
    from experiments.pipeline.checks import check_config

    chance = random.Random(number)
    changed = _config(chance.choice(("rd_ood:smoke", "burgers:smoke", "rdb_ood:smoke"))).copy_and_resolve_references()
    for _ in range(chance.choice([1, 1, 2])):
        part, path = changed, []
        while True:
            key = chance.choice([k for k in part if k not in ("physics",)])
            path.append(key)
            if not hasattr(part[key], "items") or not len(part[key]):
                break
            part = part[key]
        old = part[path[-1]]
        new = chance.choice([odd(chance), type(old)()]) if old is not None else odd(chance)
        if isinstance(old, (int, float)) and not isinstance(old, bool) and chance.random() < 0.7:
            new = type(old)(chance.choice([0, -1, 2, 3, 5, 1e9]) * (old or 1))
        if isinstance(old, tuple) and old and chance.random() < 0.7:
            new = chance.choice([old[:1], old + old[:1], tuple(-v if isinstance(v, (int, float)) else v for v in old)])
        try:
            part[path[-1]] = new
        except TypeError:  # the flag of that field would be refused, in one line
            continue
    check_config(changed)


VERBS: dict[str, tuple[str, ...]] = {
    "inspect": (),
    "merge": (
        "--anchor",
        "--low",
        "--high",
        "--recipe",
        "--coordinate",
        "-c",
        "--value",
        "--range",
        "--method",
        "--set",
    ),
    "calibrate": ("--anchor", "--low", "--high", "--prefix", "--frames", "--bank", "--sample", "--model", "--until"),
    "evaluate": ("--anchor", "--low", "--merged", "--trajectories", "--frames", "--csv", "--model", "--sample"),
    "rollout": ("--initial", "--steps", "--model", "--sample", "--seed", "--samples"),
    "data": ("--axes", "--fields"),
}
WORDS = (
    *(
        "0",
        "1",
        "-1",
        "1e9",
        "nan",
        "inf",
        "-c",
        "--",
        "-2:2:0.25",
        "1:0:0",
        "::",
        ":",
        "0,3",
        "0:8",
        "ties",
        "slerp",
        "dare",
    ),
    *("density=0.3", "density", "=", "fno", "neuraloperator", "os:system", "json:loads", "x" * 500, "\x1b[2J", "", " "),
    *("NTXYC", "TXYC", "TT", "describe", "generate", "--help", "1e-3:3e-3", "frames", "channel_0", "torch:nn"),
)


@functools.cache
def _files(folder: Path) -> list[str]:
    whole = [str(path) for path in make_whole(folder)]
    named = {str(p) for p in _family(folder)}
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    digest.note([*map(Path, whole), recipe])
    return [
        *whole,
        *named,
        str(recipe),
        str(folder),
        str(folder / "frames.npy"),
        str(folder / "none"),
        "/dev/null",
        "/",
    ]


def line(number: int, folder: Path) -> None:
    """A command line ends with 0, or with 2 and one line (a line of usage before it, if click refuses it)."""
    from tests.terminal import ccm

    chance, files = random.Random(number), _files(folder)
    verb = chance.choice([*VERBS, "inspect", "merge", "merge", "data"])
    words: list[str] = [verb] + (["describe"] if verb == "data" and chance.random() < 0.9 else [])
    anchor, low, high = (str(folder / f"{name}.safetensors") for name in ("anchor", "low", "high"))
    if verb != "inspect" and chance.random() < 0.6:
        words += ["--anchor", anchor, "--low", low, "--high", high]
    if verb == "merge" and chance.random() < 0.7:
        words += ["-c", chance.choice(["0.4", "-1", "2", "0"])]
    if verb in ("inspect", "data") and chance.random() < 0.7:
        words.append(chance.choice(files))
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 3, 4])):
        options = VERBS[verb]
        if options and chance.random() < 0.7:
            words.append(chance.choice(options))
        words.append(chance.choice(files) if chance.random() < 0.5 else chance.choice(WORDS))
    if verb in ("merge", "rollout", "calibrate") and chance.random() < 0.7:
        output = (
            folder / "out" / chance.choice(["m.safetensors", "m.pt", "m", "m.npz", "m.json", "../low.safetensors", ""])
        )
        words += ["-o", str(output)]
    try:
        done = ccm(*words)
    finally:
        for path in sorted((folder / "out").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    if done.exit_code not in (0, 2) or (done.exception and not isinstance(done.exception, SystemExit)):
        raise AssertionError(f"exit {done.exit_code}, {done.exception!r}: ccm {' '.join(words)}") from done.exception
    if "Traceback" in done.output or "\x1b" in done.output:
        raise AssertionError(f"traceback or escapes: ccm {' '.join(words)}: {done.output[-500:]!r}")
    if done.exit_code == 2:
        raise ValueError("refused")


class _Digest:
    """Bytes of the files that cases read, as they were first."""

    def __init__(self) -> None:
        self.before: dict[Path, bytes] = {}

    def note(self, paths: list[Path]) -> None:
        """Remembers files."""
        self.before |= {path: path.read_bytes() for path in paths if path.is_file()}

    def changed(self) -> list[str]:
        """Names of files that are no longer what they were."""
        return [p.name for p, content in self.before.items() if not p.is_file() or p.read_bytes() != content]


digest = _Digest()

CASES: dict[str, Callable[[int, Path], None]] = {
    "trees": tree,
    "recipes": recipe,
    "descriptions": description,
    "configurations": config,
    "command lines": line,
}
