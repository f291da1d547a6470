"""The layouts of files of trajectories, each a function that knows its own files; others may add theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from ccm_jax._extensions import load_extensions
from ccm_jax.io.recordings.recording import Recording

Reader = Callable[..., Recording | None]  # (path), or (path, *, axes)

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".msgpack", ".eqx")  # names of weights
_READERS: dict[str, Reader] = {}
_SUFFIXES: dict[str, tuple[str, ...]] = {}


def register_layout(*suffixes: str) -> Callable[[Reader], Reader]:
    """Registers a layout of files of trajectories where its reader stands.

    The reader gets a path, and returns a :class:`Recording` that describes the file, or None if the file is of another
    layout. The layout registered last is asked first, so one of your own may read files that ours would take, too. It
    may have a keyword ``axes``: the text of ``--axes``, or None.

    Args:
        suffixes: by which files of a folder are taken for trajectories, such as ``".dat"``.

    Raises:
        ValueError: for no suffix, or one without a dot.

    Example:
        >>> @register_layout(".nothing")
        ... def read_nothing(path):
        ...     return None
    """
    if not suffixes or not all(suffix.startswith(".") for suffix in suffixes):
        raise ValueError(
            f"register_layout: suffixes are {suffixes}, expected some that begin with a dot, such as '.dat'."
        )

    def add(reader: Reader) -> Reader:
        name = f"{reader.__module__}.{reader.__qualname__}"  # the same after a reload
        _READERS[name], _SUFFIXES[name] = reader, suffixes
        return reader

    return add


def suffixes() -> tuple[str, ...]:
    """Endings of files of trajectories."""
    load_extensions("ccm_jax.io.recordings")
    return tuple(dict.fromkeys(suffix for known in _SUFFIXES.values() for suffix in known))


def described(path: Path, axes: str | None = None) -> Recording:
    """What a file says of itself, by the first layout that knows it.

    Args:
        path: the file.
        axes: what the user says of its axes.

    Raises:
        ValueError: if none does, or if its axes are known and the user says what they are.
    """
    load_extensions("ccm_jax.io.recordings")
    for reader in reversed(_READERS.values()):
        takes = axes is not None and "axes" in inspect.signature(reader).parameters
        found = reader(path, axes=axes) if takes else reader(path)
        if found is not None and axes is not None and not takes:
            raise ValueError(f"open_recording: {path} is {found.layout}; leave --axes {axes} (axes=...) out.")
        if found is not None:
            return found
    if path.suffix in CHECKPOINTS:
        raise ValueError(
            f"open_recording: {path} has the name of a checkpoint, expected trajectories; check that the files are not "
            "swapped."
        )
    raise ValueError(
        f"open_recording: {path} is no whole file of a known kind ({', '.join(suffixes())}); it may be cut off, or "
        "needs a layout of your own, see register_layout."
    )
