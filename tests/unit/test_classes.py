"""Class schemes: codes, indices, names, colours, and the tables that describe them."""

from pathlib import Path

import numpy as np
import pytest
from skimage.color import rgb2lab

from sparsecover.classes import UNLABELLED, ClassScheme, default_colors, read_class_table
from sparsecover.errors import ClassError
from sparsecover.raster import write_qml


def test_names_get_codes_in_their_order() -> None:
    scheme = ClassScheme.from_names(["water", "land"])
    assert scheme.codes == (0, 1)
    assert scheme.index("land") == 1
    with pytest.raises(ClassError, match="water, land"):
        scheme.index("sea")


def test_codes_are_ordered_and_written_as_they_are() -> None:
    scheme = ClassScheme.from_codes({30: "wood", 10: "water"})
    assert scheme.names == ("water", "wood")
    indices = np.array([[0, 1, UNLABELLED]], np.uint8)
    np.testing.assert_array_equal(scheme.encode(indices), [[10, 30, 255]])
    np.testing.assert_array_equal(scheme.encode(indices.astype(np.int64).T), [[10], [30], [255]])


def test_codes_beyond_a_byte_are_remapped_and_named() -> None:
    scheme = ClassScheme.from_codes({7: "wood", 1000: "water", -5: "-5"})
    assert not scheme.codes_fit_map
    np.testing.assert_array_equal(scheme.encode(np.array([0, 1, 2, 255], np.uint8)), [0, 1, 2, 255])
    assert scheme.map_names == ("-5", "wood (7)", "water (1000)")


def test_code_255_is_nodata_in_the_map_and_so_remapped() -> None:
    assert ClassScheme.from_codes([1, 255]).map_codes == (0, 1)


def test_255_classes_fit_and_256_do_not() -> None:
    full = ClassScheme.from_names([f"c{i}" for i in range(255)])
    indices = np.arange(256).astype(np.uint8)
    np.testing.assert_array_equal(full.encode(indices), indices)
    assert len(set(full.colors)) == 255
    with pytest.raises(ClassError, match="256 classes"):
        ClassScheme.from_names([f"c{i}" for i in range(256)])


@pytest.mark.parametrize("rows", [{1: "a", 2: "a"}, ["a", "a"]])
def test_two_classes_of_one_name_are_refused(rows: dict[int, str] | list[str]) -> None:
    with pytest.raises(ClassError, match="share the name a"):
        ClassScheme.from_config(rows)


def test_expected_colours_and_no_two_alike() -> None:
    colors = default_colors(["water", "forest", "River", "thing"])
    blue, green = colors[0], colors[1]
    assert blue[2] == max(blue)
    assert green[1] == max(green)
    assert len(set(colors)) == 4


def color(name: str) -> tuple[int, int, int]:
    return default_colors([name])[0]


@pytest.mark.parametrize(
    ("like", "names"),
    [
        ("water", "lakes, river, open_water, freshwater, sea, Permanent water bodies, groundwater"),
        ("forest", "forests, forest_land, woodland, Tree cover, trees, rainforest, woods"),
        ("grass", "grassland, grasses, shrubland, pasture/hay, low vegetation, vegetated"),
        ("field", "fields, cropland, crops, farmland, agriculture_land, arable land, rice, Rice fields"),
        ("road", "roads, street, streets, unpaved, railroad, asphalt"),
        ("building", "buildings, built-up, Built Area, built_up, urban_land, houses, greenhouse, roofs"),
        ("soil", "bare ground, BareSoil, barren_land, open land, land, sandy"),
        ("wetland", "wetlands, Herbaceous wetland, woody wetlands, marshes, marshland, swamp"),
        ("snow", "ice, Snow and ice, sheet of ice, clouds"),
        ("background", "Background, other, others"),
    ],
)
def test_names_are_coloured_by_their_words(like: str, names: str) -> None:
    for name in names.split(", "):
        assert color(name) == color(like), name


def test_parts_of_other_words_colour_nothing() -> None:
    kinds = ("water", "forest", "grass", "field", "road", "building", "soil", "wetland", "snow", "background")
    known = {color(name) for name in kinds}
    assert len(known) == 10
    for name in ("price", "mother", "season", "sealed", "thousand", "underground"):
        assert color(name) not in known, name


def test_dictionaries_come_back() -> None:
    scheme = ClassScheme.from_codes({4: "mud", 9: "sand"})
    assert ClassScheme.from_dicts(scheme.as_dicts()) == scheme


@pytest.mark.parametrize("codes", [{1: "water", 2: "wood"}, {5: "a & b <c>", 200: "größe"}, {-1: "x", 900: "y"}])
def test_a_style_comes_back_with_the_codes_of_the_map(tmp_path: Path, codes: dict[int, str]) -> None:
    scheme = ClassScheme.from_codes(codes)
    write_qml(tmp_path / "style.qml", scheme)
    back = ClassScheme.from_config(tmp_path / "style.qml")
    assert (back.codes, back.names, back.colors) == (scheme.map_codes, scheme.map_names, scheme.colors)


@pytest.mark.parametrize(
    "text",
    [
        "code,name,color\n1,water,#0000ff\n2,wood,#00ff00\n",
        "Code; Name; R; G; B\n1;water;0;0;255\n2;wood;0;255;0\n",
        "\ufeffcode,name,color\r\n1,water,0000FF\r\n2,wood,00FF00\r\n",
    ],
)
def test_tables_of_several_hands(tmp_path: Path, text: str) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(text, encoding="utf-8")
    scheme = ClassScheme.from_config(str(table))
    assert scheme.names == ("water", "wood")
    assert scheme.colors == ((0, 0, 255), (0, 255, 0))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "columns none"),
        ("a,b\n1,2\n", "columns a, b"),
        ("code,name\n", "lists no classes"),
        ("code,name\n1.5,water\n", "'1.5'"),
        ("code,name\n1\n", "name ''"),
        ("code,name,color\n1,water,blue\n", "blue"),
        ("code,name,r,g,b\n1,water,0,0,300\n", "300"),
        ("code,name,r,g,b\n1,water,0,x,30\n", "x"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, text: str, complaint: str) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(text)
    with pytest.raises(ClassError, match=complaint):
        ClassScheme.from_config(table)


def test_tables_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ClassError, match="does not exist"):
        read_class_table(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("code,name\n1,größe\n".encode("latin-1"))
    with pytest.raises(ClassError, match="UTF-8"):
        read_class_table(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]><qgis/>', "entities"),
        ("<qgis><pipe></qgis>", "not a QGIS style"),
        ("<qgis/>", "lists no classes"),
        ('<qgis><paletteEntry value="1.5"/></qgis>', "1.5"),
    ],
)
def test_styles_that_are_not_a_palette(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "style.qml").write_text(text)
    with pytest.raises(ClassError, match=complaint):
        read_class_table(tmp_path / "style.qml")


@pytest.mark.parametrize("unnamed_first", [True, False])
def test_codes_without_names_take_the_names_of_the_others(unnamed_first: bool) -> None:
    named = ClassScheme.from_codes({1: "water", 2: "land"})
    schemes = [ClassScheme.from_codes([1, 2, 3]), named]
    united = ClassScheme.union(schemes if unnamed_first else schemes[::-1])
    assert dict(zip(united.codes, united.names, strict=True)) == {1: "water", 2: "land", 3: "3"}
    assert united.colors[:2] == named.colors
    assert [united.find(land) for scheme in schemes for land in scheme.classes] == [0, 1, 2, 0, 1]


def test_schemes_that_number_the_same_classes_differently_are_united_by_name() -> None:
    schemes = [ClassScheme.from_codes({1: "water", 2: "wood"}), ClassScheme.from_codes({2: "wood", 3: "water"})]
    for these in (schemes, schemes[::-1]):
        united = ClassScheme.union(these)
        assert united.names == ("water", "wood")
        assert [united.find(land) for scheme in schemes for land in scheme.classes] == [0, 1, 1, 0]
    assert ClassScheme.union([ClassScheme.from_codes({1: "water"}), ClassScheme.from_codes({2: "water"})]).codes == (0,)


def test_the_rest_is_told_apart_from_no_data_and_from_what_is_without_a_label() -> None:
    """CIELAB distances; about 2 is a difference that can just be seen."""
    known = ["water", "forest", "grass", "field", "road", "building", "bare soil", "wetland", "snow"]
    greys = [(level, level, level + 4) for level in range(0, 255, 8)]
    for name in ("other", "Background"):
        rest, *others = default_colors([name, *known])
        lab = rgb2lab(np.array([rest, *others, *greys]) / 255.0)
        assert np.linalg.norm(lab[1:] - lab[0], axis=1).min() > 20
