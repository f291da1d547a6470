"""What the study of peers consists of: rows of minutes to two hours on a core, each a system, a measure and its seeds.

The first seed of a system makes every choice (three trials a method, on validation regimes); the others take it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.study.jobs import Job
from experiments.study.rows import Row

# The height's readout was fixed on the validation regimes of seeds 0 to 5, and is reported on seeds after them.
SYSTEMS = {"rd_ood": (0, 1, 2), "ns_ood": (0, 1, 2), "rdb_gravity": (0, 1, 2), "rdb_ood": (6, 7, 8)}
FIRST = "window 1"  # the row that chooses the experts' rate
BUDGET = ("rd_ood", "ns_ood")  # systems whose plane of steps and trajectories is measured

# Names and kinds of rows that have one seed.
ONE_SEED = {
    "ceiling": "ceiling",
    "solver": "solver",
    "prefix tuning": "prefix_tuning",
    "GEPS": "geps",
    "CoDA": "coda",
}
SINGLE = frozenset(ONE_SEED)  # rows that have one seed by design
# Kinds that start from the one-frame anchor at the rate that was chosen for it; some take over that of the experts.
NEED_FIRST: tuple[str, ...] = (
    "posthoc",
    "ceiling",
    "convergence",
    "prefix_tuning",
    "budget_one_merged",
    "budget_one_conditioned",
)
NEED_FIRST += ("conditioned_channel", "conditioned_biases", "conditioned_all", "split")


def _window(frames: int) -> tuple[tuple[str, Any], ...]:
    """A window of more frames leaves fewer for the prefix: five are observed in all."""
    return (("model.history", frames), ("calibration.frames", max(1, 5 - frames)))


def _of(system: str) -> list[Row]:
    def row(measure: str, kind: str, *overrides: tuple[str, Any]) -> Row:
        return Row(f"{system} {measure}", system, kind, SYSTEMS[system], overrides)

    rows = [
        row(FIRST, "window"),
        row("window 5", "window", *_window(5)),
        row("conditioned scratch", "conditioned_scratch"),
        row("conditioned biases", "conditioned_biases"),
        row("window 5 scratch", "scratch_window", *_window(5)),
        row("post hoc", "posthoc"),
        row("window 3", "window", *_window(3)),
        row("conditioned channel", "conditioned_channel"),
        row("conditioned all", "conditioned_all"),
        row("convergence", "convergence"),
        row("split", "split"),
    ]
    if system == "rdb_ood":  # the parameter is seen: what a longer window and slopes of all leaves add is not asked
        return [one for one in rows if not one.name.endswith(("window 3", "conditioned all", "split"))]
    rows += [row(name, kind)._replace(seeds=SYSTEMS[system][:1]) for name, kind in ONE_SEED.items()]
    if system == BUDGET[0]:  # one backbone serves all systems, and another architecture stands beside the FNO
        rows.append(row("backbone", "backbone"))
        dpot = row("DPOT", "window", ("calibration.frames", 1))  # a window of four
        rows.append(dpot._replace(config="rd_dpot"))
    if system in BUDGET:
        rows += [
            row("budget pretrained", "budget_pretrained_merged"),
            row("budget pretrained conditioned", "budget_pretrained_conditioned"),
            row("budget one-system", "budget_one_merged"),
            row("budget one-system conditioned", "budget_one_conditioned"),
        ]
    return rows


def rows_of(size: str) -> list[Row]:
    """All rows; in the smoke size one system and one seed."""
    systems = ("rd_ood",) if size == "smoke" else tuple(SYSTEMS)
    rows = [row for system in systems for row in _of(system)]
    return [row._replace(seeds=row.seeds[:1]) for row in rows] if size == "smoke" else rows


def ordered(rows: Sequence[Row]) -> list[Job]:
    """First seeds first, and measures through all systems, so that an interrupted study says something of each.

    The budget's plane, what has one seed, and the axis that a frame shows come one round later.
    """
    jobs = [(row, seed) for row in rows for seed in row.seeds]
    measures = [one.name.partition(" ")[2] for one in _of(BUDGET[0])]

    def place(job: Job) -> tuple[int, int]:
        row, seed = job
        later = (
            len(row.seeds) == 1
            or row.config == "rd_dpot"
            or row.kind.startswith(("backbone", "budget", "convergence", "split"))
            or row.config == "rdb_ood"
        )
        return row.seeds.index(seed) + later, measures.index(row.name.partition(" ")[2])

    return sorted(jobs, key=place)


def needs(row: Row, seed: int) -> list[Job]:
    """Whose choices a seed of a row takes over."""
    found = [] if seed == row.seeds[0] else [(row, row.seeds[0])]
    if row.kind in NEED_FIRST:
        found.append((next(one for one in _of(row.config) if one.name.endswith(FIRST)), row.seeds[0]))
    if row.kind.startswith("budget_pretrained"):
        backbone = next(one for one in _of(BUDGET[0]) if one.kind == "backbone")._replace(seeds=row.seeds)
        found += [(backbone, of) for of in dict.fromkeys((row.seeds[0], seed))]
    return found
