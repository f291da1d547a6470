"""Simulates a family of trajectories and writes it to a file in PDEBench's layout.

    python -m experiments.generate --config=rd_ood --value=5e-4,4e-3 --count=8 --output=family.h5

The default values are all test regimes of the configuration. Overrides work as in ``experiments.run``:
``--config.solver.substeps=12``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from ccm_jax.io.recordings import write_recording
from experiments import command, options
from experiments.options import OUTPUT

_VALUE = flags.DEFINE_list("value", [], "Comma-separated values; pairs A:B for two axes. Default: all test regimes.")
_COUNT = flags.DEFINE_integer("count", 4, "Trajectories per value.", lower_bound=1)


def main(config: ConfigDict) -> None:
    """Simulates every value, and writes one file."""
    from experiments.pipeline import data
    from experiments.pipeline.axes import axes_of, join, said
    from experiments.pipeline.systems import (
        grid_points,
        regime_parameters,
        settings_for,
        stored_channels,
        system_of,
    )
    from experiments.runner.progress import console

    if OUTPUT.value is None:
        raise ValueError("--output is needed: the file to write, NAME.h5.")
    try:
        given = [tuple(float(part) for part in v.split(":")) for v in _VALUE.value]
        if any(len(numbers) != len(axes_of(config)) for numbers in given):
            raise ValueError("another number of axes")
    except ValueError as error:
        pairs = ", each a pair such as 1e-3:5e-3" if len(axes_of(config)) > 1 else ""
        raise ValueError(f"--value={','.join(_VALUE.value)}: expected numbers separated by commas{pairs}.") from error
    values = [join(numbers) for numbers in given] or list(config.regimes.test)
    for value in values:  # compiled programs trace their parameters, and cannot object to them
        try:
            system_of(config).make_step(settings_for(config), regime_parameters(config, value))
        except ValueError as error:
            reason = re.sub(r"^[\w.]+: ", "", str(error))  # without the function's name
            raise ValueError(f"--value: {said(config, value)} is out of range: {reason}") from error
    count = _COUNT.value
    x = np.concatenate([data.simulate(config, v, count, "test", i * count) for i, v in enumerate(values)])
    numbers = [{k: p for k, p in regime_parameters(config, v).items() if isinstance(p, (int, float))} for v in values]
    write_recording(
        OUTPUT.value,
        x,
        [row for row in numbers for _ in range(count)],
        fields=stored_channels(config),
        times=config.solver.dt * (config.solver.burn_in + np.arange(config.solver.frames + 1)),
        axes=grid_points(config),
    )
    console.print(f"Wrote {Path(OUTPUT.value)}: {len(x)} trajectories of shape {list(x.shape[1:])}.", markup=False)
    console.print(f"Next: ccm data describe {OUTPUT.value}", markup=False)


flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(options)

if __name__ == "__main__":
    command.run_without_folder(main, __doc__)
