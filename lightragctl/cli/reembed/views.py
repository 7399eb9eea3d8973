"""Table view of `reembed`."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.operations.views import shown
from lightragctl.cli.tables import Data, View, table


def _reembed(data: Data) -> Iterator[RenderableType]:
    if "new_model" in data:
        yield Text(f"from {data['old_model']} to {data['new_model']}", style="bold")
        yield table(["COLLECTION", "TEXTS"], [[name, str(count)] for name, count in data["texts"].items()])
        yield Text(f"{data['total']} texts, about {data['characters']} characters, {data['tokens']} tokens")
        if data["seconds"] is not None:
            yield Text(f"about {data['seconds']:.0f} s at {data['texts_per_s']:.1f} texts/s")
    elif "results" in data:
        yield from shown(data)
        yield from _comparison(data["results"].get("comparison"))
    if data.get("profile_lines"):
        yield Text("set these in the profile, so that the next up agrees:")
        for line in data["profile_lines"]:
            yield Text(f"  {line}")


def _comparison(found: Any) -> Iterator[RenderableType]:
    if not found:
        return
    if found["old"] is not None:
        rows: list[list[RenderableType]] = [
            [name, f"{found['old'][key]:.3f}", f"{found['new'][key]:.3f}"]
            for name, key in (("hit@1", "hit_at_1"), ("hit@5", "hit_at_5"), ("nDCG@10", "ndcg"))
        ]
        yield Text(f"answers to {found['questions']} judged questions", style="bold")
        yield table(["METRIC", "OLD", "NEW"], rows)
    if found["overlap"] is not None:
        yield Text(f"overlap@10 of {found['golden_queries']} golden queries: {found['overlap']:.3f} (not a quality)")
    if found["old"] is None:
        yield Text("the answers were not judged: there are no judged questions (--questions FILE --qrels FILE)")


VIEWS: Mapping[str, View] = {"reembed": _reembed}
