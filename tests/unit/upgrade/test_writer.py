"""The upgrade of lightrag-server: order, and the way back. Clone, backup and restore only note their steps."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from lightragctl.core.objects import KubernetesObject
from lightragctl.operations.control import drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Hold, OperationKind, Step
from lightragctl.operations.model import Operation, Phase
from lightragctl.operations.nested import Nested
from lightragctl.upgrade.compared import Asked
from lightragctl.upgrade.strategies.writer import Parts, as_clone, as_restore, has_canary, writer_kind
from lightragctl.upgrade.trial_objects import trial_objects
from lightragctl.upgrade.writer_site import WriterSite
from tests.fakes.release import target, up
from tests.fakes.upgrading_data import DataTown

OLD, NEW = ("components.lightrag-server.image.tag=1.5.6",), "components.lightrag-server.image.tag=1.5.7"


class Office(DataTown):
    """A release whose lightrag-server answers questions; `log` has what was done, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.wrong_trial = self.wrong_new = False
        made = {"backup": "b1", "made": {"id": "b1"}}
        parts = Parts(
            Nested(stub(self.log, "clone", {}), "clone", as_clone, has_canary),
            Nested(stub(self.log, "backup", made), "backup", lasting=frozenset({"copy"})),
            Nested(stub(self.log, "restore", {}), "restore", as_restore),
        )
        super().__init__(writer_kind(lambda resources: resources.writer_site, parts), NEW, OLD)

    @property
    def writer_site(self) -> WriterSite:
        return WriterSite(self.site, self.ask, lambda notify: self)  # type: ignore[arg-type, return-value]

    def ask(self, questions: Sequence[str], pod: KubernetesObject | None) -> list[Asked]:
        is_wrong = self.wrong_trial if pod else self.wrong_new and "1.5.7" in self.server()
        self.log.append("trial asked" if pod else f"asked {self.server()}")
        return [Asked((("other" if is_wrong else question, 1.0),)) for question in questions]

    def server(self) -> str:
        thing = next(one for id, one in self.cluster.objects.items() if str(id) == "StatefulSet/dev-lightrag-server")
        return str(thing["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]

    runtime = property(lambda self: self)

    def components(self) -> list[str]:
        return ["lightrag-server"]

    def replicas(self, component: str) -> int:
        return 1

    def wait_idle(self, timeout_s: float) -> None:
        """Idle."""

    def stop(self, operation: str, timeout_s: float) -> datetime:
        self.log.append("stop")
        return self.now

    def start(self, wanted: Any, stopped_at: datetime, timeout_s: float) -> float:
        self.log.append(f"start {self.server()}")
        return 60.0

    def crew(self) -> Crew:
        return Crew((self.kind,), self, Clock(lambda: self.now, self.pause), "ann@laptop", self.events.append)

    def upgrade(self, canary: bool = True) -> Operation:
        up(self.cluster, *self.base)
        more = {"components": ["lightrag-server"], "backup": True, "timeout_s": 10.0, "fence": True}
        return drive(self.place, self.begin(canary, **more), self.crew())


def stub(office: list[str], name: str, results: dict[str, Any], *, undoable: Sequence[str] = ()) -> OperationKind:
    def acts(step: str) -> Any:
        def act(context: Any) -> None:
            office.append(f"{name} {step}")
            for key, value in {step: True, **results}.items():
                context.save_result(key, value)

        return act

    def undoes(step: str) -> Any:
        return lambda context: office.append(f"undo {name} {step}")

    def sees(step: str) -> Any:
        return lambda context: step in context.record.results

    names = ("fence", "copy", "files", "switch")
    steps = [
        Step(one, one, 60.0, acts(one), sees(one), undoes(one), Hold("copy") if one == "fence" else None)
        for one in names
    ]
    return OperationKind(name, 1, tuple(steps), 600.0)


@pytest.fixture
def office() -> Office:
    return Office()


def test_the_new_version_answers_on_a_clone_then_starts_on_the_workspace_that_was_backed_up(office: Office) -> None:
    record = office.upgrade()
    assert record.phase is Phase.SUCCEEDED, record.cause
    log = [one for one in office.log if not one.endswith(("files", "fence"))]
    assert log == [
        *("asked 1.5.6", "clone copy", "clone switch", "trial asked"),
        *("undo clone switch", "undo clone copy"),
        *("stop", "backup copy", "backup switch", "start 1.5.7", "asked 1.5.7"),
    ]
    assert office.server() == "1.5.7"
    assert record.results["outage_s"] == 60.0
    assert not [one for one in office.cluster.objects if one.name.endswith("-shadow")]


def test_a_version_that_finds_other_chunks_on_the_clone_never_stops_the_server(office: Office) -> None:
    office.wrong_trial = True
    record = office.upgrade()
    assert record.phase is Phase.ABORTED
    assert "answers differently" in record.cause
    assert "stop" not in office.log
    assert office.log[-1].startswith("undo clone")
    assert office.server() == "1.5.6"


def test_a_regression_on_the_workspace_puts_the_old_version_back_and_restores_the_backup(office: Office) -> None:
    office.wrong_new = True
    record = office.upgrade(canary=False)
    assert record.phase is Phase.ABORTED, record.cause
    assert office.server() == "1.5.6"
    assert [one for one in office.log if one.startswith("restore")] == [
        f"restore {step}" for step in ("fence", "copy", "files", "switch")
    ]
    assert "undo backup copy" not in office.log


def test_the_trial_serves_the_clone_from_the_same_volume() -> None:
    settings, server = trial_objects(target(NEW).objects, "lightrag-server", "upgrade-writer-1", "default_upgrade_1")
    assert json.loads(settings["data"]["settings.json"])["workspace"] == "default_upgrade_1"
    volumes = {one["name"]: one for one in server["spec"]["template"]["spec"]["volumes"]}
    assert volumes["settings"]["configMap"]["name"] == settings["metadata"]["name"]
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "data-dev-lightrag-server-0"
    assert "volumeClaimTemplates" not in server["spec"]
