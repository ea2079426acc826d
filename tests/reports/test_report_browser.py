"""The report in headless Chromium without a network: no request, no error, nothing wider than the window, nothing clipped."""

import pathlib
import shutil

import pytest
from make_folder import RUN, grid_rows, write_folder

import reports

pytestmark = pytest.mark.browser
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('.panel svg')) {
    const box = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(t => [t, t.getBoundingClientRect()]).filter(([t, b]) => b.width > 0);
    for (const [t, b] of texts)
      if (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1) found.push('clipped: ' + t.textContent);
    for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
      const [s, a] = texts[i], [t, b] = texts[j];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left), tall = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && tall > 3) found.push('overlap: ' + s.textContent + ' | ' + t.textContent);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    """Chromium of the distribution; the test needs it and says so."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "the browser tests need chromium on the PATH"
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report of two tasks with everything in it."""
    folder = write_folder(
        tmp_path_factory.mktemp("browser"), grid_rows() + grid_rows(task="a task with quite a long name"), run={**RUN, "data": {"entropy": 1.1}}
    )
    reports.build(folder)
    return pathlib.Path(folder / "report.html")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_and_fits(browser, page_file, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(page_file.as_uri())
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert requests == [page_file.as_uri()] and errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .panels, svg') && e.getBoundingClientRect().right > innerWidth + 1).length"
        )
        == 0
    )
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate(OVERLAPS) == []
    context.close()


def test_prints_without_cutting_tables(browser, page_file):
    context = browser.new_context(viewport={"width": 800, "height": 1000}, color_scheme="dark", offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()") == "#1b1d20"
    assert len(page.pdf()) > 20_000
    context.close()


@pytest.mark.parametrize("name", reports.figure_names())
def test_standalone_figures_render_without_clipping(browser, page_file, tmp_path, name):
    path = tmp_path / "figure.svg"
    reports.write_figure(page_file.parent, name, path)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    outside = page.evaluate("""() => { const w = document.documentElement.getBoundingClientRect();
      return [...document.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect(); return b.left < w.left || b.right > w.right || b.bottom > w.bottom; }).map(t => t.textContent); }""")
    assert outside == []
    context.close()
