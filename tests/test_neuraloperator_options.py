"""Every argument of neuraloperator's FNO: the same numbers here, or a refusal that names it.

The files are those that its own code wrote (``tests/references/make_neuraloperator.py``), so that nothing is skipped
where it is not installed; where it is, they are written anew and checked likewise.
"""

from __future__ import annotations

import io
import lzma
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.interop import fno_from_neuraloperator
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.save import save_weights
from ccm_jax.io.torchfile import open_torch
from ccm_jax.io.weights import open_weights
from ccm_jax.models import make_model
from tests.terminal import NAMES, arrays, ccm

STORED = Path(__file__).parent / "references" / "neuraloperator.npz.xz"
with np.load(io.BytesIO(lzma.decompress(STORED.read_bytes()))) as stored:
    FILES: dict[str, Any] = dict(stored)
CASES = [name.removesuffix("/file") for name in FILES if name.endswith("/file")]
SAME = [name for name in CASES if f"{name}/y" in FILES]
REFUSED = [name for name in CASES if f"{name}/y" not in FILES]


def write(name: str, path: Path) -> Path:
    path.write_bytes(FILES[f"{name}/file"].tobytes())
    return path


def check_same(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """``x`` and ``y`` with channels first, as the module has them."""
    settings, params = fno_from_neuraloperator(open_torch(path))
    window = jnp.asarray(np.moveaxis(x, 1, -1))[:, None]
    got = np.moveaxis(np.asarray(jax.jit(make_model("fno", **settings).apply)(params, window)), -1, 1)
    np.testing.assert_allclose(got, y, atol=1e-5 * np.abs(y).max())


def test_no_argument_is_left_out() -> None:
    assert set(FILES["arguments"].tolist()) == {name.partition("=")[0] for name in CASES}
    assert len(SAME) > 15 and len(REFUSED) > 20


@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers(name: str, tmp_path: Path) -> None:
    check_same(write(name, tmp_path / "net.pt"), FILES[f"{name}/x"], FILES[f"{name}/y"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=name.partition("=")[0]):
        fno_from_neuraloperator(open_torch(write(name, tmp_path / "net.pt")))


def family(name: str, folder: Path, step: float = 0.01) -> list[Any]:
    """Options that name three files, the experts' with other weights."""
    anchor = write(name, folder / "anchor.pt")
    for end, sign in (("low", -1), ("high", 1)):
        trees = [arrays(anchor), {k: v + v.dtype.type(sign * step) for k, v in arrays(anchor).items()}]
        said = open_weights(anchor).metadata
        save_weights(folder / f"{end}.pt", trees, lambda name: np.ones(1), open_weights(anchor), said)
    return [word for end in NAMES for word in (f"--{end}", folder / f"{end}.pt")]


def rolled(folder: Path, checkpoint: Path, *words: Any) -> Any:
    for file in folder.glob("r.*"):
        file.unlink()
    known = ("--model", "neuraloperator", "--initial", folder / "seen.npy", "--steps", 1, "-o", folder / "r.npz")
    return ccm("rollout", checkpoint, *known, *words)


@pytest.mark.parametrize("name", ["domain_padding=0.25", "non_linearity=relu", "max_n_modes=(8, 8)"])
@pytest.mark.parametrize("output", ["m.safetensors", "m.pt", "m.safetensors.index.json", "m"])
def test_a_merged_file_is_refused_as_its_anchor_is(name: str, output: str, tmp_path: Path) -> None:
    words = family(name, tmp_path)
    np.save(tmp_path / "seen.npy", np.ones((2, 12, 12, 2), np.float32))
    done = ccm("merge", *words, "-c", 1, "-o", tmp_path / output)
    assert done.exit_code == 0, done.output
    for checkpoint in (tmp_path / "anchor.pt", tmp_path / output):
        done = rolled(tmp_path, checkpoint)
        assert done.exit_code == 2 and name.partition("=")[0] in done.output and not (tmp_path / "r.npz").exists()


def test_inputs_without_coordinates_are_frames_of_the_past(tmp_path: Path) -> None:
    name = "positional_embedding=None, in_channels=2, out_channels=1"
    words, x, y = family(name, tmp_path), FILES[f"{name}/x"], FILES[f"{name}/y"]
    np.save(tmp_path / "seen.npy", x[0, :, :, :, None])  # two frames
    assert ccm("merge", *words, "-c", 0, "-o", tmp_path / "m.safetensors").exit_code == 0
    for checkpoint in ("anchor.pt", "m.safetensors"):  # the experts' average is the anchor
        done = rolled(tmp_path, tmp_path / checkpoint)
        assert done.exit_code == 0 and "assumed" not in done.output, done.output
        got = np.load(tmp_path / "r.npz")["frames"][0]
        np.testing.assert_allclose(got, np.moveaxis(y[0], 0, -1), atol=1e-5 * np.abs(y).max())


def test_options_that_one_file_says_count_for_its_family(tmp_path: Path) -> None:
    words = family("domain_padding=0.25", tmp_path)
    np.save(tmp_path / "seen.npy", np.ones((2, 12, 12, 2), np.float32))
    mute = save_safetensors(tmp_path / "mute.safetensors", arrays(tmp_path / "anchor.pt"))
    words[1] = mute
    done = ccm("merge", *words, "-c", 1, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 0 and "mute.safetensors does not record the options" in done.output
    assert "domain_padding" in rolled(tmp_path, tmp_path / "m.safetensors").output
    assert "assumed are those" in rolled(tmp_path, mute).output
    words[1] = write("non_linearity=relu", tmp_path / "other.pt")
    done = ccm("merge", *words, "-c", 1, "-o", tmp_path / "n.safetensors")
    assert done.exit_code == 2 and "low.pt says non_linearity='torch._C._nn.gelu'" in done.output
    assert not (tmp_path / "n.safetensors").exists()


def test_the_installed_version_has_these_arguments_and_numbers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("neuralop.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        from tests.references import make_neuraloperator

        assert make_neuraloperator.arguments() == FILES["arguments"].tolist()
        for argument, case in make_neuraloperator.cases():
            path = tmp_path / "net.pt"
            path.write_bytes(case.file)
            if case.x is not None and case.y is not None:
                check_same(path, case.x, case.y)
            else:
                with pytest.raises(ValueError, match=argument):
                    fno_from_neuraloperator(open_torch(path))
