"""LoRA adapters as experts: the weights that they make are those that PEFT would merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax.io.lora import open_expert, with_adapter
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from tests.terminal import arrays, ccm

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


ANCHOR = {"a.weight": real(5, 4), "a.bias": real(5), "b.conv.weight": real(3, 2, 3, 3), "head.weight": real(1, 5)}


def adapter(prefix: str = "base_model.model.", kind: str = "") -> dict[str, np.ndarray]:
    return {
        f"{prefix}a.lora_A{kind}.weight": real(2, 4),
        f"{prefix}a.lora_B{kind}.weight": real(5, 2),
        f"{prefix}b.conv.lora_A{kind}.weight": real(2, 2, 3, 3),
        f"{prefix}b.conv.lora_B{kind}.weight": real(3, 2, 1, 1),
    }


@pytest.mark.parametrize("prefix, kind", [("base_model.model.", ""), ("", ".default"), ("base_model.model.", ".wet")])
def test_the_weights_are_the_anchor_s_and_the_scaled_product(prefix: str, kind: str) -> None:
    low = adapter(prefix, kind)
    a_a, a_b, c_a, c_b = low.values()
    got = with_adapter(
        ANCHOR, low | {f"{prefix}head.modules_to_save.weight": 2 * ANCHOR["head.weight"]}, {"lora_alpha": 6}
    )
    np.testing.assert_allclose(got["a.weight"], ANCHOR["a.weight"] + 3 * a_b @ a_a, rtol=1e-5)
    composed = np.einsum("or,rixy->oixy", c_b[..., 0, 0], c_a)
    np.testing.assert_allclose(got["b.conv.weight"], ANCHOR["b.conv.weight"] + 3 * composed, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["a.bias"], ANCHOR["a.bias"])
    np.testing.assert_array_equal(got["head.weight"], 2 * ANCHOR["head.weight"])
    said: dict[str, Any] = {"lora_alpha": 6, "use_rslora": True, "alpha_pattern": {"b.conv": 4}}
    scaled = with_adapter(ANCHOR, low, said)
    np.testing.assert_allclose(scaled["a.weight"] - ANCHOR["a.weight"], 6 / 2**0.5 * a_b @ a_a, rtol=1e-4, atol=1e-5)
    moved = scaled["b.conv.weight"] - ANCHOR["b.conv.weight"]
    np.testing.assert_allclose(moved, 4 / 2**0.5 * composed, rtol=1e-4, atol=1e-5)


def test_adapters_merge_like_other_experts(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "anchor.safetensors", ANCHOR)
    low, high = adapter(), adapter()
    for name, tree in (("low", low), ("high", high)):
        (tmp_path / name).mkdir()
        save_safetensors(tmp_path / name / "adapter_model.safetensors", tree)
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"lora_alpha": 2, "r": 2}))
    three = ["--anchor", tmp_path / "anchor.safetensors", "--low", tmp_path / "low", "--high", tmp_path / "high"]
    done = ccm("merge", *three, "-c", 1, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 0, done.output
    for name, leaf in with_adapter(ANCHOR, high, {"lora_alpha": 2}).items():
        np.testing.assert_allclose(arrays(tmp_path / "m.safetensors")[name], leaf, atol=1e-6)
    assert ccm("inspect", *three[1::2]).exit_code == 0


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "anchor.safetensors", ANCHOR)
    save_safetensors(tmp_path / "low.safetensors", adapter())
    anchor = open_weights(tmp_path / "anchor.safetensors")
    with pytest.raises(ValueError, match="is a LoRA adapter without a recorded scale; write lora_alpha into"):
        open_expert(tmp_path / "low.safetensors", anchor)
    (tmp_path / "adapter_config.json").write_text("[")
    with pytest.raises(ValueError, match="adapter_config.json is not a JSON file"):
        open_expert(tmp_path / "low.safetensors", anchor)
    for wrong, message in (
        (
            {"c.lora_A.weight": real(2, 4), "c.lora_B.weight": real(5, 2)},
            "c belongs to c.weight, and the anchor",
        ),
        ({"a.lora_A.weight": real(2, 4)}, "a has lora_A alone"),
        ({"a.lora_A.weight": real(2, 3), "a.lora_B.weight": real(5, 2)}, r"a makes \(5, 3\), and a.weight is"),
        ({"a.lora_A.weight": real(2, 4), "a.lora_B.weight": real(5, 3)}, r"lora_A is \(2, 4\) and lora_B \(5, 3\)"),
        ({"a.lora_magnitude_vector.weight": real(5)}, "is of another kind of adapter"),
        (adapter("", ".wet") | adapter("", ".dry"), "it holds the adapters dry and wet; save one of them alone"),
    ):
        with pytest.raises(ValueError, match=message):
            with_adapter(ANCHOR, wrong, {"lora_alpha": 1})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lora_alpha": float("nan")}, "a has lora_alpha nan and rank 2, expected a finite number"),
        ({"lora_alpha": 1, "init_lora_weights": "pissa_niter_4"}, "is pissa_niter_4, which also moves the anchor's"),
        ({"lora_alpha": 1, "init_lora_weights": "OLoRA"}, "which also moves the anchor's weights"),
        ({"lora_alpha": 1, "alpha_pattern": {"(a+)+$": 2}}, "no groups; write the layers out"),
        ({"lora_alpha": 1, "alpha_pattern": {"a*a*a*a*b": 2}}, "with at most 2 of"),
        ({"lora_alpha": 1, "alpha_pattern": {"[": 2}}, r"alpha_pattern has \[: .*; write the layers out"),
        ({"lora_alpha": 1, "alpha_pattern": 3}, "alpha_pattern is 3, expected names of layers"),
    ],
)
def test_settings_that_would_give_other_weights_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_adapter(ANCHOR, adapter(), said)


def test_biases_of_an_adapter_are_added() -> None:
    low, bias = adapter(), real(5)
    given = low | {"base_model.model.a.lora_B.bias": bias}
    plain, got = (with_adapter(ANCHOR, tree, {"lora_alpha": 6, "lora_bias": True}) for tree in (low, given))
    np.testing.assert_allclose(got["a.bias"], ANCHOR["a.bias"] + 3 * bias, rtol=1e-6)
    np.testing.assert_array_equal(got["a.weight"], plain["a.weight"])
    with pytest.raises(ValueError, match="b.conv belongs to b.conv.bias, and the anchor has no such weight"):
        with_adapter(ANCHOR, low | {"b.conv.lora_B.bias": real(3)}, {"lora_alpha": 6})


def test_an_adapter_adds_to_the_weights_that_it_was_saved_with() -> None:
    low, base = adapter(), real(5, 4)
    whole = low | {"base_model.model.a.base_layer.weight": base}
    got = with_adapter(ANCHOR, whole, {"lora_alpha": 2})["a.weight"]
    a, b = (low[f"base_model.model.a.lora_{side}.weight"] for side in "AB")
    np.testing.assert_allclose(got, base + b @ a, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64"])
def test_a_small_update_is_not_rounded_to_the_anchor_s_type(dtype: str) -> None:
    anchor, low = {"a.weight": (100 * real(5, 4)).astype(dtype)}, adapter()
    low = {name: 1e-2 * leaf for name, leaf in low.items() if ".a." in name}
    if dtype == "complex64":
        low = {name: leaf * (1 + 1j) for name, leaf in low.items()}
    got = with_adapter(anchor, low, {"lora_alpha": 2})["a.weight"]
    a, b = (low[f"base_model.model.a.lora_{side}.weight"] for side in "AB")
    exact = np.asarray(anchor["a.weight"], np.complex128) + b.astype(np.complex128) @ a
    np.testing.assert_allclose(got, exact, rtol=1e-7 if dtype == "float64" else 1e-6)


def test_an_adapter_finds_an_anchor_that_is_wrapped() -> None:
    wrapped = {f"module.{name}": leaf for name, leaf in ANCHOR.items()}
    low = adapter()
    got, plain = (with_adapter(tree, low, {"lora_alpha": 2}) for tree in (wrapped, ANCHOR))
    assert set(got) == set(wrapped)
    for name, leaf in plain.items():
        np.testing.assert_array_equal(got[f"module.{name}"], leaf)
