"""Writes the report of an upgrade for its command."""

from pathlib import Path

from lightragctl.cli.options import Session
from lightragctl.core.result import Result


def write(session: Session, operation_id: str | None, file: Path) -> Result:
    """Write the page.

    Raises:
        UsageError: there is no such upgrade, it has no observation, or the file cannot be written.
    """
    from lightragctl.cli.bench.report_files import ReportFiles
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.upgrade import payloads
    from lightragctl.core.errors import LightragctlError, UsageError
    from lightragctl.core.gates import UpgradeSettings
    from lightragctl.upgrade.report import report

    ReportFiles(html=file).check()
    store = operator(session).place.store
    if operation_id is None:
        upgrades = [one for one in store.records() if one.kind.startswith("upgrade")]
        if not upgrades:
            raise UsageError(f"release '{session.release.name}' has no upgrades")
        record = upgrades[0]
    else:
        record = store.read(operation_id)
    settings = UpgradeSettings.model_validate(record.parameters["profile"].get("upgrade", {}))
    text = report(record, settings)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LightragctlError(f"cannot write {file}: {error.strerror}") from error
    return payloads.report(record, file)
