"""What a person reads of the payloads of `upgrade`."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.operations.views import VIEWS as OF_OPERATIONS
from lightragctl.cli.tables import Data, View, table


def _run(data: Data) -> Iterator[RenderableType]:
    if "steps" not in data:
        yield from _plan(data)
        return
    yield from OF_OPERATIONS["operations status"](data)
    if data["profile_lines"]:
        yield Text("set in the profile, so that `up` keeps the new version:", style="bold")
        yield from (Text(f"  {one}") for one in data["profile_lines"])


def _plan(data: Data) -> Iterator[RenderableType]:
    if not data["components"] and not data["others"]:
        yield Text(f"release {data['release']}: nothing to upgrade")
        return
    for one in data["components"]:
        yield from _component(one)
    if data["others"]:
        yield Text(f"\nalso changed: {', '.join(data['others'])}")


def _component(one: Data) -> Iterator[RenderableType]:
    yield Text(f"{one['component']}: {one['strategy']}", style="bold")
    yield from (Text(f"  {before} -> {after}") for before, after in one["images"])
    if not one["images"]:
        yield Text("  the same images with other settings")
    if one["refusal"]:
        yield Text(f"  refused: {one['refusal']}", style="red")
        return
    if one["downgrade"] or one["reason"]:
        yield Text(f"  {'downgrade' if one['downgrade'] else one['kind']}: {one['reason']}", style="yellow")
    yield from (Text(f"  {number}. {step}") for number, step in enumerate(one["steps"], 1))
    shares = ", ".join(f"{share:.0%}" for share in one["shares"])
    if one["stages"]:
        yield Text(f"  share of requests to the canary: {shares}; gates:")
        rows: list[list[RenderableType]] = [
            [f"  {gate['gate']}", gate["metric"], gate["fails"], str(gate["minimum"]), gate["missing"]]
            for gate in one["conditions"]
        ]
        yield table(["  GATE", "METRIC", "FAILS", "MINIMUM", "NO DATA"], rows)
    elif shares:
        yield Text(f"  share of requests to the first proxy: {shares}")
    if one["compared"]:
        yield Text(f"  comparison: {one['compared']}; gates: {', '.join(one['gates'])}")
    if one["effects"]:
        yield from _effects(one)
    final = one["point_of_no_return"]
    back = f"after '{final}' only by restoring a backup" if final else "by image"
    yield Text(f"  outage: {one['outage']}; rollback: {back}")


def _effects(one: Data) -> Iterator[RenderableType]:
    if not one["compared"] and one["requests_per_s"] is None:
        yield Text("  traffic: unknown, no pod serves metrics", style="yellow")
        return
    rows: list[list[RenderableType]] = [
        [
            f"  {effect['gate']}",
            f"{effect['limit']:.2%}",
            "nothing" if effect["detectable"] is None else f"{effect['detectable']:.2%}",
        ]
        for effect in one["effects"]
    ]
    basis = "with these searches" if one["compared"] else f"at {one['requests_per_s']:.1f} requests/s"
    yield Text(f"  {basis} a gate detects with 95 % probability:")
    yield table(["  GATE", "LIMIT", "DETECTED FROM"], rows)


def _matrix(data: Data) -> Iterator[RenderableType]:
    rows: list[list[RenderableType]] = [
        [one["component"], one["before"], one["after"], one["kind"], one["note"], one["source"]] for one in data["hops"]
    ]
    yield table(["COMPONENT", "FROM", "TO", "CHANGE", "NOTE", "SOURCE"], rows)
    yield Text(
        f"within a minor every version change of {', '.join(data['components'])} is rolling; others store no data"
    )


def _report(data: Data) -> Iterator[RenderableType]:
    yield Text(f"wrote {data['html']}: {data['id']}, {data['phase']}")


VIEWS: Mapping[str, View] = {"upgrade report": _report, "upgrade run": _run, "upgrade matrix": _matrix}
