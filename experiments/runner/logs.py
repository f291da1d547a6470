"""What a run says for machines: JSON lines always, TensorBoard and Weights & Biases when asked for."""

from __future__ import annotations

import contextlib
import json
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
    """Tells all open writers what happened; none are open outside :func:`writing`, and then nothing does.

    Args:
        event: what it is about, for instance the network that trains.
        step: of the training.
        values: numbers and text, for instance ``loss``.
    """
    entry = {"time": time.time(), "event": event} | ({} if step is None else {"step": step}) | values
    for write in _WRITERS.get():
        write(entry)


@contextlib.contextmanager
def writing(workdir: Path, names: Sequence[str], config: dict[str, Any]) -> Iterator[None]:
    """Opens ``<workdir>/log.jsonl`` and the writers that are named, for as long as the run takes.

    Raises:
        ValueError: for a writer that there is not, or whose package is missing.
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
            raise ValueError(f"--log={name}: no such writer; there are: {', '.join(WRITERS)}.")
    return [name for name in dict.fromkeys(names) if name != "jsonl"]


@contextlib.contextmanager
def _json_lines(workdir: Path, config: dict[str, Any]) -> Iterator[Write]:
    with (workdir / FILE).open("a", encoding="utf-8") as file:

        def write(entry: Entry) -> None:
            file.write(json.dumps(finite(entry), default=str) + "\n")
            file.flush()

        write({"time": time.time(), "event": "begin", "config": config})
        yield write


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
