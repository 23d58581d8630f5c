"""The step of `DiffusionSGD` on a GPU, in one launch for all tensors of a chain.

20 bytes a parameter in float32 with momentum: read g, read and write p and v; the neighbours of
an element are in the nearest cache. Tensors are cut into blocks, one program each. Programs run in
any order, so with weight decay, where a block's neighbours in the chain change, what it needs of
them is gathered first, by a launch of its own; for clipping there are two more.

The kernels share two tables:

- `blocks`: tensor, and number within it, of each block, int32.
- `tensors`: 16 columns for each tensor, int64. Addresses of p, g and v, number of elements, the
  tensors left and right in the chain (-1 at an end). From `NUMBERS` on, the bits of float64
  numbers: lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign, whether there is
  momentum, bound of the norm.

`DTYPE` is the tensors' type, `WIDE` the one that is computed in, and `DIRICHLET` says whether what
lies beyond an end of the chain is zero. Where tensors are parts of longer ones, what lies left and
right of them stands in `beside`, decayed, at places that the table gives instead of tensors.
"""

import triton
import triton.language as tl

__all__ = [
    "BLOCK",
    "LANES",
    "NUMBERS",
    "gather_borders",
    "norm_scale",
    "square_norms",
    "step_blocks",
]

BLOCK = 2048
LANES = 1024  # of a program that gathers or sums
NUMBERS = 6
_FIRST_NUMBER = tl.constexpr(NUMBERS)


@triton.jit
def gather_borders(
    blocks,
    tensors,
    beside,
    borders,
    num_blocks,
    DIRICHLET: tl.constexpr,
    HAS_BESIDE: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """Fill `borders` with the decayed gradient left and right of each block."""
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    mask = lane < 2 * num_blocks
    block = tl.where(mask, lane // 2, 0)
    value = _border(
        blocks, tensors, block, lane % 2, beside, DIRICHLET, HAS_BESIDE, DTYPE, WIDE, BLOCK
    )
    tl.store(borders + lane, value, mask=mask)


@triton.jit
def square_norms(
    blocks,
    tensors,
    borders,
    squares,
    DECAYS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fill `squares` with the squared norm, in float64, of each block's diffused gradient."""
    block = tl.program_id(0)
    row = tensors + 16 * tl.load(blocks + 2 * block)
    start = tl.load(blocks + 2 * block + 1).to(tl.int64) * BLOCK
    left, right = tl.load(borders + 2 * block), tl.load(borders + 2 * block + 1)
    if _is_aligned(row):
        total = _square_norm(row, start, left, right, DECAYS, DTYPE, WIDE, BLOCK, 4)
    else:
        total = _square_norm(row, start, left, right, DECAYS, DTYPE, WIDE, BLOCK, 1)
    tl.store(squares + block, total.to(tl.float64))


@triton.jit
def norm_scale(squares, tensors, scale, num_blocks, LANES: tl.constexpr):
    """Put the factor of clipping, Eq. (R.7), into `scale`; always summed in one order."""
    total = tl.zeros([LANES], tl.float64)
    for first in range(0, num_blocks, LANES):
        lane = first + tl.arange(0, LANES)
        total += tl.load(squares + lane, mask=lane < num_blocks, other=0.0)
    norm = tl.sqrt(tl.sum(total))
    bound = _number(tensors, 8, tl.float64)
    tl.store(scale, tl.where(norm <= bound, 1.0, bound / norm))


@triton.jit
def step_blocks(
    blocks,
    tensors,
    beside,
    borders,
    scale,
    DECAYS: tl.constexpr,
    CLIPS: tl.constexpr,
    DIRICHLET: tl.constexpr,
    HAS_BESIDE: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Step all blocks: decay, diffuse, clip, heavy ball.

    `borders` is read where something decays or is clipped, `scale` where it is clipped.
    """
    block = tl.program_id(0)
    row = tensors + 16 * tl.load(blocks + 2 * block)
    start = tl.load(blocks + 2 * block + 1).to(tl.int64) * BLOCK
    if DECAYS or CLIPS:
        left, right = tl.load(borders + 2 * block), tl.load(borders + 2 * block + 1)
    else:
        left = _border(blocks, tensors, block, 0, beside, DIRICHLET, HAS_BESIDE, DTYPE, WIDE, BLOCK)
        right = _border(
            blocks, tensors, block, 1, beside, DIRICHLET, HAS_BESIDE, DTYPE, WIDE, BLOCK
        )
    factor = tl.load(scale).to(WIDE) if CLIPS else 1.0
    if _is_aligned(row):
        _step(row, start, left, right, factor, DECAYS, DTYPE, WIDE, BLOCK, 4)
    else:
        _step(row, start, left, right, factor, DECAYS, DTYPE, WIDE, BLOCK, 1)


@triton.jit
def _step(
    row,
    start,
    left,
    right,
    factor,
    DECAYS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    RUN: tl.constexpr,
):
    """Step one block by Eqs. (R.1), (R.2), (R.7) and (R.8), in runs of `RUN` elements."""
    has_momentum = _number(row, 7, WIDE) != 0
    momentum, fresh = _number(row, 1, WIDE), tl.where(has_momentum, _number(row, 2, WIDE), 1.0)
    run, place = _places(BLOCK, RUN)
    size = tl.load(row + 3) - start
    mask, moves = run < size, run < tl.where(has_momentum, size, 0)
    p = _memory(row, 0, start, DTYPE, RUN)
    v = _memory(row, 2, start, DTYPE, RUN)
    old = tl.load(v + place, mask=moves, other=0.0).to(WIDE)
    d = factor * _diffused(row, start, left, right, DECAYS, DTYPE, WIDE, BLOCK, RUN)
    here = tl.load(p + place, mask=mask, other=0.0).to(WIDE)
    if DECAYS:
        tl.debug_barrier()  # neighbours' old p has been read: now it may change
    velocity = (momentum * old + fresh * d).to(DTYPE)
    tl.store(v + place, velocity, mask=moves)
    velocity = velocity.to(WIDE)  # as stored: half types are rounded
    direction = velocity
    if _number(row, 3, WIDE) != 0:
        direction = d + momentum * velocity
    tl.store(p + place, (here - _number(row, 0, WIDE) * direction).to(DTYPE), mask=mask)


@triton.jit
def _square_norm(
    row,
    start,
    left,
    right,
    DECAYS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    RUN: tl.constexpr,
):
    run, _ = _places(BLOCK, RUN)
    d = _diffused(row, start, left, right, DECAYS, DTYPE, WIDE, BLOCK, RUN)
    return tl.sum(tl.where(run < tl.load(row + 3) - start, d * d, 0.0))


@triton.jit
def _diffused(
    row,
    start,
    left,
    right,
    DECAYS: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    RUN: tl.constexpr,
):
    """Return the diffused gradient of a block whose neighbours are `left` and `right`."""
    run, place = _places(BLOCK, RUN)
    size = tl.load(row + 3) - start
    mask = run < size
    p = _memory(row, 0, start, DTYPE, RUN)
    g = _memory(row, 1, start, DTYPE, RUN)
    lam = _number(row, 4, WIDE)
    here = _decayed(row, p, g, place, mask, DECAYS, WIDE)
    is_inside = mask & (place > 0)
    before = _decayed(row, p, g, place - 1, is_inside, DECAYS, WIDE)
    before = tl.where(is_inside, before, left)
    is_inside = mask & (place + 1 < tl.minimum(size, BLOCK))
    after = _decayed(row, p, g, place + 1, is_inside, DECAYS, WIDE)
    after = tl.where(is_inside, after, right)
    return (1 - lam - lam) * here + lam * (before + after)


@triton.jit
def _decayed(row, p, g, place, mask, DECAYS: tl.constexpr, WIDE: tl.constexpr):
    """Return the decayed gradient, Eq. (R.1)."""
    d = _number(row, 6, WIDE) * tl.load(g + place, mask=mask, other=0.0).to(WIDE)
    if DECAYS:
        decay = _number(row, 5, WIDE)
        decayed = d + decay * tl.load(p + place, mask=mask, other=0.0).to(WIDE)
        d = tl.where(decay != 0, decayed, d)
    return d


@triton.jit
def _border(
    blocks,
    tensors,
    block,
    side,
    beside,
    DIRICHLET: tl.constexpr,
    HAS_BESIDE: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Return the decayed gradient left (side 0) or right (side 1) of a block, or of many."""
    row = tensors + 16 * tl.load(blocks + 2 * block)
    start = tl.load(blocks + 2 * block + 1).to(tl.int64) * BLOCK
    size = tl.load(row + 3)
    place = tl.where(side == 0, start - 1, start + BLOCK)
    is_inside = (place >= 0) & (place < size)
    other = tl.load(row + 4 + side)
    is_end = is_inside == 0
    if not HAS_BESIDE:
        is_end = is_end & (other < 0)
    owner = tl.where(is_inside | is_end, row, tensors + 16 * other)
    # Beyond an end: a copy of the edge. In another tensor: the side that faces this one.
    faces_left = (side == 0) == is_end
    far = tl.where(faces_left, 0, tl.load(owner + 3) - 1)
    place = tl.where(is_inside, place, far)
    g = tl.load(owner + 1).to(tl.pointer_type(DTYPE))
    p = tl.load(owner).to(tl.pointer_type(DTYPE))
    value = _number(owner, 6, WIDE) * tl.load(g + place).to(WIDE)
    decay = _number(owner, 5, WIDE)
    value = tl.where(decay != 0, value + decay * tl.load(p + place).to(WIDE), value)
    if HAS_BESIDE:
        value = tl.where(is_end, tl.load(beside + other).to(WIDE), value)
    elif DIRICHLET:
        value = tl.where(is_end, 0.0, value)
    return value


@triton.jit
def _places(BLOCK: tl.constexpr, RUN: tl.constexpr):
    """Return the places in a block where runs begin, and all places, one row per run."""
    run = RUN * tl.arange(0, BLOCK // RUN)[:, None]
    return run, run + tl.arange(0, RUN)[None, :]


@triton.jit
def _memory(row, column, start, DTYPE: tl.constexpr, RUN: tl.constexpr):
    """Return where a block of p, g or v begins."""
    memory = tl.load(row + column).to(tl.pointer_type(DTYPE))
    if RUN > 1:
        memory = tl.multiple_of(memory, 16)
    return memory + start


@triton.jit
def _is_aligned(row):
    """Whether a tensor may be read and written four elements at a time."""
    addresses = tl.load(row) | tl.load(row + 1) | tl.load(row + 2)
    return (addresses % 16 == 0) & (tl.load(row + 3) % 4 == 0)


@triton.jit
def _number(row, which, WIDE: tl.constexpr):
    return tl.load(row + _FIRST_NUMBER + which).to(tl.float64, bitcast=True).to(WIDE)
