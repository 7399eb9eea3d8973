"""The page of an upgrade: both latency curves, every verdict with its samples, nothing from elsewhere."""

import re

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.core.gates import UpgradeSettings
from lightragctl.operations.model import Phase
from lightragctl.upgrade.report import report
from lightragctl.upgrade.watching import KEPT_LOOKS, thinned
from tests.fakes.upgrading import Town


def test_the_page_has_curves_and_verdicts_of_both_tracks() -> None:
    record = Town(canary_errors=0.05).run()
    page = report(record, UpgradeSettings())
    for title in ("Mean latency", "p99 latency", "Failed requests per point", "Verdicts that stopped the upgrade"):
        assert title in page
    assert "error rate 5.00 %, stable pods 0.00 %" in page
    assert page.count("<polyline") >= 8
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", page)


def test_what_has_no_observation_has_no_page() -> None:
    record = Town().run(canary=False)
    assert record.phase is Phase.SUCCEEDED
    with pytest.raises(UsageError, match="no observation"):
        report(record.changed(results={}), UpgradeSettings())


def test_a_long_history_keeps_its_whole_time_in_half_of_the_rows() -> None:
    rows = tuple((float(at), 10.0, 1.0, 0.01, 0.1 + at, 20.0, 0.0, 0.02, 0.2) for at in range(KEPT_LOOKS + 1))
    found = thinned(rows)
    assert len(found) == KEPT_LOOKS // 2 + 1
    assert found[0] == (1.0, 20.0, 2.0, 0.01, 1.1, 40.0, 0.0, 0.02, 0.2)
    assert found[-1] == rows[-1]
    assert thinned(rows[:-1]) == rows[:-1]
