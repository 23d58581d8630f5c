"""The step of `DiffusionNesterov` on a GPU, in one launch for all tensors of a group.

20 bytes a parameter in float32: read g, read and write p and v. The velocity is diffused in
place. A tensor is cut into tiles, one program each: whole lines of cells where they fit, else
some rows of some columns. A program writes the new velocities of its tile when it has read the
old ones, and reads its neighbours' among them, from the nearest cache, when all are written.
What it needs from beyond a cut through a line is gathered first, by a launch of its own: two
numbers for each cell on either side of a cut.

The kernels share their tables:

- `tensors`: 16 columns for each tensor, int64. Addresses of p, g and v, number of diffused axes.
  From `NUMBERS` on, the bits of float64 numbers: lr, momentum, N beta, weight decay, sign.
- `axes`: size and stride of each diffused axis of each tensor, 0 where there are no more, int32.
- `tiles`: 12 columns for each tile, int32. Tensor; first element; binary logarithm of the elements
  of a row of the tile; elements of the tensor from one such row to the next; number of rows and of
  columns that are there; first and last row in the line; places in `edges` of the row before and
  the row after, negative where nothing is cut off; whether the tile is one row of neighbours in
  memory, whatever their rows in the tensor; whether all rows are of whole runs of four elements.
- `cuts`: rows between cuts, rows at cuts in a line, first place in `edges` and number of cells at
  cuts, of each tensor, int32.
- `chunks`: tensor, and first of its cells at cuts, of each program that gathers, int32.
- `edges`: the old velocities of all cells at cuts, then, `plane` elements on, their new ones.

`DTYPE` is the tensors' type, `WIDE` the one that is computed in, `AXES` the largest number of
diffused axes, and `ENDS` 0 for Neumann ends, 1 for periodic ones, 2 for Dirichlet.
"""

import triton
import triton.language as tl

__all__ = ["LANES", "LONGEST_CUT", "NUMBERS", "TILE", "gather_edges", "step_tiles"]

TILE = 2048
LONGEST_CUT = 128  # rows of a tile; the rest of it is as many columns
LANES = 512  # of a program that gathers
NUMBERS = 6
_FIRST_NUMBER = tl.constexpr(NUMBERS)


@triton.jit
def gather_edges(
    chunks,
    cuts,
    tensors,
    axes,
    edges,
    plane,
    AXES: tl.constexpr,
    ENDS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    LANES: tl.constexpr,
):
    """Put the old and new velocities on both sides of every cut into `edges`."""
    chunk = tl.program_id(0)
    k = tl.load(chunks + 2 * chunk)
    row = tensors + 16 * k
    step, per_line = tl.load(cuts + 4 * k), tl.load(cuts + 4 * k + 1)
    count, width = tl.load(axes + 2 * AXES * k), tl.load(axes + 2 * AXES * k + 1)
    cell = tl.load(chunks + 2 * chunk + 1) + tl.arange(0, LANES)[:, None]
    mask = cell < tl.load(cuts + 4 * k + 3)
    # The rows at cuts in order: last before the first cut, first after it, and so on. After the
    # last cut of a periodic line comes its first row.
    turn = (cell // width) % per_line
    cut = (turn // 2 + 1) * step
    j = tl.where(turn % 2 == 0, tl.minimum(cut, count) - 1, tl.where(cut < count, cut, 0))
    here = (cell // (width * per_line) * count + j) * width + cell % width
    v = _memory(row, 2, DTYPE, 1)
    old = tl.load(v + here, mask=mask, other=0.0).to(WIDE)
    spread = _difference(
        v, old, edges, here, j, here, here, count, width, mask, False, ENDS, WIDE, 1
    )
    new = _velocity(row, old, _decayed(row, here, mask, DTYPE, WIDE, 1), spread, WIDE)
    target = edges + tl.load(cuts + 4 * k + 2) + cell
    tl.store(target, old.to(DTYPE), mask=mask)
    tl.store(target + plane, new.to(DTYPE), mask=mask)


@triton.jit
def step_tiles(
    tiles,
    tensors,
    axes,
    edges,
    plane,
    HAS_CUTS: tl.constexpr,
    AXES: tl.constexpr,
    ENDS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    TILE: tl.constexpr,
):
    """Step all tiles. Eqs. (V.6), (V.7)."""
    tile = tiles + 12 * tl.program_id(0)
    k = tl.load(tile)
    row = tensors + 16 * k
    axes += 2 * AXES * k
    if tl.load(tile + 11) != 0:
        _step(tile, row, axes, edges, plane, HAS_CUTS, AXES, ENDS, DTYPE, WIDE, TILE, 4)
    else:  # a thread has as many loads on the way
        _step(tile, row, axes, edges, plane, HAS_CUTS, AXES, ENDS, DTYPE, WIDE, TILE // 2, 1)


@triton.jit
def _step(
    tile,
    row,
    axes,
    edges,
    plane,
    HAS_CUTS: tl.constexpr,
    AXES: tl.constexpr,
    ENDS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    TILE: tl.constexpr,
    RUN: tl.constexpr,
):
    """Step one tile. All places and widths are counted in runs of elements."""
    run = tl.arange(0, TILE // RUN)[:, None]
    shift = tl.load(tile + 2) - (2 if RUN == 4 else 0)
    r, c = run >> shift, run & ((1 << shift) - 1)
    mask = (r < tl.load(tile + 4)) & (RUN * c < tl.load(tile + 5))
    here = tl.load(tile + 1) // RUN + r * (tl.load(tile + 3) // RUN) + c
    p, v = _memory(row, 0, DTYPE, RUN), _memory(row, 2, DTYPE, RUN)
    place = RUN * here + tl.arange(0, RUN)[None, :]
    d = _decayed(row, place, mask, DTYPE, WIDE, RUN)
    param = tl.load(p + place, mask=mask, other=0.0).to(WIDE)
    old = tl.load(v + place, mask=mask, other=0.0).to(WIDE)
    spread = _spread(v, old, edges, tile, axes, here, r, mask, HAS_CUTS, AXES, ENDS, WIDE, RUN)
    new = _velocity(row, old, d, spread, WIDE).to(DTYPE)
    tl.debug_barrier()  # all old velocities of the tile have been read
    tl.store(v + place, new, mask=mask)
    tl.debug_barrier()  # all new ones are there
    new = new.to(WIDE)
    if HAS_CUTS:
        edges += plane
    spread = _spread(v, new, edges, tile, axes, here, r, mask, HAS_CUTS, AXES, ENDS, WIDE, RUN)
    direction = _velocity(row, new, d, spread, WIDE)
    tl.store(p + place, (param - _number(row, 0, WIDE) * direction).to(DTYPE), mask=mask)


@triton.jit
def _velocity(row, v, d, spread, WIDE: tl.constexpr):
    """Return gamma v + g + beta Lap v."""
    num_axes = tl.maximum(tl.load(row + 3), 1).to(WIDE)
    return _number(row, 1, WIDE) * v + d + _number(row, 2, WIDE) / num_axes * spread


@triton.jit
def _decayed(row, place, mask, DTYPE: tl.constexpr, WIDE: tl.constexpr, RUN: tl.constexpr):
    """Return the gradient with weight decay."""
    d = tl.load(_memory(row, 1, DTYPE, RUN) + place, mask=mask, other=0.0).to(WIDE)
    d *= _number(row, 4, WIDE)
    if _number(row, 3, WIDE) != 0:
        param = tl.load(_memory(row, 0, DTYPE, RUN) + place, mask=mask, other=0.0)
        d += _number(row, 3, WIDE) * param.to(WIDE)
    return d


@triton.jit
def _spread(
    x,
    value,
    edges,
    tile,
    axes,
    here,
    r,
    mask,
    HAS_CUTS: tl.constexpr,
    AXES: tl.constexpr,
    ENDS: tl.constexpr,
    WIDE: tl.constexpr,
    RUN: tl.constexpr,
):
    """Return the Laplacian of x, which is `value` here, along all axes of the tensor."""
    spread = tl.zeros_like(value)
    start = tl.load(tile + 1) // RUN
    first, last = tl.load(tile + 6), tl.load(tile + 7)
    above, below = tl.load(tile + 8) // RUN, tl.load(tile + 9) // RUN
    for axis in tl.static_range(AXES):
        count, width = tl.load(axes + 2 * axis), tl.load(axes + 2 * axis + 1) // RUN
        if count > 0:
            if tl.load(tile + 10) != 0:
                j = here // width
                column = here - j * width
                j = j % count
            else:
                j = first + r
                column = start % width + here - start - r * width
            before = tl.where(j == first, above + column, -1)
            after = tl.where(j == last, below + column, -1)
            spread += _difference(
                x,
                value,
                edges,
                here,
                j,
                before,
                after,
                count,
                width,
                mask,
                HAS_CUTS,
                ENDS,
                WIDE,
                RUN,
            )
    return spread


@triton.jit
def _difference(
    x,
    value,
    edges,
    here,
    j,
    before,
    after,
    count,
    width,
    mask,
    HAS_CUTS: tl.constexpr,
    ENDS: tl.constexpr,
    WIDE: tl.constexpr,
    RUN: tl.constexpr,
):
    """Return the second difference of x, which is `value` here in row j, along one axis.

    Where `before` and `after` are not negative, the neighbour stands there in `edges`.
    """
    around = (count - 1) * width
    is_inside = j > 0
    place = tl.where(is_inside, here - width, here + around if ENDS == 1 else here)
    is_there = mask & is_inside if ENDS == 2 else mask
    total = _read(x, edges, place, before, is_there, HAS_CUTS, RUN).to(WIDE)
    is_inside = j + 1 < count
    place = tl.where(is_inside, here + width, here - around if ENDS == 1 else here)
    is_there = mask & is_inside if ENDS == 2 else mask
    total += _read(x, edges, place, after, is_there, HAS_CUTS, RUN).to(WIDE)
    return total - 2 * value


@triton.jit
def _read(x, edges, place, edge, mask, HAS_CUTS: tl.constexpr, RUN: tl.constexpr):
    """Return runs of x, or of `edges` where `edge` says where, which other programs may write."""
    lane = tl.arange(0, RUN)[None, :]
    is_near = mask & (edge < 0) if HAS_CUTS else mask
    value = tl.load(x + RUN * place + lane, mask=is_near, other=0.0)
    if HAS_CUTS:
        is_cut = edge >= 0
        far = tl.load(edges + RUN * edge + lane, mask=mask & is_cut, other=0.0)
        value = tl.where(is_cut, far, value)
    return value


@triton.jit
def _memory(row, column, DTYPE: tl.constexpr, RUN: tl.constexpr):
    """Return where p, g or v begins."""
    memory = tl.load(row + column).to(tl.pointer_type(DTYPE))
    if RUN > 1:
        memory = tl.multiple_of(memory, 16)
    return memory


@triton.jit
def _number(row, which, WIDE: tl.constexpr):
    return tl.load(row + _FIRST_NUMBER + which).to(tl.float64, bitcast=True).to(WIDE)
