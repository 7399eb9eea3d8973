"""Which backups retention keeps."""

from datetime import UTC, datetime, timedelta

from lightragctl.backup.retention import Known, choose
from lightragctl.core.backup import Retention

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def known(hours_ago: float, parent: str | None = None) -> Known:
    return Known(f"h{hours_ago:g}", NOON - timedelta(hours=hours_ago), parent)


def policy(**values: int) -> Retention:
    return Retention(**{"last": 0, "daily": 0, "weekly": 0, "monthly": 0, **values})


def test_the_last_ones_are_kept() -> None:
    found = choose([known(3), known(1), known(2)], policy(last=2))
    assert dict(found.keep) == {"h1": ("last",), "h2": ("last",)}
    assert found.delete == ("h3",)


def test_the_newest_of_each_day_week_and_month_is_kept() -> None:
    backups = [known(24 * day + hour) for day in range(70) for hour in (0, 6)]
    found = choose(backups, policy(daily=3, weekly=2, monthly=3))
    assert [id for id, reasons in found.keep.items() if "daily" in reasons] == ["h0", "h24", "h48"]
    assert [id for id, reasons in found.keep.items() if "weekly" in reasons] == ["h0", "h24"]
    assert [id for id, reasons in found.keep.items() if "monthly" in reasons] == ["h0", f"h{24 * 30}", f"h{24 * 61}"]
    assert len(found.keep) + len(found.delete) == len(backups)


def test_a_day_without_a_backup_does_not_count() -> None:
    found = choose([known(1), known(24 * 9), known(24 * 20)], policy(daily=2))
    assert list(found.keep) == ["h1", f"h{24 * 9}"]


def test_parents_of_kept_backups_are_kept() -> None:
    chain = [known(1, "h2"), known(2, "h3"), known(3), known(4, "h5"), known(5)]
    found = choose(chain, policy(last=1))
    assert dict(found.keep) == {"h1": ("last",), "h2": ("parent",), "h3": ("parent",)}
    assert found.delete == ("h4", "h5")


def test_a_parent_that_is_gone_keeps_nothing() -> None:
    assert choose([known(1, "gone")], policy(last=1)).delete == ()


def test_no_backups_no_choice() -> None:
    assert choose([], Retention()).keep == {}
