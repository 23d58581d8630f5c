"""The step of `DiffusionSGD` in one pass over memory, for all tensors of a chain.

20 bytes a parameter in float32 with momentum: read g, read and write p and v; the neighbours of
an element are in cache. Tensors are cut into blocks that may be stepped in any order. With weight
decay a block's neighbours in the chain change while it is stepped, so what it needs of them is
gathered first.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from heatgrad.optim.kernels.addresses import as_pointer, take_turn

__all__ = ["BLOCK", "gather_borders", "square_norms", "step_blocks"]

BLOCK = 32768
_PIECE = 4096  # elements whose decayed gradient is kept in the nearest cache
_LINE = 16  # elements
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},  # fused multiply-add; NaN and infinity stay what they are
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(**_OPTIONS)
def gather_borders(table, blocks, chain, like, coefficients, ends, borders):  # type: ignore[no-untyped-def]
    """Fill `borders` with the decayed gradient left and right of each block.

    Args:
        table: Addresses of p, g, v and the number of elements, one row per tensor, int64.
        blocks: Tensor, first and last element of each block, int64.
        chain: The tensors left and right of each tensor, -1 at an end, int64.
        like: An empty array of the tensors' type.
        coefficients: As in `step_blocks`.
        ends: Whether what lies beyond an end of the chain is zero.
        borders: Where the two values of each block go.
    """
    for b in range(blocks.shape[0]):
        for side in range(2):
            borders[b, side] = _border(table, blocks, chain, like, coefficients, ends, b, side)


@njit(**_OPTIONS)
def step_blocks(
    table, blocks, chain, like, coefficients, ends, borders, scale, num_blocks, run, turns, _
):  # type: ignore[no-untyped-def]
    """Step runs of blocks, for as long as there are turns: decay, diffuse, scale, heavy ball.

    Args:
        table: As in `gather_borders`.
        blocks: As in `gather_borders`.
        chain: As in `gather_borders`.
        like: As in `gather_borders`.
        coefficients: lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign and
            whether there is momentum, one row per tensor.
        ends: As in `gather_borders`.
        borders: As `gather_borders` has filled it; empty where no tensor decays.
        scale: The factor of clipping, 1 for none.
        num_blocks: Number of blocks.
        run: Blocks of a turn.
        turns: Address of the number of turns taken.
    """
    first = run * take_turn(turns)
    while first < num_blocks:
        last = min(first + run, num_blocks)
        _step_run(table, blocks, chain, like, coefficients, ends, borders, scale, first, last)
        first = run * take_turn(turns)


@njit(**_OPTIONS)
def _step_run(table, blocks, chain, like, coefficients, ends, borders, scale, first, last):  # type: ignore[no-untyped-def]
    one = like.dtype.type(1)
    source = np.empty(_PIECE, like.dtype)
    for b in range(first, last):
        k, start, n = blocks[b, 0], blocks[b, 1], blocks[b, 2] - blocks[b, 1]
        size = like.itemsize * start
        p = carray(as_pointer(table[k, 0] + size), n, like.dtype)
        g = carray(as_pointer(table[k, 1] + size), n, like.dtype)
        v = carray(as_pointer(table[k, 2] + size), n, like.dtype)
        lr, momentum, fresh = coefficients[k, 0], coefficients[k, 1], coefficients[k, 2]
        lam, decay, sign = coefficients[k, 4], coefficients[k, 5], coefficients[k, 6]
        kind = 0 if coefficients[k, 7] == 0 else 2 if coefficients[k, 3] != 0 else 1
        own, near = scale * (one - lam - lam), scale * lam  # all in the tensors' own type
        is_copied = decay != 0 or sign != 1
        if borders.shape[0] > 0:
            left, end = borders[b, 0], borders[b, 1]
        else:
            left = _border(table, blocks, chain, like, coefficients, ends, b, 0)
            end = _border(table, blocks, chain, like, coefficients, ends, b, 1)
        low = 0
        while low < n:
            high = min(n, low + _PIECE) if is_copied else n
            d = g[low:high]
            right = end
            if high < n:
                right = _decayed(g[high], p[high], sign, decay)
            if is_copied:
                _decay(d, p[low:high], sign, decay, source)
                d = source[: high - low]
            leaving = d[high - low - 1]
            _step(p[low:high], v[low:high], d, left, right, own, near, kind, lr, momentum, fresh)
            left = leaving
            low = high


@njit(**_OPTIONS)
def square_norms(
    table, blocks, chain, like, coefficients, ends, squares, num_blocks, run, turns, _
):  # type: ignore[no-untyped-def]
    """Fill `squares` with the squared norm, in float64, of each block's diffused gradient.

    The arguments are those of `step_blocks`.
    """
    first = run * take_turn(turns)
    while first < num_blocks:
        last = min(first + run, num_blocks)
        _square_run(table, blocks, chain, like, coefficients, ends, squares, first, last)
        first = run * take_turn(turns)


@njit(**_OPTIONS)
def _square_run(table, blocks, chain, like, coefficients, ends, squares, first, last):  # type: ignore[no-untyped-def]
    one = like.dtype.type(1)
    source = np.empty(_PIECE, like.dtype)
    for b in range(first, last):
        k, start, n = blocks[b, 0], blocks[b, 1], blocks[b, 2] - blocks[b, 1]
        size = like.itemsize * start
        p = carray(as_pointer(table[k, 0] + size), n, like.dtype)
        g = carray(as_pointer(table[k, 1] + size), n, like.dtype)
        lam, decay, sign = coefficients[k, 4], coefficients[k, 5], coefficients[k, 6]
        own, near = one - lam - lam, lam
        is_copied = decay != 0 or sign != 1
        left = _border(table, blocks, chain, like, coefficients, ends, b, 0)
        end = _border(table, blocks, chain, like, coefficients, ends, b, 1)
        total = 0.0
        low = 0
        while low < n:
            high = min(n, low + _PIECE)
            right = end if high == n else _decayed(g[high], p[high], sign, decay)
            d = g[low:high]
            if is_copied:
                _decay(d, p[low:high], sign, decay, source)
                d = source[: high - low]
            total += _square(d, left, right, own, near)
            left = d[high - low - 1]
            low = high
        squares[b] = total


@njit(**_OPTIONS)
def _border(table, blocks, chain, like, coefficients, ends, b, side):  # type: ignore[no-untyped-def]
    """Return the decayed gradient left (side 0) or right (side 1) of a block."""
    k = blocks[b, 0]
    owner = k
    place = blocks[b, 1] - 1 if side == 0 else blocks[b, 2]
    if place < 0 or place >= table[k, 3]:
        owner = chain[k, side]
        if owner >= 0:
            place = table[owner, 3] - 1 if side == 0 else 0
        elif ends:
            return like.dtype.type(0)
        else:  # a copy of the edge
            owner = k
            place = blocks[b, 1] if side == 0 else blocks[b, 2] - 1
    g = carray(as_pointer(table[owner, 1]), table[owner, 3], like.dtype)
    value = coefficients[owner, 6] * g[place]
    if coefficients[owner, 5] != 0:
        p = carray(as_pointer(table[owner, 0]), table[owner, 3], like.dtype)
        value += coefficients[owner, 5] * p[place]
    return value


@njit(**_OPTIONS)
def _decay(g, p, sign, decay, d):  # type: ignore[no-untyped-def]
    """Eq. (R.1); without decay an infinite parameter is not looked at."""
    if decay == 0:
        for i in range(g.size):
            d[i] = sign * g[i]
    else:
        for i in range(g.size):
            d[i] = sign * g[i] + decay * p[i]


@njit(**_OPTIONS)
def _decayed(g, p, sign, decay):  # type: ignore[no-untyped-def]
    return sign * g + decay * p if decay != 0 else sign * g


@njit(**_OPTIONS)
def _step(p, v, d, left, right, own, near, kind, lr, momentum, fresh):  # type: ignore[no-untyped-def]
    """Step one piece, whose neighbours in the chain are `left` and `right`."""
    n = d.size
    tail = own * d[n - 1] + near * ((d[n - 2] if n > 1 else left) + right)
    _end(p, v, 0, own * d[0] + near * (left + d[1]) if n > 1 else tail, kind, lr, momentum, fresh)
    # Two parts, so that the long one begins on a cache line: split stores are slow.
    for part in range(2):
        low = 1 if part == 0 else _LINE
        high = min(n - 1, _LINE) if part == 0 else n - 1
        if low < high:
            ps, vs = p[low:high], v[low:high]
            before, here, after = d[low - 1 : high - 1], d[low:high], d[low + 1 : high + 1]
            if kind == 1:
                _heavy_ball(ps, vs, before, here, after, own, near, lr, momentum, fresh)
            elif kind == 2:
                _nesterov(ps, vs, before, here, after, own, near, lr, momentum, fresh)
            else:
                _descend(ps, before, here, after, own, near, lr)
    if n > 1:
        _end(p, v, n - 1, tail, kind, lr, momentum, fresh)


@njit(**_OPTIONS)
def _end(p, v, i, d, kind, lr, momentum, fresh):  # type: ignore[no-untyped-def]
    """Step one element along d."""
    if kind == 0:
        p[i] -= lr * d
        return
    velocity = momentum * v[i] + fresh * d
    v[i] = velocity
    p[i] -= lr * (d + momentum * velocity if kind == 2 else velocity)


@njit(**_OPTIONS)
def _heavy_ball(p, v, before, here, after, own, near, lr, momentum, fresh):  # type: ignore[no-untyped-def]
    """Eqs. (R.2), (R.7) and (R.8)."""
    for i in range(p.size):
        d = own * here[i] + near * (before[i] + after[i])
        velocity = momentum * v[i] + fresh * d
        v[i] = velocity
        p[i] -= lr * velocity


@njit(**_OPTIONS)
def _nesterov(p, v, before, here, after, own, near, lr, momentum, fresh):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        d = own * here[i] + near * (before[i] + after[i])
        velocity = momentum * v[i] + fresh * d
        v[i] = velocity
        p[i] -= lr * (d + momentum * velocity)


@njit(**_OPTIONS)
def _descend(p, before, here, after, own, near, lr):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i] -= lr * (own * here[i] + near * (before[i] + after[i]))


@njit(**_OPTIONS | {"fastmath": {"contract", "reassoc"}})  # else the sum is one long chain
def _square(d, left, right, own, near):  # type: ignore[no-untyped-def]
    n = d.size
    value = np.float64(own * d[n - 1] + near * ((d[n - 2] if n > 1 else left) + right))
    total = value * value
    if n > 1:
        value = np.float64(own * d[0] + near * (left + d[1]))
        total += value * value
    before, here, after = d[: n - 2], d[1 : n - 1], d[2:]
    for i in range(n - 2):
        value = np.float64(own * here[i] + near * (before[i] + after[i]))
        total += value * value
    return total
