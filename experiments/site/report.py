"""The sample report of the site, ``docs/report.html``: that of a full run of the main experiment.

    python -m experiments.site.report runs/rd_ood

Its links to the documentation lead to the repository or, while that has no address, are names of files in it; the site
turns them into links to its pages (``hook.py``). A report of another run, of another version or with paths of the
machine is refused, and nothing is written. Where Chromium is installed, the gallery's pictures of it are taken, too.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from ccm_jax.io.atomic import write_text
from experiments.report.links import link
from experiments.report.page import VERSION
from experiments.runner.repository import ROOT, published

TARGET = ROOT / "docs" / "report.html"
PICTURES = {"1": ROOT / "docs" / "images" / "report.png", "0": ROOT / "docs" / "images" / "report_dark.webp"}
SIZE = (1000, 1000)  # of the browser's window, in pixels
RUN = "rd_ood"
MADE = re.compile(r'<meta name="generator" content="ccm_jax, report (\d+) of ([\w:]+)">')
BITMAP = re.compile(r"data:image/\w+;base64,[A-Za-z0-9+/=\s]+")
PATH = re.compile(r"(?<![\w.:/<])/(?:[\w.-]+/)+[\w.-]*|\b[A-Za-z]:\\+\w+|file://\S+")
BESIDE = re.compile(r'<span class="beside">.*?</span>', re.S)  # links to files that only the run's folder has
NOTE = (
    f'<p class="soft note"><code>python -m experiments.run --config={RUN}</code> writes such a report. '
    f"{link('Documentation', 'index.md', published())}</p>"
)


def machine_paths(page: str) -> list[str]:
    """The absolute paths that a page names, of the machine that made it."""
    return sorted({found[0] for found in PATH.finditer(BITMAP.sub("", page))})


def sample(folder: Path) -> str:
    """The report of a run as a file of ``docs/``.

    Args:
        folder: of the run, with ``report.html``.

    Returns:
        HTML for ``docs/``.

    Raises:
        ValueError: if it is not a report of a full run of the main experiment in the present version, or if it names
            paths of the machine.
    """
    path = folder / "report.html"
    if not path.exists():
        raise ValueError(f"report: {folder} has no report.html; run: python -m experiments.run --config={RUN}.")
    page = path.read_text(encoding="utf-8")
    made = MADE.search(page)
    if made is None or int(made[1]) != VERSION:
        version = made[1] if made else "none"
        raise ValueError(
            f"report: {path} has version {version}, expected {VERSION}; run again to redraw it: "
            f"python -m experiments.run --config={RUN} --workdir={folder}."
        )
    if made[2] != RUN:
        raise ValueError(f"report: {path} is of {made[2]}, expected {RUN} in its full size.")
    host = socket.gethostname()
    named = machine_paths(page) + re.findall(rf"\b{re.escape(host)}\b", BITMAP.sub("", page))[:1]
    if named:
        raise ValueError(f"report: {path} names {', '.join(named[:5])}, expected no path or name of a machine.")
    return BESIDE.sub("", page).replace("</main>", f"{NOTE}\n</main>", 1)


def main(folder: Path, target: Path = TARGET) -> None:
    """Writes the sample."""
    write_text(target, sample(folder))
    print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB")


def take_pictures(page: Path = TARGET) -> None:
    """Takes pictures of the first screen of a page, light and dark; without Chromium, says so and takes none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no pictures are taken, because Chromium is not installed")
        return
    for scheme, target in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            shot = Path(folder) / "shot.png"
            how = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
            how += [f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={SIZE[0]},{SIZE[1]}"]
            command = [browser, *how, f"--screenshot={shot}", page.resolve().as_uri()]
            subprocess.run(command, check=True, capture_output=True)
            picture = Image.open(shot).convert("RGB")
            picture = picture.quantize(256) if target.suffix == ".png" else picture
            picture.save(target, **({"optimize": True} if target.suffix == ".png" else {"quality": 85, "method": 6}))
        print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]))
        take_pictures()
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
