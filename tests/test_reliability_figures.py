"""The figures on docs/reliability.md are those of the files that commands wrote."""

from __future__ import annotations

import re
from pathlib import Path

from ccm_jax.io.atomic import read_json
from tests.audit import audit

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
FOUND = ROOT / "results" / "reliability"


def test_inputs_that_were_tried() -> None:
    found = read_json(FOUND / "fuzz.json")
    assert f"{found['tried']:,} random inputs" in PAGE
    for kind, row in found["kinds"].items():
        cells = (
            kind,
            f"{row['tried']:,}",
            f"{row['read']:,}",
            f"{row['refused']:,}",
            row["wrong"],
            f"{row['seconds']:.0f}",
        )
        assert f"| {' | '.join(map(str, cells))} |" in PAGE
    assert not found["inputs_changed"]


def test_no_input_ended_otherwise() -> None:
    assert read_json(FOUND / "fuzz.json")["wrong"] == 0


def test_kills_that_were_survived() -> None:
    for name, row in read_json(FOUND / "kill.json")["programs"].items():
        line = next(line for line in PAGE.splitlines() if f"| `{name}`: " in line)
        kills, minutes = sum(row["kills"].values()), round(row["minutes"])
        assert f"`{name}`: {kills} kills" in line and f"--kills {kills} " in line and line.endswith(f"| {minutes} |")
        assert f"{row['files_compared']} files" in line and not row["complaints"]


def test_memory_over_time_and_size() -> None:
    found = read_json(FOUND / "endurance.json")
    rounds, merged = found["calibrations"], found["merge"]
    assert f"{rounds['mib_added_by_all_rounds']} MiB in {rounds['rounds']} rounds" in PAGE
    assert f"{rounds['compilations_after']} compilations after a warm-up of {rounds['compilations_warming_up']}" in PAGE
    assert f"in {merged['peak_mib_with_mapped_pages']} MiB at most, mapped pages included" in PAGE
    assert merged["gigabytes_in_all"] >= 20 and rounds["compilations_after"] == 0


def test_versions_that_were_tried() -> None:
    for name, row in read_json(FOUND / "versions.json").items():
        passed = row["tests"] - row["failures"] - row["errors"] - row["skipped"]
        cells = (name, row["python"], row["jax"], row["numpy"], row["flax"], row["h5py"], f"{passed} of {row['tests']}")
        assert f"| {' | '.join(cells)} |" in PAGE


def test_packages_that_are_pinned() -> None:
    lock = (ROOT / "requirements-ci.txt").read_text(encoding="utf-8")
    assert f"{len(re.findall(r'^[a-z0-9.-]+==', lock, re.M))} packages in `requirements-ci.txt`" in PAGE


def test_vulnerabilities_that_are_known() -> None:
    found = read_json(FOUND / "audit.json")
    assert f"none in the {found['newest']} of {found['packages']} pinned packages" in PAGE and not found["vulnerable"]
    assert found["date"] in PAGE and f"the other {len(found['unknown'])} ({', '.join(found['unknown'])})" in PAGE


def test_an_audit_tells_vulnerable_from_unknown_and_from_clean() -> None:
    pages = {"a": ("2.0", []), "b": ("1.0", [{"id": "PYSEC-1"}]), "c": ("3.0", [{"id": "PYSEC-2"}])}

    def page(name: str) -> dict[str, object]:
        return {"info": {"version": pages[name][0]}, "vulnerabilities": pages[name][1]}

    found = audit("a==2.0 \\\n    --hash=sha256:0\nb==1.0 ; python_version > '3'\nc[x,y]==2.0\n", page)
    assert found == {"packages": 3, "newest": 2, "vulnerable": {"b": ["PYSEC-1"]}, "unknown": {"c": ["2.0", "3.0"]}}
