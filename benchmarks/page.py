"""Writes docs/performance.md from the files in docs/performance/.

python -m benchmarks.page
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import read_json

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "performance"

HEAD = """# Performance

Side by side with what a user would pick instead, in one run on one machine; rounds are interleaved, figures are medians
with their range. Where two sides do the same work, they are timed only after their outputs agree. Each table is written
from the file that the command above it wrote (`python -m benchmarks.page`).
"""


def with_range(value: dict[str, float], scale: float = 1.0, digits: int = 2) -> str:
    """Median [low, high]."""
    middle, low, high = (f"{scale * value[key]:.{digits}f}" for key in ("median", "low", "high"))
    return f"**{middle}** [{low}, {high}]"


def about(content: dict[str, Any]) -> str:
    """What it ran on."""
    on = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    return f"{on['processor']}, {on['cores']} cores; {versions}; commit {content['git']}, {content['created'][:10]}."


def fno(content: dict[str, Any]) -> str:
    """Training step, forward pass, memory and compilation against neuraloperator."""
    lines = [
        "## FNO beside neuraloperator",
        "`python -m benchmarks.fno --output docs/performance/fno.json`",
        "![Time of neuraloperator over ours](performance/fno.png)",
        "Milliseconds; ratios are neuraloperator's time, eager or compiled, whichever is faster, over ours. Goals: 2 × "
        "in the first three rows, 2.5 × at 32², never below 1. *First call*: seconds until a forward pass and the "
        "first training call are built, compiled and done (theirs: eager). *By core*: the forward pass with the batch "
        "spread over a device for each core, as the experiments' rollouts are; training is so for small networks. "
        "The compiler runs at LLVM's second level and for whole vectors, memory is kept by the allocator, and each "
        "core is a device (`ccm_jax.processor`). *As a library user gets it*: without that, "
        "ratios for a training step and a forward pass, beside PyTorch's eager time in the same process.",
    ]
    table = [
        "| grid, width, modes, batch | training step: ours | eager | compiled | ratio | forward: ours | eager "
        "| compiled | ratio | by core: ours | ratio | first call: ours, theirs | as a library user gets it |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        cells = [f"{row['grid']}², {row['width']}, {row['modes']}, {row['batch']}"]
        for what in ("training_step", "forward"):
            times = row[what]
            cells += [
                f"{1e3 * times[who]['median']:.0f}" if who in times else "–" for who in ("ours", "eager", "compile")
            ]
            cells.append(with_range(row[f"{what}_ratio"]))
        spread = row["forward_by_core"]
        cells += [f"{1e3 * spread['median']:.0f}", with_range(row["forward_by_core_ratio"])] if spread else ["–", "–"]
        alone = [row["alone"][who] or {} for who in ("ours", "torch")]
        cells.append(", ".join(f"{one.get('first_call', float('nan')):.1f} s" for one in alone))
        library = row.get("plain")
        cells.append(
            ", ".join(with_range(library[f"{w}_ratio"]) for w in ("training_step", "forward")) if library else "–"
        )
        table.append(f"| {' | '.join(cells)} |")
    return "\n\n".join([*lines, "\n".join(table), about(content)])


def calibration(content: dict[str, Any]) -> str:
    """Prefix calibration against a loop over state dicts."""
    table = ["| trajectories | ours, 13 | PyTorch, 13 | ratio | by one device | ours, 39 | 39 over 13 |"]
    table += ["|---|---|---|---|---|---|---|"]
    for row in content["rows"]:
        times = row["seconds"]
        cells = [str(row["trajectories"]), *(f"{times[who]['median']:.2f} s" for who in ("ours", "torch"))]
        cells += [with_range(row[ratio]) for ratio in ("ratio", "ratio_one_device")]
        cells += [f"{times['ours, 39']['median']:.2f} s", with_range(row["39_over_13"])]
        table.append(f"| {' | '.join(cells)} |")
    size = content["rows"][0]
    text = (
        f"Candidates of neuraloperator's FNO, width {size['width']}, {size['grid']}², K = 4. Goals, at 16 "
        "trajectories: 2.5 ×, and 39 candidates (three gates) in at most 3.3 × the time of 13. Merging "
        "the candidates is part of both; reading the chart from the experts, once, is not. Ours spreads trajectories "
        "over a device for each core, as the experiments do; *by one device* is the ratio without that."
    )
    command = "`python -m benchmarks.calibration --output docs/performance/calibration.json`"
    parts = ["## Prefix calibration", command, text, "\n".join(table)]
    searched = continuous(content["continuous"]) if "continuous" in content else []
    return "\n\n".join([*parts, *searched, about(content)])


def continuous(found: dict[str, Any]) -> list[str]:
    """The continuous readout beside a bank."""
    table = ["| readout | seconds | rollouts | loss | from the planted coordinate |", "|---|---|---|---|---|"]
    for name, seconds in found["seconds"].items():
        rollouts, loss, off = (found[what][name] for what in ("rollouts", "loss", "off_planted"))
        cells = [name, with_range(seconds), f"{rollouts:.1f}", f"{loss:.5f}", f"{off:.4f}"]
        table.append(f"| {' | '.join(cells)} |")
    text = (
        "A coordinate for each of 16 trajectories, from frames with 1 % noise. Each value of a rollout counts as one, "
        "each derivative as one more. *By default* the scored rollout begins half way through the prefix. "
        f"The bank takes {with_range(found['bank_over_continuous'])} × the time of the continuous search."
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
        "A U-Net in PyTorch: merging the candidates, loading them and rolling them out over four frames, by charts "
        "and callbacks of `ccm_jax.interop.torch`, and by `load_state_dict` and a loop. Goal: at most 1.2."
    )
    command = "`python -m benchmarks.torch_speed --output docs/performance/torch_speed.json`"
    more = [content["note"]] if "note" in content else []
    return "\n\n".join(["## Networks in PyTorch", command, text, *more, "\n".join(table), about(content)])


def torch_family(content: dict[str, Any]) -> str:
    """Networks trained in PyTorch, calibrated here, beside PyTorch's own merge."""
    table = ["| network | weights | outputs apart | bank: ours, PyTorch | losses of the bank apart | continuous |"]
    table += ["|---|---|---|---|---|---|"]
    for name, row in content["rows"].items():
        bank, best = row["bank"], row["continuous"]
        cells = [name, f"{row['weights'] / 1e6:.2f} M", f"{row['outputs_apart']:.0e}"]
        cells += [f"{bank['ccm']:+g}, {bank['torch']:+g}", f"{row['bank_losses_apart']:.0e}"]
        cells.append(f"{best['coordinate']:+.3f}{'' if best['lowest'] else ', not the lowest'}")
        table.append(f"| {' | '.join(cells)} |")
    text = (
        "Trained and fine-tuned in PyTorch for a while, calibrated by `ccm calibrate`, merged to a file that goes "
        "back by `load_state_dict(strict=True)`: relative difference of outputs to PyTorch's own merge (goal 1e-6), "
        "and the coordinate that a loop in PyTorch chooses. *Continuous*: PyTorch's loss is lower there than at 0.1 to "
        "either side."
    )
    command = "`python -m benchmarks.torch_family --output docs/performance/torch_family.json`"
    return "\n\n".join(["## Families trained in PyTorch", command, text, "\n".join(table), about(content)])


def merging(content: dict[str, Any]) -> str:
    """Bandwidth of merging, and files against mergekit."""
    memory, files = content["memory"], content["files"]
    table = ["| | GB/s | of a copy |", "|---|---|---|"]
    for name, speed in memory["gigabytes_per_second"].items():
        share = with_range(memory["of_copy"][name]) if name in memory["of_copy"] else ""
        table.append(f"| {name} | {with_range(speed, digits=1)} | {share} |")
    seconds = files["seconds"]
    text = (
        f"Three trees of {memory['bytes'] / 2**30:.1f} GiB. From files of {files['bytes'] / 2**30:.1f} GiB each: ours "
        f"{with_range(seconds['ours'])} s, mergekit {with_range(seconds['mergekit'])} s, ratio "
        f"{with_range(files['ratio'])}. Goals: 0.6 of a copy, 2 × mergekit."
    )
    command = "`python -m benchmarks.merging --output docs/performance/merging.json`"
    return "\n\n".join(["## Merging", command, text, "\n".join(table), about(content)])


def scaling(content: dict[str, Any]) -> str:
    """How cost grows with sizes and devices."""
    table = ["| size | values | seconds | exponent of the last three |", "|---|---|---|---|"]
    for name, row in content["sizes"].items():
        seconds = ", ".join(f"{s['median']:.3f}" for s in row["seconds"])
        table.append(f"| {name} | {', '.join(map(str, row['values']))} | {seconds} | {row['exponent']:.2f} |")
    devices = ["| devices made of one CPU | calibration | ten training steps |", "|---|---|---|"]
    for count, row in content["devices"].items():
        cells = [f"{with_range(row[name], 1e3, 0)} ms" for name in ("calibration", "training")]
        devices.append(f"| {count} | {' | '.join(cells)} |")
    text = "A calibration of 13 candidates, 32², width 32, K = 4, 8 trajectories, with one size changed at a time."
    command = "`python -m benchmarks.scaling --output docs/performance/scaling.json`"
    parts = ["## Scaling", command, text, "\n".join(table), "\n".join(devices), about(content)]
    return "\n\n".join(parts)


def end_to_end(content: dict[str, Any]) -> str:
    """The main job, stage by stage."""
    table = ["| stage | seconds |", "|---|---|"]
    table += [f"| {name} | {seconds:.1f} |" for name, seconds in content["stage_seconds"].items()]
    text = (
        f"`rd_ood` cold {content['cold_seconds']:.0f} s (goals 360, then 240), in which XLA compiles for "
        f"{content['compile_seconds']:.0f} s (goal 25); again {content['again_seconds']:.1f} s, "
        f"`:smoke` {content['smoke_seconds']:.0f} s."
    )
    command = "`python -m benchmarks.end_to_end --output results/rd_ood_time.json`"
    return "\n\n".join(["## The main job", command, text, "\n".join(table)])


def page(folder: Path = FOLDER, results: Path = ROOT / "results") -> str:
    """The whole page, from the files that are there."""
    sections = {
        **{"fno": fno, "calibration": calibration, "torch_speed": torch_speed, "torch_family": torch_family},
        **{"merging": merging, "scaling": scaling},
    }
    parts = [HEAD.strip()]
    parts += [
        make(read_json(folder / f"{name}.json"))
        for name, make in sections.items()
        if (folder / f"{name}.json").exists()
    ]
    parts.append(end_to_end(read_json(results / "rd_ood_time.json")))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Writes the page."""
    (ROOT / "docs" / "performance.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
