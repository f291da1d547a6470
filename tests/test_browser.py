"""The pages in a real browser: no script error, all figures, a slider that works; small, large, light, dark."""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pytest

from experiments.report import explorer
from experiments.report.numbers import signed

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
ROOT = Path(__file__).parent.parent
RECT = "getBoundingClientRect()"
LOOKS = [(390, "light"), (1440, "light"), (390, "dark"), (1440, "dark")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("run") / "rd"
    command = [sys.executable, "-m", "experiments.run", "--config=rd_ood:smoke", f"--workdir={workdir}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    return workdir / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def opened(browser: Any, path: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    return page, problems


def readable(page: Any, width: int) -> None:
    """Nothing is wider than the window, text stands out from its background, and every figure has a size."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    light, dark = (sum(int(part) for part in c[c.index("(") + 1 : -1].split(",")[:3]) / 765 for c in colours)
    assert abs(light - dark) > 0.6
    drawn = "[...document.querySelectorAll('figure svg:not(.spark)')]"
    shown = f"{drawn}.map(s => s.getBoundingClientRect()).filter(box => box.width)"
    boxes = page.evaluate(f"{shown}.map(box => [box.width, box.height])")
    assert len(boxes) >= 2 and min(height for _, height in boxes) > 40


@pytest.mark.parametrize("width, scheme", LOOKS)
def test_the_report(browser: Any, report: Path, width: int, scheme: str) -> None:
    page, problems = opened(browser, report, width, scheme)
    page.wait_for_selector("#explorer[data-ready=yes]")
    readable(page, width)
    fits = "[...document.querySelectorAll('figure')].every(figure => figure.scrollWidth <= figure.clientWidth + 1)"
    assert page.evaluate(fits)  # no figure has to be scrolled
    before = page.inner_text("#said"), page.evaluate("document.querySelectorAll('#frames canvas')[8].toDataURL()")
    page.fill("#alpha", "0")
    after = page.inner_text("#said"), page.evaluate("document.querySelectorAll('#frames canvas')[8].toDataURL()")
    assert before[0] != after[0] and before[1] != after[1]
    assert page.inner_text("#alpha-value") == "−2.50"
    page.click(".marks .metadata")
    assert page.inner_text("#alpha-value") == "+2.00" == page.inner_text(".marks .metadata output")
    page.click("#curve", position={"x": 0.15 * page.query_selector("#curve").bounding_box()["width"], "y": 40})
    assert page.inner_text("#alpha-value") == "−2.50"
    page.select_option("#regime", "0")
    assert page.inner_text("#said") != after[0]
    page.click(".marks .prefix")
    wanted, shown = (page.inner_text(name) for name in (".marks .prefix output", "#alpha-value"))
    assert wanted == shown and page.inner_text(".marks .prefix small") == ""  # no other coordinate's error is shown
    assert page.inner_text("#said").startswith(f"Error at {shown}: ")
    assert page.get_attribute("#alpha", "aria-valuetext") == shown
    page.select_option("#regime", "1")  # the method stays, at its coordinate there
    assert page.inner_text(".marks .prefix output") == page.inner_text("#alpha-value")
    page.click(".marks .scale")
    assert page.inner_text(".marks .scale output") == page.inner_text("#alpha-value")
    assert page.evaluate("document.querySelector('#curve path.error').getAttribute('d').length") > 50
    box = "document.querySelector({!r}).getBoundingClientRect().{}"
    top, bottom = (page.evaluate(box.format(*one)) for one in (("#alpha", "top"), ("#frames", "bottom")))
    assert width < 900 or bottom - top < 800  # the slider and the frames that it drives are on one screen
    page.wait_for_selector("#film[data-ready=yes]")
    assert page.inner_text(".card.reference strong") == page.inner_text(".film th:nth-child(2)")
    page.fill("#film-time", "0")  # it shows the last frame at first
    first = page.evaluate("document.querySelector('.film canvas').toDataURL()")
    page.click("#film-play")
    page.wait_for_function("document.getElementById('film-play').textContent === 'Play'")  # it ran to the last frame
    assert page.evaluate("document.querySelector('.film canvas').toDataURL()") != first
    assert not problems


def test_links_within_an_embedded_report_keep_it(browser: Any, report: Path, tmp_path: Path) -> None:
    """A notebook shows it as ``srcdoc``, where following ``#numbers`` would load the notebook's own page."""
    holder = tmp_path / "notebook.html"
    holder.write_text(f'<iframe srcdoc="{html.escape(report.read_text())}" width="900" height="700"></iframe>')
    page = browser.new_page()
    page.goto(holder.as_uri())
    frame = page.frames[1]
    frame.wait_for_selector("#explorer[data-ready=yes]")
    frame.click('nav a[href="#numbers"]')
    assert -1 <= frame.evaluate("document.getElementById('numbers').getBoundingClientRect().top") < 700
    assert frame.url == "about:srcdoc" and frame.query_selector(".beside") is None


def test_a_smoke_run_gives_no_verdict(browser: Any, report: Path) -> None:
    page, _ = opened(browser, report, 1440, "light")
    assert page.inner_text("main .verdict") == "A smoke run tests the pipeline; its errors are meaningless."
    colour = "getComputedStyle({}).color"
    cards = page.evaluate(f"[...document.querySelectorAll('.card b')].map(b => {colour.format('b')})")
    soft = page.evaluate(colour.format("document.querySelector('p.soft')"))
    least = page.evaluate(colour.format("document.querySelector('td.least')"))
    assert len(cards) >= 3 and set(cards) == {soft} and least == page.evaluate(colour.format("document.body"))


@pytest.mark.parametrize("width", [390, 1440])
def test_the_table_scrolls_in_its_box_and_keeps_its_first_column(browser: Any, report: Path, width: int) -> None:
    page, _ = opened(browser, report, width, "light")
    box = "document.querySelector('.numbers').closest('.scroll')"
    edges = f"[{box}.scrollWidth, {box}.clientWidth]"
    wide, seen = page.evaluate(edges)
    assert width < 900 or wide == seen  # on a wide screen nothing has to be scrolled
    page.check("#every")
    wider, seen = page.evaluate(edges)
    assert wider > max(wide, seen) and page.evaluate("document.documentElement.scrollWidth") <= width
    place = "document.querySelector('.numbers td').getBoundingClientRect().left"
    before = page.evaluate(place)
    seen = f"[...document.querySelectorAll('.numbers [scope=col]')].filter(h => h.{RECT}.right <= {box}.{RECT}.right)"
    heads = page.evaluate(f"{seen}.map(h => h.textContent)")
    assert heads[0] == "value" and heads[1].startswith("anchor") and heads[2:4] == ["CCM-Prefix", "CCM-Scale"]
    page.evaluate(f"{box}.scrollLeft = 1000")
    assert page.evaluate(f"{box}.scrollLeft") > 0 and page.evaluate(place) == before


@pytest.mark.parametrize("width", [390, 1440])
def test_the_report_by_keyboard_and_ear(browser: Any, report: Path, width: int) -> None:
    page, _ = opened(browser, report, width, "light")
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach("
        "e => { window.moved += e.value; })).observe({type: 'layout-shift', buffered: true})"
    )
    page.reload()
    page.wait_for_selector("#film[data-ready=yes]")
    page.wait_for_selector("#explorer[data-ready=yes]")
    assert page.evaluate("window.moved") < 0.01  # nothing moves while it loads
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and set(levels[1:]) == {2}
    named = "(node => node.getAttribute('aria-label') || node.closest('[aria-label]'))"
    pictures = "[...document.querySelectorAll('canvas, figure svg, img')]"
    assert page.evaluate(f"{pictures}.filter(node => !{named}(node)).length") == 0
    shown = "[...document.querySelectorAll('nav a')].every(a => a.getBoundingClientRect().right <= innerWidth)"
    assert page.evaluate(shown)  # no section is cut off
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.click('a[href="#compared"]')  # a link into a fold opens it
    assert page.evaluate("document.getElementById('compared').open")
    assert page.inner_text("#what .formula") == ""  # folded
    page.click("#what summary")
    assert page.inner_text("#what .formula").startswith("θ(α")


@pytest.mark.parametrize("width", [390, 1440])
def test_one_picture_of_all_times_is_no_tower(browser: Any, tmp_path: Path, width: int) -> None:
    """One space axis: few frames of many points, all in one picture, beside the curve that drives it."""
    bank, frames = [-1.0, 0.0, 1.0], np.random.default_rng(0).normal(size=(1, 8, 1, 6, 128))
    own = {"coordinates": np.array([[1.0, 0.45, 0.0]]), "errors": np.array([[0.1, 0.15, 0.2]])}
    np.savez(tmp_path / "explorer.npz", frames=frames, times=np.arange(6), **own)
    errors, chosen = {"anchor": 0.3, "best": 0.1}, {"best": 1.4, "ccm_prefix": [0.4, 0.5]}
    regime = {"value": 1.0, "coordinate": 1.0, "split": "id", "errors": errors, "chosen": chosen}
    config = {"model": {"history": 1}, "calibration": {"frames": 4}, "axis": {"label": "viscosity", "unit": ""}}
    results = {"config": config, "regimes": [regime], "bank": bank}
    stage: Any = SimpleNamespace(path=tmp_path)
    found = explorer.content(results, np.array([[[0.4], [0.2], [0.1]]]), stage, "u")
    folder = Path(explorer.__file__).parent
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True)
    environment.filters["signed"] = signed
    shown = environment.get_template("explorer.html.j2").render(explorer=found)
    style = (folder / "style.css").read_text()
    (tmp_path / "page.html").write_text(f'<meta charset="utf-8"><style>{style}</style><main>{shown}</main>')
    page, problems = opened(browser, tmp_path / "page.html", width, "light")
    page.wait_for_selector("#explorer[data-ready=yes]")
    prefix, best = (" ".join(page.inner_text(f".marks .{name}").split()) for name in ("prefix", "best"))
    assert (prefix, best) == ("CCM-Prefix +0.45", "best in hindsight +1.40 nearest computed: +1.00")
    page.click(".marks .prefix")  # which no candidate is
    assert page.inner_text("#said") == "Error at +0.45: 0.150, 2.0 times smaller than the anchor's."
    page.click(".marks .best")
    page.click(".marks .metadata")
    assert page.inner_text("#alpha-value") == "+1.00"
    box = page.query_selector("#frames canvas").bounding_box()
    assert box["height"] < 100 and box["width"] > 2 * box["height"]
    assert not problems and page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width, scheme", LOOKS[1:3])
def test_the_study(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    from experiments.study.page import publish
    from experiments.study.rows import Row
    from tests.test_study import experiment, seeds

    rows = [Row("rd_ood", "rd_ood", "run", (0, 1)), Row("rd_dpot", "rd_dpot", "run", (0,))]
    gathered = {"rd_ood": seeds(experiment(), experiment(2.0)), "rd_dpot": seeds(experiment())}
    publish(rows, gathered, tmp_path, None, jobs=1)
    page, problems = opened(browser, tmp_path / "study.html", width, scheme)
    readable(page, width)
    assert not problems
