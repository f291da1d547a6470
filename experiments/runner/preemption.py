"""What happens when a scheduler asks a run to end (SIGTERM): it saves, and ends with a code that says "run me again".

Slurm, Kubernetes and cloud machines send SIGTERM some seconds before they kill. The process ends at once: finished
stages are kept, and a training goes on from its last checkpoint. What must not be cut runs inside :func:`saving`. A
second SIGTERM ends the process without saving.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

CODE = 75  # EX_TEMPFAIL of sysexits.h, "try again later"

_ASKED = threading.Event()
_SAVING: ContextVar[bool] = ContextVar("saving", default=False)


class Preempted(SystemExit):
    """The end of a process that was asked to end; nothing that it saved is lost."""

    def __init__(self) -> None:
        super().__init__(CODE)


@contextlib.contextmanager
def on_request() -> Iterator[None]:
    """Raises :class:`Preempted` when SIGTERM arrives, for as long as the context is open."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _ASKED.set()
        if not _SAVING.get():
            raise Preempted

    if threading.current_thread() is not threading.main_thread():  # signals are its own
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _ASKED.clear()


@contextlib.contextmanager
def saving() -> Iterator[Callable[[], bool]]:
    """Lets the work inside end by itself: yields a function that says whether the process was asked to."""
    token = _SAVING.set(True)
    try:
        yield _ASKED.is_set
    finally:
        _SAVING.reset(token)
    if _ASKED.is_set():
        raise Preempted


def end_with(parent: int) -> None:
    """Asks this process to end as soon as the one that started it has ended, however that was; on Linux only.

    Args:
        parent: the process that started this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it had ended before
        raise Preempted
