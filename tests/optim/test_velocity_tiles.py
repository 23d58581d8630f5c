"""The cut of tensors into tiles: every cell in one tile, and rows at cuts where they belong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.optim.velocity_tiles import cut_into_tiles, have_tiles

SMALL = {"tile": 64, "longest_cut": 4, "lanes": 16}


def cells(row):
    """Return the cells of a tile, by the description of its columns."""
    _, base, shift, pitch, rows, across, *_ = row
    assert rows >= 1
    assert 1 <= across <= 1 << shift
    return base + pitch * np.arange(rows)[:, None] + np.arange(across)[None, :]


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 40), max_size=3).map(tuple), min_size=1, max_size=4),
    axis=st.integers(0, 2),
    is_periodic=st.booleans(),
    is_aligned=st.booleans(),
)
def test_every_cell_is_in_one_tile(shapes, axis, is_periodic, is_aligned):
    dims = tuple((axis,) if axis < len(shape) else () for shape in shapes)
    found = cut_into_tiles(
        tuple(shapes), dims, is_periodic=is_periodic, is_aligned=is_aligned, **SMALL
    )
    for k, (shape, axes) in enumerate(zip(shapes, dims, strict=True)):
        own = found.tiles[found.tiles[:, 0] == k]
        covered = np.concatenate([cells(row).ravel() for row in own] or [np.zeros(0, int)])
        assert np.array_equal(np.sort(covered), np.arange(np.prod(shape, dtype=int)))
        for row in own:
            tile = SMALL["tile"] if row[11] else SMALL["tile"] // 2
            assert row[4] << row[2] <= tile  # it fits
            if row[11]:
                assert (cells(row)[:, ::4] % 4 == 0).all()  # runs of four begin at a fourth cell
            check_edges(found, k, row, shape, axes, is_periodic)


def check_edges(found, k, row, shape, axes, is_periodic):
    """A neighbour beyond the tile has a place in the edges, which names its row and line."""
    if not axes:
        return
    count = shape[axes[0]]
    width = np.prod(shape[axes[0] + 1 :], dtype=int)
    own = cells(row)
    j, line = own // width % count, own // (width * count)
    for step, first, place in ((-1, row[6], row[8]), (1, row[7], row[9])):
        near = j + step
        if is_periodic:
            near %= count
        is_real = (near >= 0) & (near < count)
        target = own + (near - j) * width
        is_outside = is_real & ~np.isin(target, own)
        if not is_outside.any():
            continue
        assert place >= 0
        assert (j[is_outside] == first).all()
        # The row of the edges that this place begins, as the kernel that fills them counts.
        rows, per_line, offset, _ = found.cuts[k]
        turn, number = (place - offset) // width % per_line, (place - offset) // width // per_line
        cut = (turn // 2 + 1) * rows
        there = min(cut, count) - 1 if turn % 2 == 0 else cut % count if cut < count else 0
        assert (near[is_outside] == there).all()
        assert (line[is_outside] == number).all()


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((1000, 1000), (0,), True),
        ((1000, 1000), (0, 1), False),
        ((1000, 3, 3), (1, 2), True),
        ((), (), True),
        ((2**16, 2**16), (), False),
    ],
)
def test_which_tensors_can_be_cut(shape, axes, expected):
    """Several axes need slabs of half a tile at most; places are 32-bit numbers."""
    assert have_tiles([shape], [axes], 2048) is expected
