"""Filters that no store is given, and those that any may judge."""

import pytest

from lightragctl.vectors.filters import MAX_DEPTH, check_filter
from lightragctl.vectors.model import InvalidFilterError

INT = "chunk_order_index"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{INT} < 99999999999999999999", "99999999999999999999 is out of range"),
        (f"{INT} > -99999999999999999999", "out of range"),
        (f"{INT} in [1, 9223372036854775808]", "out of range"),
        (f"{INT} == 0xffffffffffffffffff", "out of range"),
        ("created_at < 1e400", "1e400 is out of range"),
        ("created_at == NaN", "NaN cannot be compared"),
        ("created_at < -Infinity", "Infinity cannot be compared"),
        (f"{INT} / 0 == 1", "/ requires a number above 0, not 0"),
        (f"{INT} % 0 == 1", "% requires"),
        (f"{INT}/0.0 == 1", "not 0.0"),
        (f"{INT} / (1 - 1) == 1", "not ("),
        (f"{INT} / -1 == 1", "not -"),
        ("created_at ** 9 == 1", "powers"),
        ("1 << -1 == 1", "shifts"),
        ("(" * (MAX_DEPTH + 1) + "created_at == 1" + ")" * (MAX_DEPTH + 1), "nested"),
        ("not " * (MAX_DEPTH + 1) + "(created_at == 1)", "nested"),
        ("[" * 2000, "nested"),
        ('file_path == "\0"', "NUL"),
    ],
)
def test_what_a_store_would_fail_at_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidFilterError) as error:
        check_filter(text)
    assert says in error.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        'file_path == "a / 0 == 99999999999999999999 NaN **"',
        r'file_path == "quoted \" / 0"',
        "file_path like 'a / 0%'",
        f"{INT} <= 9223372036854775807 and {INT} > -9223372036854775807",
        f"{INT} % 2 == 0 and created_at / 60 > 1.5e3",
        "nan_count == 1 or infinite == 2 or $meta['x'] in [1, 2]",
        " or ".join(f"{INT} == {number}" for number in range(100)),
        "(" * MAX_DEPTH + "created_at == 1" + ")" * MAX_DEPTH,
        "bad ===",
        '"never ends',
    ],
)
def test_everything_else_is_left_to_the_store(text: str) -> None:
    check_filter(text)
