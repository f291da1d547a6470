"""A process that calibrates for long compiles nothing new and grows no more; files larger than memory merge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.endurance import SIZES, merge_sparse

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def calibrations(rounds: int, sizes: tuple[int, ...]) -> dict[str, float]:
    """In a process of its own, whose memory other tests have not used."""
    how = f"{rounds}, {sizes}"
    code = f"import json; from tests.endurance import calibrate; print(json.dumps(calibrate({how})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_a_few_calibrations_compile_nothing_new() -> None:
    found = calibrations(8, (1, 2))
    assert found["compilations_after"] == 0
    assert found["mib_added_by_all_rounds"] < 16


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_calibrations_take_no_more_memory_than_the_first() -> None:
    found = calibrations(300, SIZES)
    assert found["compilations_after"] == 0
    assert found["mib_added_by_the_second_half"] < 4


def test_a_merge_keeps_no_more_than_a_few_blocks(tmp_path: Path) -> None:
    found = merge_sparse(tmp_path, 0.8, tensors=4)
    assert found["peak_mib_of_its_own"] < 400 and found["peak_mib_with_mapped_pages"] < 600


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_gigabytes_merge_in_two(tmp_path: Path) -> None:
    assert merge_sparse(tmp_path, 20.0)["peak_mib_with_mapped_pages"] < 2048
