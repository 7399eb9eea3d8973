"""What each capability's tests take, as the table of docs/contributing/tests.md: `python -m tests.budget REPORT.xml`.

The report is pytest's: `PYTEST_ADDOPTS=--junitxml=/tmp/report.xml make test`, or `make test-all`.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from xml.etree import ElementTree

BUDGET_S = 180
"""Of one capability, in everything that CI runs."""
CAPABILITIES = (
    ("profiles", "unit.core"),
    ("local runtime", "unit.local", "e2e.test_local_release", "e2e.test_kill"),
    (
        "releases on Kubernetes",
        "unit.deploy",
        "unit.checks",
        "unit.observe",
        "unit.kube",
        "e2e.test_cluster_",
        "contract.test_cluster_door",
    ),
    ("services", "unit.service", "e2e.test_bad_days"),
    ("vector store", "unit.vectors", "contract.test_store"),
    ("loading and finding", "unit.ingest", "quality.test_known_item"),
    ("lightrag-server", "e2e.test_lightrag_server", "e2e.test_cluster_lightrag", "unit.service.test_lightrag_server"),
    ("bench", "unit.bench", "e2e.test_bench_report", "unit.cli.test_bench_report", "unit.cli.test_live"),
    ("index tuning", "unit.tune", "contract.test_tune", "e2e.test_tune"),
    ("golden sets", "unit.quality", "contract.test_golden", "e2e.test_golden"),
    (
        "backup and restore",
        "unit.backup",
        "contract.test_backup",
        "contract.test_copy_rows",
        "contract.test_switch",
        "contract.test_fence",
        "unit.release.test_writers",
        "unit.release.test_workspace_files",
        "e2e.test_backup",
        "e2e.test_restore_local",
        "e2e.test_cluster_backup",
    ),
    (
        "operations",
        "unit.operations",
        "contract.test_operation_store",
        "e2e.test_operations",
        "e2e.test_local_operations",
    ),
    (
        "indexes and models",
        "unit.index",
        "unit.reembed",
        "contract.test_indexes",
        "contract.test_reembed_store",
        "e2e.test_reembed",
    ),
    ("upgrade", "unit.upgrade", "e2e.test_upgrade"),
    ("diagnose", "unit.diagnose", "contract.test_checks_reference", "e2e.test_diagnose_local"),
    ("rendered manifests", "contract.test_manifest_snapshots"),
    ("the test cluster itself", "cluster."),
)
REST = "command line, packages, house rules"


def capability(module: str) -> str:
    """Whose test a module of tests is: the longest beginning decides."""
    name = module.removeprefix("tests.")
    fits = [(len(start), known) for known, *starts in CAPABILITIES for start in starts if name.startswith(start)]
    return max(fits)[1] if fits else REST


def table(cases: Iterable[tuple[str, float]]) -> str:
    """The rows, of modules and seconds; what is over its budget is marked."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for module, took_s in cases:
        seconds[capability(module)].append(took_s)
    order = [name for name, *_ in CAPABILITIES] + [REST]
    rows = [
        f"| {name} | {len(took)} | {sum(took):.0f}{' (over)' if sum(took) > BUDGET_S else ''} |"
        for name in order
        if (took := seconds.get(name))
    ]
    every = [one for took in seconds.values() for one in took]
    return "\n".join(
        ["| capability | tests | seconds |", "| --- | --- | --- |", *rows, f"| all | {len(every)} | {sum(every):.0f} |"]
    )


def main() -> None:
    root = ElementTree.parse(sys.argv[1])
    print(table((case.attrib["classname"], float(case.attrib["time"])) for case in root.iter("testcase")))


if __name__ == "__main__":
    main()
