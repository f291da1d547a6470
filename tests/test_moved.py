"""Old names of modules and classes: they work for one version, and warn with the new name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings

import pytest

import ccm_jax

MOVED = {
    "ccm_jax.checkpoint": ("ccm_jax.io.checkpoint", "save"),
    "ccm_jax.names": ("ccm_jax.io.names", "flatten"),
    "ccm_jax.safetensors": ("ccm_jax.io.safetensors", "merge_safetensors"),
    "ccm_jax.torchfile": ("ccm_jax.io.torchfile", "open_torch"),
    "ccm_jax.weights": ("ccm_jax.io.weights", "open_weights"),
    "experiments.files": ("ccm_jax.io.recordings", "open_recording"),
    "experiments.stages": ("experiments.pipeline.stages", "run_all"),
    "experiments.runtime": ("experiments.runner.runtime", "is_writer"),
}


@pytest.mark.parametrize("old", MOVED)
def test_a_module_that_moved_is_found_under_its_old_name_with_a_warning(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module(old.partition(".")[0])
    monkeypatch.delitem(sys.modules, old, raising=False)
    new, name = MOVED[old]
    with pytest.warns(
        FutureWarning, match=rf"{old} is now {new}; the old name will be removed in the next release"
    ) as seen:
        scope: dict[str, object] = {}
        exec(compile(f"from {old} import {name}", "users_program.py", "exec"), scope)
    assert scope[name] is getattr(importlib.import_module(new), name)
    assert {w.filename for w in seen} == {"users_program.py"}  # the line to change


def test_the_import_of_an_old_checkout_works() -> None:
    sys.modules.pop("experiments.files", None)
    sys.modules.pop("ccm_jax.checkpoint", None)
    with pytest.warns(FutureWarning):
        from ccm_jax.checkpoint import save  # type: ignore[import-not-found]
        from experiments.files import open_recording  # type: ignore[import-not-found]
    assert callable(save) and callable(open_recording)


@pytest.mark.parametrize("module", ["ccm_jax", "ccm_jax.coordinate"])
def test_a_class_that_was_renamed_is_found_with_a_warning(module: str) -> None:
    with pytest.warns(FutureWarning, match=f"{module}.Readout is now {module}.Estimate") as seen:
        assert importlib.import_module(module).Readout is ccm_jax.Estimate
    assert {w.filename for w in seen} == {__file__}


def test_other_names_are_missing_as_ever() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModuleNotFoundError, match="ccm_jax.nothing"):
            importlib.import_module("ccm_jax.nothing")
        with pytest.raises(AttributeError, match="module 'ccm_jax' has no attribute 'nothing'"):
            _ = ccm_jax.nothing  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match="module 'ccm_jax.coordinate' has no attribute 'nothing'"):
            _ = importlib.import_module("ccm_jax.coordinate").nothing


def test_modules_of_a_package_that_moved_are_the_new_ones() -> None:
    with pytest.warns(FutureWarning, match="experiments.files(.layouts)? is now ccm_jax.io.recordings"):
        for old in ("experiments.files.layouts", "experiments.files"):
            sys.modules.pop(old, None)
        old_layouts = importlib.import_module("experiments.files.layouts")
    new = importlib.import_module("ccm_jax.io.recordings.layouts")
    public = [name for name in vars(new) if not name.startswith("__")]
    assert public and all(getattr(old_layouts, name) is getattr(new, name) for name in public)
    with pytest.raises(ModuleNotFoundError, match="experiments.files.nothing"):
        importlib.import_module("experiments.files.nothing")


@pytest.mark.parametrize(
    "old, new",
    [(name, f"study.{name}") for name in ("seeds", "convergence", "controls", "ablations", "paths")]
    + [(name, f"report.{name}") for name in ("readme", "results", "figures", "explorer", "statistics")]
    + [("study_page", "study.page"), ("study_rows", "study.rows")],
)
def test_an_old_name_runs_the_new_program_with_a_warning(old: str, new: str) -> None:
    importlib.import_module("experiments")
    there, here = (importlib.util.find_spec(f"experiments.{name}") for name in (new, old))
    assert there and here and here.origin == there.origin
    with pytest.warns(FutureWarning, match=f"experiments.{old} is now experiments.{new};"):
        assert here.loader.get_code(here.name) == there.loader.get_code(there.name)  # type: ignore[union-attr]


def test_the_terminal_runs_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("experiments")
    monkeypatch.delitem(sys.modules, "experiments.cli", raising=False)
    with pytest.warns(FutureWarning, match="experiments.cli is now ccm_jax.cli;") as seen:
        old = importlib.util.find_spec("experiments.cli.__main__")  # what ``python -m experiments.cli`` looks up
        assert old and old.loader.get_code(old.name).co_filename == old.origin  # type: ignore[union-attr]
    new = importlib.util.find_spec("ccm_jax.cli.__main__")
    assert new and old.origin == new.origin and len(seen) == 1
