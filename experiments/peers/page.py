"""The page of the peers, its figures and its tables as files, written to new files and then moved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccm_jax.io.atomic import finite, write_text
from experiments.peers.tables import tables, to_csv
from experiments.pipeline.store import provenance, write_json
from experiments.runner.progress import console
from experiments.study.html import html_page

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parent / "peers.html.j2"

# What the decision chart's rows are called; its keys are those of experiments.peers.decisions.
KNOWN = {
    "frames": "You have seen five frames",
    "value": "You know the parameter's value",
    "nothing": "You know neither",
}
MAY = {
    "nothing more": "only an anchor",
    "two fine-tunings": "an anchor, and two experts fine-tuned from it",
    "one fine-tuning": "a one-frame anchor, fine-tuned once on labelled data of all regimes",
    "without labels": "a new anchor of one or more frames on unlabelled data, and two experts fine-tuned from it",
    "from scratch": "a new network on labelled data of all regimes",
    "equation": "only the equation, and a fast solver",
}
# Rows that do not allow everything in the rows above them.
EXCEPT = {
    "without labels": "without the conditioned networks above, which need labels",
    "equation": "only the solver, none of the methods above",
}

QUESTIONS = {
    "posthoc_ratio": "CCM-Scale / best other use of the same experts (not SLERP)",
    "slerp_ratio": "CCM-Scale / SLERP between the same experts, extrapolated; it moves along a similar path",
    "finetune_ratio": "CCM-Scale / conditioned network fine-tuned from the same anchor, with a Scale map",
    "finetune_ratio_coord": "CCM-Coord / conditioned network fine-tuned from the same anchor, without a map",
    "scratch_ratio": "CCM-Scale / conditioned network from scratch, with a Scale map",
    "scratch_ratio_sought": (
        "CCM-Scale, with window and split of the steps chosen on validation regimes / conditioned network from "
        "scratch, with a Scale map"
    ),
    "frames_ratio": "CCM-Prefix, with the window that validation chose / best unconditioned network",
    "frames_ratio_labelled": (
        "CCM-Prefix, with the window that validation chose / best conditioned network, value inferred by the prefix "
        "readout"
    ),
    "frames_ratio_adaptive": (
        "CCM-Prefix, with the window that validation chose / CoDA or GEPS, code fitted to the frames (one seed)"
    ),
    "frames_ratio_solver": (
        "CCM-Prefix, with the window that validation chose / coarse solver, parameter inferred by the prefix readout "
        "(one seed)"
    ),
    "anchor_ratio": "CCM-Prefix, on the one-frame anchor / that anchor, trained for as many steps in total",
}


def publish(rows: Any, gathered: dict[str, Any], workdir: Path, output: Path | None, *, jobs: int) -> None:
    """Writes the page and its figures into the folder of the study, and the tables to ``output``."""
    found = tables(rows, gathered)
    done = [one for listed in gathered.values() for one in listed if "found" in one]
    content = {
        **found,
        "done": len(done),
        "process_minutes": sum(one.get("seconds", 0.0) for one in done) / 60,
        "jobs": jobs,
        **provenance(),
        "commits": sorted({one["git"] for one in done if one.get("git")}),
    }
    write_json(workdir / "peers.json", content)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, content)
        write_text(output.with_suffix(".csv"), to_csv(found))
    write_text(workdir / "peers.html", page(content, workdir / "figures"))
    for failure in found["failed"]:
        console.print(f"  FAILED {failure['row']}, seed {failure['seed']}: {failure['error']}", markup=False)
    console.print(f"{workdir / 'peers.html'} is ready to be opened.", markup=False, soft_wrap=True)


def with_results(content: dict[str, Any]) -> dict[str, Any]:
    """The content without systems of which no row is done."""
    systems = {system: methods for system, methods in content["systems"].items() if methods}
    return content | {"systems": systems, "ratios": {s: r for s, r in content["ratios"].items() if s in systems}}


def page(content: dict[str, Any], folder: Path) -> str:
    """The page; its figures are drawn into ``folder`` too."""
    shown = with_results(finite(content))
    return html_page(TEMPLATE, figures_of(content), folder, peers=shown, questions=QUESTIONS, known=KNOWN, may=MAY)


def figures_of(content: dict[str, Any]) -> dict[str, Figure]:
    """The overview, wide and for a phone, and a figure of all methods for each system."""
    from experiments.peers import figures
    from experiments.peers.overview import overview

    done = with_results(content)
    both = {"overview": overview(done), "overview_phone": overview(done, stacked=True)}
    return both | {system: figures.errors(found) for system, found in done["systems"].items()}
