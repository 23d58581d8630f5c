"""The step of `DiffusionNesterov` in one pass over memory, for all tensors of a group.

20 bytes a parameter in float32: read g, read and write p and v. The velocity is diffused in
place: a row's new velocity needs the old one of the row before, which is kept in cache, and the
parameters of a row are stepped when the new velocities of both its neighbours are there.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from heatgrad.optim.kernels.addresses import as_pointer, take_turn

__all__ = ["COLUMNS", "LINES", "LONGEST_SLAB", "PLAIN", "ROWS", "SLABS", "WIDE", "step_blocks"]

# What is done with a block of a tensor.
PLAIN, ROWS, LINES, SLABS = 0, 1, 2, 3
COLUMNS = 6144  # of a row that are stepped together: a few rows of p, g and v stay in cache
WIDE = 1024  # elements of a row that is worth stepping alone
_PIECE = 4096  # elements of narrower rows that are stepped together
LONGEST_SLAB = 1 << 14
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},  # fused multiply-add; NaN and infinity stay what they are
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(**_OPTIONS)
def step_blocks(table, axes, blocks, like, coefficients, ends, num_blocks, run, turns, _):  # type: ignore[no-untyped-def]
    """Step runs of blocks, for as long as there are turns. Eqs. (V.6), (V.7).

    Args:
        table: Addresses of p, g, v and the number of elements, one row per tensor, int64.
        axes: Sizes and strides, alternating, of each tensor's diffused axes, 0 where there are
            no more, int64.
        blocks: Kind, tensor, and three numbers of each block, int64. `PLAIN`: first and last
            element. `ROWS`, one axis: first element of the lines, first and last column. `LINES`,
            one axis with narrow rows: elements of a line of rows, first and last line. `SLABS`:
            elements of a slab (everything from the first diffused axis on), first and last slab.
        like: An empty array of the tensors' type.
        coefficients: lr, momentum, beta, weight decay and sign, one row per tensor.
        ends: 0 for Neumann ends, 1 for periodic ones, 2 for Dirichlet.
        num_blocks: Number of blocks.
        run: Blocks of a turn.
        turns: Address of the number of turns taken.
    """
    first = run * take_turn(turns)
    while first < num_blocks:
        last = min(first + run, num_blocks)
        _step_run(table, axes, blocks, like, coefficients, ends, first, last)
        first = run * take_turn(turns)


@njit(**_OPTIONS)
def _step_run(table, axes, blocks, like, coefficients, ends, first, last):  # type: ignore[no-untyped-def]
    kept = np.empty((3, COLUMNS), like.dtype)
    window = np.empty(_PIECE + 2 * WIDE, like.dtype)
    old = np.empty(LONGEST_SLAB, like.dtype)
    spread = np.empty(LONGEST_SLAB, like.dtype)
    for b in range(first, last):
        k = blocks[b, 1]
        n = table[k, 3]
        p = carray(as_pointer(table[k, 0]), n, like.dtype)
        g = carray(as_pointer(table[k, 1]), n, like.dtype)
        v = carray(as_pointer(table[k, 2]), n, like.dtype)
        c = coefficients[k]
        x, y, z = blocks[b, 2], blocks[b, 3], blocks[b, 4]
        if blocks[b, 0] == PLAIN:
            _plain(p[x:y], g[x:y], v[x:y], c[0], c[1], c[3], c[4])
        elif blocks[b, 0] == ROWS:
            count, width = axes[k, 0], axes[k, 1]
            _rows(p, g, v, x, count, width, y, z, c, ends, kept)
        elif blocks[b, 0] == LINES:
            count, width = axes[k, 0], axes[k, 1]
            for line in range(y, z):
                low, high = line * x, line * x + x
                _line_of_rows(
                    p[low:high], g[low:high], v[low:high], count, width, c, ends, kept, window
                )
        else:
            for slab in range(y, z):
                low, high = slab * x, slab * x + x
                _slab(p[low:high], g[low:high], v[low:high], axes[k], c, ends, old[:x], spread[:x])


@njit(**_OPTIONS)
def _plain(p, g, v, lr, momentum, decay, sign):  # type: ignore[no-untyped-def]
    if decay != 0:
        for i in range(p.size):
            d = sign * g[i] + decay * p[i]
            velocity = momentum * v[i] + d
            v[i] = velocity
            p[i] -= lr * (d + momentum * velocity)
    else:  # an infinite parameter is not looked at
        for i in range(p.size):
            d = sign * g[i]
            velocity = momentum * v[i] + d
            v[i] = velocity
            p[i] -= lr * (d + momentum * velocity)


@njit(**_OPTIONS)
def _rows(p, g, v, base, count, width, low, high, c, ends, kept):  # type: ignore[no-untyped-def]
    """Step the columns `low` to `high` of the rows of one line of cells, row by row."""
    m = high - low
    # Old velocities: of the row before, and of the first and last row, for the ends.
    before, top, bottom = kept[0, :m], kept[1, :m], kept[2, :m]
    start = base + low
    end = start + (count - 1) * width
    _copy(v[start : start + m], top)
    _copy(v[end : end + m], bottom)
    if ends == 0:
        _copy(top, before)
    elif ends == 1:
        _copy(bottom, before)
    else:
        _zero(before)
    for j in range(count):
        s = start + j * width
        here = v[s : s + m]
        if j + 1 < count:
            after = v[s + width : s + width + m]
        elif ends == 0:
            after = bottom
        elif ends == 1:
            after = top
        else:
            _zero(bottom)
            after = bottom
        if j == 0 or (j == 1 and ends == 1):  # a first row of periodic ends waits for the last
            _velocity(p[s : s + m], g[s : s + m], here, before, after, c[1], c[2], c[3], c[4])
            continue
        a = s - width
        above = v[a : a + m]  # a copy of the edge
        if j > 1:
            above = v[a - width : a - width + m]
        elif ends == 2:
            _zero(top)
            above = top
        _velocity_and_descend(
            p[s : s + m],
            g[s : s + m],
            here,
            before,
            after,
            p[a : a + m],
            g[a : a + m],
            v[a : a + m],
            above,
            c[0],
            c[1],
            c[2],
            c[3],
            c[4],
        )
    _descend_row(p, g, v, start, count - 1, count, width, m, c, ends, kept)
    if ends == 1 and count > 1:
        _descend_first(p, g, v, start, count, width, m, c)


@njit(**_OPTIONS)
def _descend_row(p, g, v, start, j, count, width, m, c, ends, kept):  # type: ignore[no-untyped-def]
    """Step the parameters of row j; with periodic ends the first row waits for the last."""
    if ends == 1 and j == 0 and count > 1:
        return
    s = start + j * width
    here = v[s : s + m]
    above = v[s - width : s - width + m] if j > 0 else here
    below = v[s + width : s + width + m] if j + 1 < count else here
    if ends == 1 and j + 1 == count:
        below = v[start : start + m]
        if count == 1:
            above = here
    if ends == 2:
        if j == 0:
            above = kept[1, :m]
            _zero(above)
        if j + 1 == count:
            below = kept[2, :m]
            _zero(below)
    _descend(p[s : s + m], g[s : s + m], here, above, below, c[0], c[1], c[2], c[3], c[4])


@njit(**_OPTIONS)
def _descend_first(p, g, v, start, count, width, m, c):  # type: ignore[no-untyped-def]
    end = start + (count - 1) * width
    _descend(
        p[start : start + m],
        g[start : start + m],
        v[start : start + m],
        v[end : end + m],
        v[start + width : start + width + m],
        c[0],
        c[1],
        c[2],
        c[3],
        c[4],
    )


@njit(**_OPTIONS)
def _velocity(p, g, v, before, after, momentum, beta, decay, sign):  # type: ignore[no-untyped-def]
    """Eq. (V.6); the row's old velocity is left in `before`, for the next row."""
    own = momentum - beta - beta
    if decay != 0:
        for i in range(v.size):
            old = v[i]
            v[i] = sign * g[i] + decay * p[i] + own * old + beta * (before[i] + after[i])
            before[i] = old
    else:
        for i in range(v.size):
            old = v[i]
            v[i] = sign * g[i] + own * old + beta * (before[i] + after[i])
            before[i] = old


@njit(**_OPTIONS)
def _velocity_and_descend(
    p, g, v, before, after, p_above, g_above, v_above, v_two_above, lr, momentum, beta, decay, sign
):  # type: ignore[no-untyped-def]
    """Eq. (V.6) for a row and, as its velocity is then known, Eq. (V.7) for the row above.

    The row's old velocity is left in `before`, for the next row.
    """
    own = momentum - beta - beta
    if decay != 0:
        for i in range(v.size):
            old = v[i]
            new = sign * g[i] + decay * p[i] + own * old + beta * (before[i] + after[i])
            v[i] = new
            before[i] = old
            d = sign * g_above[i] + decay * p_above[i]
            p_above[i] -= lr * (d + own * v_above[i] + beta * (v_two_above[i] + new))
    else:
        for i in range(v.size):
            old = v[i]
            new = sign * g[i] + own * old + beta * (before[i] + after[i])
            v[i] = new
            before[i] = old
            d = sign * g_above[i] + own * v_above[i] + beta * (v_two_above[i] + new)
            p_above[i] -= lr * d


@njit(**_OPTIONS)
def _descend(p, g, v, before, after, lr, momentum, beta, decay, sign):  # type: ignore[no-untyped-def]
    """Eq. (V.7)."""
    own = momentum - beta - beta
    if decay != 0:
        for i in range(p.size):
            d = sign * g[i] + decay * p[i]
            p[i] -= lr * (d + own * v[i] + beta * (before[i] + after[i]))
    else:
        for i in range(p.size):
            p[i] -= lr * (sign * g[i] + own * v[i] + beta * (before[i] + after[i]))


@njit(**_OPTIONS)
def _line_of_rows(p, g, v, count, width, c, ends, kept, window):  # type: ignore[no-untyped-def]
    """Step one line of rows that are narrower than `WIDE`, many rows at a time.

    The window holds the old velocities of some rows, of the row before them and the row after.
    """
    n = count * width
    lr, momentum, beta, decay, sign = c[0], c[1], c[2], c[3], c[4]
    before, top = kept[0, :width], kept[1, :width]
    _copy(v[:width], top)
    if ends == 0:
        _copy(top, before)
    elif ends == 1:
        _copy(v[n - width :], before)
    else:
        _zero(before)
    piece = max(1, _PIECE // width) * width
    low = 0
    while low < n:
        m = min(piece, n - low)
        _copy(before, window[:width])
        _copy(v[low : low + m], window[width : width + m])
        after = window[width + m : 2 * width + m]
        if low + m < n:
            _copy(v[low + m : low + m + width], after)
        elif ends == 0:
            _copy(window[m : m + width], after)
        elif ends == 1:
            _copy(top, after)
        else:
            _zero(after)
        _copy(window[m : m + width], before)
        _renew(
            p[low : low + m],
            g[low : low + m],
            v[low : low + m],
            window[:m],
            window[width : width + m],
            window[2 * width : 2 * width + m],
            momentum,
            beta,
            decay,
            sign,
        )
        # Rows whose neighbours below are new by now; the first and last have ends.
        start, stop = max(width, low - width), low + m - width
        if start < stop:
            _descend(
                p[start:stop],
                g[start:stop],
                v[start:stop],
                v[start - width : stop - width],
                v[start + width : stop + width],
                lr,
                momentum,
                beta,
                decay,
                sign,
            )
        low += m
    above, below = window[:width], window[width : 2 * width]
    for j in range(0, count, max(1, count - 1)):
        s = j * width
        row = v[s : s + width]
        _end_row(v, row, s - width, j > 0, n - width, ends, above)
        _end_row(v, row, s + width, j + 1 < count, 0, ends, below)
        _descend(
            p[s : s + width], g[s : s + width], row, above, below, lr, momentum, beta, decay, sign
        )


@njit(**_OPTIONS)
def _end_row(v, row, place, is_inside, other_end, ends, out):  # type: ignore[no-untyped-def]
    """Put the row at `place` into `out`, or what stands beyond the end."""
    if is_inside:
        _copy(v[place : place + row.size], out)
    elif ends == 0:
        _copy(row, out)
    elif ends == 1:
        _copy(v[other_end : other_end + row.size], out)
    else:
        _zero(out)


@njit(**_OPTIONS)
def _renew(p, g, v, before, here, after, momentum, beta, decay, sign):  # type: ignore[no-untyped-def]
    """Eq. (V.6), from old velocities that stand elsewhere."""
    own = momentum - beta - beta
    if decay != 0:
        for i in range(v.size):
            d = sign * g[i] + decay * p[i]
            v[i] = d + own * here[i] + beta * (before[i] + after[i])
    else:
        for i in range(v.size):
            v[i] = sign * g[i] + own * here[i] + beta * (before[i] + after[i])


@njit(**_OPTIONS)
def _slab(p, g, v, axes, c, ends, old, spread):  # type: ignore[no-untyped-def]
    """Step everything from the first diffused axis on, which fits into cache."""
    lr, momentum, beta, decay, sign = c[0], c[1], c[2], c[3], c[4]
    _copy(v, old)
    _laplacian(old, axes, ends, spread)
    for i in range(v.size):
        d = sign * g[i] + decay * p[i] if decay != 0 else sign * g[i]
        v[i] = momentum * old[i] + d + beta * spread[i]
    _laplacian(v, axes, ends, spread)
    for i in range(v.size):
        d = sign * g[i] + decay * p[i] if decay != 0 else sign * g[i]
        p[i] -= lr * (d + momentum * v[i] + beta * spread[i])


@njit(**_OPTIONS)
def _laplacian(x, axes, ends, out):  # type: ignore[no-untyped-def]
    """Eq. (L.1) along all axes of a slab."""
    _zero(out)
    for a in range(0, axes.size, 2):
        count, width = axes[a], axes[a + 1]
        if count == 0:
            break
        for base in range(0, x.size, count * width):
            if width == 1:
                _line(x[base : base + count], ends, out[base : base + count])
            else:
                _lines(x[base : base + count * width], count, width, ends, out[base:])


@njit(**_OPTIONS)
def _line(x, ends, out):  # type: ignore[no-untyped-def]
    n = x.size
    left = x[0] if ends == 0 else x[n - 1] if ends == 1 else x[0] - x[0]
    right = x[n - 1] if ends == 0 else x[0] if ends == 1 else x[0] - x[0]
    out[0] += (x[1] if n > 1 else right) - x[0] - x[0] + left
    if n > 1:
        out[n - 1] += right - x[n - 1] - x[n - 1] + x[n - 2]
    if n > 2:
        _add(x[: n - 2], x[1 : n - 1], x[2:], out[1 : n - 1])


@njit(**_OPTIONS)
def _lines(x, count, width, ends, out):  # type: ignore[no-untyped-def]
    if count > 2:
        inner = (count - 2) * width
        _add(x[:inner], x[width : width + inner], x[2 * width :], out[width : width + inner])
    for j in range(0, count, max(1, count - 1)):
        row = x[j * width : (j + 1) * width]
        target = out[j * width : (j + 1) * width]
        above = x[(j - 1) * width : j * width] if j > 0 else row
        below = x[(j + 1) * width : (j + 2) * width] if j + 1 < count else row
        if ends == 1:
            if j == 0:
                above = x[(count - 1) * width : count * width]
            if j + 1 == count:
                below = x[:width]
        _add(above, row, below, target)
        if ends == 2:
            # The copy of the edge stood for the zero beyond it.
            for i in range(width):
                target[i] -= row[i] * ((1 if j == 0 else 0) + (1 if j + 1 == count else 0))


@njit(**_OPTIONS)
def _add(before, here, after, out):  # type: ignore[no-untyped-def]
    for i in range(here.size):
        out[i] += (after[i] - here[i]) - (here[i] - before[i])


@njit(**_OPTIONS)
def _copy(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = x[i]


@njit(**_OPTIONS)
def _zero(out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = 0
