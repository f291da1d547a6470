"""Trains a family of neural operators, merges it along its physical direction, and writes a report.

    python -m experiments.run --config=rd_ood                       the main experiment, minutes on a laptop
    python -m experiments.run --config=rd_ood:smoke                 the same path in seconds
    python -m experiments.run --config=rd_ood --config.train.steps=2000    with an override

Everything is kept in --workdir (default runs/<config>): finished stages are not repeated, a run that was killed
goes on where it was, and an override redoes only what depends on it. Open report.html there when it is done.
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
    """Runs the experiment, and says what came out."""
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
    console.print(f"\n{workdir / 'report.html'} is ready to be opened; {seconds:.0f} s.", markup=False, soft_wrap=True)


def _line(run: Run, workdir: Path) -> tuple[Any, Any, Any]:
    """The results of an experiment with one axis, and what tells them in the terminal."""
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
    """The same of an experiment with two axes."""
    from experiments.pipeline.plane import run_plane
    from experiments.report.plane import headline, report, terminal_table

    return report(run, run_plane(run), workdir), terminal_table, headline


flags.adopt_module_key_flags(command)

if __name__ == "__main__":
    command.run(main, __doc__)
