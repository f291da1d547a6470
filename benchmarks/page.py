"""Writes docs/performance.md and its pictures from the files in docs/performance/.

python -m benchmarks.page
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.fno_figure import draw
from benchmarks.thresholds import thresholds
from ccm_jax.io.atomic import read_json

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "performance"

HEAD = """# Speed

Each benchmark compares this package with the obvious alternative, in one run on one machine with interleaved rounds.
Numbers are medians, with the range of the rounds in brackets. Where both sides do the same work, they are timed only
after their outputs agree. The command above each table writes its data; `python -m benchmarks.page` writes this page.
"""


def with_range(value: dict[str, float], scale: float = 1.0, digits: int = 2) -> str:
    """Median [low, high]."""
    middle, low, high = (f"{scale * value[key]:.{digits}f}" for key in ("median", "low", "high"))
    return f"{middle} [{low}, {high}]"


def about(content: dict[str, Any]) -> str:
    """What it ran on."""
    on = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    return f"{on['processor']}, {on['cores']} cores; {versions}; commit {content['git']}, {content['created'][:10]}."


def fno(content: dict[str, Any]) -> str:
    """Training step, forward pass, memory and compilation against neuraloperator."""
    lines = [
        "## FNO compared with neuraloperator",
        "`python -m benchmarks.fno --output docs/performance/fno.json`",
        "![Time of neuraloperator over ours](performance/fno.png)",
        "Times are in milliseconds.",
        "- *Ratio*: neuraloperator's time (the faster of eager and compiled) divided by ours: above 1, ours is "
        "faster.\n"
        "- *Per core*: the forward pass with the batch split over one device per core, as in the experiments' "
        "rollouts; small networks also train this way.\n"
        "- *First call*: seconds to build, compile and run the first forward pass and the first training call "
        "(neuraloperator: eager).\n"
        "- *Library defaults*: the ratios without the settings of `ccm_jax.processor`, against PyTorch's eager time in "
        "the same process. These settings are LLVM's optimisation level 2 and full vector width, freed memory kept in "
        "the allocator, and each core as a device.",
    ]
    size = "grid, width, modes, batch"
    tables = {
        "training step": [f"| {size} | ours, ms | eager | compiled | ratio |", "|---|---|---|---|---|"],
        "forward": [
            f"| {size} | ours, ms | eager | compiled | ratio | per core, ms | ratio |",
            "|---|---|---|---|---|---|---|",
        ],
        "first": [
            f"| {size} | first call: ours | theirs | library defaults: training step | forward |",
            "|---|---|---|---|---|",
        ],
    }
    for row in content["rows"]:
        name = f"{row['grid']}², {row['width']}, {row['modes']}, {row['batch']}"
        step, forward = (_times(row, what) for what in ("training_step", "forward"))
        spread = row["forward_by_core"]
        forward += [f"{1e3 * spread['median']:.0f}", with_range(row["forward_by_core_ratio"])] if spread else ["–", "–"]
        first = [f"{(row['alone'][who] or {}).get('first_call', float('nan')):.1f} s" for who in ("ours", "torch")]
        library = row.get("plain")
        first += [with_range(library[f"{w}_ratio"]) if library else "–" for w in ("training_step", "forward")]
        for table, cells in zip(tables.values(), (step, forward, first), strict=True):
            table.append(f"| {' | '.join([name, *cells])} |")
    parts = ["### Training step", "### Forward pass", "### First call, and without our settings"]
    made = [part for title, table in zip(parts, tables.values(), strict=True) for part in (title, "\n".join(table))]
    return "\n\n".join([*lines, *made, about(content)])


def _times(row: dict[str, Any], what: str) -> list[str]:
    """Milliseconds of three sides, and their ratio."""
    times = row[what]
    cells = [f"{1e3 * times[who]['median']:.0f}" if who in times else "–" for who in ("ours", "eager", "compile")]
    return [*cells, with_range(row[f"{what}_ratio"])]


def calibration(content: dict[str, Any]) -> str:
    """Prefix calibration against a loop over state dicts."""
    table = ["| trajectories | ours, 13 | PyTorch, 13 | ratio | on one device | ours, 39 | time, 39 / 13 |"]
    table += ["|---|---|---|---|---|---|---|"]
    for row in content["rows"]:
        times = row["seconds"]
        cells = [str(row["trajectories"]), *(f"{times[who]['median']:.2f} s" for who in ("ours", "torch"))]
        cells += [with_range(row[ratio]) for ratio in ("ratio", "ratio_one_device")]
        cells += [f"{times['ours, 39']['median']:.2f} s", with_range(row["39_over_13"])]
        table.append(f"| {' | '.join(cells)} |")
    size = content["rows"][0]
    text = (
        f"Candidates of neuraloperator's FNO, width {size['width']}, {size['grid']}², K = 4; 39 candidates "
        "are 13 coordinates at three gates each. Both timings include merging the candidates; neither includes fitting "
        "the chart. *Ratio*: PyTorch's time divided by ours, with our trajectories split over one device per core, as "
        "in the experiments; *on one device*: without that split."
    )
    command = "`python -m benchmarks.calibration --output docs/performance/calibration.json`"
    parts = ["## Prefix calibration", command, text, "\n".join(table)]
    searched = continuous(content["continuous"]) if "continuous" in content else []
    return "\n\n".join([*parts, *searched, about(content)])


def continuous(found: dict[str, Any]) -> list[str]:
    """Continuous search beside grid search."""
    table = ["| readout | seconds | rollouts | loss | distance to the planted coordinate |", "|---|---|---|---|---|"]
    for name, seconds in found["seconds"].items():
        rollouts, loss, off = (found[what][name] for what in ("rollouts", "loss", "off_planted"))
        cells = [name, with_range(seconds), f"{rollouts:.1f}", f"{loss:.5f}", f"{off:.4f}"]
        table.append(f"| {' | '.join(cells)} |")
    text = (
        "One coordinate for each of 16 trajectories, from frames with 1 % noise, by continuous search and by grid "
        "search (the paper's bank). *Rollouts*: a derivative counts as one more. *By default*: the scored rollout "
        "begins half way through the prefix. Grid search takes "
        f"{with_range(found['bank_over_continuous'])} times the time of the continuous search."
    )
    return [text, "\n".join(table)]


def torch_speed(content: dict[str, Any]) -> str:
    """Candidates of a PyTorch network, beside a loop in PyTorch."""
    table = ["| weights | grid, batch, candidates | ours | PyTorch | ours over PyTorch |", "|---|---|---|---|---|"]
    for row in content["rows"]:
        cells = [f"{row['weights'] / 1e6:.0f} M", f"{row['grid']}², {row['batch']}, {row['candidates']}"]
        cells += [f"{row['seconds'][who]['median']:.2f} s" for who in ("ours", "torch")]
        table.append(f"| {' | '.join([*cells, with_range(row['ours_over_torch'])])} |")
    text = (
        "A U-Net in PyTorch. Both sides merge the candidates, load them and roll them out over four frames: ours "
        "through `ccm_jax.interop.torch`, PyTorch through `load_state_dict` in a loop."
    )
    command = "`python -m benchmarks.torch_speed --output docs/performance/torch_speed.json`"
    more = [content["note"]] if "note" in content else []
    return "\n\n".join(["## Networks in PyTorch", command, text, *more, "\n".join(table), about(content)])


def torch_family(content: dict[str, Any]) -> str:
    """Networks trained in PyTorch, calibrated here, beside PyTorch's own merge."""
    table = [
        "| network | weights | output difference | grid search: ours, PyTorch | loss difference | continuous | errors |"
    ]
    table += ["|---|---|---|---|---|---|---|"]
    for name, row in content["rows"].items():
        bank, best = row["bank"], row["continuous"]
        cells = [name, f"{row['weights'] / 1e6:.2f} M", f"{row['outputs_apart']:.0e}"]
        cells += [f"{bank['ccm']:+g}, {bank['torch']:+g}", f"{row['bank_losses_apart']:.0e}"]
        cells.append(f"{best['coordinate']:+.3f}{'' if best['lowest'] else ', not the lowest'}")
        errors = [
            re.search(rf"│ {one} +│ +([\d.]+)", row["evaluate"]) for one in ("anchor", "low", "high", "continuous")
        ]
        cells.append(", ".join("–" if found is None else f"{float(found[1]):.3f}" for found in errors))
        table.append(f"| {' | '.join(cells)} |")
    text = (
        "Networks trained and fine-tuned in PyTorch, calibrated by `ccm calibrate`, and loaded back by "
        "`load_state_dict(strict=True)`. *Output difference*: relative difference from PyTorch's own merge. "
        "*Grid search*: the coordinate that each side chooses. *Continuous*: the coordinate that our search finds; "
        "PyTorch's loss there is lower than at 0.1 to either side. *Errors*: of anchor, low expert, high expert, and "
        "the merge at that coordinate, on other trajectories of the calibrated regime, which lies at +2. We lengthened "
        "the training once, after seeing the errors of a shorter run in which the ViT diverged."
    )
    command = "`python -m benchmarks.torch_family --output docs/performance/torch_family.json`"
    return "\n\n".join(["## Families trained in PyTorch", command, text, "\n".join(table), about(content)])


def merging(content: dict[str, Any]) -> str:
    """Bandwidth of merging, and files against mergekit."""
    memory, files = content["memory"], content["files"]
    table = ["| | GB/s | relative to a copy |", "|---|---|---|"]
    for name, speed in memory["gigabytes_per_second"].items():
        share = with_range(memory["of_copy"][name]) if name in memory["of_copy"] else ""
        table.append(f"| {name} | {with_range(speed, digits=1)} | {share} |")
    seconds = files["seconds"]
    text = (
        f"Three trees of {memory['bytes'] / 2**30:.1f} GiB. From files of {files['bytes'] / 2**30:.1f} GiB each: ours "
        f"{with_range(seconds['ours'])} s, mergekit {with_range(seconds['mergekit'])} s, ratio "
        f"{with_range(files['ratio'])}."
    )
    command = "`python -m benchmarks.merging --output docs/performance/merging.json`"
    return "\n\n".join(["## Merging", command, text, "\n".join(table), about(content)])


def scaling(content: dict[str, Any]) -> str:
    """How cost grows with sizes and devices."""
    table = ["| size | values | seconds | exponent over the last three |", "|---|---|---|---|"]
    for name, row in content["sizes"].items():
        seconds = ", ".join(f"{s['median']:.3f}" for s in row["seconds"])
        table.append(f"| {name} | {', '.join(map(str, row['values']))} | {seconds} | {row['exponent']:.2f} |")
    devices = ["| devices on one CPU | calibration | ten training steps |", "|---|---|---|"]
    for count, row in content["devices"].items():
        cells = [f"{with_range(row[name], 1e3, 0)} ms" for name in ("calibration", "training")]
        devices.append(f"| {count} | {' | '.join(cells)} |")
    text = "Calibration with 13 candidates, 32², width 32, K = 4, 8 trajectories; one size is varied at a time."
    shared = (
        "These devices share the cores of one CPU, so the fastest device count depends on the problem; [the "
        "notebook](../notebooks/03_prefix_on_many_devices.ipynb) finds a different one."
    )
    command = "`python -m benchmarks.scaling --output docs/performance/scaling.json`"
    parts = ["## Scaling", command, text, "\n".join(table), "\n".join(devices), shared, about(content)]
    return "\n\n".join(parts)


def first_use(content: dict[str, Any]) -> str:
    """What the README's snippet takes in a new process."""
    table = ["| seconds | as it stands | with programs kept by an earlier process |", "|---|---|---|"]
    for part, row in content["rows"].items():
        table.append(f"| {part} | {with_range(row['fresh'])} | {with_range(row['kept'])} |")
    if once := content.get("terminal"):
        first, later = with_range(once["fresh"]), with_range(once["kept"])
        table.append(f"| the README's `ccm calibrate`, its first call and a later one | {first} | {later} |")
    text = (
        "The README's snippet in a new process. Most of it is compilation, which depends on the network and on the "
        "shapes of its data, and is not repeated within a process. `ccm_jax.processor.keep_compiled(shortest=0)`, "
        "called first, keeps compiled programs on disk for later processes; `ccm` does so by itself."
    )
    command = "`python -m benchmarks.first_use --output docs/performance/first_use.json`"
    return "\n\n".join(["## The first call", command, text, "\n".join(table), about(content)])


def end_to_end(content: dict[str, Any]) -> str:
    """The main job, stage by stage."""
    table = ["| stage | seconds |", "|---|---|"]
    table += [f"| {name} | {seconds:.1f} |" for name, seconds in content["stage_seconds"].items()]
    text = (
        f"A cold run of `rd_ood` takes {content['cold_seconds']:.0f} s, of which XLA compiles for "
        f"{content['compile_seconds']:.0f} s. Running it again takes {content['again_seconds']:.1f} s, and "
        f"`:smoke` {content['smoke_seconds']:.0f} s."
    )
    command = "`python -m benchmarks.end_to_end --output results/rd_ood_time.json`"
    return "\n\n".join(["## The main experiment", command, text, "\n".join(table)])


def from_to(values: list[dict[str, float]]) -> str:
    """The smallest and the largest of some medians."""
    found = sorted(value["median"] for value in values)
    return f"{found[0]:.1f} to {found[-1]:.1f}"


def summary(found: dict[str, Any], run: dict[str, Any]) -> str:
    """What the tables say, in a few lines."""
    fno, many = found["fno"]["rows"], found["calibration"]["rows"][0]
    step, forward = (from_to([row[f"{what}_ratio"] for row in fno]) for what in ("training_step", "forward"))
    ours, theirs = (from_to([{"median": row["alone"][who]["first_call"]} for row in fno]) for who in ("ours", "torch"))
    torch = [with_range(row["ours_over_torch"]) for row in found["torch_speed"]["rows"]]
    files = found["merging"]["files"]["ratio"]
    unclear = ": no clear difference" if files["low"] <= 1 <= files["high"] else ""
    whole, compiling = run["cold_seconds"], run["compile_seconds"]
    lines = [
        "In short, on two CPU cores. **Nothing here was measured on a GPU or TPU.** [Thresholds](#thresholds) were set "
        "before the measurements.",
        f"- An FNO's training step is {step} times faster than neuraloperator's, its forward pass {forward} times. "
        f"Its first call takes {ours} s, neuraloperator's {theirs} s.",
        f"- Calibration with {many['trajectories']} trajectories and 13 candidates is {with_range(many['ratio'])} "
        f"times faster than a loop in PyTorch; {with_range(many['ratio_one_device'])} times on one device.",
        f"- Calibration of a network in PyTorch takes {' and '.join(torch)} of the time of a loop in PyTorch.",
        f"- Merging files is {with_range(files)} times faster than mergekit{unclear}.",
        f"- The main experiment takes {whole:.0f} s, of which XLA compiles for {compiling:.0f} s.",
    ]
    return f"{lines[0]}\n\n" + "\n".join(lines[1:])


def page(folder: Path = FOLDER, results: Path = ROOT / "results") -> str:
    """The whole page, from the files that are there."""
    sections = {
        **{
            "first_use": first_use,
            "fno": fno,
            "calibration": calibration,
            "torch_speed": torch_speed,
            "torch_family": torch_family,
        },
        **{"merging": merging, "scaling": scaling},
    }
    found = {name: read_json(folder / f"{name}.json") for name in sections}
    run = read_json(results / "rd_ood_time.json")
    parts = [HEAD.strip(), summary(found, run), *(make(found[name]) for name, make in sections.items())]
    return "\n\n".join([*parts, end_to_end(run), thresholds(found, run)]) + "\n"


def main() -> None:
    """Writes the page and its pictures."""
    draw(read_json(FOLDER / "fno.json")["rows"], FOLDER)
    (ROOT / "docs" / "performance.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
