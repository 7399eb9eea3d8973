"""index list, show, rebuild, compact, load, release, lifecycle."""

from typing import Annotated

import typer

from lightragctl.cli.backup.commands import DryRun
from lightragctl.cli.deploy.commands import Timeout
from lightragctl.cli.operations.commands import Foreground
from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="COLLECTION...",
        help="Collections by name or alias; chunks, entities, relationships and control are those of the workspace.",
        show_default=False,
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTION",
        help="Collection by name or alias, or chunks, entities, relationships or control of the workspace.",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the small segments are merged and indexed.")]


def list_(session: Session) -> Result:
    """List the collections with their indexes: owner, rows, index, segments, memory, and whether they are loaded.

    Exit status 4 when an index is not complete.

    \b
    Examples:
      lightragctl index list
      lightragctl index list --profile dev -o json
    """
    from lightragctl.cli.index import payloads
    from lightragctl.index.place import open_indexes

    with open_indexes(session.release) as place:
        return payloads.index_list(session.release.name, place.store.server_version(), place.states())


def show(session: Session, collection: Name) -> Result:
    """Show one collection: fields of its index, build progress, segments, memory, and what reads it.

    \b
    Examples:
      lightragctl index show chunks
      lightragctl index show default_entities_multilingual_e5_small_384d -o yaml
    """
    from lightragctl.cli.index import payloads
    from lightragctl.index.place import open_indexes

    with open_indexes(session.release) as place:
        (one,) = place.chosen([collection])
        return payloads.index_show(one, place.store.segments(one.name))


def rebuild(
    session: Session,
    collection: Name,
    as_profile: Annotated[
        bool,
        typer.Option("--as-profile", help="Build the index that the profile describes instead of the present one."),
    ] = False,
    foreground: Foreground = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
) -> Result:
    """Rebuild the index of a collection: copy its rows, verify the copy, switch to it, keep the previous one.

    It is an operation: lightragctl operations status. To find a better index first: lightragctl tune search.

    \b
    Examples:
      lightragctl index rebuild chunks --dry-run
      lightragctl index rebuild chunks --as-profile --yes
    """
    from lightragctl.cli.index import rebuilding

    return rebuilding.rebuild(session, rebuilding.Wanted(collection, as_profile, timeout_s), foreground, dry_run)


def lifecycle(
    session: Session,
    apply: Annotated[bool, typer.Option("--apply", help="Do what the rules ask for, after a confirmation.")] = False,
    timeout_s: Timeout = 600.0,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", hidden=True)] = False,
) -> Result:
    """Show what the life-cycle rules of the profile (section lifecycle) ask for now, and with --apply do it.

    Searches are counted from one --apply to the next, so that a collection is cold only after several of them; the
    CronJob of lifecycle.schedule applies the rules on a cluster.

    \b
    Examples:
      lightragctl index lifecycle --set lifecycle.compact_small_segments=4
      lightragctl index lifecycle --apply --yes
    """
    from lightragctl.cli.index import living
    from lightragctl.cli.operations.steering import in_pod

    with in_pod(session, in_cluster) as opened:
        return living.lifecycle(opened, apply, in_cluster, timeout_s)


def compact(
    session: Session, collections: Names, wait: Wait = True, timeout_s: Timeout = 600.0, dry_run: DryRun = False
) -> Result:
    """Merge the small segments of collections, and drop deleted rows from disk. Queries are answered meanwhile.

    Milvus Lite merges by itself and is refused (exit status 8).

    \b
    Examples:
      lightragctl index compact chunks --profile dev
      lightragctl index compact chunks entities relationships --dry-run
    """
    from lightragctl.cli.index import changing
    from lightragctl.index.place import compact as compact_one

    def act(place: changing.IndexPlace, one: changing.IndexState, notify: changing.Notify) -> changing.Changed:
        return compact_one(place, one, wait, notify)

    return changing.change(session, changing.Request(collections, "compacted", timeout_s, dry_run), act)


def load(session: Session, collections: Names, timeout_s: Timeout = 600.0, dry_run: DryRun = False) -> Result:
    """Load collections into the memory of Milvus, and wait until they can be searched.

    \b
    Examples:
      lightragctl index load chunks
      lightragctl index load kept_3f9a1c_1 --timeout 1800
    """
    from lightragctl.cli.index import changing
    from lightragctl.index.place import load as load_one

    return changing.change(session, changing.Request(collections, "loaded", timeout_s, dry_run), load_one)


def release(session: Session, collections: Names, timeout_s: Timeout = 600.0, dry_run: DryRun = False) -> Result:
    """Release collections from the memory of Milvus; the data stay. Asks before it releases one that is served.

    lightrag-api and lightrag-server load a collection again with the next query, which is slow, or answers 503.

    \b
    Examples:
      lightragctl index release kept_3f9a1c_1
      lightragctl index release chunks --yes
    """
    from lightragctl.cli.index import changing
    from lightragctl.index.place import release_memory

    return changing.change(session, changing.Request(collections, "released", timeout_s, dry_run), release_memory)
