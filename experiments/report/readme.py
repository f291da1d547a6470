"""Writes the numbers and pictures of the README and of the page of results, so that none is typed by hand.

python -m experiments.report.readme
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PIL import Image

from ccm_jax.io.atomic import read_json, write_text
from experiments.report import fields, record
from experiments.report.record import ROOT, SYSTEMS

SOFTWARE = {"Software": None}  # the same bytes whatever version drew them
HIDDEN = ("rd_ood", "ns_ood", "rdb_gravity")

# Ratios of the study of peers, in words; the strongest alternative of each kind stands in its table.
BESIDE = {
    "posthoc_ratio": "given the value: the best other merge of these experts (TIES, DARE, ensemble, nearest expert, …)",
    "slerp_ratio": "given the value: SLERP, extrapolated in the same way, which moves along a similar path",
    "frames_ratio": "from five frames: the best unconditioned network that sees the same five frames",
    "finetune_ratio": (
        "given the value: a network conditioned on it, fine-tuned from the same anchor on labelled data of all regimes"
    ),
    "frames_ratio_labelled": (
        "from five frames: the best conditioned network, fine-tuned or from scratch, its value inferred by our readout"
    ),
    "frames_ratio_adaptive": "from five frames: CoDA or GEPS, trained from scratch, its code fitted to the frames",
    "scratch_ratio": "given the value: a conditioned network trained from scratch, with the same total steps",
    "scratch_ratio_sought": "the same, with CCM's window and its split of the steps chosen on validation regimes",
}
CHART = {"frames": "the first five frames", "value": "the parameter's value"}
TRAINED = {
    "two fine-tunings": "two experts (they may exist already)",
    "one fine-tuning": "one fine-tuning of the anchor, on labelled data of all regimes",
    "from scratch": "a network from scratch, on labelled data",
    "equation": "the equation, and a solver that is fast enough",
}


def beside(peers: dict[str, Any]) -> str:
    """The table of claims, in Markdown: by how much CCM is better or worse than the strongest of each kind."""
    labels = [SYSTEMS[system][0] for system in HIDDEN]
    lines = [f"| CCM's error outside the training range, compared with … | {' | '.join(labels)} |", "|---" * 4 + "|"]
    for key, text in BESIDE.items():
        cells = [_times(peers["ratios"].get(system, {}).get(key)) for system in HIDDEN]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(ratio: dict[str, Any] | None) -> str:
    """A ratio of errors in words, with its interval; in bold where CCM is better, and an interval does not reach 1."""
    if not ratio or ratio["mean"] is None:
        return "not measured yet"
    smaller = ratio["mean"] < 1
    mean, low, high = (1 / ratio[end] if smaller and ratio[end] else ratio[end] for end in ("mean", "low", "high"))
    between = "" if low is None else f" [{min(low, high):.2g}, {max(low, high):.2g}]"
    said = f"{mean:.2f}" if mean < 1.1 else f"{mean:.1f}"
    if said == "1.00" or (between and 0.985 < ratio["mean"] < 1.015):
        return f"equal{between}"
    clear = smaller and (ratio["high"] is None or ratio["high"] < 1)
    told = f"{said} × {'smaller' if smaller else 'larger'}"
    return f"**{told}**{between}" if clear else f"{told}{between}"


def chart(peers: dict[str, Any]) -> str:
    """What has the smallest error, by what is known of the regime and what may be trained, in Markdown."""
    labels = [SYSTEMS[system][0] for system in HIDDEN]
    lines = [f"| you know | you have or can train | {' | '.join(labels)} |", "|---" * 5 + "|"]
    found = {(d["system"], d["knows"], d["trains"]): d for d in peers["decisions"]}
    for knows, k in CHART.items():
        for trains, t in TRAINED.items():
            best = [found.get((system, knows, trains)) for system in HIDDEN]
            cells = ["–" if d is None else _best(d) for d in best]
            lines.append(f"| {k} | {t} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _best(decision: dict[str, Any]) -> str:
    """A method and its error; in bold where it is a use of CCM."""
    method = f"**{decision['method']}**" if decision["ours"] else decision["method"]
    return f"{method} ({decision['error']:.2g})"


def how_many(peers: dict[str, Any]) -> str:
    """How far the study is."""
    missing = len(peers["not_run"])
    if not missing:
        return "Means over three seeds, with Student's 95 % intervals."
    return (
        f"{peers['done']} of the study's {peers['done'] + missing} runs are done. Numbers without an interval come "
        "from one seed."
    )


def marks(name: str) -> tuple[str, str]:
    """The lines between which a part of a page is written."""
    return f"<!-- {name}: python -m experiments.report.readme -->", f"<!-- end of {name} -->"


def replace(text: str, name: str, part: str) -> str:
    """The text with what stands between the two marks of a part replaced."""
    begin, end = marks(name)
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(text):
        raise ValueError(f"replace: the page has no lines {begin} and {end}; put them back.")
    return pattern.sub(lambda _: f"{begin}\n{part}\n{end}", text)


def readme(text: str, folder: Path) -> str:
    """The README with its parts from the files of ``folder``."""
    peers = read_json(folder / "peers.json")
    text = replace(text, "beside", beside(peers) + "\n\n" + how_many(peers))
    return replace(text, "chart", chart(peers))


def results(text: str, folder: Path) -> str:
    """The page of results with both tables from the files of ``folder``."""
    return replace(replace(text, "numbers", record.table(folder)), "systems", record.systems_table(folder))


def main() -> None:
    """Rewrites both pages and their figures."""
    for path, write in ((ROOT / "README.md", readme), (ROOT / "docs" / "results.md", results)):
        write_text(path, write(path.read_text(encoding="utf-8"), ROOT / "results"))
    pictures = {
        "rd_ood": record.figure(ROOT / "results"),
        "fields": fields.figure(),
        "fields_far": fields.figure(fields.FAR),
    }
    for name, picture in pictures.items():
        target = ROOT / "docs" / f"{name}.png"
        picture.savefig(target, dpi=160 if name == "rd_ood" else 120, metadata=SOFTWARE)
        if name.startswith("fields"):  # smooth fields compress badly; 256 colours are enough for them
            Image.open(target).convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
