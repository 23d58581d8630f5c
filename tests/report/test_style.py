import re

from heatgrad.report.style import NUM_COLORS, arm_styles, figure, to_svg
from heatgrad.study import PRESETS, SMALL, load_study

IDS = re.compile(r'\bid="([^"]+)"')
LINKS = re.compile(r'(?:url\(#|href="#)([^")]+)')


def test_an_arm_keeps_its_colour_in_every_preset():
    seen = {}
    forms = [(name, False) for name in PRESETS] + [(name, True) for name in SMALL]
    for name, small in forms:
        study = load_study(name, small=small)
        styles = arm_styles(study)
        colors = [style.color for style in styles.values()]
        if len(colors) > NUM_COLORS:  # more arms than any eye tells apart
            continue
        assert len(set(colors)) == len(colors), name
        for arm, style in styles.items():
            assert seen.setdefault(arm, style.color) == style.color, (name, arm)


def test_many_arms_of_one_method_have_colours_of_their_own(make_results):
    arms = {f"diffusion {k}": {"kind": "DiffusionSGD", "diffusion": 0.01 * k} for k in range(12)}
    styles = arm_styles(make_results(tasks={"s": {"kind": "Spiral"}}, arms=arms, seeds=1).study)
    assert len({style.color for style in styles.values()}) == 12
    arms |= {f"own {k}": {"kind": "torch.optim:SGD", "lr": 0.1} for k in range(12)}
    styles = arm_styles(make_results(tasks={"s": {"kind": "Spiral"}}, arms=arms, seeds=1).study)
    assert len(styles) == 24


def test_lines_tell_controls_and_exploratory_arms(make_results):
    styles = arm_styles(make_results(seeds=1).study)
    lines = {arm: style.linestyle for arm, style in styles.items()}
    assert lines["diffusion 0.1"] == "-"
    assert lines["placebo 0.1"] == lines["norm-matched 0.1"] == "--"
    assert lines["Adam"] == ":"


def drawn(name):
    with figure(3, 2) as fig:
        ax = fig.subplots()
        ax.plot([0, 1], [0, 1], "o-")
        ax.scatter([0, 1], [0, 1], c=[0, 1], rasterized=True)
        ax.set_title("1 < 2 & 3")
        ax.tick_params(length=0)
        return to_svg(fig, name=name, title='a "b" <c> & d')


def test_ids_differ_from_figure_to_figure_and_resolve():
    first, second = drawn("first"), drawn("second")
    assert set(IDS.findall(first)).isdisjoint(IDS.findall(second))
    for svg in (first, second):
        ids = IDS.findall(svg)
        assert len(set(ids)) == len(ids)
        assert LINKS.findall(svg)
        assert set(LINKS.findall(svg)) <= set(ids)


def test_an_svg_repeats_and_is_escaped():
    svg = drawn("first")
    assert svg == drawn("first")
    assert svg.startswith('<svg role="img" aria-label="a &quot;b&quot; &lt;c> &amp; d"')
    assert "1 &lt; 2 &amp; 3" in svg
    assert "<metadata" not in svg
    assert "<g id=" not in svg
