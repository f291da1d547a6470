"""The indefinite article of the name of a type."""

from __future__ import annotations

import re

CAPITALS = re.compile(r"[A-Z](?![AEIOU])[A-Z]")  # MLP, FNO2d and UNet are spoken letter by letter, MIONet is a word
MUTE = re.compile(r"(?!str$)[A-Za-z][^aeiouyA-Z\W]+(?![a-z])|nd")  # without a vowel, as Mlp and NpzFile, and ndarray


def with_article(name: str) -> str:
    """A name behind its article, as it is spoken.

    Example:
        >>> [with_article(name) for name in ("dict", "int", "MLP", "FNO2d", "MIONet", "UNet", "ndarray", "str")]
        ['a dict', 'an int', 'an MLP', 'an FNO2d', 'a MIONet', 'a UNet', 'an ndarray', 'a str']
    """
    letters = "AEFHILMNORSX" if CAPITALS.match(name) or MUTE.match(name) else "AEIO"
    return f"{'an' if name[:1].upper() in letters else 'a'} {name}"
