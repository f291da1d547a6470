"""What all commands share: flags, a checked configuration, and the folder of the run."""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments import configs

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


def resolve_arguments(argv: list[str]) -> list[str]:
    """Replaces the name of a configuration by its file, wherever it stands among the arguments."""
    resolved = list(argv)
    for i, argument in enumerate(argv):
        if argument in ("--config", "-config") and i + 1 < len(argv):
            resolved[i + 1] = _find(argv[i + 1])
        elif argument.startswith(("--config=", "-config=")):
            resolved[i] = f"--config={_find(argument.split('=', 1)[1])}"
    return resolved


def _find(name: str) -> str:
    """The file of a configuration; what lies beside it may be imported, as beside any program."""
    file = configs.resolve(name)
    folder = str(Path(file.partition(":")[0]).absolute().parent)
    if Path(folder) != Path(configs.__file__).parent and folder not in sys.path:
        sys.path.append(folder)
    return file


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
        from experiments.runner import logs, runtime
        from experiments.runner.preemption import Preempted, on_request
        from experiments.runner.workdir import alone, open_workdir

        warnings.showwarning = _note
        # Networks of a few steps, as those of size smoke, are worse than both.
        warnings.filterwarnings("ignore", "PrefixReadout: (repeating the last frame|a forecast of zeros)")
        compile_seconds = runtime.count_compilation()
        path, refused = Path(_WORKDIR.value or f"runs/{label(config)}"), None
        with on_request(), contextlib.ExitStack() as stack:
            try:
                check_config(config)
                if runtime.is_writer():  # of several processes one looks, and its answer is that of all
                    stack.enter_context(alone(open_workdir(path, config)))
                    open_workdir(path, config)  # somebody else may have been quicker
                    stack.enter_context(logs.writing(path, _LOG.value, config.to_dict()))
            except ValueError as error:
                refused = error
                print(error, file=sys.stderr)
            except OSError as error:
                refused = ValueError(
                    f"--workdir={path}: {error.strerror or error}; choose a folder that can be written."
                )
                print(refused, file=sys.stderr)
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
                print(error, file=sys.stderr)
                sys.exit(2)
            except OSError as error:
                with contextlib.suppress(OSError):  # the disk may be full
                    logs.log("error", traceback=traceback.format_exc())
                kept = "finished stages are kept, and the same command goes on from there"
                print(f"{path} cannot be worked in: {error}; when that is mended, {kept}.", file=sys.stderr)
                sys.exit(2)
            except Preempted:
                print(f"Stopped by SIGTERM; the same command goes on in {path}.", file=sys.stderr)
                raise

    _start(in_folder, doc)


def _note(message: Warning | str, *_: object, **__: object) -> None:
    import jax

    told = str(message)
    if told.startswith("Error reading persistent compilation cache"):  # JAX compiles, and keeps the damaged file
        told = f"{told.splitlines()[0]}; if that comes again, remove {jax.config.values['jax_compilation_cache_dir']}."
    print(f"note: {told}", file=sys.stderr)


def run_without_folder(main: Callable[[ConfigDict], None], doc: str | None) -> None:
    """Runs ``main(config)``, which keeps nothing but its output; wrong input is one line and exit code 2."""

    def checked(config: ConfigDict) -> None:
        from experiments.pipeline.checks import check_config

        try:
            check_config(config)
            main(config)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    _start(checked, doc)


def _start(main: Callable[[ConfigDict], None], doc: str | None) -> None:
    """Reads the flags, prepares the processor, and runs ``main(config)``."""
    sys.modules["__main__"].__doc__ = doc
    try:
        argv = resolve_arguments(sys.argv)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

    def with_config(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments {argv[1:]}; options begin with --")
        if _CONFIG.value is None:
            raise app.UsageError(f"--config is needed; there are: {', '.join(configs.names())}")
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


def _plain(text: str) -> str:
    """What ml_collections says, in one line: it quotes an unknown field once more, and its suggestion with it.

    Example:
        >>> _plain("'step'\\nDid you mean \\"steps\\" instead of \\"step\\"?")
        'there is no field step. Did you mean "steps" instead of "step"?'
    """
    name, _, hint = text.replace("\\n", "\n").replace("\\'", "'").strip("'\"").partition("\n")
    if not hint.startswith("Did you mean"):
        return " ".join(text.split())
    return f"there is no field {name.strip(chr(39))}. {hint.strip()}"


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; a wrong field of a configuration is one line that suggests the near one."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = str(error.args[0] if error.args else error)  # of a KeyError, whose str() is quoted once more
        print(f"--config.FIELD: {_plain(text)}", file=sys.stderr)
        sys.exit(2)
