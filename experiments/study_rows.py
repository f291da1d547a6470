"""What the study consists of: rows, each a configuration with a few changes, a measurement and its seeds."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of the study.

    Attributes:
        name: of the row.
        config: name of its configuration.
        kind: what is measured, a key of ``study_measures.MEASURES``.
        seeds: of everything random; for ``kind="tuned"`` of the fine-tuning alone, from the anchor of seed 0.
        overrides: changed fields of the configuration, ``(("finetune.steps", 500), ...)``.
    """

    name: str
    config: str
    kind: str
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: tuple[tuple[str, Any], ...] = ()


def _tuned(name: str, **changes: Any) -> Row:
    overrides = tuple((field.replace("__", "."), value) for field, value in changes.items())
    return Row(f"tuned {name}", "rd_ood", "tuned", overrides=overrides)


MAIN = (
    Row("rd_ood", "rd_ood", "run"),
    Row("ns_ood", "ns_ood", "run"),
    Row("rdb_ood", "rdb_ood", "run"),
    Row("rd_f2", "rd_f2", "run"),
    Row("rd_dpot", "rd_dpot", "run"),
    Row("controls", "rd_ood", "controls"),
    Row("prefix", "rd_ood", "prefix"),
    Row("path", "rd_ood", "path"),
)

# Half of the published widths and modes, 48/12, 64/16 and 80/20. The base one is rd_ood itself.
SCALES = (
    Row("small", "rd_ood", "run", overrides=(("model.args", {"modes": (6, 6), "width": 24}),)),
    Row("large", "rd_ood", "run", (0,), overrides=(("model.args", {"modes": (10, 10), "width": 40}),)),
)

TUNED = (
    _tuned("as it is"),
    _tuned("half the gap", axis__low=1.5e-3, axis__high=2.5e-3),
    _tuned("250 steps", finetune__steps=250),
    _tuned("500 steps", finetune__steps=500),
    _tuned("2000 steps", finetune__steps=2000),
    _tuned("a third of the rate", finetune__learning_rate=6.7e-4),
    _tuned("a tenth of the rate", finetune__learning_rate=2e-4),
    _tuned("unpaired", finetune__paired=False),
    _tuned("two steps unrolled", finetune__unroll=2),
    _tuned("60 trajectories", data__endpoint=60),
    _tuned("15 trajectories", data__endpoint=15),
    Row("repeatability", "rd_ood", "repeatability", (0,)),
)

MORE = (
    Row("rd_dv", "rd_dv", "run", (0,)),
    Row("rdb_gravity", "rdb_gravity", "run"),
    Row("rd_unet", "rd_unet", "run", (0,)),
    Row("ns_dpot", "ns_dpot", "run", (0,)),
    Row("rd_transition", "rd_transition", "run", (0,)),
    Row("transition path", "rd_transition", "path", (0,)),
)

SMOKE = ("rd_ood", "rd_dpot", "controls", "prefix", "path", "small", "tuned as it is", "tuned half the gap")


def rows_of(size: str) -> list[Row]:
    """All rows; in the smoke size one seed of those that take every path."""
    rows = [*MAIN, *TUNED, *SCALES, *MORE]
    return [row._replace(seeds=(0,)) for row in rows if row.name in SMOKE] if size == "smoke" else rows
