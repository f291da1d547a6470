"""Files that are whole or not there: written beside their target, then moved over it.

A process that is killed cannot tidy up. What it leaves is named after it, ``.partial-PROCESS-NAME``, and goes as soon
as anybody writes the same target again.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ccm_jax.io.overwrite import check_taken

MARK = ".partial-"
_TOKEN = secrets.token_hex(4)  # numbers of processes come round again, in containers at once
_MOVED = f"{MARK}moved.json"  # in a folder of several outputs: those that were moved out of it, in order
_ASIDE = f"{MARK}old-"  # there: what outputs replace


def partial_of(target: Path, owner: str | None = None) -> Path:
    """Where a target is written before it is moved; its name ends as the target's, because some writers look at it.

    Args:
        target: file or folder.
        owner: who writes, in a word; this process by default.
    """
    return target.with_name(f"{MARK}{owner or f'{os.getpid()}.{_TOKEN}'}-{target.name}")


def check_new(path: Path) -> None:
    """Raises ValueError for an output that is there already, or that cannot be written; a missing folder is no fault.

    One that is there is none either where a user forces it, see :mod:`ccm_jax.io.overwrite`. What a killed process left
    of the same output is removed first; it was never finished.
    """
    remove_abandoned(path)
    check_taken(path)
    folder = next(parent for parent in (*path.parents, Path()) if os.path.lexists(parent))
    if not folder.is_dir():
        raise ValueError(f"{path} cannot be written: {folder} is a file; choose another folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not tell
            pass
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: no file can be made in the folder {folder.absolute()} "
            f"({(error.strerror or str(error)).lower()}); choose another folder, or change its permissions."
        ) from error


def remove_abandoned(target: Path) -> None:
    """Removes what killed processes left beside a target; other processes at work on it keep theirs."""
    for path in target.parent.glob(f"{MARK}*-{glob.escape(target.name)}"):
        process, _, token = path.name.removeprefix(MARK).removesuffix(f"-{target.name}").partition(".")
        if process.isdecimal() and not _alive(int(process), token):
            _undo(path, target)
            remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(process: int, token: str) -> bool:
    if process == os.getpid():
        return token == _TOKEN
    if os.name != "posix":  # there, asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a path beside ``target`` to write to, and moves it there at the end; an error leaves the old file."""
    remove_abandoned(target)
    partial = partial_of(target)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        remove(partial)


@contextlib.contextmanager
def together(main: Path) -> Iterator[Callable[[Path], Path]]:
    """Several new outputs that belong together: all of them, or after a kill none once ``main`` is written again.

    Yields a function from an output to the path where to write it. At the end all are moved to their places, ``main``
    last. What is moved is written down before; who writes ``main`` next takes it back, unless ``main`` itself was
    moved, and leaves what somebody has changed since. What they replace, where a user forces it, is kept until all are
    in place, and comes back otherwise.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     main = Path(folder, "weights.bin")
        ...     with together(main) as place:
        ...         _ = place(main).write_bytes(b"0")
        ...         _ = place(main.with_suffix(".md")).write_text("what it is")
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['weights.bin', 'weights.md']
    """
    remove_abandoned(main)
    folders: dict[Path, Path] = {}

    def place(output: Path) -> Path:
        if output.parent not in folders:
            output.parent.mkdir(parents=True, exist_ok=True)
            folder = folders[output.parent] = partial_of(output)
            folder.mkdir()
        return folders[output.parent] / output.name

    listed = place(main).with_name(_MOVED)
    try:
        yield place
        made = [(path, parent / path.name) for parent, folder in folders.items() for path in sorted(folder.iterdir())]
        moved: list[list[Any]] = []
        for path, output in sorted(made, key=lambda pair: pair[1] == main):
            aside = folders[output.parent] / f"{_ASIDE}{output.name}"
            moved.append([str(output.absolute()), *_identity(path), str(aside.absolute())])
            write_json(listed, moved)
            _move(path, output, aside)
    except BaseException:
        _undo(listed.parent, main)
        raise
    finally:
        for folder in reversed(folders.values()):  # that of the list last
            remove(folder)


def _move(path: Path, output: Path, aside: Path) -> None:
    """Moves to a place that is free; what somebody else has put there meanwhile stays, unless a user forces it.

    Args:
        path: what is moved.
        output: where to.
        aside: where what was there is kept.

    Raises:
        ValueError: if the place is taken.
    """
    if os.path.lexists(output):
        check_taken(output)
        try:
            os.link(output, aside, follow_symlinks=False)  # so that there is a file at any time
        except OSError:  # on file systems without links
            os.rename(output, aside)
        os.replace(path, output)
        return
    try:
        if path.is_dir():
            os.rename(path, output)
        else:
            os.link(path, output)  # the one way to move that fails where a file is
            path.unlink()
    except OSError:
        check_taken(output)
        os.replace(path, output)  # on file systems without links


def _identity(path: Path) -> tuple[int, int]:
    known = path.stat()
    return known.st_ino, known.st_mtime_ns


def _undo(folder: Path, main: Path) -> None:
    """Takes back what was moved out of a folder of several outputs, unless all of it was."""
    try:
        moved = json.loads((folder / _MOVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing was moved, or the folder is a file
        return
    ours = {name for name, *known in moved if os.path.lexists(name) and list(_identity(Path(name))) == known[:2]}
    if str(main.absolute()) in ours:
        return
    for name, _, _, *asides in moved:
        if asides and os.path.lexists(asides[0]) and (name in ours or not os.path.lexists(name)):
            os.replace(asides[0], name)
        elif name in ours:
            remove(Path(name))


def write_text(target: Path, text: str) -> None:
    """Writes text as UTF-8."""
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Writes JSON. Numbers that are not finite become null."""
    write_text(target, json.dumps(finite(content), indent=1, allow_nan=False))


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def finite(content: Any) -> Any:
    """The same content with every float that is not finite as None."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if isinstance(content, float) and not (float("-inf") < content < float("inf")):
        return None
    return content
