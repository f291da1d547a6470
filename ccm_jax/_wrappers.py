"""Names of weights without what wrappers of modules put before them."""

from __future__ import annotations

from collections.abc import Iterable

WRAPPERS = ("module.", "_orig_mod.", "model.", "_forward_module.")  # DDP, torch.compile, Lightning, DeepSpeed
# Those of torch.compile, FSDP and activation checkpointing may stand inside a name, too, and mean nothing else.
_INNER = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers of modules put before all of them, by the full names.

    Example:
        >>> unwrapped(["_orig_mod.module.fc.weight", "_orig_mod.module.fc.bias"])
        {'_orig_mod.module.fc.weight': 'fc.weight', '_orig_mod.module.fc.bias': 'fc.bias'}
    """
    plain = {name: name for name in names}
    for inner in _INNER:
        plain = {full: name.replace(inner, "") for full, name in plain.items()}
    while plain and (prefix := _common(list(plain.values()))):
        plain = {full: name.removeprefix(prefix) for full, name in plain.items()}
    return plain


def _common(names: list[str]) -> str | None:
    """The prefix of a wrapper that all names have, and something behind it."""
    return next((p for p in WRAPPERS if all(name.startswith(p) and len(name) > len(p) for name in names)), None)
