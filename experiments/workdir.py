"""The folder of a run: it belongs to one configuration, whatever its overrides."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from experiments.runtime import barrier, is_writer
from experiments.store import write_json

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

OWNER = "run.json"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other runs out of the folder of a run; the lock goes with the process, however that ends.

    Of a run of several processes the writer holds it.

    Raises:
        ValueError: if another process works there.
    """
    if not is_writer():
        barrier("alone")
        yield
        return
    with (path / ".lock").open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                who = file.read() or "unknown"
                raise ValueError(
                    f"process {who} is working in {path}; wait for it, or use another --workdir."
                ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        barrier("alone")
        yield


def open_workdir(path: Path, config: ConfigDict) -> Path:
    """Makes the folder, or opens it again for the configuration that made it.

    Raises:
        ValueError: if the folder belongs to another configuration or size, or holds files of another origin.
    """
    mine = {"config": config.name, "size": config.size}
    if not is_writer():
        return path  # the writer looks, and makes it
    owner = path / OWNER
    if owner.exists():
        try:
            theirs = {key: json.loads(owner.read_text()).get(key) for key in mine}
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{owner} is not readable ({error}); choose another --workdir.") from error
        if theirs != mine:
            name = theirs["config"] + (f":{theirs['size']}" if theirs["size"] else "")
            raise ValueError(f"{path} is the run of another configuration, {name}; choose another --workdir.")
        return path
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not the folder of a run; choose another --workdir, or an empty folder.")
    path.mkdir(parents=True, exist_ok=True)
    write_json(owner, mine)
    return path
