"""What is wrong with a chart: weights that are not finite, or the same at every coordinate."""

from __future__ import annotations

import jax
import numpy as np

from ccm_jax._checks import is_merged, is_traced
from ccm_jax._doubts import warn
from ccm_jax.chart import Chart, Gated


def warn_unmoved(function: str, chart: Chart) -> None:
    """Warns of weights that are not finite, or the same at every coordinate, where they are known.

    Args:
        function: name in the warning.
        chart: of the readout.
    """
    inner = chart.features.inner if isinstance(chart.features, Gated) else chart.features
    first = int(getattr(inner, "constant", False))  # the feature that does not depend on the coordinate
    if is_traced(chart) or jax.process_count() > 1:
        return
    lost = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path({"anchor": chart.origin, "update": chart.basis})
        if is_merged(leaf) and not np.isfinite(np.asarray(leaf)).all()
    ]
    if lost:
        warn(
            f"{function}: the chart contains NaN or infinite weights, first in {lost[0]}, so rollouts diverge; check "
            "whether the training of the anchor or of an expert diverged."
        )
        return
    if not any(np.any(np.asarray(leaf[first:])) for leaf in jax.tree.leaves(chart.basis)):
        warn(
            f"{function}: the chart has the same weights at every coordinate; its experts are equal: check which "
            "checkpoints were loaded."
        )
