"""Trains a family of neural operators, merges it along its physical direction, and writes a report.

    python -m experiments.run --config=rd_ood                       the main experiment, minutes on a laptop
    python -m experiments.run --config=rd_ood:smoke                 a quick test of the same pipeline
    python -m experiments.run --config=rd_ood --config.train.steps=2000    with an override

Results are stored in --workdir (default runs/<config>). Finished stages are not repeated, an interrupted run continues
where it stopped, and an override repeats only what depends on it. Open report.html there when the run is done.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import ConfigDict

from experiments import command

if TYPE_CHECKING:
    from experiments.pipeline.stages import Run


def main(config: ConfigDict, run: Run) -> None:
    """Runs the experiment, and prints the results."""
    from experiments.pipeline.axes import axes_of
    from experiments.runner.progress import console

    begin = time.perf_counter()
    workdir = run.root.parent
    console.print(f"{command.label(config)}, seed {config.seed}, in {workdir}", markup=False)
    results, terminal_table, headline = (_line if len(axes_of(config)) == 1 else _plane)(run, workdir)
    console.print()
    console.print(terminal_table(results))
    for line in headline(results):
        console.print(line, markup=False)
    seconds = time.perf_counter() - begin
    console.print(f"\nDone in {seconds:.0f} s. Next: open {workdir / 'report.html'}", markup=False, soft_wrap=True)


def _line(run: Run, workdir: Path) -> tuple[Any, Any, Any]:
    """The results of an experiment with one axis, and how to print them."""
    from experiments.pipeline.stages import run_all
    from experiments.report.page import report
    from experiments.report.results import headline, terminal_table

    done = run_all(run)
    results = report(run, done, workdir)
    if "drift" in run.config:
        from experiments.report.tracking import report_drifts

        report_drifts(run, done, workdir)
    return results, terminal_table, headline


def _plane(run: Run, workdir: Path) -> tuple[Any, Any, Any]:
    """The results of an experiment with two axes, and how to print them."""
    from experiments.pipeline.plane import run_plane
    from experiments.report.plane import headline, report, terminal_table

    return report(run, run_plane(run), workdir), terminal_table, headline


flags.adopt_module_key_flags(command)

if __name__ == "__main__":
    command.run(main, __doc__)
