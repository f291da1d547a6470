"""``ccm example``: a small family to try the other verbs on."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ccm_jax import example
from ccm_jax.cli.console import say
from ccm_jax.io.atomic import check_new, together


@click.command("example")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("example"))
def command(folder: Path) -> None:
    """Copy the example family to FOLDER: an anchor, two experts and trajectories of a flow.

    The network forecasts vorticity; its experts were fine-tuned at the viscosities 1e-3 and 2e-3.

    \b
    ccm example
    ccm inspect example
    """
    files = sorted(file for file in example.path().iterdir() if file.suffix in (".safetensors", ".npz"))
    for file in files:
        check_new(folder / file.name)
    folder.mkdir(parents=True, exist_ok=True)
    with together(folder / files[0].name) as place:  # all of them, or none
        for file in files:
            place(folder / file.name).write_bytes(file.read_bytes())
    say(f"{folder} holds {', '.join(file.name for file in files)}.")
    say("Next, find the coordinate of a flow at viscosity 0.00075, and compare it with the anchor:")
    here, test, others = (
        shlex.quote(str(path)) for path in (folder, folder / "test-0.00075.npz", folder / "validation.npz")
    )
    say(f"  ccm calibrate --family {here} --prefix {test} --sample 0 \\")
    say(f"    --validation {others} -o merged.safetensors")
    say(f"  ccm evaluate --family {here} --merged merged.safetensors --trajectories {test} \\")
    say("    --sample 1:4")
