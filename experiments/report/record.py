"""The tables of record and their figure, from the files in ``results/``; see :mod:`experiments.report.readme`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import read_json
from experiments.report.systems import TITLES

ROOT = Path(__file__).parent.parent.parent
OTHER_MERGES = ("task_arithmetic", "ties", "dare")


def change(share: float, digits: int = 1) -> str:
    """A relative change of an error; below zero, the error is smaller.

    Example:
        >>> change(-0.765), change(0.02, 0)
        ('\N{MINUS SIGN}76.5 %', '+2 %')
    """
    return f"{100 * share:+.{digits}f} %".replace("-", "\N{MINUS SIGN}")


def _percent(gain: dict[str, Any], digits: int = 1) -> str:
    """A gain as a change of the error, with its interval, if it has one; a null is a divergence."""
    mean = "diverges" if gain["mean"] is None else f"**{change(-gain['mean'])}**"
    return mean if gain["low"] is None else f"{mean} [{change(-gain['high'], digits)}, {change(-gain['low'], digits)}]"


def _plain(value: dict[str, Any], digits: int = 1) -> str:
    return f"**{value['mean']:.{digits}f}** [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def table(folder: Path) -> str:
    """The tables of claims and of run times, in Markdown."""
    study, time = read_json(folder / "paper.json"), read_json(folder / "rd_ood_time.json")
    anchor, cold = read_json(folder / "rd_ood_convergence.json"), time["cold_seconds"]
    whole = study["process_minutes"] / study["jobs"]
    gains = runs_of(folder)[0]["rd_ood"]["gains"]
    known = {row["key"]: row["ours"] for row in study["published"]}
    merges = {row["key"]: row["ours"]["mean"] for row in study["merges"]}

    def of(row: str) -> tuple[str, float]:
        return f"`experiments.study --config=paper --only={row}`", study["minutes"][row]

    def run(size: str, seconds: float) -> tuple[str, float]:
        return f"`experiments.run --config=rd_ood{size}`", seconds / 60

    far = "change of the error outside the support, relative to the better anchor"
    others = ", ".join(f"{merges[k]:.1f}" if merges[k] < 10 else f"{merges[k]:.0f}" for k in OTHER_MERGES)
    claims = [
        (f"CCM-Coord (from metadata): {far}", of("rd_ood"), f"≤ {change(-0.66, 0)}", _percent(gains["ccm_coord"])),
        (
            "CCM-Prefix (four frames, one coordinate per trajectory)",
            of("rd_ood"),
            f"≤ {change(-0.70, 0)}",
            _percent(gains["ccm_prefix"]),
        ),
        ("CCM-Scale (map fitted on validation regimes)", of("rd_ood"), "–", _percent(gains["ccm_scale"])),
        ("best coordinate in hindsight (a bound)", of("rd_ood"), "–", _percent(gains["best"])),
        ("average of the experts", of("rd_ood"), f"≥ {change(-0.15, 0)}", _percent(gains["average"])),
        ("wrong sign: error relative to the right sign", of("rd_ood"), "≥ 3.9", _plain(known["wrong_sign"])),
        (
            "correlation of the best and the physical coordinate",
            of("rd_ood"),
            "≥ 0.99",
            f"{min(known['r_rd']['seeds']):.4f} (lowest)",
        ),
        (
            "change by a direction of fine-tuning noise with the same norm, relative to the average (control)",
            of("controls"),
            f"≥ {change(-0.05, 0)}",
            change(-study["summary"]["same_regime_direction_gain"]),
        ),
        (
            "error relative to the better anchor: Task Arithmetic, TIES, DARE, untuned ([tuned](comparisons.md))",
            of("controls"),
            f"> {merges['ccm_coord']:.2f}, CCM's",
            others,
        ),
        (
            "DPOT: error of CCM-Coord relative to the best in hindsight",
            of("rd_dpot"),
            "≤ 1.05",
            f"{study['summary']['dpot_coord_over_best']:.3f}",
        ),
        (
            "change of the mean error inside the support when the anchor's steps are doubled, one seed "
            "([every regime, more seeds](comparisons.md#are-the-anchors-trained-enough))",
            ("`experiments.study.convergence --config=rd_ood`", anchor["seconds"] / 60),
            f"> {change(-0.1, 0)}",
            change(-anchor["gain"]),
        ),
    ]
    times = [
        ("cold run, from data to report", run("", cold), "≤ 240 s", f"{cold:.0f} s"),
        ("the same command again", run("", time["again_seconds"]), "≤ 10 s", f"{time['again_seconds']:.1f} s"),
        (
            "the same pipeline at size `smoke`",
            run(":smoke", time["smoke_seconds"]),
            "≤ 45 s",
            f"{time['smoke_seconds']:.0f} s",
        ),
        (
            "the whole study, process time per core",
            ("`experiments.study --config=paper`", whole),
            "≤ 120 min",
            f"{whole:.0f} min",
        ),
    ]
    minutes = [(claim, got, sought, f"{spent:.1f}", command) for claim, (command, spent), sought, got in claims]
    spent = [(what, got, sought, command) for what, (command, _), sought, got in times]
    parts = (
        (("claim", "measured", "aim", "minutes", "command: `python -m …`"), minutes),
        (("run time", "measured", "aim", "command: `python -m …`"), spent),
    )
    return "\n\n".join(_markdown(head, rows) for head, rows in parts)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


# What each configuration promises: reductions by CCM-Coord and CCM-Prefix, correlation; None where nothing is asked.
PROMISED: dict[str, tuple[float | None, float | None, float | None]] = {
    "rd_ood": (0.66, 0.70, 0.99),
    "rd_dv": (None, None, None),
    "rd_f2": (None, None, None),
    "ns_ood": (0.75, None, 0.98),
    "rdb_gravity": (None, 0.75, 0.9),
    "rdb_ood": (None, 0.20, None),
    "rd_dpot": (None, None, None),
    "ns_dpot": (None, None, None),
    "rd_unet": (None, None, None),
}


def runs_of(folder: Path) -> tuple[dict[str, Any], set[str]]:
    """The rows of whole experiments, and which of them ``readouts.json`` measured after the whole study."""
    runs, newer = (
        {row["key"]: row for row in read_json(folder / name)["runs"]} for name in ("paper.json", "readouts.json")
    )
    anew = {key for key, row in newer.items() if row["seeds"]}
    return runs | {key: newer[key] for key in anew}, anew


def systems_table(folder: Path) -> str:
    """Every configuration of the study, in Markdown: what was asked stands behind what was measured."""
    columns = ["system, axis", "`--config=`", "seeds", "minutes, cold", "Coord", "Prefix"]
    columns += ["worst regime", "vs. better anchor", "correlation"]
    lines: list[tuple[str, ...]] = []
    runs, anew = runs_of(folder)

    def asked(bound: str) -> str:
        return f" ({bound})" if bound else ""

    for name, (coord, prefix, correlation) in PROMISED.items():
        if name not in runs:
            continue
        row, timed = runs[name], folder / f"{name}_time.json"
        minutes = f"{read_json(timed)['cold_seconds'] / 60:.1f}" if timed.exists() else "–"
        cells = [TITLES[name], f"`{name}`", str(row["seeds"]), minutes]
        for method, bound in (("ccm_coord", coord), ("ccm_prefix", prefix)):
            value = row["gains"][method]
            older = " †" if method == "ccm_prefix" and name not in anew else ""
            cells.append(f"{_percent(value, 0)}{asked(f'≤ {change(-bound, 0)}' if bound else '')}{older}")
        cells += ["diverges" if row[k] is None else change(row[k]) for k in ("harm", "harm_better")]
        cells[-2] += asked(f"≤ {change(0.02, 0)}")
        known = [r for r in row["correlation"]["seeds"] if r is not None]
        cells.append(
            f"{min(known):.3f}{asked(f'≥ {correlation:.2f}' if correlation else '')}"
            if len(known) == row["seeds"]
            else "–"
        )
        lines.append(tuple(cells))
    return _markdown(tuple(columns), lines)


def figure(folder: Path) -> Any:
    """The figure: error against the physical parameter, mean and range over seeds."""
    from matplotlib.figure import Figure

    from experiments.configs.rd_ood import get_config
    from experiments.pipeline.methods import drawn

    axis = get_config().axis
    rows = sorted(read_json(folder / "readouts.json")["curves"]["rd_ood"], key=lambda row: row["value"])
    made = Figure(figsize=(7.4, 3.9), layout="constrained")
    ax = made.subplots()
    ax.axvspan(axis.low, axis.high, color="#eef2f6", zorder=0, label="support of the anchor")
    x = [row["value"] for row in rows]
    for name, method in drawn("readme").items():
        y = np.array([row["errors"][name] for row in rows], float)
        ax.fill_between(x, y.min(axis=1), y.max(axis=1), color=method.colour, alpha=0.18, linewidth=0)
        width = 2.2 if method.bold else 1.2
        ax.plot(x, y.mean(axis=1), color=method.colour, linewidth=width, marker="o", markersize=3.5, label=method.label)
    ax.set(yscale="log", xlabel=f"{axis.label} ({axis.unit})", ylabel="relative L2 error after the prefix")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
    made.legend(loc="outside right upper", frameon=False, fontsize=8)
    return made
