"""Other merges of the same experts: one setting for all regimes, chosen on validation, and those that move."""

from __future__ import annotations

from typing import Any

import jax

from ccm_jax.baselines import BASELINES, complex_view, pair_view
from ccm_jax.models import is_real_pair
from ccm_jax.rollout import make_rollout
from experiments.peers import judge as judging
from experiments.peers.judge import judge_of, score
from experiments.peers.training import given
from experiments.peers.trials import Found, Params, regimes_of
from experiments.pipeline import networks, stages
from experiments.pipeline.stages import Run

SCALES = (0.3, 0.5, 0.7, 1.0, 1.4)  # of the update
DENSITIES = (0.2, 0.5, 1.0)
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)  # between the experts


def posthoc(run: Run, known: Found) -> Found:
    """Errors of merges that know nothing of the regime, of the nearest expert, and of SLERP that is told it."""
    config = run.config.copy_and_resolve_references()
    config.finetune.learning_rate = known["experts"]["rate"]
    run = Run(config, run.root)
    there = given(run)
    judge = judge_of(run, there.anchor)
    trained = stages.endpoints(run, there.ends, there.anchor)
    raw = [networks.load_params(there.anchor, "anchor"), *(networks.load_params(trained, n) for n in ("low", "high"))]
    anchor, *experts = (complex_view(tree, is_real_pair) for tree in raw)

    def merged(name: str, s: float = 0.0, **how: Any) -> Params:
        return pair_view(BASELINES[name].merge(anchor, experts, (-1.0, 1.0), s, **how), raw[0])

    key = jax.random.fold_in(jax.random.key(config.seed), 12)
    candidates: dict[str, list[Found]] = {
        "average": [{}],
        "task_arithmetic": [{"scale": c} for c in SCALES],
        "ties": [{"density": d, "scale": c} for d in DENSITIES for c in SCALES],
        "dare": [{"drop": d, "scale": c, "key": key} for d in (0.9, 0.5) for c in SCALES],
        "slerp_fixed": [{"s": 2 * t - 1} for t in PLACES],
        "model_stock": [{}],
    }
    errors: Found = {}
    settings: Found = {}
    for name, tried in candidates.items():
        method = name.removesuffix("_fixed")
        scores = [score(judging.fixed(judge, merged(method, **how), "validation")) for how in tried]
        best = tried[min(range(len(tried)), key=lambda i: scores[i])]
        errors[name] = judging.fixed(judge, merged(method, **best))
        settings[name] = {"chosen": {k: v for k, v in best.items() if k != "key"}, "trials": len(tried)}
    for name in ("nearest_expert", "slerp"):
        errors[name] = [
            judging.fixed(judge._replace(test=(x,)), merged(name, s))[0]
            for x, s in zip(judge.test, judge.coordinates("test"), strict=True)
        ]
    errors["output_ensemble"], settings["output_ensemble"] = _ensemble(run, there, tuple(raw[1:]))
    errors["low"], errors["high"] = (judging.fixed(judge, tree) for tree in raw[1:])
    return {"errors": errors, "settings": settings} | regimes_of(run)


def _ensemble(run: Run, there: Any, experts: tuple[Params, Params]) -> tuple[list[float], Found]:
    """Both experts run side by side, their frames averaged in every step, with the best weight on validation."""
    _, apply = networks.normalized_model(run.config, there.anchor)

    def both(params: Any, window: Any) -> Any:
        low, high, t = params
        return (1 - t) * apply(low, window) + t * apply(high, window)

    judge = judge_of(run, there.anchor)._replace(rollout_fn=make_rollout(both))
    scores = {t: score(judging.fixed(judge, (*experts, t), "validation")) for t in PLACES}
    best = min(scores, key=lambda t: scores[t])
    return judging.fixed(judge, (*experts, best)), {"chosen": {"t": best}, "trials": len(PLACES)}
