"""Machine-readable logs of a run: JSON lines always, TensorBoard and Weights & Biases on request.

    python -m experiments.run --config=rd_ood --log=tensorboard,wandb

``<workdir>/log.jsonl`` has one entry per event: the losses of every training, the seconds of every stage, and the
results. ``--log=tensorboard`` also writes ``<workdir>/tensorboard``, and ``--log=wandb`` a run of the project
``ccm_jax``; both need ``pip install -e '.[logs]'``.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite

Entry = dict[str, Any]
Write = Callable[[Entry], None]

FILE = "log.jsonl"
_WRITERS: ContextVar[tuple[Write, ...]] = ContextVar("writers", default=())


def log(event: str, step: int | None = None, **values: Any) -> None:
    """Passes an event to all open writers; outside :func:`writing` there are none.

    Args:
        event: its name, for instance of the network that trains.
        step: of the training.
        values: numbers and text, for instance ``loss``.
    """
    entry = {"time": time.time(), "event": event} | ({} if step is None else {"step": step}) | values
    for write in _WRITERS.get():
        write(entry)


@contextlib.contextmanager
def writing(workdir: Path, names: Sequence[str], config: dict[str, Any]) -> Iterator[None]:
    """Opens ``<workdir>/log.jsonl`` and the named writers until the block ends.

    Raises:
        ValueError: for an unknown writer, or one whose package is missing.
    """
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(WRITERS[name](workdir, config)) for name in ("jsonl", *_checked(names))]
        token = _WRITERS.set(tuple(writers))
        try:
            yield
        finally:
            _WRITERS.reset(token)


def _checked(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in WRITERS:
            raise ValueError(f"--log={name}: unknown logger; choose from: {', '.join(WRITERS)}.")
    return [name for name in dict.fromkeys(names) if name != "jsonl"]


@contextlib.contextmanager
def _json_lines(workdir: Path, config: dict[str, Any]) -> Iterator[Write]:
    _cut_last_line(workdir / FILE)
    with (workdir / FILE).open("a", encoding="utf-8") as file:

        def write(entry: Entry) -> None:
            file.write(json.dumps(finite(entry), default=str) + "\n")
            file.flush()

        write({"time": time.time(), "event": "begin", "config": config})
        yield write


def _cut_last_line(path: Path) -> None:
    """Removes a last line that a killed run did not finish."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end and file.seek(end - 1) + 1 and file.read(1) != b"\n":
            end -= 1
        file.truncate(end)


@contextlib.contextmanager
def _tensorboard(workdir: Path, config: dict[str, Any]) -> Iterator[Write]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ValueError("--log=tensorboard: tensorboardX is not installed; pip install 'ccm_jax[logs]'.") from error
    with SummaryWriter(str(workdir / "tensorboard")) as board:

        def write(entry: Entry) -> None:
            for name, value in _numbers(entry).items():
                board.add_scalar(f"{entry['event']}/{name}", value, entry.get("step", 0))

        yield write


@contextlib.contextmanager
def _wandb(workdir: Path, config: dict[str, Any]) -> Iterator[Write]:
    try:
        import wandb
    except ImportError as error:
        raise ValueError("--log=wandb: wandb is not installed; pip install 'ccm_jax[logs]'.") from error
    with wandb.init(project="ccm_jax", name=workdir.name, dir=str(workdir), config=config) as run:
        # Each network counts its own steps, which W&B's one counter cannot.
        run.define_metric("*", step_metric="step")

        def write(entry: Entry) -> None:
            numbers = {f"{entry['event']}/{name}": value for name, value in _numbers(entry).items()}
            if numbers:
                run.log(numbers | {"step": entry.get("step", 0)})

        yield write


def _numbers(entry: Entry) -> dict[str, float]:
    rest = {key: value for key, value in entry.items() if key not in ("time", "step")}
    return {key: float(value) for key, value in rest.items() if isinstance(value, (int, float))}


WRITERS: dict[str, Callable[..., contextlib.AbstractContextManager[Write]]] = {
    "jsonl": _json_lines,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
