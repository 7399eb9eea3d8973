"""Layers: parsed from files and --set, merged so that later ones win, each key with its origin."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.core.errors import ProfileError
from lightragctl.core.layers import Layer, Origin, dotted, merge, parse_layer, parse_set, read_layers, shipped_names

KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.one_of(st.integers(0, 3), st.none(), st.lists(st.integers(0, 3), max_size=2))
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
MAPS = st.dictionaries(KEYS, VALUES, max_size=3)
_INNER = st.fixed_dictionaries({}, optional={"x": LEAVES, "y": LEAVES})
# A map is a map in every layer here: a plain value between two maps would part them or not, depending on the grouping.
SAME_SHAPE = st.fixed_dictionaries({}, optional={"a": LEAVES, "b": LEAVES, "m": _INNER, "n": _INNER})


def paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key, value in values.items():
        found.add((*above, key))
        if isinstance(value, dict):
            found |= paths(value, (*above, key))
    return found


def layer(values: dict[str, Any], source: str) -> Layer:
    return Layer(values, dict.fromkeys(paths(values), Origin(source)))


@given(SAME_SHAPE, SAME_SHAPE, SAME_SHAPE)
def test_merging_is_associative(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    one, two, three = layer(first, "1"), layer(second, "2"), layer(third, "3")
    whole = merge([one, two, three])
    assert merge([merge([one, two]), three]) == whole
    assert merge([one, merge([two, three])]) == whole


@given(MAPS, MAPS)
def test_the_later_layer_wins_and_nothing_else_is_lost(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge([layer(first, "1"), layer(second, "2")])

    def check(below: Any, above: Any, result: Any) -> None:
        if not (isinstance(below, dict) and isinstance(above, dict)):
            assert result == above
            return
        assert result.keys() == below.keys() | above.keys()
        for key in result:
            if key in above and key in below:
                check(below[key], above[key], result[key])
            else:
                assert result[key] == (above[key] if key in above else below[key])

    check(first, second, merged.values)


@given(MAPS, MAPS)
def test_every_key_of_a_merge_has_an_origin_and_no_other_key_has(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge([layer(first, "1"), layer(second, "2")])
    assert set(merged.origins) == paths(merged.values)


@given(MAPS, MAPS)
def test_merging_changes_no_layer(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, two = layer(first, "1"), layer(second, "2")
    before = (repr(one), repr(two))
    merge([one, two])
    assert (repr(one), repr(two)) == before


def test_an_origin_names_file_and_line() -> None:
    parsed = parse_layer("a: 1\nb:\n  c: 2\n", "mine.yaml")
    assert {".".join(path): str(origin) for path, origin in parsed.origins.items()} == {
        "a": "mine.yaml:1",
        "b": "mine.yaml:2",
        "b.c": "mine.yaml:3",
    }


def test_a_key_that_stands_twice_is_named_with_its_line() -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:4: duplicate key 'b\.c'"):
        parse_layer("a: 1\nb:\n  c: 2\n  c: 3\n", "mine.yaml")


def test_broken_yaml_is_named_with_its_line() -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:2: not valid YAML"):
        parse_layer("a: 1\nb: c: d\n", "mine.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_a_profile_that_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(ProfileError, match="must be a map"):
        parse_layer(text, "mine.yaml")


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_file_is_an_empty_layer(text: str) -> None:
    assert parse_layer(text, "mine.yaml") == Layer()


@pytest.mark.parametrize(
    ("assignment", "values"),
    [
        ("a=1", {"a": 1}),
        ("a.b=true", {"a": {"b": True}}),
        ("a.b.c=[x, y]", {"a": {"b": {"c": ["x", "y"]}}}),
        ("a=1=2", {"a": "1=2"}),
        ("a='1'", {"a": "1"}),
        ("a=中文", {"a": "中文"}),
    ],
)
def test_a_set_option_has_the_type_that_yaml_gives_it(assignment: str, values: dict[str, Any]) -> None:
    parsed = parse_set(assignment)
    assert parsed.values == values
    assert {str(origin) for origin in parsed.origins.values()} == {"--set"}


@pytest.mark.parametrize("assignment", ["a", "=1", "a..b=1", ".a=1", "a=[1", ""])
def test_a_malformed_set_option_is_refused_and_quoted(assignment: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_set(assignment)
    assert f"--set {assignment}" in caught.value.message
    assert caught.value.hint


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_what_a_profile_extends_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "shipped", base="a: 1\nb: 1\n", middle="extends: base\nb: 2\nc: 2\n")
    write(tmp_path / "own", top="extends: middle\nc: 3\n")
    merged = merge(read_layers(str(tmp_path / "own" / "top.yaml"), tmp_path / "shipped"))
    assert merged.values == {"a": 1, "b": 2, "c": 3}
    assert str(merged.origins[("a",)]) == "profiles/base.yaml:1"
    assert str(merged.origins[("c",)]) == f"{tmp_path / 'own' / 'top.yaml'}:2"


def test_a_relative_extends_is_taken_from_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path / "own", base="a: 1\n", top="extends: ./base.yaml\nb: 2\n")
    assert merge(read_layers(str(tmp_path / "own" / "top.yaml"), tmp_path / "shipped")).values == {"a": 1, "b": 2}


def test_a_circle_of_extends_is_refused_and_shown(tmp_path: Path) -> None:
    write(tmp_path, one="extends: two\n", two="extends: three\n", three="extends: one\n")
    with pytest.raises(ProfileError, match=r"cycle\): one\.yaml -> two\.yaml -> three\.yaml -> one\.yaml"):
        read_layers("one", tmp_path)


def test_an_unknown_profile_names_the_shipped_ones(tmp_path: Path) -> None:
    write(tmp_path, dev="", local="")
    with pytest.raises(ProfileError) as caught:
        read_layers("nope", tmp_path)
    assert "'nope'" in caught.value.message
    assert "dev, local" in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="there is no profile file"):
        read_layers(str(tmp_path / "nope.yaml"), tmp_path)


def test_a_file_that_is_no_utf8_is_a_profile_error(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ProfileError, match="cannot read"):
        read_layers(str(tmp_path / "odd.yaml"), tmp_path)


def test_shipped_names_are_sorted(tmp_path: Path) -> None:
    write(tmp_path, b="", a="")
    assert shipped_names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["d: 010", "d: !!python/name:os.system x", "d: &x [*x]", "d: &x {a: *x}", "d: &x {a: {b: *x}}"],
)
def test_a_value_that_cannot_be_read_is_the_profiles_fault(text: str) -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml"):
        parse_layer(text, "mine.yaml")


def test_a_merge_key_brings_in_values_and_own_keys_win() -> None:
    layer = parse_layer("base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\n", "mine.yaml")
    assert layer.values["mine"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        ("010", "the number 8 in YAML 1.1, the number 10 in YAML 1.2"),
        ("08", "the string 08 in YAML 1.1, the number 8 in YAML 1.2"),
        ("0o10", "the string 0o10 in YAML 1.1, the number 8 in YAML 1.2"),
        ("0b11", "the number 3 in YAML 1.1"),
        ("1_000", "the number 1000 in YAML 1.1, the string 1_000 in YAML 1.2"),
        ("1_0.5", "the number 10.5 in YAML 1.1"),
        ("0x1_0", "the number 16 in YAML 1.1"),
        ("1:30", "the number 90 in YAML 1.1, the string 1:30 in YAML 1.2"),
        ("-1:30:00", "the number -5400 in YAML 1.1"),
    ],
)
def test_a_number_with_two_readings_is_refused_wherever_it_stands(written: str, readings: str) -> None:
    for text in (f"a: {written}", f"a: [{written}]", f"a: {{b: {written}}}", f"a:\n- b: {written}"):
        with pytest.raises(ProfileError) as caught:
            parse_layer(text, "mine.yaml")
        assert f"{written} is {readings}" in caught.value.message
        assert f'"{written}"' in caught.value.hint
    with pytest.raises(ProfileError) as caught:
        parse_set(f"a={written}")
    assert readings in caught.value.message
    assert parse_set(f"a='{written}'").values == {"a": written}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(
            (word, word)
            for word in ("yes", "no", "on", "off", "y", "n", "=", "2024-01-01", "10.0.0.1", "1.2.3", "500m")
        ),
        *(("0x10", 16), ("1e3", 1000.0), (".5", 0.5), ("-1", -1), ("+1", 1), ("1.", 1.0), (".inf", float("inf"))),
        *(("~", None), ("null", None), ("True", True), ("FALSE", False)),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: Any) -> None:
    for read in (parse_set(f"a={written}").values["a"], parse_layer(f"a: {written}\n", "mine.yaml").values["a"]):
        assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("a: 1\n---\nb: 2\n", "mine.yaml:2: a second document", "--values"),
        ("a:\n\tb: 1\n", "mine.yaml:2: not valid YAML", "spaces"),
        ("a:\n - {b: 1, b: 2}\n", "mine.yaml:2: duplicate key 'a.0.b'", "one of them"),
        ("? [a]\n: b\n", "a key must be a string", "KEY: VALUE"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_way_out(text: str, message: str, hint: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_layer(text, "mine.yaml")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("assignment", ["a=", "a=  ", "a=#x", "a=x #y", "a=1\n---\n2", "=1", "a..b=1", ".a=1"])
def test_a_set_option_that_would_lose_something_is_refused(assignment: str) -> None:
    with pytest.raises(ProfileError, match="--set"):
        parse_set(assignment)


@pytest.mark.parametrize(
    "path", [("a", "example.com/zone", "b"), ("a\\b",), ("a\\.b", "c"), ("..",), ("知识.库", "x y")]
)
def test_a_key_with_dots_is_named_as_it_is_set(path: tuple[str, ...]) -> None:
    assert path in parse_set(f"{dotted(path)}=1").origins


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_another_editor_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_text("description: 知识库\n", encoding=encoding)
    assert read_layers(str(tmp_path / "a.yaml"), tmp_path)[0].values == {"description": "知识库"}


def test_profiles_that_extend_each_other_by_other_names_end(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("extends: sub/../a.yaml\n")
    with pytest.raises(ProfileError, match="cycle"):
        read_layers(str(tmp_path / "a.yaml"), tmp_path)
