"""One seed gives the same numbers: bit by bit in any order of stages, and to rounding with any version of a library.

The values below are small on purpose: they take seconds, and change if random numbers, solvers, networks, training or
merging change what they compute.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from ccm_jax import merge_pytree
from ccm_jax.geometry import tree_norm
from ccm_jax.io.checksums import write_checksums
from experiments.pipeline import networks, stages, store
from experiments.pipeline.stages import Run
from experiments.runner import conditions
from tests.contents import contents
from tests.tiny import tiny_config

GOLDEN = {
    "deviation of the data": 0.705937,
    "deviation of the last frames": 0.550732,
    "first loss": 0.573706,
    "last loss": 0.484223,
    "norm of the anchor": 9.09805,
    "norm between the experts": 0.00694227,
    "deviation of a rollout at 1.4": 0.98766,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Data, anchor and experts, in the order of a run."""
    run = Run(tiny_config(), tmp_path_factory.mktemp("made") / "stages")
    support, ends = stages.support_data(run), stages.endpoint_data(run)
    stages.endpoints(run, ends, stages.anchor(run, support))
    return run


@pytest.mark.long
def test_the_order_of_stages_does_not_matter(made: Run, tmp_path: Path) -> None:
    run = Run(made.config, tmp_path / "stages")
    stages.validation_data(run)
    ends = stages.endpoint_data(run)
    stages.test_data(run)
    anchor = stages.anchor(run, stages.support_data(run))
    stages.anchor_more(run, stages.support_data(run), anchor)
    stages.endpoints(run, ends, anchor)
    expected, found = contents(made.root), contents(run.root)
    assert len(expected) > 8 and expected.items() <= found.items()


def test_numbers_are_those_that_they_were(made: Run) -> None:
    support, ends = stages.support_data(made), stages.endpoint_data(made)
    anchor = stages.anchor(made, support)
    family = networks.load_family(made.config, anchor, stages.endpoints(made, ends, anchor))
    x, losses = stages.load_trajectories(support), np.load(anchor.path / "anchor-losses.npy")
    merged = merge_pytree(family.anchor, family.low, family.high, 1.4)
    found = {
        "deviation of the data": x.std(),
        "deviation of the last frames": x[:, :, -1].std(),
        "first loss": losses[0],
        "last loss": losses[-1],
        "norm of the anchor": tree_norm(family.anchor),
        "norm between the experts": tree_norm(jax.tree.map(lambda a, b: a - b, family.high, family.low)),
        "deviation of a rollout at 1.4": family.rollout_fn(merged, x[0, :, :1], 3).std(),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(GOLDEN, rel=5e-3)


def test_a_stage_of_another_precision_is_refused_and_nothing_is_changed(made: Run, x64: None) -> None:
    before = contents(made.root)
    with pytest.raises(store.StageError, match=r"data_support-.* was made with JAX_ENABLE_X64=False, and this is True"):
        stages.support_data(made)
    assert contents(made.root) == before


def test_a_stage_of_other_versions_or_code_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = store.run_stage(tmp_path, "a", {}, (), lambda work: None)
    record = json.loads((stage.path / store.RECORD).read_text())
    assert record["devices"] >= 1 and "experiments/pipeline/stages.py" in record["sources"]
    record["versions"]["jax"] = "0.1.0"
    record["sources"] |= {"ccm_jax/chart.py": "0", "ccm_jax/gone.py": "0", "solvers/gone.py": "0"}
    (stage.path / store.RECORD).write_text(json.dumps(record))
    write_checksums(stage.path)
    with pytest.warns(UserWarning) as said:
        store.run_stage(tmp_path, "a", {}, (), lambda work: None)
    line = str(said[0].message)
    assert f"{stage.path.name} was made by jax 0.1.0 (this is {jax.__version__})" in line
    assert "by other code (ccm_jax/chart.py, ccm_jax/gone.py and 1 more changed since); delete" in line


def test_a_stage_of_before_conditions_were_kept_is_taken_as_it_is() -> None:
    conditions.check_precision({}, "a stage")
    assert conditions.differences({}, {"jax": "1"}) == []
