"""What generated pages say above their tables follows from the numbers in them."""

from __future__ import annotations

import copy
import re
from typing import Any

from benchmarks.page import FOLDER, ROOT
from benchmarks.solver_page import smallest
from benchmarks.thresholds import thresholds
from ccm_jax.io.atomic import read_json
from experiments.peers.decisions import led

TRAINS = ("two fine-tunings", "without labels", "from scratch")


def decisions(ours: dict[str, tuple[bool, bool]], error: float, solver: float) -> list[dict[str, Any]]:
    """Of two systems, by what may be trained, and a solver for one of them."""
    rows = [
        {"system": system, "knows": "frames", "trains": trains, "ours": best, "error": error}
        for trains in TRAINS
        for system, best in zip("ab", ours[trains], strict=True)
    ]
    solved = {"system": "a", "knows": "frames", "trains": "equation", "ours": False, "error": solver}
    other = {"system": "a", "knows": "value", "trains": TRAINS[0], "ours": False, "error": error}
    return [*rows, solved, other]


def test_the_sentence_above_the_decisions_counts_them() -> None:
    best = {TRAINS[0]: (True, True), TRAINS[1]: (True, False), TRAINS[2]: (False, False)}
    said = led(decisions(best, 0.1, 0.05), "frames")
    assert re.findall(r"(\d|none) of (\d)", said) == [("2", "2"), ("1", "2"), ("none", "2"), ("1", "1")]
    assert "a conditioned network is then better" in said and "better than all of these on 1 of 1" in said
    said = led(decisions(best | {TRAINS[2]: (True, False)}, 0.1, 0.2), "frames")
    assert "conditioned" not in said and "better than all of these on 0 of 1" in said


def test_what_misses_its_threshold_is_marked() -> None:
    found = {path.stem: read_json(path) for path in FOLDER.glob("*.json")}
    run = read_json(ROOT / "results" / "rd_ood_time.json")

    def missed(files: dict[str, Any], **more: float) -> set[str]:
        rows = [line.split(" | ") for line in thresholds(files, run | more).splitlines() if line.startswith("| ")]
        return {row[0][2:] for row in rows if row[1].endswith("✗ missed")}

    cold = "`rd_ood`, cold: seconds"
    assert cold in missed(found, cold_seconds=240.6) and cold not in missed(found, cold_seconds=240.0)
    slow = copy.deepcopy(found)
    slow["fno"]["rows"][-1]["forward_ratio"]["median"] = 0.9
    assert missed(slow) - missed(found) == {"… on all grids"}


def test_the_smallest_ratio_of_each_problem_is_said() -> None:
    rows = {"one": [{"ratio": 3.0}, {"ratio": None}, {"ratio": 2.5}], "two": [{"ratio": None}]}
    assert smallest(rows) == "2.50 (one)"
