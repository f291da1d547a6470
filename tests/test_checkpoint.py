from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from ccm_jax import Gated, Polynomial, fit_chart
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.io import checkpoint
from ccm_jax.train import init_state, make_optimizer


def params(seed: int = 0, width: int = 3) -> dict[str, dict[str, jax.Array]]:
    key = jax.random.key(seed)
    return {"lift": {"w": jax.random.normal(key, (2, width)), "b": jnp.zeros(width, jnp.bfloat16)}}


def test_a_tree_and_its_metadata_come_back(tmp_path: Path) -> None:
    tree = params() | {"c": jnp.array([1 + 2j], jnp.complex64), "n": jnp.arange(3)}
    path = checkpoint.save(tmp_path / "a", tree, {"seed": 3, "normalization": {"mean": [0.5]}})
    chex.assert_trees_all_equal(checkpoint.load(path), tree)
    chex.assert_trees_all_equal(checkpoint.load(path, like=tree), tree)
    assert checkpoint.load_metadata(path) == {"seed": 3, "normalization": {"mean": [0.5]}}
    assert not list(tmp_path.glob("*partial*"))


def test_a_training_state_comes_back_with_its_structure(tmp_path: Path) -> None:
    state = init_state(params(), make_optimizer(1e-3, 10))
    path = checkpoint.save(tmp_path / "a", state)
    chex.assert_trees_all_equal(checkpoint.load(path, like=state), state)


@pytest.mark.parametrize("features", [Polynomial(degree=2), Gated(Polynomial())])
def test_a_chart_comes_back(tmp_path: Path, features: Polynomial | Gated) -> None:
    coordinates = [[-1.0], [0.0], [1.0]] if features.dim == 1 else [[-1.0, 1.0], [1.0, 1.0], [0.5, 1.0]]
    chart = fit_chart(params(0), [params(s) for s in (1, 2, 3)], coordinates, features=features)
    again = checkpoint.load_chart(checkpoint.save_chart(tmp_path / "c", chart, {"seed": 1}))
    assert again.features == features
    chex.assert_trees_all_close(again([0.3] * features.dim), chart([0.3] * features.dim))
    like = checkpoint.load_chart(tmp_path / "c", like=params(0))
    chex.assert_trees_all_equal(like.basis, chart.basis)
    warped = fit_chart(params(0), [params(1), params(2)], [-1.0, 1.0], warp=CoordinateMap.fit([-1, 1], [-1, 1]))
    with pytest.raises(ValueError, match="the chart has a warp"):
        checkpoint.save_chart(tmp_path / "d", warped)


class Layer(NamedTuple):
    """Its fields are not in the order of their names, as dictionaries are."""

    weight: np.ndarray
    bias: np.ndarray
    count: np.ndarray


def test_a_chart_of_named_tuples_with_a_counter_comes_back(tmp_path: Path) -> None:
    def layers(value: float) -> tuple[Layer, Layer]:
        return tuple(Layer(np.full(2, value + i), np.full(3, -value - i), np.arange(2)) for i in range(2))

    chart = fit_chart(layers(0.0), [layers(1.0), layers(3.0)], [-1.0, 1.0])
    path = checkpoint.save_chart(tmp_path / "c", chart)
    again = checkpoint.load_chart(path, like=layers(0.0))
    assert jax.tree.structure(again(0.5)) == jax.tree.structure(layers(0.0))
    chex.assert_trees_all_close(again(0.5), chart(0.5))
    plain = checkpoint.load_chart(path)(0.5)
    np.testing.assert_allclose(plain[1]["bias"], chart(0.5)[1].bias)
    np.testing.assert_array_equal(plain[1]["count"], [0, 1])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", params())
    with pytest.raises(ValueError, match="exists, and nothing is overwritten"):
        checkpoint.save(tmp_path / "a", params(1))
    chex.assert_trees_all_equal(checkpoint.load(tmp_path / "a"), params())


def test_foreign_half_written_and_damaged_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is a file, and checkpoint.save makes folders; read it with load_any"):
        checkpoint.load(tmp_path / "file.safetensors")
    with pytest.raises(ValueError, match=r"checkpoint.load: .*nowhere is not a checkpoint: there is no such path"):
        checkpoint.load(tmp_path / "nowhere")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(ValueError, match="half-written, or of another program: load_any reads checkpoints of any"):
        checkpoint.load(tmp_path / "foreign")
    path = checkpoint.save(tmp_path / "a", params())
    for part in path.glob("tree/*"):
        shutil.rmtree(part) if part.is_dir() else part.write_bytes(b"")
    with pytest.raises(ValueError, match=r"does not match its checksum in SHA256SUMS; it is damaged"):
        checkpoint.load(path)
    (path / "SHA256SUMS").unlink()  # as in checkpoints of earlier versions
    with pytest.raises(ValueError, match=r"cannot be read .*damaged"):
        checkpoint.load(path)


def test_another_model_s_weights_are_named(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "a", params(width=3))
    with pytest.raises(ValueError, match=r"leaf \['lift'\]\['b'\] is bfloat16\[3\] in .*, expected bfloat16\[4\]"):
        checkpoint.load(path, like=params(width=4))
    with pytest.raises(ValueError, match="holds 2 leaves, expected 1"):
        checkpoint.load(path, like={"w": jnp.zeros(2)})


def test_what_two_devices_wrote_one_device_reads(tmp_path: Path) -> None:
    script = f"""
        import jax, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        from ccm_jax.io import checkpoint
        assert len(jax.devices()) == 2
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("x",))
        tree = {{"w": jax.device_put(np.arange(8.0, dtype=np.float32), NamedSharding(mesh, PartitionSpec("x")))}}
        checkpoint.save({str(tmp_path / "a")!r}, tree)
    """
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, env=environment, timeout=120)
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "a")["w"], np.arange(8.0))
    assert json.loads((tmp_path / "a" / "metadata.json").read_text()) == {}


def test_leaves_that_fail_beside_the_first_are_not_logged(tmp_path: Path) -> None:
    """Orbax reads leaves side by side; asyncio would log each further one with a traceback."""
    script = f"""
from pathlib import Path
import numpy as np
from ccm_jax.io import checkpoint
folder = checkpoint.save({str(tmp_path / "a")!r}, {{f"w{{i}}": np.ones((30, 40), np.float32) for i in range(12)}})
(folder / "SHA256SUMS").unlink()
for file in (folder / "tree").rglob("d/*"):
    with open(file, "r+b") as cut:
        cut.truncate(3)
try:
    checkpoint.load(folder)
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert "it is damaged: restore it from a copy" in done.stdout and "never retrieved" not in done.stderr


@pytest.mark.parametrize("kind", ["Task", "Future"])
def test_asyncio_says_nothing_of_futures_and_tasks_whose_error_is_raised(kind: str, caplog: Any) -> None:
    """Which of the two it names depends on which leaf fails first."""
    checkpoint._quiet()
    logging.getLogger("asyncio").error("%s exception was never retrieved", kind)
    logging.getLogger("asyncio").error("another")
    assert caplog.messages == ["another"]


@pytest.mark.parametrize("kept", [0, 1])
def test_a_file_that_the_checksums_do_not_name_is_refused(tmp_path: Path, kept: int) -> None:
    """As after a loss of power, which leaves the list short or empty."""
    folder = checkpoint.save(tmp_path / "a", params())
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(lines[:kept]))
    with pytest.raises(ValueError, match="SHA256SUMS does not name .*; it is damaged: restore it from a copy"):
        checkpoint.load(folder)


def test_a_folder_around_a_checkpoint_is_none_itself(tmp_path: Path) -> None:
    ocp.save(tmp_path / "around" / "net", {"w": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"around holds net; pass .*net\.$"):
        checkpoint.load_any(tmp_path / "around")
