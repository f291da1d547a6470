"""The FNO's vorticity in MATLAB's files: the start ``a [N, s, s]``, and ``u [N, s, s, T]`` from the first time on."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.boundary import allowed
from ccm_jax.io.recordings import parameters
from ccm_jax.io.recordings.contents import SAMPLE, TIME, Contents, Variable, closed, listed, recording_of, with_axes
from ccm_jax.io.recordings.hdf5 import is_hdf5
from ccm_jax.io.recordings.recording import TIMES, Recording
from ccm_jax.io.recordings.registry import register_layout

# Bytes of a number by its class in MATLAB; cells, structures and text hold no frames. A complex one has two parts.
WIDTHS = {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)} | {"single": 4, "double": 8}


def contents(path: Path, shapes: Mapping[str, tuple[int, ...]], times: Any, *, hdf5: bool) -> Contents:
    """Start and frames as one field, where the times say that the start is the frame before the first.

    Args:
        path: the file.
        shapes: of ``a`` and ``u``.
        times: of ``u``.
        hdf5: whether axes are stored in reverse, as MATLAB 7.3 does.
    """
    axes = (TIME, "y", "x", SAMPLE) if hdf5 else (SAMPLE, "x", "y", TIME)
    shape, at = list(shapes["u"]), axes.index(TIME)
    times = np.ravel(times)
    regular = len(times) == shape[at] and np.allclose(np.diff(times), times[0], rtol=1e-3)
    shape[at] += regular
    viscosity = re.search(r"[Vv](\d*\.?\d+[eE]-\d+)", path.stem)
    known = parameters.in_name(path) | ({"viscosity": float(viscosity[1])} if viscosity else {})
    lengths = dict(zip(axes, shape, strict=True))
    keys = ("vorticity",) if regular else ("u",)
    said = "the start a is taken for the frame at time 0" if regular else "the start a is left out: times are not even"
    return Contents(
        "fno-mat",
        (Variable("vorticity", axes, tuple(shape), keys=keys),),
        closed,
        np.concatenate([[0.0], times]) if regular else times,
        {a: np.arange(lengths[a]) / lengths[a] for a in "xy"},
        [known | row for row in parameters.of_arrays({}, lengths[SAMPLE])[0]],
        (said,),
        view=lambda arrays: {"u": arrays["u"], "vorticity": _FromStart(arrays, hdf5)},
    )


class _FromStart:
    """``a`` and ``u`` as one array, indexed by one sample and a slice of frames."""

    def __init__(self, arrays: Mapping[str, Any], hdf5: bool) -> None:
        self.start, self.later, self.hdf5 = arrays["a"], arrays["u"], hdf5

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        at = 0 if self.hdf5 else len(index) - 1  # of time
        rest = index[:at] + index[at + 1 :]
        wanted = range(*index[at].indices(self.later.shape[at] + 1))
        after = [frame - 1 for frame in wanted if frame > 0]
        cut = slice(after[0], after[-1] + 1, wanted.step) if after else slice(0, 0)
        time = 0 if self.hdf5 else -1  # the sample is gone by then
        first = [np.expand_dims(self.start[rest], time)] if 0 in wanted else []
        return np.concatenate([*first, self.later[(*index[:at], cut, *index[at + 1 :])]], axis=time)


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, whole: this format cannot be read in parts."""
    stat = path.stat()
    return _loaded(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, *_: int) -> dict[str, np.ndarray]:
    from scipy.io import loadmat, whosmat  # slow to import

    try:
        there = [(name, math.prod(shape) * WIDTHS[kind]) for name, shape, kind in whosmat(path) if kind in WIDTHS]
        size, most = sum(n for _, n in there), allowed(path.stat().st_size)
        if size > most:  # before memory is asked for
            raise ValueError(f"its {path.stat().st_size} bytes unpack to {size}, more than {most}")
        content = loadmat(path, variable_names=[name for name, _ in there])
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise ValueError(f"open_recording: {path} cannot be read as a MATLAB file: {error}.") from error
    return {key: value for key, value in content.items() if isinstance(value, np.ndarray)}


@register_layout(".mat")
def read_matlab(path: Path, *, axes: str | None = None) -> Recording | None:
    """The FNO's vorticity in a MATLAB file before 7.3."""
    if path.suffix != ".mat" or is_hdf5(path):
        return None
    arrays = _load(path)
    if axes is not None:
        real = {k: v for k, v in arrays.items() if v.dtype.kind in "fiu" and k not in TIMES}
        shapes = {k: v.shape for k, v in real.items() if v.ndim >= 2 and v.size > 1}
        variables, left_out = with_axes(path, shapes, axes)
        samples = dict(zip(variables[0].axes, variables[0].shape, strict=True)).get(SAMPLE, 1)
        rows, _ = parameters.of_arrays({k: v for k, v in real.items() if v.size == 1}, samples)
        times = next((arrays[name] for name in TIMES if name in arrays), None)
        times = np.ravel(times) if times is not None and max(times.shape) == times.size else times
        found = Contents("matlab", variables, closed, times, {}, rows, left_out=tuple(left_out))
    elif {"a", "u", "t"} <= set(arrays):
        found = contents(path, {key: arrays[key].shape for key in ("a", "u")}, arrays["t"], hdf5=False)
    else:
        raise ValueError(
            f"open_recording: {path} holds {listed(arrays)}, expected a, u, t; say what the axes are by --axes "
            "(axes=...)."
        )
    return recording_of(path, found._replace(open=lambda: nullcontext(_load(path))))
