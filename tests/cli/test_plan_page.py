"""The report of ``--html``: one file, its drawings, in a browser and on a narrow screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from .planning import SHOP, changed, plan

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The report of the shop."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    done = plan(SHOP, "--requests-per-day", 2000, "--html", file)
    assert done.exit_code == 0, done.output
    return file


def test_the_report_needs_nothing_else(page):
    """Styles and drawings are in the file: no script, no address, no other file."""
    text = page.read_text()
    assert not re.search(r"https?://(?!shop\.example\.com)", text)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!#)', text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_report_has_its_pictures(page):
    """Memory bars, price curves and context curves, for each service that has them."""
    text = page.read_text()
    assert text.count("<b>Memory of each GPU</b>") == 3
    assert text.count("<b>Price against traffic</b>") == 3
    assert text.count("<b>Context against concurrency</b>") == 3
    assert "nan" not in text.lower().replace("tenant", "")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
def test_a_browser_shows_the_report(page):
    """Chromium reads the file whole: every section is there and no drawing leaves its box."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count('class="service"') == 7
    assert done.stdout.count("<svg") == 9


MEASURE = """<script>
const edge = document.documentElement.clientWidth;
const beyond = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > edge + 0.5);
const sizes = [edge, document.documentElement.scrollWidth, ...beyond.map(e => e.tagName)];
parent.document.title = "measured " + sizes.join(" ");
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("shown", ["page", "compared"])
def test_nothing_runs_past_the_edge_of_a_narrow_page(shown, request, tmp_path):
    """In a frame 420 pixels wide no element of the report reaches beyond it, and nothing scrolls sideways."""
    assert BROWSER is not None
    framed = tmp_path / "framed.html"
    text = request.getfixturevalue(shown).read_text()
    inside = escape(text.replace("</body>", f"{MEASURE}</body>"))
    framed.write_text(
        f'<iframe width="420" height="2000" style="border:0" srcdoc="{inside}"></iframe>'
    )
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--dump-dom",
            framed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert re.findall(r"<title>(measured.*?)</title>", done.stdout) == ["measured 420 420"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """The report of a shop that changed since an earlier plan, beside that plan."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(SHOP.parent, folder / "apps")
    shop, earlier, file = folder / "apps/shop.py", folder / "before.json", folder / "report.html"
    earlier.write_text(plan(shop, "--requests-per-day", 1000, "--json").stdout)
    changed(shop, 'GPUProfile("L40S", fallbacks', 'GPUProfile("H200", fallbacks')
    done = plan(shop, "--requests-per-day", 2000, "--against", earlier, "--html", file)
    assert done.exit_code == 0, done.output
    return file


def test_the_report_shows_what_changes(compared, page):
    """The page has every change and price difference of the terminal; without --against it has no such section."""
    text = compared.read_text()
    assert "<h2>Changes since before.json</h2>" in text
    assert '<dt>New containers for</dt><dd class="">shop.Chat</dd>' in text
    row = re.search(r"<tr><td>shop\.Chat</td>(<td data-of=\"what\">.*?)</tr>", text)
    assert row is not None
    assert ">gpus<" in row[1]
    assert 'class="bad">L40S' in row[1]
    assert 'class="good">H200' in row[1]
    assert re.search(r'data-of="difference"><span class="bad">\+\$', text)
    assert "Prices then: Modal" in text
    assert "Months then: under 1,000 requests a day" in text
    assert "Changes since" not in page.read_text()


def test_the_report_says_that_nothing_changes(shop, tmp_path):
    """Beside the same plan the section has one sentence."""
    earlier, file = tmp_path / "before.json", tmp_path / "report.html"
    earlier.write_text(plan(f"{shop}::Chat", "--json").stdout)
    plan(f"{shop}::Chat", "--against", earlier, "--html", file)
    assert "<p>Nothing differs.</p>" in file.read_text()
