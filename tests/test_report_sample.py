"""The sample report of the site is of the present version and names no machine; other reports are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.report.links import for_site, link
from experiments.report.page import VERSION
from experiments.site.report import MADE, RUN, TARGET, machine_paths, main, sample

ROOT = Path(__file__).parent.parent


def written(folder: Path, *, version: int = VERSION, run: str = RUN, body: str = "") -> Path:
    head = f'<meta name="generator" content="ccm_jax, report {version} of {run}">'
    (folder / "report.html").write_text(f"{head}\n<main>\n{body}</main>", encoding="utf-8")
    return folder


def test_the_sample_is_what_a_full_run_writes_today() -> None:
    page = TARGET.read_text(encoding="utf-8")
    made = MADE.search(page)
    assert made and (int(made[1]), made[2]) == (VERSION, RUN), "redraw it: python -m experiments.site.report RUN_FOLDER"
    assert not machine_paths(page)
    assert TARGET.stat().st_size < 1_600_000
    assert 'class="beside"' not in page  # results.json is not beside it
    assert not re.search(r'href="[^"#]*\.md"', page)  # which is dead where the file is downloaded to
    pages = re.findall(r'<a data-page="([^"]+)" href="([^"]+)"', for_site(page, lambda name: name))
    assert len(pages) == page.count("data-page") >= 6  # on the site, each page that is named is a link
    assert all((ROOT / "docs" / name).exists() and where == name for name, where in pages)


def test_only_errors_that_need_no_hindsight_are_marked_as_the_smallest() -> None:
    table = TARGET.read_text(encoding="utf-8").split('<table class="numbers">')[1].split("</table>")[0]
    head, *rows = (row.partition('class="start"')[0] for row in table.split("<tr>")[1:])  # coordinates come after it
    names = re.findall(r"<th[^>]*>(.*?)</th>", head)
    cells = [dict(zip(names, re.findall(r"<td([^>]*)>", row), strict=True)) for row in rows]
    assert all(any("least" in cell for cell in row.values()) for row in cells)
    assert not any("least" in row["best in hindsight"] for row in cells)


@pytest.mark.parametrize("address", [None, "https://github.com/me/it"])
def test_links_lead_to_the_repository_or_are_names_and_on_the_site_to_its_pages(
    tmp_path: Path, address: str | None
) -> None:
    body = str(link("Limits", "how-to/how-sure.md", address))
    assert ("<a" in body) == (address is not None)  # in the folder of a run, nothing lies beside it
    main(written(tmp_path, body=body), tmp_path / "sample.html")
    page = (tmp_path / "sample.html").read_text(encoding="utf-8")
    form = '<a data-page="how-to/how-sure.md" href="{}">Limits</a>'
    assert address is None or form.format(f"{address}/blob/main/docs/how-to/how-sure.md") in page
    on_site = for_site(page, lambda name: f"site/{name}")
    assert form.format("site/how-to/how-sure.md") in on_site and on_site.count("data-page") == on_site.count('="site/')


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"version": VERSION - 1}, f"has version {VERSION - 1}, expected {VERSION}"),
        ({"run": f"{RUN}:smoke"}, f"is of {RUN}:smoke, expected {RUN}"),
        ({"run": "ns_ood"}, "is of ns_ood"),
        ({"body": '{"path": "/home/me/data.h5"}'}, "names /home/me/data.h5"),
        ({"body": '{"path": "C:\\\\Users"}'}, r"names C:\\"),
    ],
)
def test_other_reports_are_refused(tmp_path: Path, how: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said.replace("\\\\", "\\"))):
        main(written(tmp_path, **how), tmp_path / "sample.html")  # type: ignore[arg-type]
    assert not (tmp_path / "sample.html").exists()


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no report.html; run: python -m experiments.run"):
        sample(tmp_path)
    (tmp_path / "report.html").write_text("<main>\n</main>")
    with pytest.raises(ValueError, match="has version none"):
        sample(tmp_path)
