"""Codes of every integer type counted and turned to indices."""

import numpy as np
import pytest

from sparsecover.labels.code_lookup import count_codes, look_up

TYPES = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int64")


@pytest.mark.parametrize("dtype", TYPES)
def test_codes_of_any_type_are_counted(dtype: str) -> None:
    codes = np.array([[0, 7, 7], [100, 0, 7]], dtype)
    where = np.array([[True, True, False], [True, True, True]])
    assert count_codes(codes, where) == {0: 2, 7: 2, 100: 1}
    if dtype.startswith("i"):
        assert count_codes(-codes, where) == {0: 2, -7: 2, -100: 1}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [5, 300])
def test_codes_of_any_type_become_indices(dtype: str, size: int) -> None:
    codes = np.resize(np.array([0, 7, 100, 9, 7], dtype), (size, 2))
    signed = dtype.startswith("i")
    index = {7: 0, 100: 3, 0: 255, -100 if signed else 101: 1}
    indices, strange = look_up(-codes if signed else codes, {-key: i for key, i in index.items()} if signed else index)
    expected = {0: (255, False), 7: (0, False), 100: (3, False), 9: (255, True)}
    assert indices.dtype == np.uint8
    assert indices.tolist() == [[expected[int(code)][0] for code in row] for row in codes]
    assert strange.tolist() == [[expected[int(code)][1] for code in row] for row in codes]


def test_without_any_class_all_is_strange() -> None:
    indices, strange = look_up(np.zeros((2, 3), np.int32), {})
    assert (indices == 255).all()
    assert strange.all()


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_large_arrays_are_read_whole(dtype: str) -> None:
    codes = np.random.default_rng(0).integers(0, 100, (700, 701)).astype(dtype)
    table = np.random.default_rng(1).permutation(100).astype(np.uint8)
    indices, strange = look_up(codes, {code: int(table[code]) for code in range(90)})
    np.testing.assert_array_equal(indices, np.where(codes < 90, table[codes], 255))
    np.testing.assert_array_equal(strange, codes >= 90)
    assert count_codes(codes, ~strange) == {k: int((codes == k).sum()) for k in range(90)}
