"""Trains a family of neural operators, merges it along its physical direction, and writes a report.

    python -m experiments.run --config=rd_ood                       the main experiment, minutes on a laptop
    python -m experiments.run --config=rd_ood:smoke                 a quick test of the same pipeline
    python -m experiments.run --config=rd_ood --config.train.steps=2000    with an override

Results are stored in --workdir (default runs/<config>). Finished stages are not repeated, an interrupted run continues
where it stopped, and an override repeats only what depends on it. Open report.html there when the run is done. A run
with another seed or override moves the report that is there to earlier/.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from experiments import command

if TYPE_CHECKING:
    from experiments.pipeline.stages import Run


SMOKE = "smoke: tests the pipeline; its errors are meaningless"


def main(config: ConfigDict, run: Run) -> None:
    """Runs the experiment, and prints the results."""
    from experiments.pipeline.axes import axes_of
    from experiments.runner.progress import console
    from experiments.runner.workdir import earlier_report

    begin = time.perf_counter()
    workdir, smoke = run.root.parent, config.size == "smoke"
    if smoke:
        console.print(SMOKE, markup=False)
    console.print(f"{command.label(config)}, seed {config.seed}, in {workdir}", markup=False)
    earlier = earlier_report(workdir, config)
    if earlier is not None:
        told = f"{workdir} holds a report of other settings ({earlier.said})"
        console.print(f"{told}; it moves to {earlier.folder} when the new one is done.", markup=False, soft_wrap=True)
    results, said = (_line if len(axes_of(config)) == 1 else _plane)(run, workdir)
    console.print()
    console.print(said.table(results))
    for line in ["", *said.legend(results), *([] if smoke else ["", *said.headline(results)])]:
        console.print(line, markup=False)
    seconds = time.perf_counter() - begin
    console.print(f"\nDone in {seconds:.0f} s. Next: open {workdir / 'report.html'}", markup=False, soft_wrap=True)
    if smoke:
        console.print(SMOKE, markup=False)


class _Said(NamedTuple):
    """How the results of a kind of experiment are printed: a table, what its columns are, and sentences."""

    table: Callable[[dict[str, Any]], Any]
    legend: Callable[[dict[str, Any]], list[str]]
    headline: Callable[[dict[str, Any]], list[str]]


def _line(run: Run, workdir: Path) -> tuple[dict[str, Any], _Said]:
    """The results of an experiment with one axis, and how to print them."""
    from experiments.pipeline.stages import run_all
    from experiments.report.page import report
    from experiments.report.results import headline, legend, terminal_table

    done = run_all(run)
    results = report(run, done, workdir)
    if "drift" in run.config:
        from experiments.report.tracking import report_drifts

        report_drifts(run, done, workdir)
    return results, _Said(terminal_table, legend, headline)


def _plane(run: Run, workdir: Path) -> tuple[dict[str, Any], _Said]:
    """The results of an experiment with two axes, and how to print them."""
    from experiments.pipeline.plane import run_plane
    from experiments.report.plane import headline, legend, report, terminal_table

    return report(run, run_plane(run), workdir), _Said(terminal_table, legend, headline)


flags.adopt_module_key_flags(command)

if __name__ == "__main__":
    command.run(main, __doc__)
