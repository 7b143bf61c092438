from __future__ import annotations

import zlib

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicer_core.errors import FormatError
from slicer_core.slices.codec import CODECS, decode_array, dtype_name, encode_array

ANY_ARRAY = st.sampled_from(["<f4", "<f8", "<i8", ">f4", ">f8", ">i8"]).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=7))
)


def bits(values: np.ndarray) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


@given(values=ANY_ARRAY, codec=st.sampled_from(CODECS))
def test_every_array_comes_back_bit_by_bit(values, codec):
    blob = encode_array(values, codec)
    again = decode_array(blob, dtype=dtype_name(values), shape=values.shape, codec=codec)
    assert again.shape == values.shape
    assert again.tobytes() == bits(values)


@pytest.mark.parametrize("codec", CODECS)
def test_nan_infinities_and_negative_zero_are_kept(codec):
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324])
    again = decode_array(encode_array(values, codec), dtype="f8", shape=(6,), codec=codec)
    assert again.tobytes() == values.tobytes()
    assert np.signbit(again[3])
    assert not np.signbit(again[4])


def test_a_transposed_view_is_stored_in_its_own_order():
    values = np.arange(6.0).reshape(2, 3).T
    again = decode_array(encode_array(values), dtype="f8", shape=(3, 2), codec="shuffle-zlib")
    np.testing.assert_array_equal(again, values)


def test_regrouping_by_significance_makes_a_rough_surface_smaller():
    x, y = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101), indexing="ij")
    roughness = 1e-3 * np.random.default_rng(0).standard_normal(x.shape)
    surface = ((x - 0.13) ** 2 + 3 * (y + 0.21) ** 2 + roughness).astype(np.float32)
    assert len(encode_array(surface, "shuffle-zlib")) < 0.9 * len(encode_array(surface, "zlib"))


@pytest.mark.parametrize("dtype", ["f2", "i4", "u8", "?", "c16", "O", "U3"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(FormatError, match="float32, float64 or int64"):
        encode_array(np.zeros(2, dtype))


def test_an_unknown_codec_is_refused_both_ways():
    with pytest.raises(FormatError, match="codec 'lzma'"):
        encode_array(np.zeros(2), "lzma")  # pyright: ignore[reportArgumentType]
    with pytest.raises(FormatError, match="codec 'lzma'"):
        decode_array(b"", dtype="f8", shape=(0,), codec="lzma")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1, 1), (1,) * 70, (2**40,), (2**40, 2**40), (0, 10**30)])
def test_a_lying_shape_is_refused(codec, shape):
    blob = encode_array(np.arange(3.0), codec)
    with pytest.raises(FormatError):
        decode_array(blob, dtype="f8", shape=shape, codec=codec)


@pytest.mark.parametrize("shape", [(-3,), (True,), (3.0,), ("3",), (None,), ([3],), tuple([10**4299] * 2)])
def test_a_shape_that_is_no_list_of_sizes_is_refused(shape):
    with pytest.raises(FormatError):
        decode_array(bytes(24), dtype="f8", shape=shape, codec="raw")


@pytest.mark.parametrize("dtype", ["f2", "O", "i4", "<f8", "", "f8,f8"])
def test_a_dtype_outside_the_format_is_not_decoded(dtype):
    with pytest.raises(FormatError, match="dtype"):
        decode_array(bytes(8), dtype=dtype, shape=(1,), codec="raw")


@pytest.mark.parametrize("codec", ["zlib", "shuffle-zlib"])
def test_a_bomb_is_not_inflated_beyond_the_shape(codec):
    bomb = zlib.compress(bytes(200 * 2**20), 9)
    assert len(bomb) < 2**18
    with pytest.raises(FormatError, match="does not end after 80 bytes"):
        decode_array(bomb, dtype="f8", shape=(10,), codec=codec)


@pytest.mark.parametrize("codec", ["zlib", "shuffle-zlib"])
@pytest.mark.parametrize("damage", [lambda blob: blob[:-1], lambda blob: blob + b"x", lambda blob: b"\0" + blob[1:]])
def test_a_stream_that_is_cut_or_goes_on_is_refused(codec, damage):
    blob = encode_array(np.arange(30.0), codec)
    with pytest.raises(FormatError, match="zlib stream"):
        decode_array(damage(blob), dtype="f8", shape=(30,), codec=codec)


def test_an_array_above_the_limit_is_refused_before_it_is_inflated():
    with pytest.raises(FormatError, match="above the limit of 800"):
        decode_array(b"never read", dtype="f8", shape=(101,), codec="zlib", max_bytes=800)


@given(blob=st.binary(max_size=200), codec=st.sampled_from(CODECS), size=st.integers(0, 30))
def test_any_bytes_give_an_array_of_the_shape_or_a_format_error(blob, codec, size):
    try:
        values = decode_array(blob, dtype="f8", shape=(size,), codec=codec)
    except FormatError:
        return
    assert values.shape == (size,)
