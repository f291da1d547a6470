"""What PyPI's advisories say of the pinned versions, where its pages of single versions cannot be reached.

    python -m tests.audit results/reliability/audit.json

``pip-audit`` (``nox -s audit``) asks for the page of each version. This asks for the page of each package, which
names the vulnerabilities of its newest version, and counts the pinned versions that are not the newest as unknown.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent.parent / "requirements-ci.txt"


def audit(lock: str, page: Any) -> dict[str, Any]:
    """Counts what is known of pinned versions.

    Args:
        lock: the text of a file of requirements, ``NAME==VERSION`` in each line that pins one.
        page: ``(name) -> page``, PyPI's JSON page of a package.

    Returns:
        ``packages``, ``newest`` (how many pinned versions are the newest), ``vulnerable`` (names of those in which a
        vulnerability is known, with the numbers of the advisories) and ``unknown`` (of the others, the pinned and the
        newest version).
    """
    vulnerable, unknown, newest = {}, {}, 0
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s\\;]+)", lock, re.MULTILINE)
    if not pinned:
        raise ValueError("audit: the lock pins nothing; write it by nox -s lock.")
    for name, version in pinned:
        found = page(name)
        if found["info"]["version"] != version:
            unknown[name] = [version, found["info"]["version"]]
            continue
        newest += 1
        if found["vulnerabilities"]:
            vulnerable[name] = [each["id"] for each in found["vulnerabilities"]]
    return {"packages": len(pinned), "newest": newest, "vulnerable": vulnerable, "unknown": unknown}


def _page(name: str) -> Any:
    with urllib.request.urlopen(f"https://pypi.org/pypi/{name}/json", timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    result = {"date": datetime.date.today().isoformat(), **audit(LOCK.read_text(encoding="utf-8"), _page)}
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    raise SystemExit(bool(result["vulnerable"]))
