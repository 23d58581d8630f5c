import re

import pytest

from heatgrad.report import style
from heatgrad.report.page import KEY
from heatgrad.report.theme import (
    DARK,
    INKS,
    PAGE,
    VERDICT_COLORS,
    theme_css,
    themed,
    themed_svg,
    word_class,
)

HEX = re.compile(r"^#[0-9a-f]{6}$")
STRUCTURE = ("#444444", "#e3e3e3", "#e8ebee", "#ffffff")


def contrast(first, second):
    """Return the contrast ratio of two colours as WCAG 2.2 defines it."""

    def luminance(color):
        channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white():
    """WCAG's own example: 21 to 1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("ink", INKS.values(), ids=INKS)
def test_words_are_read_by_day_and_by_night(ink):
    """WCAG 2.2, 1.4.3: text needs a contrast of 4.5."""
    for color, page in zip(ink, PAGE, strict=True):
        assert contrast(color, page) >= 4.5


@pytest.mark.parametrize("word", VERDICT_COLORS)
def test_a_verdict_is_read_on_its_field(word):
    for field, words in VERDICT_COLORS[word]:
        assert contrast(field, words) >= 4.5


@pytest.mark.parametrize("color", [c for c in DARK if c not in STRUCTURE])
def test_lines_are_seen_by_night(color):
    """WCAG 2.2, 1.4.11: graphical objects need a contrast of 3."""
    assert contrast(DARK[color], PAGE[1]) >= 3


def test_every_verdict_has_a_colour_of_its_own():
    assert set(VERDICT_COLORS) == set(KEY)
    fields = [field for by_time in VERDICT_COLORS.values() for field, _ in by_time]
    assert len(set(fields)) == len(fields)


def test_every_colour_of_an_arm_has_one_for_the_night():
    """Two arms that differ by day differ by night."""
    named = [v for k, v in vars(style).items() if k.isupper() and HEX.match(str(v).lower())]
    assert len(named) >= 14
    assert {color.lower() for color in named} <= set(DARK)
    assert len(set(DARK.values())) == len(DARK)


def test_the_night_defines_what_the_day_defines():
    css = theme_css()
    day, night = (set(re.findall(r"(--[\w-]+):#", block)) for block in css.split("@media")[:2])
    assert day == night
    assert {f"--c-{color[1:]}" for color in DARK} < day
    used = set(re.findall(r"var\((--c-[\w-]+)", css))
    assert used < day
    assert "@media screen and (prefers-color-scheme:dark)" in css, "paper stays white"


def test_a_figure_follows_the_page_and_stands_alone():
    svg = '<path style="fill: #0072B2; stroke: #123456"/><text>style #000000</text>'
    assert themed_svg(svg) == (
        '<path style="fill: var(--c-0072b2, #0072b2); stroke: #123456"/><text>style #000000</text>'
    )
    assert themed("red") == "red"


def test_words_are_classes():
    assert word_class("HELPS-NOT-BECAUSE") == "helps-not-because"
