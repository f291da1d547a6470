"""What an error of other code says, as one line of ours; and what a misspelt name was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

# Begins the line of what a network raised: in the error of a compiled program it stands behind a traceback.
FAILED = "torch_rollout: "
LONGEST = 160  # characters of another's text
MANUAL = re.compile(r" \(https://flax\.readthedocs\.io/\S+\)")  # Flax names a page of its manual in every error
LONGEST_REASON = 320  # of an error: enough for its first sentence, with an address


def clean(value: object, longest: int = LONGEST) -> str:
    """Text of others within one line of a terminal: not all of it, and no control characters."""
    return repr(str(value)[:longest])[1:-1]


def text_of(error: BaseException) -> str:
    """What an error says; one that was raised with several texts, which Python prints as a tuple, says them in a row.

    Example:
        >>> text_of(ValueError("Input needs rank 2,", " but input has shape (1, 21)."))
        'Input needs rank 2, but input has shape (1, 21).'
    """
    parts = error.args
    if len(parts) > 1 and not isinstance(error, OSError) and all(isinstance(part, str) for part in parts):
        return " ".join(part.strip() for part in parts)
    return str(error).strip()


def raised(error: BaseException) -> str:
    """What a model raised, as a sentence, where the error may hold that sentence already.

    Example:
        >>> raised(ValueError("not so. The model raised: rank 2.")), raised(ValueError("rank 2."))
        ('The model raised: rank 2.', 'The model raised: rank 2.')
    """
    return f"The model raised: {str(error).rpartition('The model raised: ')[2]}"


def reason_of(error: BaseException) -> str:
    """What an error of another library or of a user's code says, with its type where that says more.

    Example:
        >>> reason_of(KeyError("w")), reason_of(ValueError("it is cut off.")), reason_of(AssertionError())
        ("KeyError 'w'", 'it is cut off', 'AssertionError')
    """
    first = MANUAL.sub("", text_of(error).partition("\n")[0])
    if len(first) > LONGEST_REASON:  # at a word, and so that it shows
        first = f"{first[: LONGEST_REASON - 40].rsplit(' ', 1)[0]} …"
    plain = type(error) in (ValueError, OSError) and first
    return clean(first if plain else f"{type(error).__name__} {first}".strip(), LONGEST_REASON).rstrip(".")


def meant(name: str, names: Iterable[str]) -> str:
    """A question after a misspelt name, for the end of an error; empty where none of the names is near.

    Example:
        >>> meant("bach", ["batch", "mask"]), meant("x", ["batch"])
        ('; did you mean batch?', '')
    """
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def missing(path: Path) -> str:
    """What is said of a path where there is nothing: the file beside it that may be meant, if there is one.

    Names are compared without their ending, which most files of a folder share.
    """
    beside = sorted(set(path.parent.iterdir()) - {path}) if path.parent.is_dir() else []
    alike = {file.stem: file for file in beside if file.suffix == path.suffix}
    near = [alike[stem] for stem in difflib.get_close_matches(path.stem, alike, n=1)]
    near += [file for file in beside if file.stem == path.stem]  # of another ending
    return f"there is no {path}; {f'did you mean {clean(near[0])}?' if near else 'check the path.'}"
