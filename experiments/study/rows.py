"""What the study consists of: rows, each a configuration with a few changes, a measurement and its seeds."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of the study.

    Attributes:
        name: of the row.
        config: name of its configuration.
        kind: what is measured, a key of the study's ``MEASURES``.
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
    Row("rdb_ood", "rdb_ood", "run", (6, 7, 8)),  # what the readout asks for was changed after 0 ... 5 were seen
    Row("rd_f2", "rd_f2", "run"),
    Row("rd_dpot", "rd_dpot", "run"),
    Row("controls", "rd_ood", "controls"),
    Row("prefix", "rd_ood", "prefix"),
    Row("path", "rd_ood", "path"),
)

# Widths and modes as published, and half of them; of the halves the base one is rd_ood itself.
PUBLISHED_SCALES = {"small": (48, 12), "base": (64, 16), "large": (80, 20)}


def _scale(name: str, part: int, seeds: tuple[int, ...] = (0, 1, 2)) -> Row:
    width, modes = PUBLISHED_SCALES[name]
    sizes = {"modes": (modes // part,) * 2, "width": width // part}
    return Row(name, "rd_ood", "run", seeds, (("model.args", sizes),))


SCALES = (_scale("large", 2, (0,)), _scale("small", 2))
PAPER_SCALES = tuple(_scale(name, 1) for name in PUBLISHED_SCALES)

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
    Row("rd_unet", "rd_unet", "run", (0,)),
    Row("rd_transition", "rd_transition", "run", (0,)),
    Row("ns_dpot", "ns_dpot", "run", (0,)),
    Row("rd_dv", "rd_dv", "run", (0,)),
    Row("rdb_gravity", "rdb_gravity", "run"),
    Row("short anchor", "rd_ood", "run", (0,), (("train.steps", 450),)),  # is our average worse because ours is not?
    Row("transition path", "rd_transition", "path", (0,)),
)

SMOKE = ("rd_ood", "rd_dpot", "controls", "prefix", "path", "small", "tuned as it is", "tuned half the gap")


def rows_of(size: str) -> list[Row]:
    """All rows; in the smoke size one seed of those that take every path; in the published one, the scales of the FNO.

    The published scales need the modes of a 64 x 64 grid, and a bigger machine, not other code.
    """
    if size == "paper":
        return [row._replace(overrides=(*row.overrides, ("data.grid", 64))) for row in PAPER_SCALES]
    rows = [*MAIN, *SCALES, *MORE, *TUNED]  # the shortest last, and far from those whose stages they wait for
    return [row._replace(seeds=(0,)) for row in rows if row.name in SMOKE] if size == "smoke" else rows
