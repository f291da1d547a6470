"""Networks by name: each is registered where it is defined, in this package or in your own module."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax

from ccm_jax._extensions import import_extension, load_extensions
from ccm_jax.models.pairs import PAIRS, IsPair, no_pair

Array = jax.Array
Params = Any


class Model(NamedTuple):
    """A model as two pure functions.

    Attributes:
        init: ``(key, window [N, history, *space, C]) -> params``, a tree of nested dictionaries.
        apply: ``(params, window) -> frame [N, *space, C]``.
    """

    init: Callable[[Array, Array], Params]
    apply: Callable[[Params, Array], Array]


Build = TypeVar("Build", bound=Callable[..., Any])


class Network(NamedTuple):
    """What :func:`register_model` was given."""

    build: Callable[..., Any]
    is_pair: IsPair


MODELS: dict[str, Network] = {}


def register_model(name: str, *, is_pair: IsPair = no_pair) -> Callable[[Build], Build]:
    """Registers a network under a name.

    Args:
        name: as :func:`make_model` and ``--config.model.name`` take it. Another module names it ``"MODULE:NAME"``.
        is_pair: ``(path, leaf) -> bool``, which weights are complex numbers stored as pairs of reals on a leading axis
            of two, for merges that take sizes and angles of weights; by default none.

    Returns:
        A decorator for a Linen module's class, or for a function that returns a :class:`Model`. Either is called with
        the arguments of the configuration and ``out_channels``, the number of fields.

    Raises:
        ValueError: if the name is taken by another, or holds a colon.

    Example:
        >>> @register_model("persistence")
        ... def build(*, out_channels):
        ...     return Model(init=lambda key, window: {}, apply=lambda params, window: window[:, -1])
        >>> make_model("persistence", out_channels=1).apply({}, jax.numpy.ones((1, 3, 8, 1))).shape
        (1, 8, 1)
    """
    if ":" in name or not name:
        raise ValueError(f"register_model: the name is {name!r}, expected one without a colon.")

    def add(build: Build) -> Build:
        there = MODELS.get(name)
        if there is not None and _origin(there.build) != _origin(build):
            raise ValueError(f"register_model: {name!r} is {_origin(there.build)} already; choose another name.")
        MODELS[name] = Network(build, is_pair)
        return build

    return add


def _origin(build: Any) -> str:
    return ".".join(str(getattr(build, part, "")) for part in ("__module__", "__qualname__"))  # the same after a reload


def is_registered(name: str) -> bool:
    """Whether a network has this name; for ``"MODULE:NAME"`` MODULE is imported, and may hold another NAME itself."""
    return _find(name) is not None


def model_names() -> list[str]:
    """The networks that are registered."""
    load_extensions("ccm_jax.models")
    return list(MODELS)


def _find(name: str) -> Network | None:
    """The network of a name; what a module of others is named for, is imported."""
    module, _, short = name.rpartition(":")
    if module:
        import_extension(module, "make_model")
        own = getattr(sys.modules[module], short, None)
        if own is not None and (short not in MODELS or _origin(MODELS[short].build) != _origin(own)):
            return None  # theirs, under a name that one of ours may have
    return MODELS.get(short) if short in MODELS or short in model_names() else None


def pairs_of(name: str | None) -> IsPair:
    """Which weights of a network, by its name, are pairs of reals; none where nothing is registered under it."""
    if name in PAIRS:
        return PAIRS[name]
    network = _find(name) if isinstance(name, str) else None
    return no_pair if network is None else network.is_pair


def make_model(name: str, **arguments: Any) -> Model:
    """Builds a network by name, for instance ``make_model("fno", modes=(12, 12), width=32, out_channels=2)``.

    Args:
        name: as it was registered; ``"MODULE:NAME"`` imports MODULE first, which registers NAME.
        arguments: of the network.

    Raises:
        ValueError: for an unknown name, with those that exist, or an unknown argument.
    """
    network = _find(name)
    if network is None:
        raise ValueError(
            f"make_model: no model {name!r}; there are: {', '.join(MODELS)}. One of your own is MODULE:NAME, and "
            'stands below @register_model("NAME").'
        )
    try:
        built = network.build(**arguments)
    except TypeError as error:
        raise ValueError(f"make_model: {name}: {error}.") from error
    return built if isinstance(built, Model) else _from_linen(built)


def _from_linen(module: Any) -> Model:
    def init(key: Array, window: Array) -> Params:
        shape = jax.ShapeDtypeStruct(window.shape, window.dtype)  # so that the forward pass is not run, only traced
        return module.lazy_init(key, shape)["params"]

    return Model(init=init, apply=lambda params, window: module.apply({"params": params}, window))
