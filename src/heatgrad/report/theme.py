"""Colours by day and by night: each has one name in the page, and a figure follows the page.

A figure is drawn in the colours of the day. In a page every known colour becomes a CSS variable
that falls back to itself, so that a figure outside the page still looks as it was drawn.
"""

import re

__all__ = [
    "DARK",
    "INKS",
    "PAGE",
    "VERDICT_COLORS",
    "VerdictColors",
    "theme_css",
    "themed",
    "themed_svg",
    "word_class",
]

PAGE = ("#ffffff", "#14181d")
_LINK = ("#0b5b97", "#74bdf2")

# Text and lines of the page, by day and by night.
INKS = {
    "ink": ("#1c2024", "#e6e9ec"),
    "soft": ("#5a636c", "#a7b0b9"),
    "accent": _LINK,
}
_SURFACES = {
    "page": PAGE,
    "line": ("#dfe3e7", "#343b43"),
    "wash": ("#f6f7f9", "#1b2027"),
    "alert": ("#fff4de", "#3a2e12"),
}

# What stands in figures, by day and by night. Lines of the arms: Okabe and Ito's colours, and
# those beside them, made lighter where they would drown.
DARK = {
    "#000000": "#e6e9ec",
    "#0072b2": "#3f97d9",
    "#e69f00": "#f2b431",
    "#56b4e9": "#9bd9ff",
    "#009e73": "#1fbf92",
    "#d55e00": "#ee7034",
    "#cc79a7": "#e29bc4",
    "#8a8a8a": "#9aa1a8",
    "#9a8b00": "#bfae1e",
    "#7a4b2a": "#b9835a",
    "#44aa99": "#5cc7b5",
    "#cc6677": "#e58594",
    "#332288": "#8f80e8",
    "#882255": "#cc5a93",
    # frame, grid, faint words, the margin's band
    "#444444": "#b4bbc2",
    "#e3e3e3": "#30373f",
    "#e8ebee": "#272d35",
    "#ffffff": PAGE[1],
}

# A verdict's field and its words: by day, by night.
VerdictColors = tuple[tuple[str, str], tuple[str, str]]
VERDICT_COLORS: dict[str, VerdictColors] = {
    "HELPS": (("#d3f0e6", "#00543d"), ("#0f4a38", "#a8efd3")),
    "HELPS-NOT-BECAUSE": (("#fdeecb", "#6b4700"), ("#4a3708", "#ffdf94")),
    "HURTS": (("#fbdccb", "#7d3200"), ("#5a2712", "#ffc5a3")),
    "CEILING": (("#d6e9f7", "#08466f"), ("#123a57", "#a9d6f7")),
    "FLOOR": (("#f1e3f3", "#5b1f63"), ("#44224a", "#ecc4f2")),
    "INVALID": (("#f5dbe6", "#6b1440"), ("#511a36", "#f7bfd8")),
    "TRIVIAL": (("#e4eff1", "#2f4a52"), ("#243239", "#c2d6de")),
    "EQUIVALENT": (("#e2e5f4", "#2d3670"), ("#2a2f52", "#c9cff5")),
    "INCONCLUSIVE": (("#e9ecef", "#343a40"), ("#2b3036", "#d5dadf")),
    "NO VERDICT": (("#f1f3f5", "#495057"), ("#22272c", "#b6bdc4")),
}
_ALL = DARK | {
    day: night
    for of_day, of_night in VERDICT_COLORS.values()
    for day, night in zip(of_day, of_night, strict=True)
}
_STYLE = re.compile(r'style="[^"]*"')
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")


def themed(color: str) -> str:
    """Return a colour of a figure as CSS that follows the page; an unknown one stays itself.

    Example:
        >>> themed("#0072B2")
        'var(--c-0072b2, #0072b2)'
    """
    name = color.lower()
    return f"var(--c-{name[1:]}, {name})" if name in _ALL else color


def themed_svg(svg: str) -> str:
    """Return an SVG whose colours follow the page that it stands in."""
    return _STYLE.sub(lambda style: _HEX.sub(lambda hit: themed(hit[0]), style[0]), svg)


def word_class(word: str) -> str:
    """Return a verdict's word as a CSS class.

    Example:
        >>> word_class("NO VERDICT")
        'no-verdict'
    """
    return word.lower().replace(" ", "-")


def theme_css() -> str:
    """Return the variables of the page, by day and (on a screen) by night, and verdict classes."""
    named = INKS | _SURFACES
    day = [f"--{name}:{light}" for name, (light, _) in named.items()]
    night = [f"--{name}:{dark}" for name, (_, dark) in named.items()]
    day += [f"--c-{light[1:]}:{light}" for light in _ALL]
    night += [f"--c-{light[1:]}:{dark}" for light, dark in _ALL.items()]
    rules = [
        f".{word_class(word)}{{--field:{themed(field)};--words:{themed(words)}}}"
        for word, ((field, words), _) in VERDICT_COLORS.items()
    ]
    return "\n".join(
        [
            f":root{{color-scheme:light;{';'.join(day)}}}",
            f"@media screen and (prefers-color-scheme:dark){{"
            f":root{{color-scheme:dark;{';'.join(night)}}}}}",
            *rules,
        ]
    )
