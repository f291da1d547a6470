"""Writes the README's numbers and figure from the files in results/, so that none is typed by hand.

python -m experiments.readme
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from experiments.store import read_json

ROOT = Path(__file__).parent.parent
SYSTEMS_MARKS = ("<!-- systems: python -m experiments.readme -->", "<!-- end of systems -->")
BEGIN, END = "<!-- numbers: python -m experiments.readme -->", "<!-- end of numbers -->"


def _percent(value: dict[str, Any]) -> str:
    return f"**{value['mean']:.1%}** [{value['low']:.1%}, {value['high']:.1%}]"


def _plain(value: dict[str, Any]) -> str:
    return f"**{value['mean']:.1f}** [{value['low']:.1f}, {value['high']:.1f}]"


def table(folder: Path) -> str:
    """The table of claims, in Markdown, from ``rd_ood.json``, ``rd_ood_time.json`` and ``rd_ood_convergence.json``."""
    seeds, time = read_json(folder / "rd_ood.json"), read_json(folder / "rd_ood_time.json")
    summary, reduction = seeds["summary"], seeds["summary"]["reduction"]
    cold, count = time["cold_seconds"], len(reduction["ccm_coord"]["seeds"])
    anchor = read_json(folder / "rd_ood_convergence.json")
    wrong, r = summary["wrong_sign_factor"], summary["best_correlation"]
    commands = {
        "seeds": ("`experiments.seeds --config=rd_ood`", count * cold),
        "cold": ("`experiments.run --config=rd_ood`", cold),
        "again": ("`experiments.run --config=rd_ood`", time["again_seconds"]),
        "smoke": ("`experiments.run --config=rd_ood:smoke`", time["smoke_seconds"]),
        "anchor": ("`experiments.convergence --config=rd_ood`", anchor["seconds"]),
    }
    far = "less error outside the support than the better anchor"
    claims = [
        (f"CCM-Coord, from metadata: {far}", "seeds", "≥ 66 %", _percent(reduction["ccm_coord"])),
        (
            "CCM-Prefix, four frames, one coordinate a trajectory",
            "seeds",
            "≥ 70 %",
            _percent(reduction["ccm_prefix"]),
        ),
        ("CCM-Scale, a map calibrated on validation regimes", "seeds", "–", _percent(reduction["ccm_scale"])),
        ("the best coordinate in hindsight, a bound", "seeds", "–", _percent(reduction["best"])),
        ("the endpoint average", "seeds", "≤ 15 %", _percent(reduction["average"])),
        ("wrong sign: times the error of the right one", "seeds", "≥ 3.9", _plain(wrong)),
        ("correlation of best and physical coordinate", "seeds", "≥ 0.99", f"{min(r['seeds']):.4f} (lowest)"),
        ("twice the anchor's steps lower its error inside the support by", "anchor", "< 10 %", f"{anchor['gain']:.1%}"),
        ("a cold run, from data to report", "cold", "≤ 6 min", f"{cold:.0f} s"),
        ("the same command again", "again", "≤ 10 s", f"{time['again_seconds']:.1f} s"),
        ("the same path in small", "smoke", "≤ 45 s", f"{time['smoke_seconds']:.0f} s"),
    ]
    rows = [
        (claim, commands[name][0], f"{commands[name][1] / 60:.1f}", expected, measured)
        for claim, name, expected, measured in claims
    ]
    head = "| claim | command: `python -m …` | minutes here | expected | measured |\n|---|---|---|---|---|\n"
    return head + "\n".join(f"| {' | '.join(row)} |" for row in rows)


# What each configuration promises: reductions by CCM-Coord and CCM-Prefix, correlation; None where nothing is asked.
SYSTEMS: dict[str, tuple[str, float | None, float | None, float | None]] = {
    "rd_ood": ("reaction–diffusion, D_u", 0.66, 0.70, 0.99),
    "rd_dv": ("reaction–diffusion, D_v", None, None, None),
    "rd_f2": ("reaction–diffusion, both", None, None, None),
    "ns_ood": ("Navier–Stokes, viscosity", 0.75, None, 0.98),
    "rdb_gravity": ("dam break, gravity", None, 0.75, 0.9),
    "rdb_ood": ("dam break, height", None, 0.20, None),
}


def systems_table(folder: Path) -> str:
    """Every configuration with a file of seeds, in Markdown: what was asked stands behind what was measured."""
    head = "| system, axis | `--config=` | seeds | minutes, cold | Coord | Prefix | worst regime | correlation |\n"
    lines = [head + "|---|---|---|---|---|---|---|---|"]

    def asked(bound: float | None, form: str) -> str:
        return "" if bound is None else f" (≥ {bound:{form}})"

    for name, (label, coord, prefix, correlation) in SYSTEMS.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        s = read_json(path)["summary"]
        timed = folder / f"{name}_time.json"
        minutes = f"{read_json(timed)['cold_seconds'] / 60:.1f}" if timed.exists() else "–"
        cells = [label, f"`{name}`", str(len(s["seconds"])), minutes]
        for method, bound in (("ccm_coord", coord), ("ccm_prefix", prefix)):
            value = s["reduction"][method]
            spread = "" if value["low"] is None else f" [{value['low']:.0%}, {value['high']:.0%}]"
            cells.append(f"**{value['mean']:.1%}**{spread}{asked(bound, '.0%')}")
        cells.append(f"{s['harm']['above_anchor']:+.1%} (≤ +2%)")
        cells.append(f"{min(s['best_correlation']['seeds']):.3f}{asked(correlation, '.2f')}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def replace_numbers(text: str, numbers: str, begin: str = BEGIN, end: str = END) -> str:
    """The text with what stands between the two marks replaced."""
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(text):
        raise ValueError(f"replace_numbers: the README has no lines {begin} and {end}; put them back.")
    return pattern.sub(lambda _: f"{begin}\n{numbers}\n{end}", text)


def with_numbers(text: str, folder: Path) -> str:
    """The README with both tables from the files of ``folder``."""
    return replace_numbers(replace_numbers(text, table(folder)), systems_table(folder), *SYSTEMS_MARKS)


def draw(folder: Path, target: Path) -> None:
    """The README's figure: error against the physical parameter, mean and range over seeds."""
    from matplotlib.figure import Figure

    from experiments.figures import COLOURS, LABELS

    seeds = read_json(folder / "rd_ood.json")
    axis, rows = seeds["config"]["axis"], sorted(seeds["regimes"], key=lambda row: row["value"])
    figure = Figure(figsize=(7.4, 3.9), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(axis["low"], axis["high"], color="#eef2f6", zorder=0, label="support of the anchor")
    x = [row["value"] for row in rows]
    for name in ("wrong_sign", "average", "anchor", "anchor_more", "ccm_coord", "ccm_prefix"):
        y = np.array([row["errors"][name]["seeds"] for row in rows], float)
        ax.fill_between(x, y.min(axis=1), y.max(axis=1), color=COLOURS[name], alpha=0.18, linewidth=0)
        width = 2.2 if name.startswith("ccm") or name == "anchor" else 1.2
        ax.plot(x, y.mean(axis=1), color=COLOURS[name], linewidth=width, marker="o", markersize=3.5, label=LABELS[name])
    ax.set(yscale="log", xlabel=f"{axis['label']} ({axis['unit']})", ylabel="relative L2 error after the prefix")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(target, dpi=160)


def main() -> None:
    """Rewrites the README's numbers and figure."""
    readme = ROOT / "README.md"
    readme.write_text(with_numbers(readme.read_text(), ROOT / "results"))
    draw(ROOT / "results", ROOT / "docs" / "rd_ood.png")


if __name__ == "__main__":
    main()
