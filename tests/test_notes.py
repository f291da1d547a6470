"""Warnings of a run: a line each, with the stage and the regimes, in the words of a command."""

from __future__ import annotations

import pytest

from experiments.runner import notes
from experiments.runner.progress import bar

END = "PrefixReadout: the coordinate of {} is at the edge of the search range, [-2.5] to [2.5]; the optimum may lie "
END += "outside: check units, the order of channels and the experts' coordinates (reach=... searches further)."
SAID = "the coordinate is at the edge of the search range, -2.5 to 2.5; the optimum may lie outside: "
SAID += "check units, the order of channels and the experts' coordinates "
SAID += "(--config.calibration.low and --config.calibration.high search further)."


def test_a_stage_tells_each_note_once_with_its_regimes(capsys: pytest.CaptureFixture[str]) -> None:
    with notes.of_stage("evaluation"), bar("evaluation", 3) as advance:
        for value, which in ((5e-4, "4 of 4 trajectories"), (1e-3, "3 of 4 trajectories"), (2e-3, "")):
            if which:
                notes.show(UserWarning(END.format(which)))
                notes.show(UserWarning(END.format(which)))  # two readouts
            advance(1, f"at {value:g}")
        assert not capsys.readouterr().err
    told = capsys.readouterr().err
    assert told == f"note: evaluation at 0.0005 (4 of 4 trajectories) and 0.001 (3 of 4): {SAID}\n"


def test_notes_that_differ_in_measured_numbers_are_one_with_their_range(capsys: pytest.CaptureFixture[str]) -> None:
    poor = (
        "PrefixReadout: the best network's error on these frames is {} of that of repeating the last frame ({}); check "
    )
    poor += "units. With validation trajectories, the readout compares with theirs."
    with notes.of_stage("evaluation"), bar("evaluation", 3) as advance:
        for value, share, error in ((5e-4, "78%", "0.744 and 0.954"), (1e-3, "7%", "0.0779 and 0.954")):
            notes.show(UserWarning(poor.format(share, error)))
            advance(1, f"at {value:g}")
        notes.show(UserWarning("fit_curve: the curve is known to 0.5 at most."))
        notes.show(UserWarning("fit_curve: the curve is known to 0.7 at most."))
    assert capsys.readouterr().err.splitlines() == [
        "note: evaluation at 0.0005 and 0.001: the best network's error on these frames is 7% to 78% of that of "
        "repeating the last frame (0.0779 to 0.744 and 0.954); check units.",
        "note: evaluation: the curve is known to 0.5 at most.",  # nothing says that these are of two regimes
        "note: evaluation: the curve is known to 0.7 at most.",
    ]


def test_notes_outside_of_a_loop_or_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), notes.of_stage("calibration"):
        notes.show(END.format("2 of 2 trajectories"))
        notes.show("fit_chart: `low` and `high` have the same weights.")
        raise RuntimeError
    notes.show("anchor-123 was made by jax 0.1.")
    assert capsys.readouterr().err.splitlines() == [
        f"note: calibration (2 of 2 trajectories): {SAID}",
        "note: calibration: `low` and `high` have the same weights.",
        "note: anchor-123 was made by jax 0.1.",
    ]


def test_kept_stages_of_other_code_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    made = "{0} was made by other code (a.py changed since); delete w/stages/{0} to make it again."
    with notes.together():
        notes.show(made.format("anchor-1"))
        assert not capsys.readouterr().err
    assert capsys.readouterr().err == f"note: {made.format('anchor-1')}\n"
    with notes.together():
        for name in ("anchor-1", "endpoints-2"):
            notes.show(made.format(name))
    told = (
        "2 kept stages were made by other code (a.py changed since); to make one again, delete its folder in w/stages."
    )
    assert capsys.readouterr().err == f"note: {told}\n"
