"""The original FNO2d and DPOT, written out in numpy from their publications, against what their weights become here."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from ccm_jax.interop import dpot_from_torch, fno_from_fno2d
from ccm_jax.models import make_model
from ccm_jax.models.dpot import SIZES


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def pointwise(x: np.ndarray, state: dict[str, Any], name: str) -> np.ndarray:
    weight = state[f"{name}.weight"]
    return x @ weight.reshape(weight.shape[:2]).T + state[f"{name}.bias"]


def fno2d_state(rng: np.random.Generator, modes: tuple[int, int], inputs: int) -> dict[str, np.ndarray]:
    def real(*shape: int) -> np.ndarray:
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    state = {"fc0.weight": real(6, inputs + 2), "fc0.bias": real(6)}
    for i in range(3):
        for half in (1, 2):
            state[f"conv{i}.weights{half}"] = (real(6, 6, *modes) + 1j * real(6, 6, *modes)).astype(np.complex64)
        state |= {f"w{i}.weight": real(6, 6, 1, 1), f"w{i}.bias": real(6)}
    return state | {
        "fc1.weight": real(15, 6),
        "fc1.bias": real(15),
        "fc2.weight": real(2, 15),
        "fc2.bias": real(2),
    }


def fno2d(state: dict[str, np.ndarray], x: np.ndarray, points: np.ndarray, padding: int) -> np.ndarray:
    """One frame from ``x [H, W, C]`` and the coordinates of a side, by the published forward pass."""
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1)
    v = pointwise(np.concatenate([x, grid], axis=-1), state, "fc0")
    v = np.pad(v, ((0, padding), (0, padding), (0, 0)))
    (h, w), (m1, m2) = v.shape[:2], state["conv0.weights1"].shape[2:]
    for i in range(3):
        spectrum, out = np.fft.rfft2(v, axes=(0, 1)), np.zeros((h, w // 2 + 1, 6), complex)
        out[:m1, :m2] = np.einsum("xyi,ioxy->xyo", spectrum[:m1, :m2], state[f"conv{i}.weights1"])
        out[-m1:, :m2] = np.einsum("xyi,ioxy->xyo", spectrum[-m1:, :m2], state[f"conv{i}.weights2"])
        v = np.fft.irfft2(out, s=(h, w), axes=(0, 1)) + pointwise(v, state, f"w{i}")
        v = gelu(v) if i < 2 else v
    v = v[: h - padding, : w - padding]
    return pointwise(gelu(pointwise(v, state, "fc1")), state, "fc2")


@pytest.mark.parametrize("padding, ends", [(0, (0.0, 1.0)), (2, (-0.9, 0.9))])
def test_the_original_fno2d(padding: int, ends: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    state, frames = fno2d_state(rng, (3, 4), 2 * 2), rng.standard_normal((2, 14, 14, 2)).astype(np.float32)
    expected = fno2d(state, np.concatenate(list(frames), axis=-1), np.linspace(*ends, 14), padding)
    arguments, params = fno_from_fno2d(state, grid=(14, 14), coordinates=ends, padding=padding)
    got = jax.jit(make_model("fno", **arguments).apply)(params, jnp.asarray(frames)[None])[0]
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_an_fno2d_of_another_kind_is_refused_by_name() -> None:
    state = fno2d_state(np.random.default_rng(0), (3, 3), 2)
    with pytest.raises(ValueError, match=r"has no place for bn0.weight"):
        fno_from_fno2d(state | {"bn0.weight": np.ones(6)}, grid=(8, 8))
    with pytest.raises(ValueError, match=r"there is no conv0.weights1"):
        fno_from_fno2d({}, grid=(8, 8))
    line = state | {f"conv0.weights{i}": np.ones((6, 6, 3), np.complex64) for i in (1, 2)}
    with pytest.raises(ValueError, match="it is an FNO1d, conv0.weights1 has 1 axes of modes"):
        fno_from_fno2d(line, grid=(8, 8))
    with pytest.raises(ValueError, match=r"grid is \(64,\), expected the points of two axes"):
        fno_from_fno2d(state, grid=(64,))  # type: ignore[arg-type]
    del state["fc2.bias"]
    with pytest.raises(ValueError, match=r"there is no fc2.bias"):
        fno_from_fno2d(state, grid=(8, 8))


def dpot_state(rng: np.random.Generator, size: Any, patch: int, frames: int, channels: int, at: int) -> dict[str, Any]:
    d, block = size.width, size.width // size.heads

    def real(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)

    def layer(name: str, *shape: int) -> dict[str, np.ndarray]:
        return {f"{name}.weight": real(*shape), f"{name}.bias": 0.1 * real(shape[0])}

    hidden = channels * patch + 3
    state = layer("patch_embed.proj.0", hidden, channels + 3, patch, patch)
    state |= layer("patch_embed.proj.2", d, hidden, 1, 1)
    state |= {"pos_embed": real(1, d, at, at), "time_agg_layer.w": real(frames, d, d)}
    state["time_agg_layer.gamma"] = 2.0 ** np.linspace(-5, 5, d, dtype=np.float32)[None]
    for i in range(size.depth):
        for norm in ("norm1", "norm2"):
            state |= {f"blocks.{i}.{norm}.weight": 1 + 0.1 * real(d), f"blocks.{i}.{norm}.bias": 0.1 * real(d)}
        for j in (1, 2):
            state[f"blocks.{i}.filter.w{j}"] = real(2, size.heads, block, block) * np.float32(np.sqrt(size.heads))
            state[f"blocks.{i}.filter.b{j}"] = 0.1 * real(2, size.heads, block)
        state |= layer(f"blocks.{i}.mlp.0", size.mlp, d, 1, 1) | layer(f"blocks.{i}.mlp.2", d, size.mlp, 1, 1)
    for j, (out, inside) in enumerate(((d, d), (d, d), (12, d))):
        state |= layer(f"cls_head.{2 * j}", out, inside)
    state |= {
        "out_layer.0.weight": real(d, size.out_width, patch, patch),
        "out_layer.0.bias": 0.1 * real(size.out_width),
    }
    state |= layer("out_layer.2", size.out_width, size.out_width, 1, 1)
    return state | layer("out_layer.4", channels, size.out_width, 1, 1)


def group_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    groups = x.reshape(*x.shape[:2], 8, -1)
    mean, var = (f(groups, axis=(0, 1, 3), keepdims=True) for f in (np.mean, np.var))
    return ((groups - mean) / np.sqrt(var + 1e-5)).reshape(x.shape) * weight + bias


def dpot(state: dict[str, Any], x: np.ndarray, depth: int) -> np.ndarray:
    """The next frame from ``x [T, H, W, C]``, by the published forward pass, patch by patch."""
    t, h, w, _ = x.shape
    axes = np.meshgrid(np.linspace(0, 1, t), np.linspace(0, 1, h), np.linspace(0, 1, w), indexing="ij")
    x = np.concatenate([x, np.stack([axes[1], axes[2], axes[0]], axis=-1)], axis=-1)
    cut = state["patch_embed.proj.0.weight"]
    p = cut.shape[-1]
    v = np.zeros((t, h // p, w // p, cut.shape[0]))
    for i in range(h // p):
        for j in range(w // p):
            patch = x[:, i * p : i * p + p, j * p : j * p + p]
            v[:, i, j] = np.einsum("tabc,ocab->to", patch, cut) + state["patch_embed.proj.0.bias"]
    v = pointwise(gelu(v), state, "patch_embed.proj.2") + np.moveaxis(state["pos_embed"][0], 0, -1)
    wave = np.cos(np.linspace(0, 1, t)[:, None] * state["time_agg_layer.gamma"])
    v = np.einsum("txyi,tij->xyj", v * wave[:, None, None], state["time_agg_layer.w"])
    for i in range(depth):
        at = f"blocks.{i}"
        u = group_norm(v, state[f"{at}.norm1.weight"], state[f"{at}.norm1.bias"])
        z = np.fft.rfft2(u, axes=(0, 1), norm="ortho")
        w1, b1, w2, b2 = (
            state[f"{at}.filter.{k}"][0] + 1j * state[f"{at}.filter.{k}"][1] for k in ("w1", "b1", "w2", "b2")
        )
        z = z.reshape(*z.shape[:2], *b1.shape)
        z = np.einsum("xyki,kio->xyko", z, w1) + b1
        z = np.einsum("xyki,kio->xyko", gelu(z.real) + 1j * gelu(z.imag), w2) + b2
        u = u + np.fft.irfft2(z.reshape(*z.shape[:2], -1), s=u.shape[:2], axes=(0, 1), norm="ortho")
        u = group_norm(u, state[f"{at}.norm2.weight"], state[f"{at}.norm2.bias"])
        v = v + pointwise(gelu(pointwise(u, state, f"{at}.mlp.0")), state, f"{at}.mlp.2")
    spread = state["out_layer.0.weight"]
    out = np.zeros((h, w, spread.shape[1]))
    for i in range(h // p):
        for j in range(w // p):
            out[i * p : i * p + p, j * p : j * p + p] = np.einsum("d,doab->abo", v[i, j], spread)
    out = gelu(pointwise(gelu(out + state["out_layer.0.bias"]), state, "out_layer.2"))
    return pointwise(out, state, "out_layer.4")


def check_dpot(size: Any, *, patch: int = 2, grid: int = 8, channels: int = 2) -> None:
    rng = np.random.default_rng(0)
    state = dpot_state(rng, size, patch, 3, channels, grid // patch)
    x = rng.standard_normal((3, grid, grid, channels)).astype(np.float32)
    arguments, params = dpot_from_torch(state)
    got = jax.jit(make_model("dpot", **arguments).apply)(params, jnp.asarray(x)[None])[0]
    expected = dpot(state, x, size.depth)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


def test_dpot_s_weights_give_dpot_s_numbers() -> None:
    check_dpot(SIZES["tiny"]._replace(width=32, mlp=48, depth=2, heads=4, out_width=8))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_dpot_s_published_sizes(size: str) -> None:
    check_dpot(SIZES[size])


def test_a_dpot_of_another_kind_is_refused_by_name() -> None:
    size = SIZES["tiny"]._replace(width=16, mlp=16, depth=1, heads=2, out_width=4)
    state = dpot_state(np.random.default_rng(0), size, 2, 3, 2, 4)
    with pytest.raises(ValueError, match=r"has no place for scale_feats_mu.weight"):
        dpot_from_torch(state | {"scale_feats_mu.weight": np.ones(3)})
    with pytest.raises(ValueError, match=r"there are no blocks.0"):
        dpot_from_torch({})
