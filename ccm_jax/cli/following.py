"""The command to run next, with the files of the one that just ended, or of their folder, filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccm_jax.cli.console import say
from ccm_jax.cli.frames import COUNTERS, Layout, assumed_axes
from ccm_jax.cli.prefix_length import FRAMES
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.source import in_folder
from ccm_jax.io.description import FOREIGN, describe, model_name
from ccm_jax.io.recordings import Recording, open_recording
from ccm_jax.io.recordings.opening import check_alike, files_of
from ccm_jax.io.save import ending_of
from ccm_jax.io.weights import open_weights

# Words that stand for what only the user knows -> what that is.
PLACES = {
    "TRAJECTORIES": "a file of held-out trajectories",
    "OBSERVED_FRAMES": "a file with the frames observed",
    "OTHER_REGIMES": "a file of trajectories of other regimes, whose values are known",
    "ANCHOR": "the checkpoint of the anchor",
    "LOW": "the checkpoint of the low expert",
    "HIGH": "the checkpoint of the high expert",
    "MODEL": f"{', '.join(FOREIGN)}, or your network as MODULE:NAME",
}
CALLED = {"test": ("test", "seen", "observed", "prefix"), "validation": ("val",)}  # kind of file -> names begin so
NEARLY = 0.02  # relative: a value in the name of a file that differs by less is the value
MANY = 8  # samples that are named one by one


def follow(*words: str | Path | None, after: str = "Next") -> None:
    """Prints ``Next: ccm ...``, and as comments what its places stand for; words that are None are left out.

    ``after`` is what stands before the command; ``"Then"`` for the second of two.
    """
    given = [str(word) for word in words if word is not None]
    say(f"{after}: ccm {shlex.join(given)}")
    for word in given:
        if word in PLACES:
            say(f"  # {word}: {PLACES[word]}")


def family(recipe: Recipe, *, by_folder: bool = True) -> list[str]:
    """The options that name an anchor and its experts; of more than two experts, the anchor alone.

    Args:
        recipe: that names the files.
        by_folder: whether a folder that holds them may stand for them.
    """
    if len(recipe.experts) != 2:
        return ["--anchor", str(recipe.anchor)]
    low = recipe.expert_names.index("low expert") if "low expert" in recipe.expert_names else 0
    files = (recipe.anchor, recipe.experts[low], recipe.experts[1 - low])
    return named(*files) if by_folder else _one_by_one(*files)


def named(*files: Path) -> list[str]:
    """The options that name an anchor, a low and a high expert: by their folder, if it holds them under these names."""
    if family_in(files[0].parent) == list(files):
        return ["--family", str(files[0].parent)]
    return _one_by_one(*files)


def _one_by_one(*files: Path) -> list[str]:
    return [str(word) for pair in zip(("--anchor", "--low", "--high"), files, strict=True) for word in pair]


def family_in(folder: Path) -> list[Path]:
    """Anchor, low and high of a folder; none where it does not hold them."""
    try:
        return in_folder(folder)
    except (ValueError, OSError):
        return []


def family_beside(trajectories: Path) -> list[str]:
    """The options that name the family near a file of trajectories; places for them where there is none.

    It is in the folder of the file, or in the only folder there that holds one.
    """
    there = trajectories.parent
    inside = [folder for folder in sorted(there.glob("*/")) if family_in(folder)][:2]
    folder = there if family_in(there) or len(inside) != 1 else inside[0]
    files = family_in(folder)
    if not files:
        return ["--anchor", "ANCHOR", "--low", "LOW", "--high", "HIGH", "--model", "MODEL"]
    return ["--family", str(folder), *model_of(None, files[0])]


def merged_beside(trajectories: Path) -> str:
    """The name of a merged file that is not there yet, with the ending of the family near a file of trajectories."""
    words = family_beside(trajectories)
    files = family_in(Path(words[1])) if words[0] == "--family" else []
    return free(f"merged{ending_of(files[0]) if files else '.safetensors'}")


def model_of(model: str | None, checkpoint: Path) -> list[str]:
    """``--model`` as it was given; a place for it where a checkpoint does not say which network it is of."""
    try:
        known = model is not None or model_name(open_weights(checkpoint), None) is not None
    except (ValueError, OSError):  # whatever is wrong with it, its own command says
        known = True
    return ["--model", model or "MODEL"] if model is not None or not known else []


def file_beside(
    path: Path,
    kind: str,
    value: float | None = None,
    *,
    frames: int = 1,
    like: Recording | None = None,
    layout: Layout | None = None,
) -> Path | None:
    """The readable file of trajectories near a file whose name begins as one of a kind, as in ``ccm example``.

    It is searched for in the folder of the file, in that around it, and in the one in which ``ccm`` runs.

    Args:
        path: the file, which is not meant itself.
        kind: ``"test"`` or ``"validation"``.
        value: the physical value that the file is of, if its name has numbers. Without one, of several files that in
            the middle is taken: those at the ends are the hardest.
        frames: that it must have at least.
        like: a file whose fields, grid, time step and parameters it must have.
        layout: what was said of fields and axes.
    """
    how: dict[str, Any] = {} if layout is None else {"fields": layout.fields, "axes": layout.axes}

    def off(file: Path) -> float:
        return min((abs(number - (value or 0.0)) for number in _numbers(file)), default=float("inf"))

    seen = set()
    for folder in (path.parent, path.parent / "..", Path()):
        if (place := folder.resolve()) in seen:
            continue
        seen.add(place)
        folder = path.parent.parent if folder.name == ".." and path.parent.name not in ("", "..") else folder
        try:
            there = [file for file in files_of(folder) if file.stem.lower().startswith(CALLED[kind])]
        except OSError:
            continue
        found = {file: _opened(file, how) for file in there if file.absolute() != path.absolute()}
        fit = {file: r for file, r in found.items() if r is not None and r.shape[1] >= frames and _alike(r, like)}
        others = [file for file, r in fit.items() if not assumed_axes(r)] or list(fit)  # best one that needs no --axes
        if others and value is None:
            return sorted(others, key=off)[len(others) // 2]
        if others:
            return min(others, key=off)
    return None


def _numbers(file: Path) -> list[float]:
    """The numbers in the name of a file."""
    return [float(text) for text in re.findall(r"\d*\.?\d+(?:e[-+]?\d+)?", file.stem)]


def _is_of(file: Path, value: float | None) -> bool:
    """Whether a file may be of a physical value: its name has no numbers, or one that is the value."""
    numbers = _numbers(file)
    return not numbers or (value is not None and any(abs(n - value) <= NEARLY * abs(value) for n in numbers))


def _opened(path: Path, how: dict[str, Any]) -> Recording | None:
    """A file of trajectories, if it can be read as it is."""
    try:
        return open_recording(path, **how)
    except (ValueError, OSError, ModuleNotFoundError):
        return None


def _alike(recording: Recording, like: Recording | None) -> bool:
    """Whether two files may be of one family."""
    if like is None:
        return True
    names = [{name for row in r.parameters for name in row if name.lower() not in COUNTERS} for r in (recording, like)]
    sizes = [[n for n in (*r.shape[2:], len(r.fields)) if n > 1] for r in (recording, like)]  # of 1: of whichever axis
    if sizes[0] != sizes[1]:
        return False
    if any(field.startswith("channel_") for r in (recording, like) for field in r.fields):  # a file without names
        recording = recording._replace(fields=like.fields)
    if any(assumed_axes(r) or 1 in r.shape[2:] for r in (recording, like)):
        recording = recording._replace(fields=like.fields, shape=(*recording.shape[:2], *like.shape[2:]))
    try:
        check_alike([like, recording])
    except ValueError:
        return False
    return names[0] == names[1] or not all(names)  # a file may tell none


def _history(model: str | None, checkpoint: Path) -> int:
    """Frames in a model's window as far as its checkpoint or its description tells; otherwise 1."""
    try:
        return int(describe(open_weights(checkpoint), model).get("history", 1))
    except (ValueError, OSError):  # whatever is wrong with it, its own command says
        return 1


def frames_beside(path: Path) -> list[str]:
    """The options of a calibration: one sample of a test file in the folder of a file, and its validation file."""
    test = file_beside(path, "test")
    validation = file_beside(path, "validation", like=None if test is None else _opened(test, {}))
    seen = ["OBSERVED_FRAMES"] if test is None else [str(test), "--sample", "0"]
    return ["--prefix", *seen, "--validation", "OTHER_REGIMES" if validation is None else str(validation)]


def free(name: str) -> str:
    """The name of an output that is not there yet."""
    path, i = Path(name), 2
    while path.exists():
        path, i = Path(name).with_stem(f"{Path(name).stem}-{i}"), i + 1
    return str(path)


def others_of(recording: Recording, layout: Layout, chosen: Sequence[int], observed: int) -> list[str]:
    """The options of an evaluation: the file's other samples of the same regime, if they go on after the prefix."""
    regimes = [{k: v for k, v in row.items() if k.lower() not in COUNTERS} for row in recording.parameters]
    alike = [i for i in range(recording.shape[0]) if not regimes or regimes[i] == regimes[chosen[0]]]
    rest = [i for i in alike if i not in chosen]
    if not rest or recording.shape[1] <= observed:
        return ["--trajectories", "TRAJECTORIES"]
    together = len(rest) > 1 and rest == list(range(rest[0], rest[-1] + 1))
    samples = f"{rest[0]}:{rest[-1] + 1}" if together else ",".join(map(str, rest[:MANY]))
    return ["--trajectories", str(recording.path), "--sample", samples, *layout.words()]


def evaluate_next(
    recipe: Recipe,
    merged: Path,
    model: str | None,
    held_out: Sequence[str] | None = None,
    *,
    after: str = "Next",
    by_folder: bool = True,
) -> None:
    """After a merge: compare it with what it was made of, on held-out trajectories or a test file beside the anchor."""
    if held_out is None:
        needed = _history(model, recipe.anchor) + FRAMES + 1  # and a future to score
        test = file_beside(recipe.anchor, "test", recipe.value, frames=needed)
        known = test is not None and _is_of(test, recipe.value)  # of another value, a merge is not to be judged
        held_out = ["--trajectories", str(test) if known else "TRAJECTORIES"]
    words = (*family(recipe, by_folder=by_folder), "--merged", str(merged), *model_of(model, recipe.anchor), *held_out)
    follow("evaluate", *words, after=after)


def rollout_next(
    checkpoint: Path, model: str | None, initial: Path, sample: int, layout: Layout, *, start: Sequence[str] = ()
) -> None:
    """After a choice: run the network that was chosen from the frames that it was chosen by, or on after them."""
    which = () if sample == 0 else ("--sample", str(sample))
    words = ("--initial", str(initial), *which, *layout.words(), *start)
    follow("rollout", checkpoint, *model_of(model, checkpoint), *words, "-o", free("rollout.npz"))


def calibrate_next(path: Path, frames: Sequence[str]) -> None:
    """After a look at trajectories: calibrate the family near them on frames, as ``--prefix FILE`` and more."""
    follow("calibrate", *family_beside(path), *frames, "-o", merged_beside(path))
