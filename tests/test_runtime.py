"""How processes of a run agree, and how devices are laid out."""

from __future__ import annotations

from experiments.runner import runtime


def test_one_process_is_the_case_of_one() -> None:
    assert runtime.is_writer() and runtime.agree(3) == 3 and runtime.mesh() is None
    runtime.barrier("alone")
