"""A rollout with predictive intervals, from observed frames."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from ccm_jax._checks import as_count
from ccm_jax._frames import as_frames
from ccm_jax._given import check_axes
from ccm_jax.forecast import Forecast, evidence_of, scale_of, spread_of
from ccm_jax.posterior import Prior
from ccm_jax.readout import PrefixReadout, check_readout


def predict_rollout(
    readout: PrefixReadout,
    frames: Any,
    steps: int | None = None,
    *,
    batch: Literal["each"] | None = None,
    context: Any = None,
    prior: Prior | None = None,
) -> Forecast:
    """Finds a coordinate from observed frames, and rolls out from the last of them with predictive intervals.

    The rollout is averaged over the coordinate's posterior (three coordinates for one axis). The variance also includes
    the model's error on validation regimes at the right coordinate.

    Args:
        readout: with the uncertainty of :func:`~ccm_jax.fit_uncertainty`, fitted on trajectories with future frames.
        frames: of one trajectory, ``[T, *space, C]``, or of a batch, ``[N, T, *space, C]``.
        steps: frames to predict; at most, and by default, as many as validation trajectories had.
        batch: None for one trajectory; for a batch, ``"each"``, one coordinate per trajectory.
        context: the model's inputs besides the window.
        prior: what is known of the physical value besides the frames.

    Returns:
        A :class:`~ccm_jax.forecast.Forecast`.

    Raises:
        ValueError: without a fitted residual, for more steps than validation had, or for frames that the readout
            refuses.

    Example:
        >>> from ccm_jax import fit_chart, fit_prefix_readout, fit_uncertainty, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> readout = fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1] * jnp.exp(0.1 * p["rate"][0])))
        >>> def decay(rate, bump):  # trajectories of eight frames that the model does not quite explain
        ...     t = jnp.arange(8.0)[:, None, None]
        ...     return jnp.stack([jnp.exp(0.1 * rate * t + b * t**2) * jnp.ones((8, 4, 1)) for b in bump])
        >>> rates = [-1.6, -1.2, -0.8, -0.4]
        >>> sure = fit_uncertainty(readout, [decay(r, (-2e-4, 0.0, 1e-4)) for r in rates], rates)
        >>> flow = decay(-1.0, [1e-4])[0]
        >>> forecast = predict_rollout(sure, flow[:5])  # from five observed frames
        >>> forecast.mean.shape
        (3, 4, 1)
        >>> below, above = forecast.interval(0.9)
        >>> bool(jnp.all((below < flow[5:]) & (flow[5:] < above)))
        True
    """
    check_readout("predict_rollout", readout)
    known = readout.uncertainty
    if known is None or known.residual is None:
        raise ValueError(
            "predict_rollout: the readout has no fitted uncertainty of forecasts; call fit_uncertainty on validation "
            "trajectories with frames after the prefix."
        )
    residual = known.residual
    most = residual.level.shape[0]
    count = most if steps is None else as_count("predict_rollout: steps", steps)
    if count > most:
        raise ValueError(f"predict_rollout: steps is {steps}, expected 1 to {most}, what validation trajectories had.")
    if batch not in (None, "each"):
        raise ValueError(f"predict_rollout: batch is {batch!r}, expected None or 'each'.")
    batched = batch == "each"
    x = as_frames(readout.chart, frames, "predict_rollout: frames")
    check_axes("predict_rollout", readout.known, x.shape, x.ndim + (not batched))
    if not batched:
        x, context = x[None], jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)
    found = readout(x, batch="each", context=context, prior=prior)
    assert found.posterior is not None and found.loss is not None
    observed = readout.history + readout.frames
    how: dict[str, Any] = {"steps": count, "start": observed, "context": context}
    window = x[:, readout.frames : observed]
    mean, variance = spread_of(readout.chart, readout.rollout_fn, window, found.posterior, **how)
    size = residual.size(evidence_of(found.loss, found.coordinate))[:, :count]
    wide = size.reshape(*size.shape, *(1,) * (mean.ndim - 2)) * scale_of(mean)
    factors = jnp.broadcast_to(residual.factors[:count], (len(x), *residual.factors[:count].shape))
    forecast = Forecast(mean, jnp.sqrt(variance + wide**2), factors, found.posterior.beyond().any(axis=-1))
    return forecast if batched else jax.tree.map(lambda leaf: leaf[0], forecast)
