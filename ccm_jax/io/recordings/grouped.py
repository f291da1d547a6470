"""The trajectories of a file, grouped by a physical parameter, as readouts take them for validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ccm_jax.io.recordings.opening import open_recording
from ccm_jax.io.recordings.recording import Recording, common_parameter


def by_value(recording: Recording | str | Path, name: str) -> dict[float, np.ndarray]:
    """All trajectories of each value of a physical parameter, values ascending.

    Args:
        recording: of :func:`open_recording`, or the path of a file that it opens. All frames are read.
        name: of the parameter, ours or the file's, as for :func:`common_parameter`.

    Returns:
        Trajectories ``[N, T, *space, C]`` in float32, by value.

    Raises:
        ValueError: if a trajectory does not have the parameter, or the file cannot be read.

    Example::

        import numpy as np
        from ccm_jax.io.recordings import by_value

        np.savez("flows.npz", frames=np.zeros((3, 5, 8, 8, 1)), viscosity=[1e-3, 2e-3, 1e-3])
        validation = by_value("flows.npz", "viscosity")
        assert {value: len(x) for value, x in validation.items()} == {1e-3: 2, 2e-3: 1}

    For ``fit_prefix_readout(chart, rollout_fn, list(validation.values()))`` and
    ``fit_uncertainty(readout, list(validation.values()), list(validation))``.
    """
    opened = recording if isinstance(recording, Recording) else open_recording(recording)
    values = common_parameter(opened, name)
    return {
        float(value): np.stack([opened.trajectory(int(i)) for i in np.flatnonzero(values == value)])
        for value in np.unique(values)
    }
