"""Networks of one's own, by ``MODULE:NAME``: a PyTorch module, a function of JAX, an Equinox or Flax module."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._article import with_article
from ccm_jax._checks import is_merged
from ccm_jax._names import at_level, dotted
from ccm_jax._reasons import reason_of
from ccm_jax.interop.layout import Layout, next_frame
from ccm_jax.models import Model
from ccm_jax.rollout import Apply

Arrays = Mapping[str, Any]
Kind = Literal["torch", "equinox", "nnx", "linen", "model", "function"]

# What networks of each kind take, unless a description says otherwise. Functions and models take the whole window.
LAYOUTS: dict[str, Layout] = {
    "torch": Layout(channels="first"),
    "equinox": Layout(channels="first", batched=False),
    "nnx": Layout(),
    "linen": Layout(),
    "model": Layout(window="axis"),
    "function": Layout(window="axis"),
}


class Own(NamedTuple):
    """A network of one's own.

    Attributes:
        network: the module, the :class:`~ccm_jax.models.Model`, or the function of parameters and window.
        kind: what it is.
    """

    network: Any
    kind: Kind


def find_own(name: str, arguments: Mapping[str, Any]) -> Own:
    """Imports what a name stands for, and calls it with arguments where it builds the network.

    A function that asks for two more values than the arguments give is the network itself, ``apply(params, window)``;
    one that asks for none builds it.

    Args:
        name: ``"MODULE:NAME"``; MODULE is found on Python's path.
        arguments: for the function or class.

    Raises:
        ValueError: if there is no such thing, it cannot be called so, or gives no network.
    """
    module, _, short = name.rpartition(":")
    imported = importlib.import_module(module)
    thing = getattr(imported, short, None)
    if thing is None:
        near = difflib.get_close_matches(short, [each for each in dir(imported) if each[0] != "_"], n=1)
        meant = f" Did you mean {module}:{near[0]}?" if near else ""
        raise ValueError(f"{name}: {module} has no {short}; a network is MODULE:NAME.{meant}")
    kind = kind_of(thing)
    if kind is None and callable(thing):
        missing = _missing(thing, arguments)
        if len(missing) == 2 and not isinstance(thing, type):
            return Own(functools.partial(thing, **arguments), "function")
        if missing:
            raise ValueError(
                f"{name} needs {', '.join(missing)}; name a function that builds the network without arguments, or "
                "pass numbers and texts as args in a YAML description. (A network that is a function takes two values, "
                "params and window.)"
            )
        try:
            thing = thing(**arguments)
        except Exception as error:  # a function of others may raise anything
            inside = traceback.extract_tb(error.__traceback__)[1:]  # after this call
            own = [frame for frame in inside if "site-packages" not in frame.filename]  # the user's
            where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else "see args"
            raise ValueError(f"--model {name}: {reason_of(error)}, when it was called ({where}).") from error
        kind = kind_of(thing) or ("function" if inspect.isroutine(thing) or _is_jitted(thing) else None)
    elif arguments:
        raise ValueError(f"{name} already exists and takes no args; name the function that builds it.")
    if kind is None and isinstance(thing, tuple) and thing:
        items = ", ".join(type(item).__name__ for item in thing)
        raise ValueError(
            f"{name} returns a tuple ({items}), expected the network alone: return its first item if that is the "
            "network. One that needs a state, as of equinox.nn.make_with_state, is a function apply(params, window) "
            "that holds the state."
        )
    if kind is None:
        raise ValueError(
            f"{name} is {with_article(type(thing).__name__)}, expected a torch.nn.Module, a module of Equinox or Flax, "
            "a function apply(params, window), or a function that returns one of them."
        )
    return Own(thing, kind)


def kind_of(thing: Any) -> Kind | None:
    """What a network is, by the library that its class comes from; None for functions, classes and others."""
    if isinstance(thing, Model):
        return "model"
    if isinstance(thing, type):
        return None
    roots = {parent.__module__.partition(".")[0] for parent in type(thing).__mro__}
    if "torch" in roots and hasattr(thing, "state_dict"):
        return "torch"
    if "flax" in roots and callable(thing):
        return "linen" if hasattr(thing, "lazy_init") else "nnx"
    # A function under eqx.filter_jit is an Equinox module too, but one without weights.
    if "equinox" in roots and callable(thing) and any(map(_merges, jax.tree.leaves(thing))):
        return "equinox"
    return None


def _is_jitted(thing: Any) -> bool:
    return callable(thing) and hasattr(thing, "__wrapped__")


def _missing(function: Any, arguments: Mapping[str, Any]) -> list[str]:
    """Names of the values that a function asks for beside its arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins have none
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable and p.name not in arguments]


def apply_of(own: Own, layout: Layout) -> Apply:
    """``apply(params, window [N, history, *space, C]) -> frame`` of a network of JAX, in this package's layout.

    Modules of Equinox and nnx are trees: their parameters are the arrays by name that :func:`params_of` gives.
    """
    network, kind = own
    if kind == "function":
        call = network
    elif kind == "model":
        call = network.apply
    elif kind == "linen":

        def call(params: Any, x: Any) -> Any:
            return network.apply(params if "params" in params else {"params": params}, x)

    else:
        call = _calls_tree(network.eval() or network if kind == "nnx" and hasattr(network, "eval") else network)

    def apply(params: Any, window: Any) -> Any:
        one = functools.partial(call, params)
        return next_frame(one if layout.batched else jax.vmap(one), window, layout, jnp)

    return apply


def _calls_tree(module: Any) -> Callable[[Any, Any], Any]:
    """A module that is a tree, as a function of its weights by name."""
    named, structure = jax.tree_util.tree_flatten_with_path(module)

    def call(params: Any, x: Any) -> Any:
        return jax.tree.unflatten(structure, [params.get(name_of(path), leaf) for path, leaf in named])(x)

    return call


def params_of(module: Any, arrays: Arrays, what: str) -> dict[str, Any]:
    """The weights of a module that is a tree, out of the arrays of a file.

    Names are those of the tree, joined by dots, with or without Flax's ``value`` at the end. A file of Equinox has
    none: its arrays are numbered, in the order of the leaves.

    Args:
        module: the module; its leaves that are no weights (integers, keys, functions) stay as they are.
        arrays: by name.
        what: the file, for messages.

    Raises:
        ValueError: for a weight that is missing, of another shape, or has no place.
    """
    leaves = jax.tree_util.tree_flatten_with_path(module)[0]
    if are_numbered(arrays):
        given = named_leaves(module, arrays, what)
    else:
        given = {_plain(name): leaf for name, leaf in dotted(arrays).items()}
        given = at_level(given, {name_of(path) for path, leaf in leaves if _merges(leaf)})
    params: dict[str, Any] = {}
    there_are = ", ".join(sorted(given)[:3])
    for path, leaf in leaves:
        name = name_of(path)
        found = given.pop(name, None)
        if not _merges(leaf):
            continue
        if found is None or np.shape(found) != np.shape(leaf):
            there = "is missing" if found is None else f"has shape {np.shape(found)}"
            hint = f"; the file has {there_are}, ..." if found is None else "."
            raise ValueError(f"{what}: {name} {there}; the network expects shape {np.shape(leaf)}{hint}")
        params[name] = jnp.asarray(found)
    left = [name for name, leaf in given.items() if is_merged(leaf)]
    if left:
        raise ValueError(f"{what}: the {type(module).__name__} has no place for {', '.join(sorted(left)[:3])}.")
    return params


def are_numbered(arrays: Arrays) -> bool:
    """Whether arrays have numbers for names, as those of a file of Equinox."""
    return bool(arrays) and all(name.isdigit() for name in arrays)


def named_leaves(module: Any, arrays: Arrays, what: str) -> dict[str, Any]:
    """Numbered arrays under the paths of a module's leaves, which are stored in this order.

    Raises:
        ValueError: for another number of them.
    """
    stored = [name_of(path) for path, leaf in jax.tree_util.tree_flatten_with_path(module)[0] if _is_stored(leaf)]
    if len(stored) != len(arrays):
        raise ValueError(f"{what} has {len(arrays)} arrays; the network expects {len(stored)}.")
    return {name: arrays[str(i)] for i, name in enumerate(stored)}


def _merges(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and is_merged(leaf)


def _is_stored(leaf: Any) -> bool:
    """Whether ``equinox.tree_serialise_leaves`` writes a leaf."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, float, complex, bool, int))


def name_of(path: Any) -> str:
    """The path of a leaf joined by dots, without Flax's ``value`` at the end."""
    return _plain(jax.tree_util.keystr(path, simple=True, separator="."))


def _plain(name: str) -> str:
    head, _, last = name.rpartition(".")
    return head if last in ("value", "raw_value") else name
