"""Options that leave no trace in weights, over the files of a family: what one file says counts for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ccm_jax.io.description import DESCRIBED, stored
from ccm_jax.io.tensors import plain
from ccm_jax.io.weights import Weights

# Of neuraloperator's `_metadata`: what no forward pass of evaluation depends on.
_FREE = ("_version", "_name", "args", "channel_mlp_dropout", "implementation", "decomposition_kwargs")
# Words of training scripts for options of a network; of their other arguments (rates, folders) experts have their own.
_WORDS = (
    *("act", "activation", "non_linearity", "padding", "domain_padding", "boundary", "modes", "n_modes", "norm"),
    *(
        "normalize",
        "mixing_type",
        "time_agg",
        "positional_embedding",
        "coordinates",
        "residual",
        "history",
        "in_timesteps",
    ),
)


def share_options(function: str, anchor: Weights, experts: Sequence[Weights]) -> tuple[Weights, list[str]]:
    """The anchor, with the options that only its experts' files say.

    Args:
        function: for the messages.
        anchor: whose options a merge keeps.
        experts: of the same network.

    Returns:
        The anchor, and what is to be said.

    Raises:
        ValueError: if two files say that they were built with different options. Where training scripts wrote them down
            (``args``, ``config``), which may mean something else, a note says so.
    """
    said, notes, sources = dict(anchor.metadata), [], {}
    for expert in experts:
        for key in ("_metadata", DESCRIBED):
            theirs = expert.metadata.get(key)
            if not isinstance(theirs, Mapping):
                continue
            if not isinstance(said.get(key), Mapping):
                said[key], sources[key] = theirs, expert.path
                if key != DESCRIBED:  # what a merge was told; a user's own files say nothing like it
                    notes.append(
                        f"{anchor.path} does not record the options that its network was built with; those that "
                        f"{expert.path} says are taken."
                    )
            for name, a, b in _differing(said[key], theirs):
                raise ValueError(_differ(function, (sources.get(key, anchor.path), expert.path), name, (a, b)))
        for name, a, b in _differing(_of_run(anchor), _of_run(expert)):
            raise ValueError(_differ(function, (anchor.path, expert.path), name, (a, b)))
        ours, theirs = _of_script(anchor), _of_script(expert)
        if theirs and not _of_script(anchor._replace(metadata=said)):
            said["said"] = {"args": theirs}
        for name, a, b in _differing(ours, theirs):
            notes.append(f"{_differ(function, (anchor.path, expert.path), name, (a, b))} The anchor's is kept.")
    return anchor._replace(metadata=said), notes


def _differ(function: str, paths: tuple[Any, Any], name: str, values: tuple[Any, Any]) -> str:
    return (
        f"{function}: {paths[1]} says {name}={values[1]!r}, and {paths[0]} {name}={values[0]!r}; that leaves no trace "
        "in weights, and experts must come from this anchor."
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What both say, and differently."""
    for name in a:
        if name in b and name not in _FREE and plain(a[name]) != plain(b[name]):
            yield name, plain(a[name]), plain(b[name])


def _of_run(weights: Weights) -> dict[str, Any]:
    """What the checkpoint of a run of this package says of its network."""
    try:
        config, scale = stored(weights, "config"), stored(weights, "normalization")
    except ValueError:  # texts of their own
        return {}
    model = config.get("model") if isinstance(config, Mapping) else None
    found = {f"model.{key}": value for key, value in model.items()} if isinstance(model, Mapping) else {}
    return found | ({"normalization": scale} if isinstance(scale, Mapping) and found else {})


def _of_script(weights: Weights) -> dict[str, Any]:
    """The options of a network among the arguments of the script that trained it."""
    said = weights.metadata.get("said")
    found: dict[str, Any] = {}
    for part in said.values() if isinstance(said, Mapping) else ():
        found |= {k: v for k, v in part.items() if k in _WORDS} if isinstance(part, Mapping) else {}
    return found
