"""The extra of the installation that brings a library, and the line that names it where the library is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

# Top-level name of a library -> the extra in pyproject.toml. The base installation has all others that are imported.
EXTRAS = {
    "flax": "models",
    "optax": "models",
    "orbax": "models",
    "h5py": "files",
    "matplotlib": "files",
    "PIL": "files",
    "torch": "torch",
}


def remedy(error: ModuleNotFoundError) -> str | None:
    """The line that names the extra which brings a missing library; None for a library of no extra.

    Example:
        >>> remedy(ModuleNotFoundError("No module named 'flax.linen'", name="flax.linen"))
        "flax is not installed; run: pip install 'ccm_jax[models]'."
    """
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    return f"{library} is not installed; run: pip install 'ccm_jax[{EXTRAS[library]}]'."


def with_remedy(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error with the remedy as its message, where there is one."""
    line = remedy(error)
    return error if line is None else ModuleNotFoundError(line, name=error.name, path=error.path)


def import_ours(name: str) -> ModuleType:
    """One of our modules, imported on first use.

    Raises:
        ModuleNotFoundError: for a library that is not installed, with the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise with_remedy(error) from error
