"""``ccm data``: make a family of trajectories, or say what a file holds."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.table import Table

from experiments.files import open_recordings, write_recording
from experiments.progress import console


@click.group("data")
def command() -> None:
    """Make or describe files of trajectories."""


@command.command("describe")
@click.argument("path", type=click.Path(path_type=Path))
def describe(path: Path) -> None:
    """Say what PATH, a file or a folder, holds: layout, fields, grid, times, parameters.

    \b
    ccm data describe 2D_diff-react_NA_NA.h5
    """
    table = Table(title=str(path), title_justify="left")
    for heading in ("file", "layout", "fields", "samples", "frames", "grid", "times", "parameters"):
        table.add_column(heading, overflow="fold")
    for r in open_recordings(path):
        times = "–" if r.times is None else f"{r.times[0]:g} … {r.times[-1]:g}"
        names = sorted({name for row in r.parameters for name in row})
        ranges = []
        for name in names:
            values = [row[name] for row in r.parameters if name in row]
            low, high = min(values), max(values)
            ranges.append(f"{name} = {low:g}" if low == high else f"{name} = {low:g} … {high:g}")
        grid = "×".join(map(str, r.shape[2:]))
        row = (r.path.name, r.layout, ", ".join(r.fields), str(r.shape[0]), str(r.shape[1]), grid, times)
        table.add_row(*row, "\n".join(ranges) or "–")
    console.print(table)


@command.command("generate")
@click.option(
    "--config", "name", required=True, help="Experiment by name, with an optional size: rd_ood, ns_ood:smoke."
)
@click.option("--value", type=float, multiple=True, help="Values on its axis; default: all of its test regimes.")
@click.option("--count", default=4, show_default=True, help="Trajectories of each value.")
@click.option("--seed", default=0, show_default=True, help="Of the initial states.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="NAME.h5")
def generate(name: str, value: tuple[float, ...], count: int, seed: int, output: Path) -> None:
    """Simulate a family with the solver of an experiment, and write it in PDEBench's layout.

    \b
    ccm data generate --config rd_ood --value 5e-4 --value 4e-3 --count 8 -o family.h5
    """
    import importlib

    from experiments import configs, data
    from experiments.checks import check_config
    from experiments.systems import regime_parameters, stored_channels

    configs.resolve(name)  # says which names there are
    base, _, size = name.partition(":")
    config = importlib.import_module(f"experiments.configs.{base}").get_config(size)
    config.seed = seed
    check_config(config)
    if count < 1:
        raise ValueError(f"--count is {count}, expected at least 1.")
    values = value or tuple(config.regimes.test)
    x = np.concatenate([data.simulate(config, v, count, "test", i * count) for i, v in enumerate(values)])
    numbers = [{k: p for k, p in regime_parameters(config, v).items() if isinstance(p, (int, float))} for v in values]
    length = float(config.physics.get("length", 1.0))
    points = length * (np.arange(config.data.grid) + 0.5) / config.data.grid
    write_recording(
        output,
        x,
        [row for row in numbers for _ in range(count)],
        fields=stored_channels(config),
        times=config.solver.dt * (config.solver.burn_in + np.arange(config.solver.frames + 1)),
        axes=(points, points),
    )
    console.print(f"{output}: {len(x)} trajectories of {list(x.shape[1:])}.", markup=False)
