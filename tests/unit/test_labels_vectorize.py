"""Labels written as vectors burn back to the same labels."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError, OutputError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster, burn_labels, labels_to_vectors, simulate_labels, write_label_vectors

SCHEME = ClassScheme.from_codes({10: "field", 20: "water"})
TURNED = Affine(8, 6, 500_000, 6, -8, 5_800_000)


def labels(sampler: str, transform=TURNED) -> LabelRaster:
    mask = (np.mgrid[:60, :80][1] // 20 % 2).astype(np.uint8)
    values = simulate_labels(mask, sampler, fraction=0.05, seed=1)
    return LabelRaster(values, Grid(60, 80, CRS.from_epsg(32633).to_wkt(), transform), scheme=SCHEME)


@pytest.mark.parametrize(("sampler", "kind"), [("points", "Point"), ("pixels", "Point"), ("polygons", "Polygon")])
def test_there_and_back(tmp_path, sampler, kind):
    given = labels(sampler)
    frame = labels_to_vectors(given, SCHEME)
    assert set(frame.geom_type) == {kind}
    assert set(zip(frame["code"], frame["class"], strict=True)) == {(10, "field"), (20, "water")}
    write_label_vectors(given, SCHEME, tmp_path / "labels.gpkg")
    again = burn_labels(tmp_path / "labels.gpkg", given.grid, "code")
    assert np.array_equal(again.values, given.values)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.gpkg"]


def test_what_cannot_be_written(tmp_path):
    given = labels("points")
    bare = LabelRaster(given.values, Grid(60, 80), scheme=SCHEME)
    with pytest.raises(LabelError, match="without georeferencing"):
        labels_to_vectors(bare, SCHEME)
    with pytest.raises(LabelError, match="no labelled pixel"):
        labels_to_vectors(given.with_values(np.full((60, 80), UNLABELLED, np.uint8)), SCHEME)
    with pytest.raises(OutputError, match=r"does not end in \.gpkg"):
        write_label_vectors(given, SCHEME, tmp_path / "labels.shp")
    write_label_vectors(given, SCHEME, tmp_path / "labels.gpkg")
    with pytest.raises(OutputError, match="exists already"):
        write_label_vectors(given, SCHEME, tmp_path / "labels.gpkg")
    write_label_vectors(given, SCHEME, tmp_path / "labels.gpkg", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_label_vectors(given, SCHEME, tmp_path / "missing" / "labels.gpkg")
