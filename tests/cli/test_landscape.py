"""`heatgrad landscape`: of a study, of files, and what it says of bad input."""

import json
import re
import textwrap

import pytest
import safetensors.torch
import torch

from heatgrad.landscape import DataLoss, sharpness

QUICK = ("--points", 5, "--vectors", 2, "--steps", 5)
MODULE = '''
    """A network and data of a user's own."""

    import torch
    from torch import nn


    def make():
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


    def load():
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(60, 2, generator=generator)
        return x, (x[:, 0] > 0).long()


    def batches():
        x, y = load()
        return list(zip(x.split(25), y.split(25)))


    def wide():
        return torch.zeros(60, 5), torch.zeros(60, dtype=torch.long)


    def nothing():
        return []


    def needs(size):
        return size
'''


@pytest.fixture
def page(tmp_path):
    return tmp_path / "landscape.html"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Put the module `own_networks` on the path; return the function `name -> file of weights`."""
    (tmp_path / "own_networks.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    import own_networks

    def save(name, *, seed=0, wrapped=None):
        torch.manual_seed(seed)
        state = own_networks.make().state_dict()
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(state, path)
        else:
            torch.save({wrapped: state, "epoch": 3} if wrapped else state, path)
        return path

    return save


MINE = ("--model", "own_networks:make", "--data", "own_networks:load")


def test_of_a_study(heatgrad, finished, page):
    outcome = heatgrad(
        "landscape",
        finished,
        *QUICK,
        "--arm",
        "SGD",
        "--arm",
        "diffusion",
        "--align",
        "--out",
        page,
    )
    assert outcome.code == 0, outcome.err
    assert "2 of 2: diffusion, surface" in outcome.err
    for words in ("largest eigenvalue", "barrier, aligned", "raw ±0.1"):
        assert words in outcome.out
    text = page.read_text()
    assert text.count('<canvas class="relief"') == 2
    assert "A tiny study" in text
    assert "spiral, as published, block 0; cross_entropy on 128 training examples" in text
    surface = json.loads(re.search(r'data-surface="([^"]*)"', text)[1].replace("&#34;", '"'))
    assert surface["columns"] == 5
    assert len(surface["heights"]) == 25


def test_of_files(heatgrad, own, page):
    """State dicts, checkpoints that hold one, and safetensors; numbers are the library's."""
    import own_networks

    files = (
        own("a.pt"),
        own("b.pth", seed=1, wrapped="model_state_dict"),
        own("c.safetensors", seed=2),
    )
    outcome = heatgrad(
        "landscape",
        *files,
        *MINE,
        "--measure",
        "sharpness",
        "--measure",
        "path",
        "--radius",
        0.1,
        "--out",
        page,
    )
    assert outcome.code == 0, outcome.err
    assert "eigenvalue" not in outcome.out
    torch.manual_seed(2)
    network = own_networks.make().eval()
    loss = DataLoss(torch.nn.functional.cross_entropy, own_networks.load())
    value = sharpness(network, loss, 0.1).value
    assert f"{value:.3g} ±" in outcome.out
    assert "canvas" not in page.read_text().partition("<main>")[2].partition("<script>")[0]


def test_batches_do_as_well(heatgrad, own, page):
    both = [
        heatgrad(
            "landscape",
            own("a.pt"),
            "--model",
            "own_networks:make",
            "--data",
            data,
            "--measure",
            "spectrum",
            *QUICK,
            "--out",
            page,
        )
        for data in ("own_networks:load", "own_networks:batches")
    ]
    assert both[0].out == both[1].out


def test_a_trajectory(heatgrad, own, page):
    files = [own(f"{k}.pt", seed=k) for k in range(4)]
    outcome = heatgrad(
        "landscape",
        *files,
        *MINE,
        "--trajectory",
        "--directions",
        "pca",
        "--measure",
        "surface",
        "--points",
        5,
        "--out",
        page,
    )
    assert outcome.code == 0, outcome.err
    assert "1 of 1: 3, surface" in outcome.err
    assert "lies off the plane [%]" in " ".join(page.read_text().split())


def test_bad_input_is_one_line(refused, own, finished, tmp_path, page):
    file, out = own("a.pt"), ("--out", page)
    other = tmp_path / "other.pt"
    torch.save({"0.weight": torch.zeros(3, 3)}, other)
    noise = tmp_path / "noise.pt"
    noise.write_bytes(b"no weights at all")
    number = tmp_path / "number.pt"
    torch.save(3, number)
    for arguments, naming in (
        ((file, *out), ["need --model and --data", "got no --model"]),
        ((file, *MINE[:2], *out), ["got no --data"]),
        ((tmp_path / "no.pt", *MINE, *out), ["no study and no file of weights"]),
        ((other, *MINE, *out), ["do not fit the network", "size mismatch"]),
        ((noise, *MINE, *out), ["cannot read", "save a state_dict"]),
        ((number, *MINE, *out), ["holds no state_dict"]),
        ((file, "--model", "own_networks:mak", *MINE[2:], *out), ["cannot import --model"]),
        ((file, "--model", "own_networks:needs", *MINE[2:], *out), ["--model", "size"]),
        ((file, *MINE[:2], "--data", "own_networks:nothing", *out), ["at least one example"]),
        ((file, *MINE, "--points", 4, *out), ["points must be odd"]),
        ((file, *MINE, "--radius", -1, *out), ["radius must be positive"]),
        ((file, *MINE, "--measure", "volume", *out), ["measures must be of"]),
        ((file, *MINE, "--directions", "pca", *out), ["add --trajectory"]),
        ((file, file, *MINE, *out), ["must be different ones"]),
        ((file, "--model", "mine", *MINE[2:], *out), ["--model must be 'package.module:name'"]),
        ((file, *MINE[:2], "--data", "own_networks:wide", *out), ["must go together", "(60, 5)"]),
        ((file, *MINE, "--loss", "nope", *out), ["unknown loss 'nope'"]),
        ((file, *MINE, "--task", "spiral", *out), ["--task and --arm are of a study"]),
        ((file, *MINE, "--measure", "path", *out), ["a path needs two networks"]),
        ((finished, "--arm", "SDG", *out), ["no arm 'SDG'", "did you mean 'SGD'?"]),
        ((finished, "--block", 9, *out), ["no finished run of block 9"]),
        ((tmp_path / "nowhere", *out), ["no study in"]),
    ):
        refused("landscape", *arguments, naming=naming)
        assert not page.exists()


def test_another_file_is_not_replaced(refused, own, page):
    page.write_text("<html>mine</html>")
    refused(
        "landscape",
        own("a.pt"),
        *MINE,
        "--measure",
        "surface",
        "--points",
        3,
        "--out",
        page,
        naming=["not a page of heatgrad"],
    )


def test_a_network_that_is_none_has_a_page_with_a_hole(heatgrad, own, page):
    """Weights that are NaN: nothing is measured, and the surface is one hole, counted."""
    file = own("nan.pt")
    state = torch.load(file)
    state["0.weight"][0, 0] = float("nan")
    torch.save(state, file)
    outcome = heatgrad("landscape", file, *MINE, *QUICK, "--out", page)
    assert outcome.code == 0, outcome.err
    text = " ".join(page.read_text().split())
    assert "Hatched: not finite, at so many places: nan 25." in text
    assert "No loss is finite." in text
    assert "eigenvalue" not in outcome.out
