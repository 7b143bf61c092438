"""Counter-based random numbers: element i of a stream depends on the stream's key and on i alone.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and Box-Muller in
float64. Written here since no library promises its stream for ever: `numpy.random` and `torch.randn` may change theirs
between releases and devices, and a direction has to be the same on each worker and in ten years.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ROUNDS = 10
# Working sets of this many counters stay in a core's cache.
_COUNTERS_AT_ONCE = 1 << 14


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds of Philox4x32 on `counter` (4, n), each entry below 2³² in uint64; returns the same shape."""
    words = np.array(counter, dtype=np.uint64)
    _mix(words, np.empty((2, words.shape[1]), dtype=np.uint64), key)
    return words


def _mix(words: np.ndarray, products: np.ndarray, key: tuple[int, int]) -> None:
    """Turns the counters in `words` (4, n) into random bits; `products` (2, n) is room to work in."""
    x0, x1, x2, x3 = words
    product_0, product_1 = products
    key_0, key_1 = key
    for _ in range(_ROUNDS):
        np.multiply(x0, _MULTIPLIER_0, out=product_0)
        np.multiply(x2, _MULTIPLIER_1, out=product_1)
        np.right_shift(product_1, _SHIFT, out=x0)
        x0 ^= x1
        x0 ^= np.uint64(key_0)
        np.bitwise_and(product_1, _LOW, out=x1)
        np.right_shift(product_0, _SHIFT, out=x2)
        x2 ^= x3
        x2 ^= np.uint64(key_1)
        np.bitwise_and(product_0, _LOW, out=x3)
        key_0 = (key_0 + _WEYL_0) & 0xFFFFFFFF
        key_1 = (key_1 + _WEYL_1) & 0xFFFFFFFF


def standard_normal(stream: str, start: int, count: int) -> np.ndarray:
    """Elements `start` to `start + count` of the stream, shape (count,), float64, each N(0, 1).

    Element i is entry i mod 4 of the block of counter ⌊i/4⌋; key and upper half of the counter are the first 16 bytes
    of SHA-256 of the stream's name in UTF-8.
    """
    first, last = start // 4, -(-(start + count) // 4)
    blocks = np.empty((last - first, 4))
    uniform = np.empty((4, min(_COUNTERS_AT_ONCE, max(1, last - first))))
    for low, high, bits in _blocks(stream, first, last):
        _box_muller(bits, uniform[:, : high - low], blocks[low - first : high - first])
    offset = start - 4 * first
    return blocks.reshape(-1)[offset : offset + count]


def random_order(stream: str, count: int) -> np.ndarray:
    """A permutation of the numbers below `count`, shape (count,), int64: their order by random numbers of 64 bits.

    Number i of the stream is made of words 2·(i mod 2) (its upper half) and 2·(i mod 2) + 1 of the block of counter
    ⌊i/2⌋, with the key and counters of `standard_normal`.
    """
    last = -(-count // 2)
    numbers = np.empty((last, 2), dtype=np.uint64)
    for low, high, bits in _blocks(stream, 0, last):
        numbers[low:high] = ((bits[0::2] << _SHIFT) | bits[1::2]).T
    return np.argsort(numbers.reshape(-1)[:count], kind="stable")


def _blocks(stream: str, first: int, last: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """The blocks of counters `first` to `last`, so many at a time: (from, to, words of shape (4, to - from)).

    The words are good until the next are asked for: they lie in arrays that are made once, since fresh ones of this
    size cost more in page faults than the arithmetic.
    """
    words = np.frombuffer(hashlib.sha256(stream.encode("utf-8")).digest()[:16], dtype="<u4")
    key = (int(words[0]), int(words[1]))
    size = min(_COUNTERS_AT_ONCE, max(1, last - first))
    bits, products = np.empty((4, size), dtype=np.uint64), np.empty((2, size), dtype=np.uint64)
    for low in range(first, last, _COUNTERS_AT_ONCE):
        high = min(low + _COUNTERS_AT_ONCE, last)
        counter = bits[:, : high - low]
        counter[0] = np.arange(low, high, dtype=np.uint64)
        np.right_shift(counter[0], _SHIFT, out=counter[1])
        counter[0] &= _LOW
        counter[2:] = words[2:, None]
        _mix(counter, products[:, : high - low], key)
        yield low, high, counter


def _box_muller(bits: np.ndarray, uniform: np.ndarray, normals: np.ndarray) -> None:
    """(4, n) integers below 2³² to (n, 4) normals; the half keeps the logarithm's argument above zero.

    `uniform` (4, n) is room to work in.
    """
    np.add(bits, 0.5, out=uniform)
    uniform *= 2.0**-32
    radius, angle = uniform[0::2], uniform[1::2]
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle *= 2.0 * np.pi
    np.multiply(radius, np.cos(angle), out=normals.T[0::2])
    np.multiply(radius, np.sin(angle, out=angle), out=normals.T[1::2])
