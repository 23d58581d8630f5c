"""Batch normalisation, ReLU and dropout of many replicas in one pass over memory, on a CPU.

Written for one thread: many replicas in several processes use a machine better than one in several
threads.
"""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["backward", "forward"]

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(**_OPTIONS)
def forward(z, gamma, beta, bytes_, source, dropped, eps, y, mean, inv, var):  # type: ignore[no-untyped-def]
    """Fill y with the layer's output, and mean, inv (1 / sd) and var with those of each batch.

    Args:
        z: Inputs, batch * units of each row, shape (replicas, any).
        gamma: Scales, shape (replicas, units).
        beta: Shifts, shape (replicas, units).
        bytes_: Random bytes of each source, shape (sources, batch, units).
        source: The source of each replica.
        dropped: How many of the 256 values of a byte drop an element.
        eps: Added to the variance.
        y: Outputs, as z.
        mean: Shape (replicas, units).
        inv: Shape (replicas, units).
        var: Biased variances, shape (replicas, units).
    """
    one = z.dtype.type(1)
    num_rows, num_units = bytes_.shape[1], bytes_.shape[2]
    share = one / z.dtype.type(num_rows)
    kept = z.dtype.type(256.0 / (256 - dropped))
    zero = z.dtype.type(0)
    for n in range(z.shape[0]):
        m, s, w, b = mean[n], inv[n], gamma[n], beta[n]
        v = var[n]
        m[:] = zero
        for i in range(num_rows):
            row = z[n, i * num_units : (i + 1) * num_units]
            for j in range(num_units):
                m[j] += row[j]
        for j in range(num_units):
            m[j] *= share
        v[:] = zero
        for i in range(num_rows):
            row = z[n, i * num_units : (i + 1) * num_units]
            for j in range(num_units):
                v[j] += (row[j] - m[j]) * (row[j] - m[j])
        for j in range(num_units):
            v[j] *= share
            s[j] = one / np.sqrt(v[j] + eps)
        for i in range(num_rows):
            row = z[n, i * num_units : (i + 1) * num_units]
            out = y[n, i * num_units : (i + 1) * num_units]
            mask = bytes_[source[n], i]
            if dropped == 0:
                for j in range(num_units):
                    value = (row[j] - m[j]) * s[j] * w[j] + b[j]
                    out[j] = zero if value <= zero else value  # NaN stays NaN
            else:
                for j in range(num_units):
                    value = (row[j] - m[j]) * s[j] * w[j] + b[j]
                    value = zero if value <= zero else value
                    out[j] = value * (kept if mask[j] >= dropped else zero)


@njit(**_OPTIONS)
def backward(dy, z, y, num_rows, gamma, mean, inv, dropped, dgamma, dbeta):  # type: ignore[no-untyped-def]
    """Turn dy, the gradient of the outputs, into that of the inputs; fill dgamma and dbeta.

    The arguments are as in `forward`; an output is 0 exactly where nothing flows back.
    """
    one = z.dtype.type(1)
    num_units = gamma.shape[1]
    share = one / z.dtype.type(num_rows)
    kept = z.dtype.type(256.0 / (256 - dropped))
    zero = z.dtype.type(0)
    slope = np.empty(num_units, z.dtype)
    for n in range(z.shape[0]):
        m, s, w = mean[n], inv[n], gamma[n]
        dw, db = dgamma[n], dbeta[n]
        dw[:] = zero
        db[:] = zero
        for i in range(num_rows):
            row = z[n, i * num_units : (i + 1) * num_units]
            grad = dy[n, i * num_units : (i + 1) * num_units]
            out = y[n, i * num_units : (i + 1) * num_units]
            for j in range(num_units):
                g = grad[j] * (kept if out[j] > zero else zero)
                grad[j] = g
                db[j] += g
                dw[j] += g * (row[j] - m[j]) * s[j]
        for j in range(num_units):
            slope[j] = w[j] * s[j]
        for i in range(num_rows):
            row = z[n, i * num_units : (i + 1) * num_units]
            grad = dy[n, i * num_units : (i + 1) * num_units]
            for j in range(num_units):
                normal = (row[j] - m[j]) * s[j]
                grad[j] = slope[j] * (grad[j] - share * (db[j] + normal * dw[j]))
