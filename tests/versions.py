"""A chosen part of the tests on the versions that are installed here: ``python -m tests.versions NAME FILE.json``.

Under NAME the file gets the versions, and how many tests passed; what it has under other names stays. Nox calls it for
the oldest and the newest versions. Tests that are named behind the file replace the chosen ones.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
import time
import xml.etree.ElementTree
from pathlib import Path

import pytest

from ccm_jax.io.atomic import read_json, write_json

# Every module that touches another library, in some minutes.
TESTS = (
    *("test_chart.py", "test_merge.py", "test_metrics.py", "test_train.py", "test_fno.py", "test_readout.py"),
    *("test_checkpoint.py", "test_safetensors.py", "test_torchfile.py", "test_files.py", "test_recorded.py"),
    *("test_cli.py", "test_lowering.py", "test_not_finite.py", "test_hostile.py", "test_results.py"),
)
SHOWN = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint", "scipy", "h5py", "matplotlib", "xarray", "zarr")


def main(name: str, target: Path, tests: list[str]) -> int:
    """Runs the tests in this process, and writes what came out."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Old versions of others warn of each other.
        code = pytest.main(
            [*tests, f"--junitxml={report}", "-n0", "-m", "not slow", "-W", "ignore::DeprecationWarning"]
        )
        (suite,) = xml.etree.ElementTree.parse(report).getroot()
    counts = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
    versions = {package: importlib.metadata.version(package) for package in SHOWN}
    system = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    found = read_json(target) if target.exists() else {}
    found[name] = system | versions | counts | {"seconds": round(time.monotonic() - begin)}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, found)
    return int(code)


if __name__ == "__main__":
    chosen = sys.argv[3:] or [f"tests/{test}" for test in TESTS]
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), chosen))
