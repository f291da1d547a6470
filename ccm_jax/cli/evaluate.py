"""``ccm evaluate``: anchor, experts and merged weights on held-out trajectories, and what to use."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.table import Table

from ccm_jax import processor
from ccm_jax._checks import counted
from ccm_jax._trivial import BADLY, HARDLY, worse_than_trivial
from ccm_jax.cli.answers import force_option, json_option, tell
from ccm_jax.cli.beginning import words_for
from ccm_jax.cli.checkpoints import check_says, check_there, new_folder, note, open_checkpoints, warn
from ccm_jax.cli.console import say, show_table
from ccm_jax.cli.following import rollout_next
from ccm_jax.cli.frames import Layout, choose_samples, layout_options, read_samples, size_of
from ccm_jax.cli.grouped import Grouped
from ccm_jax.cli.judged import remarks
from ccm_jax.cli.persistence import check_persistence, persistence_option
from ccm_jax.cli.predicts import STEPS, Reading, reading_of
from ccm_jax.cli.prefix_length import frames_option
from ccm_jax.cli.readings import other_axes
from ccm_jax.cli.refused import check_scored
from ccm_jax.cli.source import NAMES, family_options, files_of
from ccm_jax.cli.steps import clue_of_networks
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.cli.verdict import KINDS, Method, Verdict, judge
from ccm_jax.cli.waiting import waiting
from ccm_jax.evaluate import future_error, persistence_error
from ccm_jax.io.atomic import check_new, replacing
from ccm_jax.io.description import HELP
from ccm_jax.io.recordings import Recording
from ccm_jax.io.save import name_of
from ccm_jax.io.weights import open_weights
from ccm_jax.parallel import mesh_of_all, place

GROUP = 16  # trajectories that are in memory together, or fewer:
TOGETHER = 1 << 30  # bytes that they may take


class Errors(NamedTuple):
    """Mean relative L2 error over the future frames of each trajectory, ``[N]``, infinite where a rollout diverges.

    Attributes:
        methods: of each network.
        persistence: of the last observed frame repeated.
        samples: numbers of the trajectories in their file.
        frames: future frames that are scored.
        observed: frames before them.
        clue: what the time step of the file seems to be; empty where nothing points to another one.
        remarks: what merged checkpoints say of these trajectories.
    """

    methods: list[Method]
    persistence: np.ndarray
    samples: list[int]
    frames: int
    observed: int = 0
    clue: str = ""
    remarks: tuple[str, ...] = ()


def evaluate(
    networks: dict[Path, tuple[str, str]],
    trajectories: Path,
    sample: str | None,
    layout: Layout = Layout(),  # noqa: B008
    **how: Any,
) -> Errors:
    """Scores every network on the frames after the prefix of every trajectory; all restart from the same frames.

    Args:
        networks: checkpoint -> its name and kind; the anchor first.
        trajectories: file of trajectories, in the model's units.
        sample: which of them, see :func:`~ccm_jax.cli.frames.choose_samples`.
        layout: how that file is read.
        **how: ``model``, its description; ``frames``, the K frames before the restart.

    Raises:
        ValueError: for checkpoints of other names or shapes, trajectories that are too short, or frames that are 0.
    """
    recording = layout.open(trajectories)
    chosen = choose_samples(recording, sample)
    check_scored(recording, chosen, how["frames"])
    anchor, *others = opened = open_checkpoints("evaluate", list(networks), cast=True)
    check_says(how["model"], others)
    surrogate = surrogate_for(anchor, how["model"], recording)
    observed, length = surrogate.history + how["frames"], recording.shape[1]
    if length <= observed:
        raise ValueError(
            f"{trajectories} has {counted(length, 'frame')}, expected more than {observed}: {surrogate.history} of the "
            f"model's window, {how['frames']} of the prefix (--frames), and a future to score."
        )
    mesh = mesh_of_all() if surrogate.spreads else None
    weights = [place(surrogate.to_params(w.arrays), mesh) for w in opened]
    rollout_fn, kept = surrogate.rollout_fn, {"history": surrogate.history, "frames": how["frames"]}
    found: list[list[np.ndarray]] = [[] for _ in range(len(opened) + 1)]
    size = max(1, min(GROUP, len(chosen), TOGETHER // size_of(recording, 1)))
    done, first = 0, None
    with waiting("compiling and evaluating", steps=True) as progress:
        for numbers in groups(chosen, size):
            frames = read_samples(recording, numbers)
            check_not_zero(recording, numbers, frames, observed)
            first = frames[:1] if first is None else first
            filling = np.repeat(frames[:1], size - len(numbers), axis=0)  # one shape, one program
            x = place(np.concatenate([frames, filling]), mesh)
            each = [future_error(params, rollout_fn, x, mesh=mesh, **kept) for params in weights]
            for errors, part in zip(found, [*each, persistence_error(x, **kept)], strict=True):
                errors.append(_mean(part, len(numbers)))
            done += len(numbers)
            progress(done, len(chosen))
    *rest, persistence = (np.concatenate(parts) for parts in found)
    methods = [Method(name, kind, str(path), e) for (path, (name, kind)), e in zip(networks.items(), rest, strict=True)]
    means, clue = [m.errors.mean() for m in methods], ""
    if surrogate.history == 1 and first is not None and not min(means) <= BADLY * persistence.mean():
        best = int(np.argmin(means)) or 1  # beside the anchor, which always counts
        with waiting("looking at the time step"):
            clue = clue_of_networks([weights[0], weights[best]], rollout_fn, first)
    said = [line for w in others for line in remarks(w, recording, chosen)]
    return Errors(methods, persistence, chosen, length - observed, observed, clue, tuple(said))


def check_not_zero(recording: Recording, numbers: list[int], frames: np.ndarray, observed: int) -> None:
    """Raises ValueError if a frame after the observed ones is all zeros."""
    zero = np.argwhere(~np.any(frames[:, observed:] != 0, axis=tuple(range(2, frames.ndim))))
    if len(zero):
        i, frame = zero[0]
        raise ValueError(
            f"{recording.path}: sample {numbers[i]} is all zeros in frame {observed + frame}, where its relative "
            "error is undefined; exclude the sample with --sample."
        )


def groups(items: list[int], size: int) -> Iterator[list[int]]:
    """The items in order, ``size`` at a time."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _mean(errors: Any, count: int) -> np.ndarray:
    """The mean over frames of the first ``count`` trajectories; infinite where a frame is not finite."""
    mean = np.asarray(errors, np.float64)[:count].mean(axis=1)
    return np.where(np.isfinite(mean), mean, np.inf)


def show(found: Errors) -> None:
    """The table in the terminal."""
    count = len(found.samples)
    title = f"relative L2 error, mean over {counted(found.frames, 'future frame')} of {counted(count, 'trajectory')}"
    table = Table()
    for heading in ("network", "error", "over anchor's", "beats anchor", "diverged"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    anchor = found.methods[0].errors
    rows = [(m.name, m.errors) for m in found.methods] + [("last frame repeated", found.persistence)]
    for name, errors in rows:
        mean, base = errors.mean(), anchor.mean()
        ratio = f"{mean / base:.3f}" if np.isfinite(mean) and np.isfinite(base) and base > 0 else "–"
        below = "–" if name == found.methods[0].name else f"{int((errors < anchor).sum())} of {count}"
        error = f"{mean:.4f}" if np.isfinite(mean) else "infinite"
        table.add_row(name, error, ratio, below, str(int((~np.isfinite(errors)).sum())))
    show_table(title, table)


def described(found: Errors, verdict: Verdict) -> dict[str, Any]:
    """The table, the verdict and what it rests on, JSON-able; infinite errors are null."""
    networks = [
        {"name": m.name, "kind": m.kind, "checkpoint": m.path, "error": m.errors.mean(), "errors": m.errors.tolist()}
        for m in found.methods
    ]
    return {
        **{"frames": found.frames, "samples": found.samples, "networks": networks},
        "last_frame_repeated": {"error": found.persistence.mean(), "errors": found.persistence.tolist()},
        **{"verdict": verdict.text, "use": None if verdict.use is None else verdict.use.path},
        "best": verdict.best,
        "comparisons": {name: c._asdict() for name, c in verdict.comparisons.items()},
    }


def write_csv(found: Errors, target: Path) -> None:
    """One row for each trajectory and method."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "method", "kind", "checkpoint", "relative_l2"])
        for i, number in enumerate(found.samples):
            for m in found.methods:
                writer.writerow([number, m.name, m.kind, m.path, repr(float(m.errors[i]))])
            writer.writerow([number, "persistence", "persistence", "", repr(float(found.persistence[i]))])


def networks_of(
    anchor: Path, low: Path | None, high: Path | None, merged: tuple[Path, ...]
) -> dict[Path, tuple[str, str]]:
    """Checkpoint -> name and kind.

    Raises:
        ValueError: for a checkpoint that is given twice.
    """
    given = [(anchor, "anchor", KINDS[0])]
    given += [(p, name, KINDS[1]) for p, name in ((low, "low"), (high, "high")) if p is not None]
    given += [(p, name_of(p), KINDS[2]) for p in merged]
    found: dict[Path, tuple[str, str]] = {}
    for path, name, kind in given:
        if path in found:
            raise ValueError(f"{path} is passed twice, as {found[path][0]} and as {kind}; leave one out.")
        found[path] = (str(path) if name in [n for n, _ in found.values()] else name, kind)
    return found


@click.command("evaluate", cls=Grouped)
@family_options
@click.option("--merged", multiple=True, type=click.Path(path_type=Path), help="Merged checkpoint; may be repeated.")
@click.option("--model", metavar="MODEL", help=HELP)
@click.option("--trajectories", required=True, type=click.Path(path_type=Path), help="File of held-out trajectories.")
@layout_options
@click.option("--sample", metavar="WHICH", help="Which of its trajectories: 0, or 0,3, or 0:8. Default: all.")
@frames_option("Frames after the model's window that are not scored: the prefix.", least=0)
@click.option(
    "--csv", "target", type=click.Path(path_type=Path), help="File NAME.csv for the error of each trajectory."
)
@persistence_option
@force_option
@json_option
def command(target: Path | None, accept_persistence: bool, as_json: bool, **given: Any) -> None:
    """Compare anchor, experts and merged weights on held-out trajectories, and recommend one of them.

    Every network restarts from the same observed frames, and is scored on the frames that follow.

    \b
    ccm evaluate --anchor a.pt --low l.pt --high h.pt --merged merged.safetensors --trajectories held_out.h5
    ccm evaluate --anchor a.pt --merged m.safetensors --model neuraloperator --trajectories t.npy --csv errors.csv

    \b
    On the example family (ccm example), after ccm merge or ccm calibrate:
    cd example
    ccm evaluate --family . --merged merged.safetensors --trajectories test-0.00075.npz --sample 1:4
    """
    anchor, low, high = files_of(*(given.pop(name) for name in ("family", *NAMES)))
    if anchor is None:
        raise click.UsageError("--anchor is needed, or --family")
    networks = networks_of(anchor, low, high, given.pop("merged"))
    if len(networks) < 2:
        raise click.UsageError("nothing to compare the anchor with; pass --merged, --low or --high")
    check_there(*networks, given["trajectories"])
    if target is not None:
        if target.suffix != ".csv":
            raise ValueError(f"--csv {target} does not end in .csv; choose a name that does.")
        check_new(target)
    processor.prepare()
    trajectories = given.pop("trajectories")
    found = evaluate(networks, trajectories, given.pop("sample"), **given)
    show(found)
    persistence = float(found.persistence.mean())
    best = min(float(m.errors.mean()) for m in found.methods)
    axes, reading = "", Reading()
    if worse_than_trivial(best, persistence):
        weights, recording = open_weights(anchor), given["layout"].open(trajectories)
        axes = other_axes(weights, given["model"], recording)
        x = None if accept_persistence else read_samples(recording, found.samples[:1], found.observed + STEPS)
        reading = reading_of(weights, given["model"], x)
    check_persistence("evaluate", persistence, best, accept=accept_persistence, axes=axes, reading=reading)
    if HARDLY * persistence < best < persistence:
        warn(
            f"every network's error is close to that of the last frame repeated ({best:.3g} and {persistence:.3g}): "
            "check units, the order of channels and the time step before relying on the verdict."
        )
    if target is not None:
        made = new_folder(target)
        write_csv(found, target)
        say(f"Wrote {target}{made}.")
    if found.clue:
        warn(
            f"{trajectories}: check the time step: over its first frames, {found.clue} If so, ignore the verdict below."
        )
    for line in found.remarks:
        note(line)
    verdict = judge(found.methods)
    say(verdict.text)
    if as_json:
        tell(described(found, verdict))
    if worse_than_trivial(best, persistence):
        say("Repeating the last frame, or zeros, has a smaller error than any network.")
    if verdict.use is not None:
        start = words_for(found.observed, found.observed + found.frames)
        where = (trajectories, found.samples[0], given["layout"])
        rollout_next(Path(verdict.use.path), given["model"], *where, start=start)
