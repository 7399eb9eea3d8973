"""The compatibility matrix: what a change of versions means, and the way where it is refused."""

import pytest

from lightragctl.components import all_components
from lightragctl.core.versions import HopKind, judge_change, minor, version_of

HOPS = {one.name: one.upgrades for one in all_components()}


def judged(component: str, before: str, after: str) -> tuple[str, tuple[str, ...], bool]:
    was, will = version_of(before), version_of(after)
    assert was
    assert will
    verdict = judge_change(HOPS[component], was, will)
    return str(verdict.kind), verdict.path, verdict.downgrade


@pytest.mark.parametrize(
    ("component", "before", "after", "expected"),
    [
        ("vector-engine", "v2.3.0", "v2.3.5", ("rolling", (), False)),
        ("vector-engine", "v2.3.5", "v2.3.0", ("rolling", (), True)),
        ("vector-engine", "v2.3.5", "v2.4.1", ("one-way", (), False)),
        ("vector-engine", "v2.4.1", "v2.3.5", ("refused", (), True)),
        ("vector-engine", "v2.3.5", "v2.6.2", ("refused", ("2.4.0", "2.5.16", "2.6.2"), False)),
        ("vector-engine", "v2.5.4", "v2.6.2", ("refused", ("2.5.16", "2.6.2"), False)),
        ("vector-engine", "v2.2.9", "v2.3.5", ("refused", ("2.2.15", "2.3.5"), False)),
        ("vector-engine", "v2.1.4", "v2.2.16", ("refused", (), False)),
        ("vector-engine", "v2.6.2", "v3.0.0", ("refused", (), False)),
        ("etcd", "3.5.5-r4", "3.6.4", ("refused", ("3.5.20", "3.6.4"), False)),
        ("kafka", "3.9.1", "4.0.2", ("one-way", (), False)),
        ("kafka", "3.9.1", "3.8.0", ("refused", (), True)),
        ("lightrag-server", "1.5.6", "1.5.7", ("rolling", (), False)),
        ("lightrag-server", "1.4.9", "1.5.7", ("one-way", (), False)),
        ("lightrag-api", "0.1.0", "9.0.0", ("rolling", (), False)),
        ("lightrag-api", "0.2.0", "0.1.0", ("rolling", (), True)),
    ],
)
def test_changes_of_versions(component: str, before: str, after: str, expected: object) -> None:
    assert judged(component, before, after) == expected


def test_every_stateful_component_has_its_hops_with_a_source() -> None:
    for one in all_components():
        assert bool(one.upgrades) == one.stateful, one.name
        assert all(hop.source and hop.before.low < hop.after.high for hop in one.upgrades)
        assert all(hop.note for hop in one.upgrades if hop.kind is HopKind.REFUSED)


def test_a_range_names_a_whole_minor_briefly() -> None:
    assert str(minor(2, 3)) == "2.3.x"
    assert str(minor(2, 5, 16)) == ">=2.5.16 <2.6.0"
