"""Files made to do harm: nothing of them runs, no other file is opened, and no memory is asked for on their word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ccm_jax.cli.card import card
from ccm_jax.cli.recipe import read_recipe
from ccm_jax.io.boundary import Unreadable, one_line
from ccm_jax.io.description import describe
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.weights import Weights, open_weights
from ccm_jax.io.yamltext import load_yaml
from tests.terminal import ccm

FRAMES = np.ones((2, 3, 4, 4, 1), np.float32)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user's, outside the folder that the hostile one lies in."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["u"] = FRAMES
    (tmp_path / "given").mkdir()
    return tmp_path / "secret.h5"


def external_link(file: h5py.File, secret: Path) -> None:
    file["u"] = h5py.ExternalLink(str(secret), "/u")


def external_link_deep_inside(file: h5py.File, secret: Path) -> None:
    file["0/data"] = FRAMES[0]
    file["0/grid/deeper/still"] = h5py.ExternalLink(f"../{secret.name}", "/u")


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(FRAMES.shape, np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "u", FRAMES.shape)
    file.create_virtual_dataset("u", layout)


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("u", FRAMES.shape, np.float32, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize("made", [external_link, external_link_deep_inside, virtual, external_storage])
def test_hdf5_reads_no_other_file(secret: Path, made: Callable[[h5py.File, Path], None]) -> None:
    path, before = secret.parent / "given" / "a.h5", secret.read_bytes()
    with h5py.File(path, "w") as file:
        made(file, secret)
    with pytest.raises(ValueError, match="lie in another file; copy them into one"):
        open_recording(path)
    assert secret.read_bytes() == before


def test_links_within_a_file_are_followed_and_their_circles_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kept"] = FRAMES[..., 0]
        file["u"] = h5py.SoftLink("/kept")
    assert "u" in open_recording(tmp_path / "a.h5").fields
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["u"], file["v"] = h5py.SoftLink("/v"), h5py.SoftLink("/u")
        file.create_group("g")["back"] = file["/"]  # a hard link from inside to the whole
    with pytest.raises(ValueError, match="b.h5"):
        open_recording(tmp_path / "b.h5")


def test_a_file_with_holes_asks_for_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", (2, 3, 10**6, 10**6), np.float32, chunks=(1, 1, 64, 64))
    found = open_recording(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="3 frames take 12000000000000 bytes, more than this machine's memory"):
        found.trajectory(0)


def test_a_matlab_file_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    bomb = {"a": np.zeros((1, 4000, 2500)), "u": np.zeros((1, 2, 2, 3)), "t": np.arange(3.0)}
    savemat(tmp_path / "a.mat", bomb, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 1e6
    with pytest.raises(ValueError, match="unpack to 80000"):
        open_recording(tmp_path / "a.mat")


def laughs() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefghi", "bcdefghij", strict=True)]
    return "\n".join([*lines, "experts: *j"])


CANARY = "!!python/object/apply:os.mkdir [{}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CANARY, "could not determine a constructor for the tag"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        (laughs(), "stands for more than 100000 values"),
        ("&a [*a]", "nested deeper than 50"),
        ("[" * 5000, "nested deeper than 50"),
        ("a: " + "9" * 5000, "4300 digits"),
        ("a: 2001-99-99", "month must be"),
        ("? {a: b}\n: c", "unhashable"),
        ("x" * (1 << 20) + "y", "more than 1048576"),
    ],
)
def test_yaml_is_plain_and_bounded(tmp_path: Path, text: str, message: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "recipe.yaml"
    path.write_text(text.replace("{}", str(canary)) if text == CANARY else text)
    for reader in (load_yaml, lambda _: read_recipe(path), lambda _: describe(Weights(path, "", {}, {}), str(path))):
        with pytest.raises(ValueError, match=message) as refused:
            reader(path.read_text())
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000
    assert not canary.exists()


def test_a_recipe_reads_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "private.txt").write_text("token: 12345\n" * 50)
    recipe = tmp_path / "given" / "recipe.yaml"
    experts = "experts: [{path: ../private.txt, coordinate: -1}, {path: ../private.txt, coordinate: 1}]"
    recipe.write_text(f"anchor: ../private.txt\n{experts}\ncoordinate: 0.5\n")
    done = ccm("merge", "--recipe", recipe, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 2 and "of an unsupported format" in done.output
    assert "token" not in done.output and "12345" not in done.output
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.timeout(20)
def test_what_never_ends_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    for path in (tmp_path / "a.safetensors", Path("/dev/zero")):
        with pytest.raises(Unreadable, match="neither a file nor a folder"):
            open_weights(path)
        with pytest.raises(FileNotFoundError):
            open_recording(path)


@pytest.mark.parametrize("part", ["../secret.safetensors", "{}/secret.safetensors", "..", ".", "", "a/b.safetensors"])
def test_an_index_names_files_beside_it(tmp_path: Path, part: str) -> None:
    save_safetensors(tmp_path / "secret.safetensors", {"w": np.ones(3, np.float32)})
    (tmp_path / "given").mkdir()
    index = tmp_path / "given" / "a.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": part.replace("{}", str(tmp_path))}}))
    with pytest.raises(ValueError, match="lies in another folder"):
        open_weights(index)


def test_a_folder_s_links_to_files_of_the_user_are_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"token": 1}')
    for name in ("anchor", "low", "high"):
        folder = tmp_path / "hub" / "snapshots" / name
        folder.mkdir(parents=True)
        save_safetensors(folder / "model.safetensors", {"w": np.ones(3, np.float32)})
    anchor, blobs = tmp_path / "hub" / "snapshots" / "anchor", tmp_path / "hub" / "blobs"
    blobs.mkdir()
    (blobs / "0f").write_text('{"hidden": 3}')
    (anchor / "config.json").symlink_to(blobs / "0f")  # as Hugging Face's cache has it
    (anchor / "vocab.json").symlink_to(tmp_path / "key.json")
    (anchor / "plain.json").write_text("{}")
    files = [part for name in ("anchor", "low", "high") for part in (f"--{name}", anchor.parent / name)]
    done = ccm("merge", *files, "-c", "0.5", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors", "plain.json"]


ESCAPE = "w\x1b]0;mine\x07\u202etfel"


def test_no_name_of_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "a.safetensors", {ESCAPE: np.ones(3, np.float32)})
    assert ESCAPE in open_safetensors(tmp_path / "a.safetensors").arrays
    np.savez(tmp_path / "a.npz", frames=FRAMES, **{ESCAPE: np.float32(1)})
    (tmp_path / "\x1b[2Jb.safetensors").write_bytes(b"nothing")
    for words in (
        ("inspect", tmp_path / "a.safetensors"),
        ("data", "describe", tmp_path / "a.npz"),
        ("inspect", tmp_path / "\x1b[2Jb.safetensors"),
        ("merge", "--method", "\x1b[2J", "--anchor", "a", "--low", "b", "--high", "c", "-o", tmp_path / "m.pt"),
    ):
        done = ccm(*words)
        assert done.exit_code == 2 and not set("\x1b\x07\u202e") & set(done.output), done.output
    assert one_line("a\nb\x1b") == "a\\nb\\x1b"


def test_names_in_a_model_card_stay_names(tmp_path: Path) -> None:
    path = "a`|<script>alert(1)</script>\n# x.pt"
    facts = {"method": "chart", "made_by": "x", "created": "y", "coordinate": [1.0]}
    facts |= {"anchor": {"path": path, "sha256": "0"}, "experts": [{"path": path, "coordinate": [1], "sha256": "0"}]}
    text = card(tmp_path / "<b>.safetensors", facts, Weights(tmp_path, "", {}, {}))
    assert "<" not in text and sum(line.startswith("#") for line in text.splitlines()) == 1


HTML = "</svg></script><script>alert(1)</script>--><img src=x onerror=alert(1)>"


def test_labels_in_a_report_are_text(tmp_path: Path) -> None:
    from ccm_jax.cli.pictures import new_figure
    from experiments.study.html import html_page

    figure = new_figure(12, 8)
    ax = figure.subplots()
    ax.set(title=HTML, xlabel=HTML)
    ax.plot([0, 1], label=HTML)
    ax.legend()
    lines = (
        "<p>{{ label }}</p>",
        "<script type='application/json'>{{ {'a': label} | tojson }}</script>",
        "{{ figures.a }}",
    )
    (tmp_path / "page.html.j2").write_text("\n".join(lines))
    page = html_page(tmp_path / "page.html.j2", {"a": figure}, tmp_path / "figures", label=HTML)
    assert page.count("<script") == 1 and "<img" not in page and page.count("</svg>") == 1


@pytest.mark.timeout(30)
def test_a_heap_in_which_hdf5_would_go_round_for_ever_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"], file["x"] = FRAMES[0, ..., 0], np.arange(4)
        file["x"].make_scale("x")
        file["u"].dims[1].attach_scale(file["x"])
    content = bytearray((tmp_path / "a.h5").read_bytes())
    at = content.index(b"GCOL") + 16
    while content[at : at + 2] != b"\0\0":  # the first object that is not used, which has the rest of the heap
        at += 16 + (int.from_bytes(content[at + 8 : at + 16], "little") + 7) // 8 * 8
    content[at + 8 : at + 16] = bytes(8)
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ValueError, match="its global heap at byte .* has no end"):
        open_recording(tmp_path / "a.h5")


def test_dimension_scales_are_read_without_the_part_of_hdf5_that_frees_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = FRAMES[0, :, :, 0, 0]
        for i, (name, count) in enumerate({"time": 3, "x": 4}.items()):
            file[name] = np.arange(count)
            file[name].make_scale(name)
            file["u"].dims[i].attach_scale(file[name])
        file["v"] = FRAMES[0, :, :, 0, 0]
        file["v"].dims[0].label, file["v"].dims[1].label = "time", "x"
    for module in (h5py._hl.dims, h5py._hl.dataset):
        monkeypatch.setattr(module, "h5ds", None)
    found = open_recording(tmp_path / "a.h5")
    assert found.fields == ("u", "v") and found.shape == (1, 3, 4) and found.times is not None


def test_what_fuzzing_found_stays_refused(tmp_path: Path) -> None:
    (tmp_path / "network.yaml").write_text("model: fno\n1: 2\nother: 3\n")  # names of two types, which have no order
    with pytest.raises(ValueError, match="1 is unknown; there are: model"):
        describe(Weights(tmp_path, "", {}, {}), str(tmp_path / "network.yaml"))
    plain = "anchor: a\nexperts: [{path: b, coordinate: -1}, {path: c, coordinate: 1}]\n"
    for more, message in (
        ('"a\\nb": 1', r"a\\nb is unknown"),
        ("arguments: {1: 2, x: 3}", "arguments have the name 1, expected text"),
    ):
        (tmp_path / "recipe.yaml").write_text(f"{plain}{more}\n")
        with pytest.raises(ValueError, match=message) as refused:
            read_recipe(tmp_path / "recipe.yaml")
        assert "\n" not in str(refused.value)
