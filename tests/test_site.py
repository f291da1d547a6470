"""The site's own parts: formulas, cross-references, notebooks as pages, and the repository's address in one place."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from experiments.runner import repository
from experiments.site import address, notebooks, pictures

ROOT = Path(__file__).parent.parent


def notebook(tmp_path: Path) -> Path:
    picture = base64.b64encode(b"pixels").decode()
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "[![Open in Colab](badge.svg)](https://colab)\n", "text"]},
        {"cell_type": "code", "source": ["# Setup: installs\n", "import os"], "outputs": []},
        {
            "cell_type": "code",
            "source": "1 + 1",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[1mtwo\x1b[0m\n"]},
                {"output_type": "stream", "text": "three\n"},
                {"output_type": "display_data", "data": {"image/png": picture, "text/plain": "<Figure>"}},
            ],
        },
    ]
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


def test_a_notebook_becomes_a_page_with_its_outputs(tmp_path: Path) -> None:
    found = notebooks.pages(notebook(tmp_path), "https://github.com/me/it")
    text = found["one.md"]
    assert isinstance(text, str) and text.splitlines()[1].startswith("[Open in Colab](https://colab) · [Download")
    assert (
        "```python\n1 + 1\n```" in text
        and "\ntwo\nthree\n" in text
        and "](one/0.png)" in text
        and "<Figure>" not in text
    )
    assert found["one/0.png"] == b"pixels"
    assert "??? abstract" in text  # the cell that installs is folded away


def test_references_to_the_paper_are_links_and_stay_them() -> None:
    griffe = pytest.importorskip("griffe")
    from experiments.site import roles

    shown = "See [arXiv 2605.14546](https://arxiv.org/abs/2605.14546)."
    for text in ("See arXiv 2605.14546.", shown):
        module = griffe.Module("one", docstring=griffe.Docstring(text))
        roles.Roles().on_package(pkg=module)
        assert module.docstring is not None and module.docstring.value == shown


def test_a_signature_shows_the_value_of_a_constant_that_is_a_default() -> None:
    griffe = pytest.importorskip("griffe")
    from experiments.site import roles

    module = griffe.visit("one", filepath=Path("one.py"), code="REACH = 2.5\ndef f(reach=REACH, other=Other): ...\n")
    module.modules_collection["one"] = module
    roles.Roles().on_package(pkg=module)
    assert [str(parameter.default) for parameter in module["f"].parameters] == ["2.5", "Other"]


def test_an_attribute_shows_its_default_unless_its_text_does() -> None:
    griffe = pytest.importorskip("griffe")
    from experiments.site import roles

    code = '"""\n\nAttributes:\n        a: one,\n            or more.\n        b: by default two.\n        c: none."""'
    fields = "a: int = ONE\n    b: int = 2\n    c: tuple = ()"
    module = griffe.visit("one", filepath=Path("one.py"), code=f"ONE = 1\nclass A:\n    {code}\n    {fields}\n")
    module.modules_collection["one"] = module
    roles.Roles().on_package(pkg=module)
    lines = [line.strip() for line in module["A"].docstring.value.splitlines()]
    assert lines[-4:] == ["a: one,", "or more; default: `1`.", "b: by default two.", "c: none."]


def table_of(*rows: str) -> str:
    titles, *cells = [row.split("|") for row in rows]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def test_tables_of_words_stack_on_a_phone_and_those_of_numbers_scroll() -> None:
    from experiments.site.tables import for_phone

    words = "a sentence that a third of a phone has no room for"
    stacked = for_phone(table_of("name|needs|does", f"x|y|{words}"))
    assert '<table data-stacked="3">' in stacked and "<td>x</td>" in stacked
    assert '<td data-label="needs">y</td>' in stacked and f'<td data-label="does">{words}</td>' in stacked
    options = for_phone(table_of("option|effect", "<code>--validation FILE</code>|chooses"))
    assert "data-stacked" in options and "data-label" not in options
    for other in (table_of("a|b|c", "0.1|0.2|0.3"), table_of("term|meaning", f"gate|{words}"), table_of("1|2|3|4|5")):
        assert for_phone(other) == other


def test_an_option_in_a_line_keeps_together_and_code_stays() -> None:
    from experiments.site.tables import for_phone

    assert for_phone("<code>rd-ood --log</code>") == '<code>rd-ood <span class="option">--log</span></code>'
    block = "<pre><span></span><code>ccm --log</code></pre>"
    assert for_phone(block) == block


def test_without_an_address_no_page_has_a_dead_badge(tmp_path: Path) -> None:
    assert "Colab" not in str(notebooks.pages(notebook(tmp_path), None)["one.md"])


def test_the_address_is_in_one_place() -> None:
    there = repository.address()
    for path in sorted((ROOT / "notebooks").glob("0*")):
        found = set(address.FORM.findall(path.read_text(encoding="utf-8")))
        assert found == set(address.FORM.findall(there)), path


def test_the_address_changes_everywhere(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in (ROOT / "notebooks").glob("0*.py"):
        shutil.copy(path, tmp_path / "notebooks")
    changed = address.change("https://github.com/me/it", tmp_path)
    assert len(changed) == 6 and repository.published(tmp_path) == "https://github.com/me/it"
    for path in changed:
        assert "OWNER" not in path.read_text(encoding="utf-8")
    badge = (tmp_path / "notebooks" / "01_merge_in_five_minutes.py").read_text()
    assert "colab.research.google.com/github/me/it/blob/main/notebooks/01_merge_in_five_minutes.ipynb" in badge
    with pytest.raises(ValueError, match="expected https://github.com/NAME/REPOSITORY"):
        address.change("github.com/me", tmp_path)


def test_every_system_of_the_gallery_has_its_pictures() -> None:
    for name in pictures.PICTURES:
        assert (pictures.FOLDER / f"{name}.png").stat().st_size < 250_000
        assert (pictures.FOLDER / f"{name}.webp").stat().st_size < 1_500_000


def test_the_gallery_shows_the_notebooks_stored_pictures() -> None:
    """``python -m experiments.site.notebooks`` was run after the notebooks."""
    shown = notebooks.shown_in_gallery(ROOT)
    assert len(shown) >= 6
    for path, picture in shown.items():
        assert path.read_bytes() == picture, path


def test_the_gallery_names_the_values_of_the_animations() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    for name, picture in pictures.PICTURES.items():
        above = text.partition(f"(images/{name}.webp)")[0].splitlines()[-2]
        shown = re.findall(r"<span>(.*?)</span>", above.replace('<span class="values">', ""))
        assert shown == [f"{picture.symbol} = {value:g}" for value in pictures.values_of(picture)]


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(ValueError, match="no system heat"):
        pictures.main(["heat"])


def test_links_to_notebooks_lead_to_their_pages() -> None:
    from experiments.site import hook

    assert hook.on_page_markdown("[a](../notebooks/01_x.ipynb)") == "[a](notebooks/01_x.md)"
    assert hook.on_page_markdown("[a](../../notebooks/01_x.ipynb)") == "[a](../notebooks/01_x.md)"


def test_formulas_become_mathml() -> None:
    pytest.importorskip("latex2mathml")
    from experiments.site import hook

    shown = hook.on_page_content(r'<p><span class="arithmatex">\(a &lt; b\)</span></p>')
    assert "<math" in shown and "arithmatex" not in shown and "&#x0003C;" in shown


def test_the_reference_documents_all_that_the_package_exports() -> None:
    import ccm_jax

    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^ +heading: (\S+)", pages, re.M))
    modules = {"baselines", "evaluate", "geometry", "metrics", "normalize", "parallel", "prefix", "__version__"}
    assert {f"ccm_jax.{name}" for name in set(ccm_jax.__all__) - modules} <= shown
    assert all(f"::: ccm_jax.{name}." in pages for name in modules - {"__version__"})


@pytest.mark.slow
def test_examples_of_the_reference_are_code(site: Path) -> None:
    pages = [path.read_text() for path in (site / "reference").rglob("index.html")]
    assert not [page for page in pages if "<blockquote>" in page]  # what Markdown makes of a prompt
    assert sum(page.count('<span class="gp">') for page in pages) > 100


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; any warning of mkdocs, such as a dead link, fails."""
    for library in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(library)
    built = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return built


@pytest.mark.slow
def test_a_page_has_the_name_that_the_menu_gives_it(site: Path) -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"^ +- (.+): (\S+)\.md$", menu, re.M)
    assert len(named) > 50
    for name, path in named:
        page = (site / path.removesuffix("index") / "index.html").read_text(encoding="utf-8")
        title = re.search(r"<h1[^>]*>(.*?)<a class=.headerlink", page, re.S)
        assert title is not None
        said = html.unescape(re.sub(r"<[^>]*>", "", title[1]))
        assert said == name.strip('"') or path == "index", f"{path}: {said}, in the menu {name}"


@pytest.mark.slow
def test_a_page_outside_the_menu_has_the_menu_of_its_section(site: Path) -> None:
    page = (site / "choices" / "index.html").read_text(encoding="utf-8")
    assert 'href="../reliability/"' in page.partition('data-md-type="navigation"')[2].partition("<article")[0]
    assert 'href="../choices/"' not in (site / "results" / "index.html").read_text().partition("<article")[0]


@pytest.mark.slow
def test_every_picture_of_a_page_has_a_frame_and_looks_right_in_the_dark(site: Path) -> None:
    for page in site.rglob("index.html"):
        article = page.read_text(encoding="utf-8").partition("<article")[2]
        pictures = re.findall(r"<img [^>]*>", article)
        assert len(pictures) == article.count('<span class="figure"><img'), page
        for picture in pictures:  # inverted by style.css, without a background, or with a version for the dark
            ready = ".webp" in picture or ".svg" in picture or 'class="chart"' in picture or "only-light" in picture
            assert ready, f"{page}: {picture}"


@pytest.mark.slow
def test_the_site_has_no_literal_roles_and_no_raw_formulas(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r":(func|class|mod|meth|data|attr):", text), page
        assert "arithmatex" not in text, page
        assert "|---" not in text, f"{page}: a table without an empty line before it"


@pytest.mark.slow
def test_the_site_links_nowhere_dead_and_asks_no_other_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "/OWNER/" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.S), page
        assert not re.search(r'<(?:script|img|link|source)[^>]+(?:src|href)="https?://(?!127)', text), page
        for link in re.findall(r'(?:href|src)="([^"#?]+)', text):
            if not re.match(r"\w+:", link) and not link.startswith("/"):
                assert (page.parent / link).resolve().exists(), f"{page}: {link}"


@pytest.fixture(scope="module")
def address_of_site(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width, scheme", [(390, "light"), (1440, "light"), (390, "dark"), (1440, "dark")])
def test_every_page_fits_its_window_and_runs_without_errors(
    browser: Any, site: Path, address_of_site: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on("console", lambda said: problems.append(f"{page.url}: {said.text}") if said.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(address_of_site) else problems.append(r.url))
    for shown in sorted({*site.rglob("index.html"), site / "report.html"}):
        page.goto(f"{address_of_site}/{shown.relative_to(site).as_posix()}")
        # Wide code and tables scroll by themselves; the page does not.
        if page.evaluate("document.documentElement.scrollWidth") > width:
            problems.append(f"{page.url} is wider than {width}")
        if width == 1440:
            cut = page.evaluate(
                "[...document.querySelectorAll('.md-content pre:not(.output pre) > code')]"
                ".filter(c => c.clientWidth && c.scrollWidth > c.clientWidth + 1)"
                ".map(c => c.innerText.slice(0, 60))"
            )
            problems += [f"{page.url}: code is cut: {text}" for text in cut]
    assert not problems, "\n".join(problems)


@pytest.mark.slow
def test_on_a_phone_a_table_keeps_its_first_column_and_a_figure_scrolls(browser: Any, address_of_site: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address_of_site}/comparisons/")
    moved = page.evaluate(
        "() => {const box = document.querySelector('.md-typeset__scrollwrap'), row = box.querySelector('tbody tr');"
        "const lefts = () => [...row.children].slice(0, 2).map(cell => cell.getBoundingClientRect().left);"
        "const before = lefts(); box.scrollLeft = 120; return lefts().map((left, i) => before[i] - left)}"
    )
    assert moved[0] < 25 and moved[1] == pytest.approx(120, abs=1)  # the first stops at the edge of the table
    page.goto(f"{address_of_site}/solvers/")
    widths = page.evaluate("(f => [f.scrollWidth, f.clientWidth])(document.querySelector('.figure'))")
    assert widths[0] > widths[1] + 100
    for name in ("peers/", "how-to/known-value/", "how-to/own-data/", "how-to/tried-networks/"):  # words fit, or stack
        page.goto(f"{address_of_site}/{name}")
        box = "document.querySelector('.md-typeset__scrollwrap')"
        assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth"), name
    whole = ("", "beyond/", "peers/", "notebooks/01_merge_in_five_minutes/", "notebooks/02_rd_ood_end_to_end/")
    for name in whole:  # large type, or panels one below the other
        page.goto(f"{address_of_site}/{name}")
        cut = page.evaluate(
            "[...document.querySelectorAll('.figure')].filter(f => f.scrollWidth > f.clientWidth)"
            ".map(f => f.firstElementChild.src)"
        )
        assert not cut and page.locator(".figure").count() > 1, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "query, name",
    [("fit_chart", "reference/charts"), ("uncertainty", "how-to/how-sure"), ("FNO", "reference/models")]
    + [("viscosity known", "how-to/known-value"), ("fit_prefix_readout", "reference/readouts")]
    + [("p-value", "how-to/how-sure"), ("time step", "how-to/own-data"), ("wandb", "how-to/command-line")]
    + [("missing pixels", "how-to/missing-data"), ("merge pytorch", "how-to/pytorch"), ("GPU", "how-to/many-devices")],
)
def test_the_search_shows_first_the_page_about_it(browser: Any, address_of_site: str, query: str, name: str) -> None:
    page = browser.new_page()
    page.goto(address_of_site)
    page.click(".md-search__input")
    page.type(".md-search__input", query)  # key by key: the search listens to keys
    first = "document.querySelector('.md-search-result__link')"  # of what is typed so far, so it may change
    page.wait_for_function(f"{first} && {first}.href.startsWith('{address_of_site}/{name}/')")
