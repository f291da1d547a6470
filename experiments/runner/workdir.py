"""The folder of a run: it belongs to one configuration, whatever its overrides; the last run's report is in front."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ccm_jax.io.atomic import MARK, remove, write_json
from experiments.runner.locks import hold

OWNER = "run.json"
EARLIER = "earlier"  # folder of reports of other settings
RESULTS = "results.json"
PRODUCTS = ("report.html", "results.csv", "figures", "weights", "tracking.json")
SHOWN = 4  # settings in a line


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other runs out of the folder of a run; the lock goes with the process, however that ends.

    Raises:
        ValueError: if another process works there.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(path / ".lock", wait=False))
        except BlockingIOError as error:
            raise ValueError(f"process {error} is working in {path}; wait for it, or use another --workdir.") from error
        yield


def open_workdir(path: Path, config: ConfigDict) -> Path:
    """Makes the folder, or opens it again for the configuration that made it.

    Raises:
        ValueError: if the folder belongs to another configuration or size, or holds files of another origin.
    """
    mine = {"config": config.name, "size": config.size}
    owner = path / OWNER
    if owner.exists():
        try:
            theirs = {key: json.loads(owner.read_text(encoding="utf-8")).get(key) for key in mine}
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{owner} is not readable ({error}); choose another --workdir.") from error
        if theirs != mine:
            name = theirs["config"] + (f":{theirs['size']}" if theirs["size"] else "")
            raise ValueError(f"{path} is the run of another configuration, {name}; choose another --workdir.")
        return path
    if path.exists() and (not path.is_dir() or not all(part.name.startswith(MARK) for part in path.iterdir())):
        raise ValueError(f"{path} exists and is not the folder of a run; choose another --workdir, or an empty folder.")
    path.mkdir(parents=True, exist_ok=True)
    write_json(owner, mine)
    return path


def record_settings(path: Path, config: ConfigDict, overrides: dict[str, Any]) -> None:
    """Writes into ``run.json`` what the run that begins was asked for; the lock of the folder is held."""
    mine = {"config": config.name, "size": config.size, "seed": config.seed, "overrides": overrides}
    write_json(path / OWNER, mine)


class Earlier(NamedTuple):
    """A report in the folder of a run that other settings made.

    Attributes:
        folder: where it goes.
        said: the settings that differ, in words.
    """

    folder: Path
    said: str


def earlier_report(path: Path, config: ConfigDict) -> Earlier | None:
    """The report that a run with these settings would replace; None if there is none, or it is of the same settings."""
    try:
        results = json.loads((path / RESULTS).read_text(encoding="utf-8"))
        theirs = _flat(results["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    mine = _flat(json.loads(json.dumps(config.to_dict(), default=list)))
    # A field that came with a newer version was not changed by anybody.
    differing = [name for name, value in theirs.items() if name in mine and value != mine[name]]
    if not differing:
        return None
    key = hashlib.sha256(json.dumps(theirs, sort_keys=True).encode()).hexdigest()[:6]
    names = ["seed", *(name for name in differing if name != "seed")]
    words = [f"{name} {theirs.get(name)}" for name in names[:SHOWN]]
    more = [f"{len(names) - SHOWN} more fields"] if len(names) > SHOWN else []
    return Earlier(path / EARLIER / f"seed-{theirs.get('seed')}-{key}", ", ".join(words + more))


def put_aside(path: Path, config: ConfigDict) -> Earlier | None:
    """Moves the report of other settings into a folder of its own, where its links to what lies beside it still hold.

    The numbers go last: they say whose report it is, so that what was killed on the way goes on.
    """
    earlier = earlier_report(path, config)
    if earlier is not None:
        earlier.folder.mkdir(parents=True, exist_ok=True)
        for name in (*PRODUCTS, RESULTS):
            if (path / name).exists():
                remove(earlier.folder / name)
                os.replace(path / name, earlier.folder / name)
    return earlier


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
