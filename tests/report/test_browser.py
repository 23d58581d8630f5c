import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(PATH is None, reason=f"no browser: none of {', '.join(NAMES)}")

SIZES = "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.width, b.height]; })"
OVERLAPS = """() => {
  const parts = [...document.querySelectorAll("main h2, main h3, main p, main table, figure svg")];
  const shown = parts.filter(e => !e.closest("details:not([open])"));
  const boxes = shown.map(e => e.getBoundingClientRect()).filter(b => b.height > 0);
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
    """Return the function `width -> page`, opened; at the end nothing else was asked for.

    It opens another page if one is given.
    """
    messages, requests, opened, shown = [], [], [], set()

    def open_(width, scheme="light", path=page_path):
        size = {"width": width, "height": 900}
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri(), wait_until="load")
        opened.append(page)
        shown.add(path.as_uri())
        return page

    yield open_
    for page in opened:
        page.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == shown


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_and_every_figure_is_seen(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    figures = page.locator("figure svg").evaluate_all(SIZES)
    assert len(figures) == 34
    assert min(min(size) for size in figures) > 80
    assert max(size[0] for size in figures) <= width
    assert all(page.locator("figure svg").nth(k).is_visible() for k in (0, 1, 20, 33))
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
    assert words.count() == 28
    for k in range(0, words.count(), 7):
        box = words.nth(k).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def column(table, number):
    """Return the texts of a column of a table, from the top."""
    script = "(t, k) => [...t.tBodies[0].rows].map(r => r.cells[k].dataset.text || r.cells[k]"
    return table.evaluate(f"{script}.childNodes[0]?.textContent || '')", number)


NUMBERS = """t => ["10", "9", "\u22123", "", "200", "1e-05", "9"].forEach((text, k) => {
  const cell = t.tBodies[0].rows[k].cells[3];
  cell.textContent = text;
  delete cell.dataset.key;
  if (text) cell.dataset.key = text.replace("\u2212", "-");
})"""


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_tables_sort_by_keyboard_and_return(open_page, key):
    """Numbers sort as numbers (as texts, 10 stands before 9); what has none is always last."""
    page = open_page(1200)
    table = page.locator("table.sortable").first
    table.evaluate(NUMBERS)
    before = column(table, 0)
    button = table.get_by_role("button", name="difference")
    head = button.locator("xpath=..")
    button.focus()
    page.keyboard.press(key)
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(table, 3) == ["−3", "1e-05", "9", "9", "10", "200", ""]
    page.keyboard.press(key)
    assert head.get_attribute("aria-sort") == "descending"
    assert column(table, 3) == ["200", "10", "9", "9", "1e-05", "−3", ""]
    page.keyboard.press(key)
    assert head.get_attribute("aria-sort") is None
    assert column(table, 0) == before


def test_words_sort_too_and_one_column_at_a_time(open_page):
    table = open_page(1200).locator("table.sortable").first
    table.get_by_role("button", name="difference").click()
    table.get_by_role("button", name="arm").click()
    names = column(table, 0)
    assert sorted(names, key=str.lower) == names
    assert table.locator("[aria-sort]").count() == 1


def test_night_changes_page_and_figures_and_paper_stays_white(open_page):
    """Colours as the browser computes them: of the page, of words, frames, dots in figures."""
    script = """() => {
      const style = (q) => getComputedStyle(document.querySelector(q));
      const bar = [...document.querySelectorAll("figure svg path")]
        .filter(p => p.style.stroke.includes("0072b2"))[0];
      return [style("body").backgroundColor, style("body").color, style("figure svg").fill,
        style(".matrix td").backgroundColor, getComputedStyle(bar).stroke]; }"""
    day, page = open_page(1200).evaluate(script), open_page(1200, "dark")
    night = page.evaluate(script)
    assert all(a != b for a, b in zip(day, night, strict=True))
    assert day[0] == "rgb(255, 255, 255)"
    assert day[4] == "rgb(0, 114, 178)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(script) == day


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


PICTURE = "canvas => canvas.toDataURL()"


def test_a_surface_is_drawn_and_turns(open_page, landscape_path):
    """Every face is drawn but those at the hole; the mouse and the arrow keys turn it."""
    page = open_page(1200, path=landscape_path)
    canvas = page.locator("canvas.relief").first
    canvas.scroll_into_view_if_needed()
    assert canvas.get_attribute("data-faces") == str(10 * 10 - 4)
    before = canvas.evaluate(PICTURE)
    assert len(before) > 10_000  # an empty canvas has a tenth of that
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 120, steps=4)
    page.mouse.up()
    turned = canvas.evaluate(PICTURE)
    assert turned != before
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    assert canvas.evaluate(PICTURE) != turned


@pytest.mark.parametrize("width", [1200, 390])
def test_the_landscape_fits(open_page, landscape_path, width):
    page = open_page(width, path=landscape_path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sizes = page.locator("section[aria-labelledby=landscape] svg, canvas").evaluate_all(SIZES)
    assert len(sizes) == 2 + 2 + 1 + 3 + 3
    assert min(min(size) for size in sizes) > 80
    assert page.evaluate(OVERLAPS) == 0
