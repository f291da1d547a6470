"""What the numbers of a stage depend on beside its settings: sources, versions, precision and devices."""

from __future__ import annotations

from typing import Any

import jax

from experiments.runner.sources import changed, sources_of

SHOWN = 2  # names of modules in a line


def conditions() -> dict[str, Any]:
    """Under what a stage is made, JSON-able, for its record."""
    return {
        "precision": _precision(),
        "devices": jax.device_count(),
        "platform": jax.default_backend(),
        "sources": sources_of(),
    }


def _precision() -> dict[str, Any]:
    config: Any = jax.config
    return {
        "JAX_ENABLE_X64": config.jax_enable_x64,
        "JAX_DEFAULT_MATMUL_PRECISION": config.jax_default_matmul_precision,
    }


def check_precision(made: dict[str, Any], what: str) -> None:
    """Raises ValueError if a stage was made in another precision than this process computes in."""
    for name, value in made.get("precision", {}).items():
        current = _precision().get(name)
        if current != value:
            raise ValueError(
                f"run_stage: {what} was made with {name}={value}, and this is {current}: numbers of both do not mix. "
                f"Set {name} as it was, or use another --workdir."
            )


def differences(made: dict[str, Any], versions: dict[str, str]) -> list[str]:
    """What differs from the conditions under which a stage was made, in words.

    Args:
        made: the stage's record.
        versions: of packages here and now.

    Example:
        >>> differences({"versions": {"jax": "0.7.2"}}, {"jax": "0.10.2"})
        ['by jax 0.7.2 (this is 0.10.2)']
    """
    old = made.get("versions", {})
    found = [f"by {name} {old[name]} (this is {new})" for name, new in versions.items() if old.get(name, new) != new]
    modules = changed(made.get("sources", {}))
    if modules:
        more = f" and {len(modules) - SHOWN} more" if len(modules) > SHOWN else ""
        found.append(f"by other code ({', '.join(modules[:SHOWN])}{more} changed since)")
    return found
