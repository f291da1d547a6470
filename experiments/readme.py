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
BEGIN, END = "<!-- numbers: python -m experiments.readme -->", "<!-- end of numbers -->"


def _percent(value: dict[str, Any]) -> str:
    return f"**{value['mean']:.1%}** [{value['low']:.1%}, {value['high']:.1%}]"


def _plain(value: dict[str, Any]) -> str:
    return f"**{value['mean']:.1f}** [{value['low']:.1f}, {value['high']:.1f}]"


def table(folder: Path) -> str:
    """The table of claims, in Markdown, from ``rd_ood.json``, ``rd_ood_convergence.json`` and ``rd_ood_time.json``."""
    seeds, time = read_json(folder / "rd_ood.json"), read_json(folder / "rd_ood_time.json")
    convergence = read_json(folder / "rd_ood_convergence.json")
    summary, reduction = seeds["summary"], seeds["summary"]["reduction"]
    cold, count = time["cold_seconds"], len(reduction["ccm_coord"]["seeds"])
    wrong, r = summary["wrong_sign_factor"], summary["best_correlation"]
    gain = f"{convergence['gain']:.1%}"
    commands = {
        "seeds": ("`experiments.seeds --config=rd_ood`", count * cold),
        "convergence": ("`experiments.convergence --config=rd_ood`", convergence["seconds"]),
        "cold": ("`experiments.run --config=rd_ood`", cold),
        "again": ("`experiments.run --config=rd_ood`", time["again_seconds"]),
        "smoke": ("`experiments.run --config=rd_ood:smoke`", time["smoke_seconds"]),
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
        ("what twice the anchor's steps gain inside the support", "convergence", "< 10 %", gain),
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


def replace_numbers(text: str, numbers: str) -> str:
    """The text with what stands between the two marks replaced."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    if not pattern.search(text):
        raise ValueError(f"replace_numbers: the README has no lines {BEGIN} and {END}; put them back.")
    return pattern.sub(lambda _: f"{BEGIN}\n{numbers}\n{END}", text)


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
    readme.write_text(replace_numbers(readme.read_text(), table(ROOT / "results")))
    draw(ROOT / "results", ROOT / "docs" / "rd_ood.png")


if __name__ == "__main__":
    main()
