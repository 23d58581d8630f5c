import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(PATH is None, reason=f"no browser: none of {', '.join(NAMES)}")

SIZES = "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.width, b.height]; })"
OVERLAPS = """() => {
  const parts = [...document.querySelectorAll("main h2, main h3, main p, main table, figure svg")];
  const boxes = parts.map(e => e.getBoundingClientRect()).filter(b => b.height > 0);
  return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.left < b.right - 1 &&
    b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length;
}"""


@pytest.fixture(scope="module")
def browser():
    """Start the browser once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=PATH, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, page_path):
    """Return the function `width -> page`, opened; at the end nothing else was asked for."""
    messages, requests, opened = [], [], []

    def open_(width):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_path.as_uri(), wait_until="load")
        opened.append(page)
        return page

    yield open_
    for page in opened:
        page.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {page_path.as_uri()}


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_and_every_figure_is_seen(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    figures = page.locator("figure svg").evaluate_all(SIZES)
    assert len(figures) == 28
    assert min(min(size) for size in figures) > 80
    assert max(size[0] for size in figures) <= width
    assert all(page.locator("figure svg").nth(k).is_visible() for k in (0, 1, 20, 27))
    assert page.evaluate(OVERLAPS) == 0
    table, figure = page.locator("table").first, page.locator("figure").first
    assert table.bounding_box()["y"] < figure.bounding_box()["y"]


def test_text_in_figures_is_readable_on_a_phone(open_page):
    """Text drawn at 9 points must not shrink below 8 pixels."""
    page = open_page(390)
    heights = page.locator("figure svg text").evaluate_all(SIZES)
    widest = [max(size) for size in heights]
    scale = page.evaluate(
        "[...document.querySelectorAll('figure svg')].map("
        "e => e.getBoundingClientRect().width / e.viewBox.baseVal.width)"
    )
    assert len(widest) > 100
    assert 9 * min(scale) >= 8


def test_the_verdict_is_read_without_scrolling_sideways(open_page):
    page = open_page(390)
    words = page.locator("td .word")
    for k in range(0, words.count(), 7):
        box = words.nth(k).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_details_open(open_page):
    page = open_page(1200)
    page.get_by_text("What the verdicts mean").click()
    assert page.get_by_text("these runs do not settle it").is_visible()
    page.get_by_text("The resolved specification").click()
    assert page.locator("pre").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_print(open_page):
    page = open_page(800)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert min(min(s) for s in page.locator("figure svg").evaluate_all(SIZES)) > 80
    assert page.pdf(format="A4").startswith(b"%PDF")
