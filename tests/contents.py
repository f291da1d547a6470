"""What a folder holds, whatever the time: hashes of its numbers, what is not whole, and what was left behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import MARK
from ccm_jax.io.checksums import check_checksums
from ccm_jax.io.weights import open_weights

# What depends on the time, on the folder, or on what else a process had loaded.
PASSING = {"seconds", "wall_seconds", "stage_seconds", "created", "seconds_before", "sources", "git", "Date"}
SKIPPED = (".pdf", ".html", ".jsonl", ".log", ".md")


def contents(folder: Path) -> dict[str, str]:
    """A hash of the numbers of every file and checkpoint of a folder, by path."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(name.startswith(f"{done}/") for done in found):
            continue
        if (path / "metadata.json").is_file():
            found[name] = _of_checkpoint(path)
        elif path.is_file() and path.suffix not in SKIPPED and path.name != "SHA256SUMS":
            found[name] = _of_file(path)
    return found


def _of_checkpoint(path: Path) -> str:
    import jax

    from ccm_jax.io import checkpoint

    leaves = jax.tree_util.tree_flatten_with_path(checkpoint.load(path))[0]
    said = plain(checkpoint.load_metadata(path))
    return _hash({jax.tree_util.keystr(where): np.asarray(leaf) for where, leaf in leaves}, said)


def _of_file(path: Path) -> str:
    if path.suffix == ".json":
        return _hash({}, plain(json.loads(path.read_text(encoding="utf-8"))))
    if path.suffix == ".npz":
        with np.load(path) as stored:
            return _hash(dict(stored), None)
    if path.suffix in (".safetensors", ".pt"):
        opened = open_weights(path)
        return _hash(dict(opened.arrays), plain({key: _parsed(value) for key, value in opened.metadata.items()}))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _parsed(said: Any) -> Any:
    try:
        return json.loads(said)
    except (TypeError, ValueError):
        return said


def _hash(arrays: dict[str, np.ndarray], said: Any) -> str:
    total = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for name in sorted(arrays):
        total.update(
            f"{name}{arrays[name].dtype}{arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).tobytes()
        )
    return total.hexdigest()[:16]


def plain(content: Any) -> Any:
    """JSON without what is different every time."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items() if key not in PASSING}
    return [plain(value) for value in content] if isinstance(content, list) else content


def left_behind(folder: Path) -> list[str]:
    """Paths of what only a process that is at work may have."""
    ends, found = (".partial", "-steps", ".lock"), []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = any(name.startswith(f"{outer}/") for outer in found)
        if not known and (path.name.startswith(MARK) or path.name.endswith(ends)):
            found.append(name)
    return found


def broken(folder: Path) -> list[str]:
    """What is there under its own name and is not whole: finished stages and the files of a run."""
    found = []
    for stage in folder.rglob("stage.json"):
        if not any(part.name.startswith(".") for part in (stage.parent, *stage.parent.parents)):
            try:
                check_checksums("broken", stage.parent, "it is not whole")
            except (ValueError, OSError) as error:
                found.append(str(error))
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix == ".json" and not path.name.startswith("stage"):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                found.append(f"{path} is cut off")
        if not hidden and path.suffix == ".html" and not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
            found.append(f"{path} is cut off")
    return found
