"""All methods side by side on wells whose times are known."""

import math

import pytest
import torch

from heatgrad.fokker_planck.escape.compare import METHODS, compare_escape
from heatgrad.fokker_planck.escape.rows import against_reference
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def double_well(x):
    return ((x**2 - 1) ** 2).sum() / 4


def test_a_double_well_by_four_methods():
    """To the saddle: quadrature is the reference; all others agree within what they claim."""
    table = compare_escape(
        Langevin(double_well, 0.08),
        point(-1),
        HalfSpace((1.0,), 0.0),
        saddles=point(0),
        box=(-2.5, 0.5),
        dt=0.02,
        t_max=100.0,
        replicas=3000,
    )
    assert [row.method for row in table.rows] == ["quadrature", "grid", "eyring-kramers", "sde"]
    assert table.reference == "quadrature"
    assert math.isnan(table["quadrature"].z)
    assert abs(table["grid"].relative) < 1e-3
    assert abs(table["eyring-kramers"].relative) < 0.08 / 0.25
    assert abs(table["sde"].z) < 4
    assert "SGDDiffusion" in table.skipped["sgd"]
    assert not table["eyring-kramers"].notes
    for row in table.rows:
        assert row.low <= row.value <= row.high
        assert row.seconds > 0
        assert row.method in str(table)


def test_rows_made_one_by_one():
    """The same table as of one call, in any order."""
    args = (Langevin(double_well, 0.08), point(-1), HalfSpace((1.0,), 0.0))
    options = {"saddles": point(0), "box": (-2.5, 0.5)}
    table = compare_escape(*args, **options)
    rows = [
        compare_escape(*args, **options, methods=[name]).rows[0]
        for name in ("eyring-kramers", "grid", "quadrature")
    ]
    for row in against_reference(rows):
        assert row.value == table[row.method].value
        assert row.z == pytest.approx(table[row.method].z, nan_ok=True)
    assert against_reference([]) == ()


@pytest.mark.parametrize("b", [-0.1, 0.0, 0.1, 0.8])
def test_the_share_of_the_law_at_any_boundary(b):
    """Eq. (F.72) against quadrature, at and around the saddle: half, less, more, all."""
    table = compare_escape(
        Langevin(double_well, 0.01),
        point(-1),
        HalfSpace((1.0,), b),
        saddles=point(0),
        methods=("quadrature", "eyring-kramers"),
    )
    assert table["eyring-kramers"].relative == pytest.approx(0, abs=0.08)


def test_low_barriers_are_noted():
    """A barrier of 2.5 temperatures: the law's warning is in its row, not lost, not raised."""
    table = compare_escape(
        Langevin(double_well, 0.1),
        point(-1),
        HalfSpace((1.0,), 0.0),
        saddles=point(0),
        methods=["eyring-kramers"],
    )
    assert "only 2.5 temperatures" in table["eyring-kramers"].notes[0]
    assert table.reference is None


def test_rates_over_two_saddles_add():
    """cos, between two saddles alike: half the time over one of them; quadrature for the two."""
    process = Langevin(lambda x: -torch.cos(x).sum(), 0.1)
    region = Box((-math.pi,), (math.pi,))
    two = compare_escape(
        process,
        point(0),
        region,
        saddles=point(-math.pi, math.pi).reshape(2, 1),
        methods=("quadrature", "eyring-kramers"),
    )
    one = compare_escape(
        process, point(0), region, saddles=point(math.pi), methods=["eyring-kramers"]
    )
    ratio = one["eyring-kramers"].value / two["eyring-kramers"].value
    assert ratio == pytest.approx(2, rel=1e-6)
    assert abs(two["eyring-kramers"].relative) < 0.1


def test_a_disk_on_a_grid_and_by_an_ensemble():
    """Free motion in a disk: R² / (4 D) = 1/4 at its centre, in two coordinates."""
    brownian = Ito(lambda x: 0 * x, torch.eye(2, dtype=torch.float64))
    table = compare_escape(
        brownian,
        point(0, 0),
        Ball((0.0, 0.0), 1.0),
        box=((-1.2, -1.2), (1.2, 1.2)),
        cells=40,
        dt=0.01,
        t_max=5.0,
    )
    assert table.reference == "grid"
    assert table["grid"].value == pytest.approx(0.25, rel=0.02)
    assert abs(table["sde"].value - 0.25) < 4 * table["sde"].error
    assert "one coordinate" in table.skipped["quadrature"]
    assert "Langevin or Kinetic" in table.skipped["eyring-kramers"]


def test_sgd_beside_its_diffusion():
    """A small learning rate: true SGD leaves when its diffusion does, up to a few percents."""
    s = point(-2, -1, 0, 1, 2)
    sgd = SGDDiffusion(lambda t, s: ((t - s) ** 2).sum() / 2, (s,), lr=0.05, batch_size=1)
    table = compare_escape(
        sgd, point(0), Box((-0.4,), (0.4,)), box=(-0.5, 0.5), dt=0.05, t_max=60.0, replicas=3000
    )
    assert [row.method for row in table.rows] == ["quadrature", "grid", "sde", "sgd"]
    assert abs(table["sde"].z) < 6  # Euler's steps are large, too
    # SGD overshoots: as Siegmund's correction has it, the sides are 0.58 steps farther out.
    assert 0 < table["sgd"].relative < 1
    assert table["sgd"].status == "complete"


def test_kinetic_needs_a_boundary_beyond_the_saddle():
    """The law with friction is to the other well; at the saddle it is refused, with the reason."""
    ball = Kinetic(double_well, 0.05, 1.0)
    near, far = (
        compare_escape(
            ball,
            point(-1, 0),
            HalfSpace((1.0, 0.0), b),
            saddles=point(0),
            methods=["eyring-kramers"],
        )
        for b in (0.1, 0.9)
    )
    assert "three widths" in near.skipped["eyring-kramers"]
    assert far["eyring-kramers"].value > 100
    with pytest.raises(KeyError, match="three widths"):
        near["eyring-kramers"]


def test_a_region_that_ends_before_the_saddle_has_no_law():
    table = compare_escape(
        Langevin(double_well, 0.01),
        point(-1),
        HalfSpace((1.0,), -0.5),
        saddles=point(0),
        methods=("quadrature", "eyring-kramers"),
    )
    assert "before the saddle" in table.skipped["eyring-kramers"]


def test_times_beyond_all_numbers():
    table = compare_escape(
        Langevin(double_well, 1e-4), point(-1), HalfSpace((1.0,), 0.0), methods=["quadrature"]
    )
    assert table["quadrature"].value == math.inf
    assert table["quadrature"].notes[0].startswith("log of the mean time: 2500.798")


def test_censored_ensembles_say_so():
    table = compare_escape(
        Langevin(double_well, 0.08),
        point(-1),
        HalfSpace((1.0,), 0.0),
        methods=["sde"],
        dt=0.05,
        t_max=10.0,
        replicas=500,
    )
    assert table["sde"].status == "censored"
    assert "exponential tail" in table["sde"].notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["magic"]}, "methods must be of quadrature"),
        ({"x0": point(0.5)}, "x0 must be inside the region"),
        ({"cells": 7}, "cells must be even"),
    ],
)
def test_refusals(change, message):
    args = {"x0": point(-1)} | change
    with pytest.raises(ValueError, match=message):
        compare_escape(Langevin(double_well, 0.1), args.pop("x0"), HalfSpace((1.0,), 0.0), **args)


def test_what_is_missing_is_named():
    """Nothing given: every method but quadrature says what it needs; no end, no quadrature."""
    table = compare_escape(Langevin(double_well, 0.1), point(-1), HalfSpace((1.0,), math.inf))
    assert set(table.skipped) == set(METHODS)
    assert table.skipped["quadrature"] == "the region does not end"
    assert "box" in table.skipped["grid"]
    assert "saddles" in table.skipped["eyring-kramers"]
    assert "dt and t_max" in table.skipped["sde"]
    assert table.reference is None


@pytest.mark.parametrize("is_reversible", [True, False])
def test_a_box_that_cuts_the_mass_off_is_no_reference(is_reversible):
    """Leaving x < 0 takes 135.783, by quadrature; a box from -1.05 on says "cut"."""
    args = (
        Langevin(double_well, 0.0625) if is_reversible else Ito(lambda x: -x * (x**2 - 1), 0.0625),
        point(-1),
        HalfSpace((1.0,), 0.0),
    )
    narrow = compare_escape(*args, box=(-1.05, 1), methods=["grid"])
    assert narrow["grid"].status == "cut"
    assert "lies at reflecting sides of the box" in narrow["grid"].notes[0]
    assert narrow.reference is None
    wide = compare_escape(*args, box=(-2.5, 0.5), methods=["grid"])
    assert wide.reference == "grid"
    assert wide["grid"].value == pytest.approx(135.783, rel=2e-3)


def test_ensembles_start_in_double_precision():
    """From the same start in single precision: the same paths, bit by bit."""
    options = {"methods": ["sde"], "dt": 0.1, "t_max": 5.0, "replicas": 20}
    args = (Langevin(double_well, 0.2), HalfSpace((1.0,), 0.0))
    single, double = (
        compare_escape(args[0], start, args[1], **options)["sde"].sample
        for start in (torch.tensor([-1.0]), point(-1))
    )
    assert (single.times == double.times).all()
