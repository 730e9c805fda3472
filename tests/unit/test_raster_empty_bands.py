"""Bands without data are left out; they would make every pixel invalid."""

import numpy as np

from sparsecover.raster import Scene, drop_empty_bands


def scene(empty: set[int]) -> Scene:
    values = np.ones((4, 5, 6), np.float32)
    for number in empty:
        values[number - 1] = np.nan
    return Scene.from_array(values, valid=None)


def test_bands_empty_everywhere_are_dropped_with_a_note() -> None:
    scenes, notes = drop_empty_bands([scene({2, 3}), scene({2})])
    assert [len(s.bands) for s in scenes] == [3, 3]
    assert scenes[1].read()[1].all()
    assert len(notes) == 1
    assert "1 bands" in notes[0]


def test_nothing_is_dropped_where_all_bands_have_data_or_none_has() -> None:
    for given in ([scene(set())], [scene({1, 2, 3, 4})], [scene({1}), scene({2})]):
        scenes, notes = drop_empty_bands(given)
        assert [len(s.bands) for s in scenes] == [4] * len(given)
        assert not notes
