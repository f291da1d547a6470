"""Notebooks as Markdown pages: prose, code and stored outputs; pictures become files beside the page.

    python -m experiments.site.notebooks

writes the pictures that the gallery shows, ``docs/images/NOTEBOOK-NUMBER.png``, from the notebooks' stored outputs.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PICTURES = {"image/png": "png", "image/gif": "gif", "image/webp": "webp"}
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\(([^)]*)\)")
# First line of a cell that is of interest to who runs it, not to who reads it: it finds the package, or it plots. The
# cell without which nothing runs stands out; the others are boxes of code.
FOLDED = re.compile(r"# (?:@title )?((Run this cell first|Setup|Code|Plot): .*)")
BOXES = {"Run this cell first": "tip", "Setup": "abstract", "Code": "abstract", "Plot": "abstract"}
LONGEST = 110  # characters of an output's line; Jupyter wraps longer ones at its window, and a page would scroll
WHITE = 0.85  # share of a picture that is background, at least, in one that consists of lines and dots
DOCS = re.compile(r"\]\((?:\.\.|https://github\.com/[\w.-]+/[\w.-]+/blob/main)/docs/")
SIBLING = re.compile(r"\]\(https://github\.com/[\w.-]+/[\w.-]+/blob/main/notebooks/(\w+)\.ipynb\)")


def pages(folder: Path, repository: str | None) -> dict[str, str | bytes]:
    """Every notebook of a folder as ``NAME.md``, with itself, and its pictures as ``NAME/0.png``, ``NAME/1.png``, ...

    Args:
        folder: where ``*.ipynb`` lie.
        repository: address of the repository; without one, links to Colab, which would lead nowhere, are left out.
    """
    found: dict[str, str | bytes] = {}
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        pictures: dict[str, bytes] = {}
        text = "\n\n".join(part for cell in cells for part in _cell(cell, path.stem, pictures))
        download = f'[Download this notebook]({path.stem}.ipynb){{ download="" }}'
        # Without Colab's picture: the site requests nothing from other servers.
        colab = "" if repository is None else r"[Open in Colab](\1) · "
        found[f"{path.stem}.md"] = BADGE.sub(colab + download, text, count=1) + "\n"
        found[f"{path.stem}.ipynb"] = path.read_bytes()
        found |= pictures
    return found


def shown_in_gallery(root: Path) -> dict[Path, bytes]:
    """The pictures of notebooks that the gallery shows, by the file that they belong in."""
    gallery = (root / "docs" / "gallery.md").read_text(encoding="utf-8")
    stored = pages(root / "notebooks", None)
    names = re.findall(r"images/(\w+)-(\d+)\.(\w+)", gallery)
    files = {root / "docs" / "images" / f"{n}-{i}.{end}": stored[f"{n}/{i}.{end}"] for n, i, end in names}
    return {path: content for path, content in files.items() if isinstance(content, bytes)}


def _cell(cell: Mapping[str, Any], stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield SIBLING.sub(r"](\1.md)", DOCS.sub("](../", source))
        return
    if not source:
        return
    if folded := FOLDED.match(source):
        yield f'??? {BOXES[folded[2]]} "{folded[1]}"\n\n    ```python\n' + _indented(source) + "\n    ```"
    else:
        language = "bash" if source.startswith("%%bash\n") else "python"
        yield f"```{language}\n{source.removeprefix('%%bash').lstrip()}\n```"
    for output in _joined(cell.get("outputs", [])):
        yield from _output(output, stem, pictures)


def _joined(outputs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Outputs of which consecutive prints are one, however Jupyter cut them; rich displays each line by itself."""
    for printed, group in itertools.groupby(outputs, _printed):
        if printed:
            texts = ["".join(one.get("text") or one["data"]["text/plain"]) for one in group]
            yield {"output_type": "stream", "text": "".join(texts)}
        else:
            yield from group


def _printed(output: Mapping[str, Any]) -> bool:
    data = output.get("data", {})
    text = output.get("output_type") == "display_data" and "text/plain" in data and not PICTURES.keys() & data.keys()
    return output.get("output_type") == "stream" or text


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def _output(output: Mapping[str, Any], stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    data = output.get("data", {})
    for kind, suffix in PICTURES.items():
        if kind in data:
            name = f"{stem}/{sum(p.startswith(f'{stem}/') for p in pictures)}.{suffix}"
            pictures[name] = base64.b64decode("".join(data[kind]))
            yield f"![Output of the cell above]({name})" + "{ .chart }" * is_chart(pictures[name])
            return
    text = "".join(output.get("text", data.get("text/plain", "")))
    text = "\n".join(map(_wrapped, ESCAPES.sub("", text).rstrip().splitlines()))
    if text and output.get("output_type") != "error":
        yield f"```{{.text .output}}\n{text}\n```"


def _wrapped(line: str) -> str:
    """A printed line, broken where it is too long for a page, with the indent that it has."""
    if len(line) <= LONGEST:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    wrapper = textwrap.TextWrapper(LONGEST, initial_indent=indent, subsequent_indent=indent)
    wrapper.break_long_words = wrapper.break_on_hyphens = False  # addresses and options
    return wrapper.fill(line.strip())


def is_chart(picture: bytes) -> bool:
    """Whether a picture consists of lines and dots on white, so that a dark page may invert it; not of fields."""
    from PIL import Image, UnidentifiedImageError

    try:
        shades = Image.open(io.BytesIO(picture)).convert("L").histogram()
    except UnidentifiedImageError:
        return False
    return sum(shades[235:]) > WHITE * sum(shades)


if __name__ == "__main__":
    for target, picture in shown_in_gallery(Path(__file__).parent.parent.parent).items():
        target.write_bytes(picture)
        print(target.name)
