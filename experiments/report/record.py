"""The tables of record and their figure, from the files in ``results/``; see :mod:`experiments.report.readme`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import read_json
from experiments.report.ratios import times, with_interval
from experiments.report.systems import TITLES
from experiments.report.tuned import tuned, with_tuned_anchors

ROOT = Path(__file__).parent.parent.parent
OTHER_MERGES = {"task_arithmetic": "Task Arithmetic", "ties": "TIES", "dare": "DARE"}
TINY = 1e-9  # an error of nothing has no factor
EVEN = 0.015  # a gain that the tables call equal


# What the paper reports and this study measures too, in the words of the table; keys of experiments.study.published.
PUBLISHED = {
    "f2_coord": "both diffusivities, outside: CCM-Coord",
    "f2_average": "both diffusivities, outside: average of the experts",
    "f2_coord_all": "both diffusivities, all regimes: CCM-Coord",
    "ns_scale": "viscosity, outside: CCM-Scale",
    "ns_average": "viscosity, outside: average of the experts",
    "rdb_prefix": "height of a dam, outside: CCM-Prefix",
    "rdb_average": "height of a dam, outside: average of the experts",
    "dpot_coord": "DPOT on reaction–diffusion, outside: CCM-Coord",
    "dpot_average": "DPOT on reaction–diffusion, outside: average of the experts",
    "du_average": "Dᵤ, outside: average of the experts",
    "dv_average": "Dᵥ, outside: average of the experts",
    "wrong_sign": "Dᵤ, outside: error with the wrong sign of the coordinate, relative to the right sign",
    "r_rd": "correlation of the best and the physical coordinate, Dᵤ",
    "r_ns": "correlation of the best and the physical coordinate, viscosity",
    "r_rdb": "correlation of the best and the physical coordinate, height of a dam",
}


def gain(found: dict[str, Any]) -> str:
    """A relative reduction of an error as a factor, with its interval; a null is a divergence.

    Example:
        >>> gain({"mean": 0.75, "low": 0.5, "high": 0.8})
        '**4.0\\xa0times smaller** [2.0, 5.0]'
    """
    ends = {"mean": "mean", "low": "high", "high": "low"}
    return with_interval({end: None if found[of] is None else max(1 - found[of], TINY) for end, of in ends.items()})


def _number(found: dict[str, Any], digits: int) -> str:
    told = f"{found['mean']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    return told.replace("-", "\N{MINUS SIGN}")


def beside_the_paper(study: dict[str, Any], peers: dict[str, Any]) -> str:
    """What the paper reports and what we measure, with its training and with tuned anchors, in Markdown."""
    rows = []
    for row in (row for key in PUBLISHED for row in study["published"] if row["key"] == key):
        theirs, ours, kind = row["published"], row["ours"], row["kind"]
        if kind == "gain":
            told = (gain({"mean": theirs, "low": None, "high": None}), gain(ours))
        else:
            digits = 2 if kind == "correlation" else 1
            told = (f"{theirs:.{digits}f}", _number(ours, digits))
        rows.append((PUBLISHED[row["key"]], *told, direction(row), tuned(peers, row["key"])))
    head = ("error, relative to the anchor's", "the paper", "here", "same direction", "here, tuned anchors")
    return _markdown(head, rows)


def direction(row: dict[str, Any]) -> str:
    """Whether a number has the direction of the published one: yes, no, or not settled by three seeds."""
    even = 1.0 if row["kind"] == "factor" else 0.0
    ours, theirs = row["ours"], row["published"] - even
    if (ours["low"] - even) * (ours["high"] - even) <= 0:
        return "not settled"
    return "yes" if theirs * (ours["mean"] - even) > 0 and abs(theirs) > EVEN else "no"


def takeaway(folder: Path) -> str:
    """Where CCM has a smaller error outside than the better anchor, and what of the paper's average does not hold."""
    runs, _ = runs_of(folder)
    shown = [name for name in CONFIGURATIONS if name in runs]
    labels = {"ccm_prefix": "CCM-Prefix", "ccm_coord": "CCM-Coord"}
    lines = [_wrapped(f"- {label}: {_won({n: runs[n]['gains'][key] for n in shown})}") for key, label in labels.items()]
    averages = [row for row in read_json(folder / "paper.json")["published"] if row["key"] in PUBLISHED]
    averages = [row for row in averages if row["key"].endswith("_average")]
    even = sum(abs(row["published"]) <= EVEN for row in averages)
    less = sum(row["published"] > EVEN for row in averages)
    larger = sum(row["ours"]["high"] < 0 for row in averages)
    smaller = sum(row["ours"]["low"] > 0 for row in averages)
    if even + less < len(averages) or smaller or larger <= len(averages) / 2:
        raise ValueError("takeaway: the averages are not what this paragraph says of them; rewrite it.")
    held = (
        "**The main claim, that merged weights have smaller errors outside the training range, holds here in most "
        "configurations.** Compared with the better anchor's error outside (a difference counts if the 95 % "
        "interval of the ratio excludes 1), the error is:"
    )
    broken = (
        f"**One published claim does not hold here: that of the average of the experts.** In the paper its error is "
        f"smaller than the anchor's on {less} of {len(averages)} axes and equal on {even}. Here it is larger on "
        f"{larger} of {len(averages)}, and not settled on {len(averages) - larger}."
    )
    return "\n".join((_wrapped(held), "", *lines, "", _wrapped(broken)))


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, 126, subsequent_indent="  " * text.startswith("- "), break_long_words=False, break_on_hyphens=False
    )


def _won(gains: dict[str, dict[str, Any]]) -> str:
    """In how many configurations an error is smaller, and the others by name."""
    others = {
        "larger": [TITLES[name] for name, found in gains.items() if found["high"] < 0],
        "no clear difference": [TITLES[name] for name, found in gains.items() if found["low"] <= 0 <= found["high"]],
    }
    smaller = len(gains) - sum(map(len, others.values()))
    told = [f"{word} for {' and for '.join(names)}" for word, names in others.items() if names]
    return "; ".join([f"**smaller in {smaller} of {len(gains)} configurations**", *told]) + "."


def in_short(study: dict[str, Any]) -> str:
    """How many of the paper's numbers have the same direction here, and what the others have in common."""
    rows = [row for row in study["published"] if row["key"] in PUBLISHED]
    said = [direction(row) for row in rows]
    others = {PUBLISHED[row["key"]].split(": ")[-1] for row, word in zip(rows, said, strict=True) if word == "no"}
    common = f" (all of them for the {others.pop()})" if len(others) == 1 else ""
    return (
        f"**{said.count('yes')} of {len(said)}** of the paper's numbers go in the same direction here, "
        f"{said.count('no')} do not{common}, and {said.count('not settled')} are not settled by three seeds."
    )


def table(folder: Path) -> str:
    """The tables of the paper's numbers, of claims and of run times, in Markdown."""
    study, time = read_json(folder / "paper.json"), read_json(folder / "rd_ood_time.json")
    anchor, cold = read_json(folder / "rd_ood_convergence.json"), time["cold_seconds"]
    peers = read_json(folder / "peers.json")
    whole = study["process_minutes"] / study["jobs"]
    gains = runs_of(folder)[0]["rd_ood"]["gains"]
    merges = {row["key"]: row["ours"]["mean"] for row in study["merges"]}
    paper, run = "experiments.study --config=paper", "experiments.run --config=rd_ood"

    def of(row: str) -> tuple[str, str]:
        return f"{study['minutes'][row]:.1f}", f"`{row}`"

    claims = [
        ("CCM-Coord, from metadata", gain(gains["ccm_coord"]), *of("rd_ood")),
        (
            "CCM-Prefix, from five observed frames (K = 4), one coordinate per trajectory",
            gain(gains["ccm_prefix"]),
            *of("rd_ood"),
        ),
        ("CCM-Scale, a map fitted on validation regimes", gain(gains["ccm_scale"]), *of("rd_ood")),
        ("oracle: the best coordinate in hindsight", gain(gains["best"]), *of("rd_ood")),
        ("average of the experts", gain(gains["average"]), *of("rd_ood")),
        *(
            (f"{label}, untuned ([tuned](comparisons.md))", " ".join(times(merges[key])), *of("controls"))
            for key, label in OTHER_MERGES.items()
        ),
        (
            "control: along a direction of fine-tuning noise of the same norm, relative to the average",
            " ".join(times(1 - study["summary"]["same_regime_direction_gain"])).strip(),
            *of("controls"),
        ),
        (
            "DPOT: CCM-Coord, relative to the oracle",
            " ".join(times(study["summary"]["dpot_coord_over_best"])),
            *of("rd_dpot"),
        ),
    ]
    spent = [
        ("from data to report, in an empty folder", f"{cold:.0f} s", f"`{run}`"),
        ("the same command again", f"{time['again_seconds']:.1f} s", f"`{run}`"),
        ("the same pipeline at size `smoke`", f"{time['smoke_seconds']:.0f} s", f"`{run}:smoke`"),
        ("the whole study, process time per core", f"{whole:.0f} min", f"`{paper}`"),
    ]
    longer = (
        f"The anchor with twice the steps: {' '.join(times(1 - anchor['gain']))} inside, in one seed ([every regime, "
        f"more seeds](comparisons.md#are-the-anchors-trained-enough)); `python -m experiments.study.convergence "
        f"--config=rd_ood`, {anchor['seconds'] / 60:.1f} minutes."
    )
    return "\n\n".join(
        (
            "## The paper's numbers and ours",
            _wrapped(with_tuned_anchors(peers)),
            _wrapped(in_short(study)),
            beside_the_paper(study, peers),
            "## Reaction–diffusion in detail",
            f"Errors outside. Each row is measured by `python -m {paper} --only=NAME`:",
            _markdown(("error, relative to the better anchor's", "measured", "minutes", "NAME"), claims),
            _wrapped(longer),
            "## Run time",
            _markdown(("run time", "measured", "command: `python -m …`"), spent),
        )
    )


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


CONFIGURATIONS = ("rd_ood", "rd_dv", "rd_f2", "ns_ood", "rdb_gravity", "rdb_ood", "rd_dpot", "ns_dpot", "rd_unet")


def runs_of(folder: Path) -> tuple[dict[str, Any], set[str]]:
    """The rows of whole experiments, and which of them ``readouts.json`` measured after the whole study."""
    runs, newer = (
        {row["key"]: row for row in read_json(folder / name)["runs"]} for name in ("paper.json", "readouts.json")
    )
    anew = {key for key, row in newer.items() if row["seeds"]}
    return runs | {key: newer[key] for key in anew}, anew


def systems_table(folder: Path) -> str:
    """Every configuration of the study, in Markdown."""
    columns = [
        "system",
        "seeds",
        "minutes",
        "Coord",
        "Prefix",
        "worst regime",
        "vs. better anchor",
        "lowest correlation",
    ]
    lines: list[tuple[str, ...]] = []
    runs, anew = runs_of(folder)
    for name in (name for name in CONFIGURATIONS if name in runs):
        row, timed = runs[name], folder / f"{name}_time.json"
        minutes = f"{read_json(timed)['cold_seconds'] / 60:.1f}" if timed.exists() else "–"
        harms = ("diverges" if row[k] is None else " ".join(times(1 + row[k])).strip() for k in ("harm", "harm_better"))
        known = [r for r in row["correlation"]["seeds"] if r is not None]
        lines.append(
            (
                f"{TITLES[name]}<br>`{name}`",
                str(row["seeds"]),
                minutes,
                gain(row["gains"]["ccm_coord"]),
                gain(row["gains"]["ccm_prefix"]) + ("" if name in anew else " †"),
                *harms,
                f"{min(known):.3f}".replace("-", "\N{MINUS SIGN}") if len(known) == row["seeds"] else "–",
            )
        )
    return _markdown(tuple(columns), lines)


def figure(folder: Path) -> Any:
    """The figure: error against the physical parameter, mean and range over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from experiments.configs.rd_ood import get_config
    from experiments.pipeline.methods import drawn

    axis = get_config().axis
    rows = sorted(read_json(folder / "readouts.json")["curves"]["rd_ood"], key=lambda row: row["value"])
    xlabel = f"{axis.label.replace('activator ', '').replace('D_u', 'Dᵤ')} ({axis.unit})"
    made = Figure(figsize=(7.4, 3.9), layout="constrained")
    ax = made.subplots()
    ax.axvspan(axis.low, axis.high, color="#eef2f6", zorder=0, label="training range of the anchor")
    x = [row["value"] for row in rows]
    for name, method in drawn("readme").items():
        y = np.array([row["errors"][name] for row in rows], float)
        ax.fill_between(x, y.min(axis=1), y.max(axis=1), color=method.colour, alpha=0.18, linewidth=0)
        width = 2.2 if method.bold else 1.2
        ax.plot(x, y.mean(axis=1), color=method.colour, linewidth=width, marker="o", markersize=3.5, label=method.label)
    ax.set(yscale="log", xlabel=xlabel, ylabel="relative L2 error after the observed frames")
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
    made.legend(loc="outside right upper", frameon=False, fontsize=8)
    return made
