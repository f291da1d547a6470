"""The folder of a run: it belongs to one configuration, whatever its overrides."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from ccm_jax.io.atomic import write_json
from experiments.runner.locks import hold

OWNER = "run.json"


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
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not the folder of a run; choose another --workdir, or an empty folder.")
    path.mkdir(parents=True, exist_ok=True)
    write_json(owner, mine)
    return path
