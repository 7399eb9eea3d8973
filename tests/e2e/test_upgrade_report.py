"""The report of an upgrade in a real browser: charts of both versions, the verdicts, nothing on the console."""

from pathlib import Path

import pytest

from lightragctl.core.gates import UpgradeSettings
from lightragctl.upgrade.report import report
from tests.e2e.test_bench_report import BOXES, WIDTHS, check
from tests.fakes.browser import asked, opened
from tests.fakes.upgrading import Town

pytestmark = pytest.mark.slow
CHARTS = {f"component1-{name}" for name in ("mean", "p99", "requests", "errors")}


def test_the_page_shows_curves_and_verdicts_at_every_width(tmp_path: Path) -> None:
    page = tmp_path / "upgrade.html"
    page.write_text(report(Town(canary_errors=0.05).run(), UpgradeSettings()), encoding="utf-8")
    for width in WIDTHS:
        seen = asked(page, BOXES, width)
        check(seen, CHARTS)
        for told in ("aborted", "Verdicts that stopped the upgrade", "error rate 5.00 %, stable pods 0.00 %"):
            assert told in seen["text"], told
    assert opened(page).console == []
