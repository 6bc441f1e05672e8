"""The fixed matrices of BM3D: block transforms, the Haar transform along a group, the Kaiser window."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Analysis filters of the biorthogonal spline wavelet 1.5 (Cohen, Daubechies and Feauveau 1992), times sqrt 2.
_LOW_PASS = np.array([3, -3, -22, 22, 128, 128, 22, -22, -3, 3]) / 128
_HIGH_PASS = np.array([0, 0, 0, 0, -1, 1, 0, 0, 0, 0])


@lru_cache
def dct(n: int) -> Matrix:
    """Orthonormal DCT-II, (n, n): row k is the k-th basis function."""
    k, x = np.mgrid[:n, :n]
    matrix = np.sqrt(2 / n) * np.cos(np.pi * (2 * x + 1) * k / (2 * n))
    matrix[0] /= np.sqrt(2)
    return matrix


@lru_cache
def haar(n: int) -> Matrix:
    """Orthonormal Haar transform of n = 2^k values, (n, n): row 0 is the mean, then details coarse to fine."""
    if n == 1:
        return np.ones((1, 1))
    half = haar(n // 2)
    means = np.kron(half, [1, 1])
    details = np.kron(np.eye(n // 2), [1, -1])
    return np.concatenate([means, details]) / np.sqrt(2)


@lru_cache
def bior15(n: int) -> Matrix:
    """Periodic wavelet transform bior1.5 of n = 2^k values over all scales, (n, n), rows of unit length.

    Not orthogonal: undo it with its inverse. Row 0 is the mean, so that a flat block has one coefficient.
    """
    matrix: Matrix = np.eye(n)
    length = n
    while length > 1:
        level = np.zeros((length, length))
        for k in range(length // 2):
            for tap in range(10):
                x = (2 * k + tap - 4) % length
                level[k, x] += _LOW_PASS[tap]
                level[length // 2 + k, x] += _HIGH_PASS[tap]
        matrix[:length] = level @ matrix[:length]
        length //= 2
    matrix /= np.sqrt((matrix**2).sum(axis=1, keepdims=True))
    return matrix


def separable(matrix: Matrix) -> Matrix:
    """The same transform on both axes of a block, for blocks as rows-first vectors: (n * n, n * n)."""
    return np.asarray(np.kron(matrix, matrix), dtype=np.float64)


def kaiser(n: int, beta: float) -> Matrix:
    """The two-dimensional Kaiser window, (n, n), that lets the middle of a block count more than its border."""
    window = np.kaiser(n, beta)
    return np.outer(window, window)
