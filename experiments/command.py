"""What all commands share: flags, a checked configuration, and the folder of the run."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments import arguments, configs
from experiments.arguments import program, resolve_arguments

if TYPE_CHECKING:
    from experiments.pipeline.stages import Run

# Commands adopt these with flags.adopt_module_key_flags, so that their --help shows them.
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment by name or file, with an optional size: NAME[:smoke|:paper].", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Default: runs/<config>.")
_CACHE = flags.DEFINE_boolean("compilation_cache", True, "Keep compiled programs in the user's cache folder.")
_DISTRIBUTED = flags.DEFINE_boolean("distributed", False, "Join the processes started by Slurm, a TPU pod or MPI.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if it cannot be detected.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process", None, "Index of this process, with --coordinator.")
_LOG = flags.DEFINE_list("log", [], "Loggers in addition to <workdir>/log.jsonl: tensorboard, wandb.")
_SEED = flags.DEFINE_integer("seed", None, "Seed of everything random. Default: the configuration's.")


def label(config: ConfigDict) -> str:
    """The configuration's name with its size, as it names folders."""
    return config.name + (f"-{config.size}" if config.size else "")


def run(main: Callable[[ConfigDict, Run], None], doc: str | None) -> None:
    """Runs ``main(config, run)`` as a program whose help is ``doc``, in the folder of its run.

    A wrong name, field or folder, a damaged stage, and a disk that is full or read-only give a one-line message and
    exit code 2; a mistake of the program gives a traceback. SIGTERM ends it with exit code 75, see
    :mod:`experiments.runner.preemption`.
    """

    def in_folder(config: ConfigDict) -> None:
        from experiments.pipeline.checks import check_config
        from experiments.pipeline.data import NotFinite
        from experiments.pipeline.recorded import DataError
        from experiments.pipeline.stages import Run
        from experiments.pipeline.store import StageError
        from experiments.pipeline.training import Diverged
        from experiments.runner import logs, notes, runtime
        from experiments.runner.preemption import Preempted, on_request
        from experiments.runner.workdir import alone, open_workdir, record_settings

        warnings.showwarning = notes.show
        warnings.filterwarnings("always", category=UserWarning)  # notes counts them
        # Networks of a few steps, as those of size smoke, are worse than both.
        warnings.filterwarnings("ignore", "PrefixReadout: (repeating the last frame|a forecast of zeros)")
        compile_seconds = runtime.count_compilation()
        path, refused = Path(_WORKDIR.value or f"runs/{label(config)}"), None
        with on_request(), notes.together(), contextlib.ExitStack() as stack:
            try:
                check_config(config)
                if runtime.is_writer():  # of several processes one looks, and its answer is that of all
                    stack.enter_context(alone(open_workdir(path, config)))
                    open_workdir(path, config)  # somebody else may have been quicker
                    record_settings(path, config, arguments.overrides())
                    stack.enter_context(logs.writing(path, _LOG.value, config.to_dict()))
            except ValueError as error:
                refused = error
                _say(error)
            except OSError as error:
                refused = ValueError(
                    f"--workdir={path}: {error.strerror or error}; choose a folder that can be written."
                )
                _say(refused)
            if runtime.agree(refused is not None):
                sys.exit(2)
            try:
                main(config, Run(config, path / "stages"))
                logs.log("end", compile_seconds=compile_seconds())
            except (
                DataError,
                Diverged,
                NotFinite,
                StageError,
            ) as error:  # what only reading, solving or training shows
                _refuse(error)
            except OSError as error:
                with contextlib.suppress(OSError):  # the disk may be full
                    logs.log("error", traceback=traceback.format_exc())
                kept = "finished stages are kept, and the same command goes on from there"
                _refuse(f"{path} cannot be worked in: {error}; when that is mended, {kept}.")
            except Preempted:
                print(f"Stopped by SIGTERM; the same command goes on in {path}.", file=sys.stderr)
                raise

    _start(in_folder, doc)


def _say(error: Exception | str) -> None:
    """An error in one line that begins with the command; fields of the configuration are named as they are typed."""
    print(f"{program()}: {re.sub(r'^config[.]', '--config.', str(error))}", file=sys.stderr)


def _refuse(error: Exception | str) -> NoReturn:
    _say(error)
    sys.exit(2)


def run_without_folder(main: Callable[[ConfigDict], None], doc: str | None) -> None:
    """Runs ``main(config)``, which keeps nothing but its output; wrong input is one line and exit code 2."""

    def checked(config: ConfigDict) -> None:
        from experiments.pipeline.checks import check_config

        try:
            check_config(config)
            main(config)
        except (ValueError, OSError) as error:
            _refuse(error)

    _start(checked, doc)


def _start(main: Callable[[ConfigDict], None], doc: str | None) -> None:
    """Reads the flags, prepares the processor, and runs ``main(config)``."""
    try:
        argv = resolve_arguments(sys.argv)
    except ValueError as error:
        _refuse(error)
    if any(word in arguments.HELP for word in argv[1:]):
        with contextlib.suppress(BrokenPipeError):  # head, or a pager that was left
            print(arguments.help_text(doc, argv), flush=True)
            sys.exit(0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

    def with_config(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # Orbax tells every file that it touches
        # Imported late, so that --help and a wrong name answer at once.
        from experiments.runner import runtime
        from experiments.runner.progress import console

        if _DISTRIBUTED.value or _COORDINATOR.value:
            runtime.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        else:
            runtime.share_processor()
        if _CACHE.value:
            runtime.keep_compiled()
        runtime.keep_memory()
        runtime.set_compiler()
        console.quiet = not runtime.is_writer()
        config = _CONFIG.value
        if _SEED.value is not None:
            config.seed = _SEED.value
        main(config)

    app.run(with_config, argv=argv, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; what cannot be read is one line and exit code 2."""
    try:
        arguments.parse(argv)
        if _CONFIG.value is None:
            raise ValueError(
                f"--config is needed, for instance --config=rd_ood; there are: {', '.join(configs.names())}."
            )
    except ValueError as error:
        _refuse(error)
    return argv[:1]
