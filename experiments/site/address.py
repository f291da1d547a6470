"""The repository's address, in one place: ``[project.urls]`` of pyproject.toml.

    python -m experiments.site.address https://github.com/NAME/ccm_jax

writes it there and into the notebooks, which also work when they are uploaded alone. The site and the reports read
pyproject.toml.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ccm_jax.io.atomic import write_text
from experiments.runner.repository import ROOT, address

FORM = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+)")


def change(new: str, root: Path = ROOT) -> list[Path]:
    """Writes a new address wherever the old one is, and returns the files that changed.

    Raises:
        ValueError: for an address that is not ``https://github.com/NAME/REPOSITORY``.
    """
    if not FORM.fullmatch(new):
        raise ValueError(f"address: {new!r}, expected https://github.com/NAME/REPOSITORY.")
    old, short = address(root), len("https://github.com/")
    changed = []
    for path in [root / "pyproject.toml", *sorted((root / "notebooks").glob("0*"))]:
        text = path.read_text(encoding="utf-8")
        # Colab's links hold the account and the name after another host.
        moved = text.replace(old, new).replace(f"/github/{old[short:]}/", f"/github/{new[short:]}/")
        if moved != text:
            write_text(path, moved)
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(*change(sys.argv[1]), sep="\n")
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
