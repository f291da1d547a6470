"""Trains a family of neural operators, merges it along its physical direction, and writes a report.

    python -m experiments.run --config=rd_ood                       the main experiment, minutes on a laptop
    python -m experiments.run --config=rd_ood:smoke                 the same path in seconds
    python -m experiments.run --config=rd_ood --config.train.steps=2000    with an override

Everything is kept in --workdir (default runs/<config>): finished stages are not repeated, a run that was killed
goes on where it was, and an override redoes only what depends on it. Open report.html there when it is done.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import configs

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment by name, with an optional size: NAME[:smoke|:paper].", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<config>.")
_SEED = flags.DEFINE_integer("seed", None, "Seed of everything random; default: the configuration's.")


def resolve_arguments(argv: list[str]) -> list[str]:
    """Replaces the name of a configuration by its file, wherever it stands among the arguments."""
    resolved = list(argv)
    for i, argument in enumerate(argv):
        if argument in ("--config", "-config") and i + 1 < len(argv):
            resolved[i + 1] = configs.resolve(argv[i + 1])
        elif argument.startswith(("--config=", "-config=")):
            resolved[i] = f"--config={configs.resolve(argument.split('=', 1)[1])}"
    return resolved


def main(argv: list[str]) -> None:
    """Runs the experiment that the flags describe."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; options begin with --")
    if _CONFIG.value is None:
        raise app.UsageError(f"--config is needed; there are: {', '.join(configs.names())}")
    begin = time.perf_counter()
    logging.set_verbosity(logging.WARNING)  # Orbax tells every file it touches
    # Imported late, so that --help and a wrong name answer at once.
    from experiments.checks import check_config
    from experiments.progress import console
    from experiments.report import report
    from experiments.results import headline, terminal_table
    from experiments.stages import Run, run_all
    from experiments.workdir import open_workdir

    config = _CONFIG.value
    if _SEED.value is not None:
        config.seed = _SEED.value
    try:
        check_config(config)
        workdir = open_workdir(Path(_WORKDIR.value or f"runs/{_label(config)}"), config)
    except ValueError as error:
        raise app.UsageError(str(error)) from error

    console.print(f"{_label(config)}, seed {config.seed}, in {workdir}", markup=False)
    run = Run(config, workdir / "stages")
    results = report(run, run_all(run), workdir)
    console.print()
    console.print(terminal_table(results))
    for line in headline(results):
        console.print(line, markup=False)
    seconds = time.perf_counter() - begin
    console.print(f"\n{workdir / 'report.html'} is ready to be opened; {seconds:.0f} s.", markup=False, soft_wrap=True)


def _label(config: object) -> str:
    return config.name + (f"-{config.size}" if config.size else "")


def cli() -> None:
    """The program: answers a wrong name or field with one line, not a traceback."""
    try:
        app.run(main, argv=resolve_arguments(sys.argv))
    except (ValueError, AttributeError) as error:
        if not str(error).startswith("--config"):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
