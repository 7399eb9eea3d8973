"""The steps of a re-embedding. Each may be repeated, by another process too."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from lightragctl.backup.fences import Fences
from lightragctl.backup.replace import KEPT_DAYS
from lightragctl.backup.steps import rest, start, token_of
from lightragctl.core.errors import LightragctlError
from lightragctl.operations.kind import Context
from lightragctl.operations.model import Kept
from lightragctl.reembed import control, names, texts
from lightragctl.reembed.compare import Judged, compare, refuse_worse
from lightragctl.reembed.names import Move
from lightragctl.reembed.site import Site, Target, target_of
from lightragctl.service.workspaces import PROBE_TEXT
from lightragctl.vectors.fence import Fence, FenceTerms, hold

Open = Callable[[Context], AbstractContextManager[Site]]
_PROBE = "probe"


class Reembedding:
    """Embed beside, compare, switch; until the switch readers see nothing of it.

    Args:
        open_site: opens the release.
    """

    def __init__(self, open_site: Open) -> None:
        self.open = open_site
        self.fences = Fences()

    def check(self, context: Context) -> None:
        """Plan the new collections, and embed the probe text: the new model answers, with the right dimension."""
        with self.open(context) as site:
            planned = names.moves(site.schemas(), site.workspace, site.old, site.new, token_of(context))
            schemas = site.schemas()
            for move in planned:
                names.of_dimension(schemas[move.source], site.new.dimension)
            with site.open_new() as model:
                probe = model.passages([PROBE_TEXT])[0]
            context.save_result(_PROBE, [float(value) for value in probe])
            context.save_result("moves", names.to_plain(planned))
        context.save_result("checked", True)

    def copy(self, context: Context) -> None:
        """Embed every text into new collections; writes and queries go on meanwhile."""
        with self.open(context) as site:
            self._sync(context, site)
        context.save_result("copied", True)

    def uncopy(self, context: Context) -> None:
        """Delete the new collections."""
        with self.open(context) as site:
            seeded = context.record.results.get("seeded", {})
            for move in _moves(context):
                context.check()
                if move.copy not in seeded:
                    site.store.drop(move.copy)
                elif site.store.resolve(move.copy) == move.copy:
                    site.store.rename(move.copy, seeded[move.copy])
        context.save_result("copied", False)

    def compare(self, context: Context) -> None:
        """Compare the answers of both models, and refuse a worse one."""
        given = context.record.parameters
        with self.open(context) as site:
            chunks = next((one for one in _moves(context) if one.source.startswith(f"{site.workspace}_chunks_")), None)
            if chunks is not None:
                site.store.load(chunks.copy)
                judged = Judged(given["questions"], given["qrels"]) if given.get("questions") else None
                with site.open_new() as model:
                    found = compare(
                        judged,
                        site.golden(),
                        lambda asked, k: site.hits(chunks.source, site.ask_old(asked), k),
                        lambda asked, k: site.hits(chunks.copy, model.questions(asked), k),
                    )
                context.save_result("comparison", asdict(found))
                refuse_worse(found, float(given["max_drop"]))
        context.save_result("compared", True)

    def fence(self, context: Context) -> None:
        """Block writes through lightrag-api."""
        if not self.is_fenced(context):
            self.fences.take(context.record.id, self._fenced(context))

    def is_fenced(self, context: Context) -> bool:
        """Whether this process holds the fence."""
        return self.fences.holds(context.record.id)

    def unfence(self, context: Context) -> None:
        """Let writes through again."""
        self.fences.release(context.record.id)

    @contextmanager
    def _fenced(self, context: Context) -> Iterator[Fence]:
        timeout_s = float(context.record.parameters["timeout_s"])
        terms = FenceTerms(context.record.id, f"operation {context.record.id}", drain_s=timeout_s)
        with (
            self.open(context) as site,
            hold(site.store, site.workspace, terms, context.notify, site.clock) as fence,
        ):
            yield fence

    def stop_writer(self, context: Context) -> None:
        """Stop lightrag-server, where it serves the workspace."""
        with self.open(context) as site:
            if site.writer is not None:
                rest(context, site.writer)
        context.save_result("writer_at_rest", True)

    def start_writer(self, context: Context) -> None:
        """Start lightrag-server again, with the model that the release has by now."""
        with self.open(context) as site:
            if site.writer is not None:
                start(context, site.writer)
        context.save_result("writer_at_rest", False)

    def catch_up(self, context: Context) -> None:
        """Embed what was written since the copy, and compare the numbers of rows."""
        with self.open(context) as site:
            self._sync(context, site)
            for move in _moves(context):
                site.store.load(move.source)
                before, after = site.store.row_count(move.source), site.store.row_count(move.copy)
                if before != after:
                    raise LightragctlError(f"{move.copy} has {after} rows, {move.source} has {before}")
        self.fences.held(context.record.id).confirm()
        context.save_result("caught_up", True)

    def is_caught_up(self, context: Context) -> bool:
        """Whether nothing was written since: the fence is still the one of then, or the names are given."""
        results = context.record.results
        return bool(results.get("caught_up")) and (bool(results.get("named")) or self.is_fenced(context))

    def name(self, context: Context) -> None:
        """Give the new collections the names that services with the new model look for."""
        if not context.record.results.get("named"):
            self.fences.held(context.record.id)
        context.save_result("named", True)
        with self.open(context) as site:
            store = site.store
            for move in _moves(context):
                if store.resolve(move.copy) == move.copy:
                    context.check()
                    store.rename(move.copy, move.name)
                store.load(move.name)
                if move.alias:
                    context.check()
                    store.point_alias(move.alias, move.name)
            control.move_index(
                store, site.workspace, {move.source: move.name for move in _moves(context)}, context.check
            )
            control.note_model(store, site.workspace, site.new, context.record.results[_PROBE], context.check)
            moved = control.move_documents(store, site.workspace, site.old, site.new, context.check)
        context.save_result("documents", context.record.results.get("documents", 0) or moved)
        context.save_result("all_named", True)

    def is_named(self, context: Context) -> bool:
        """Whether the new collections have their names, and the control collection their model."""
        if not context.record.results.get("all_named"):
            return False
        with self.open(context) as site:
            return all(site.store.resolve(move.alias or move.name) == move.name for move in _moves(context))

    def unname(self, context: Context) -> None:
        """Take the names away again."""
        context.save_result("all_named", False)
        with self.open(context) as site:
            store = site.store
            for move in _moves(context):
                if move.alias and store.resolve(move.alias) not in (None, move.alias):
                    context.check()
                    store.drop_alias(move.alias)
                if store.resolve(move.name) == move.name:
                    context.check()
                    store.rename(move.name, move.copy)
            control.move_index(store, site.workspace, {move.name: "" for move in _moves(context)}, context.check)
            control.move_documents(store, site.workspace, site.new, site.old, context.check)
            control.forget_model(store, site.workspace, site.new, context.check)
        context.save_result("named", False)

    def switch(self, context: Context) -> None:
        """Start the services with the new model: lightrag-api, the models, and the settings of lightrag-server."""
        with self.open(context) as site:
            before = site.applied()
            context.save_original("release", {"profile_name": before.profile_name, "profile": dict(before.profile)})
            context.check()
            site.apply(target_of(context), context.record.id)
        context.save_result("switched", True)

    def is_switched(self, context: Context) -> bool:
        """Whether the release was applied with the new model."""
        with self.open(context) as site:
            return bool(context.record.results.get("switched")) and _model(site.applied()) == _model(target_of(context))

    def unswitch(self, context: Context) -> None:
        """Start the services with the old model again."""
        saved = context.record.originals.get("release")
        if saved is not None:
            with self.open(context) as site:
                context.check()
                site.apply(Target(saved["profile_name"], saved["profile"]), context.record.id)
        context.save_result("switched", False)

    def confirm(self, context: Context) -> None:
        """Verify that readers have the new collections, and keep the old ones under names that nothing reads."""
        with self.open(context) as site:
            planned = _moves(context)
            chunks = next((one for one in planned if one.name.startswith(f"{site.workspace}_chunks_")), None)
            if chunks is not None:
                site.prove(chunks.name)
            now = context.now()
            for move in planned:
                if site.store.resolve(move.source) == move.source:
                    about = f"previous collection {move.source} of model {site.old.name}"
                    expires_at = now + timedelta(days=KEPT_DAYS)
                    context.keep(
                        Kept(name=f"collection:{move.kept}", about=about, created_at=now, expires_at=expires_at)
                    )
                    if move.old_alias:
                        context.check()
                        site.store.drop_alias(move.old_alias)
                    context.check()
                    site.store.rename(move.source, move.kept)
                site.store.release(move.kept)
        context.save_result("confirmed", True)

    def unconfirm(self, context: Context) -> None:
        """Give the old collections their names again."""
        with self.open(context) as site:
            for move in _moves(context):
                if site.store.resolve(move.kept) == move.kept:
                    context.check()
                    site.store.rename(move.kept, move.source)
                if site.store.resolve(move.source) == move.source:
                    site.store.load(move.source)
                    if move.old_alias:
                        context.check()
                        site.store.point_alias(move.old_alias, move.source)
        context.save_result("confirmed", False)

    def _sync(self, context: Context, site: Site) -> None:
        """Bring every copy up to date with its source, at most at the wanted rate."""
        schemas = site.schemas()
        total = sum(context.record.parameters["cost"]["texts"].values())
        pace = _Pace(context, site, total)
        with _lazily(site) as embed:
            for move in _moves(context):
                self._seed(context, site, move)
                texts.prepare(site.store, schemas[move.source], move.copy, site.new.dimension)
                watch = texts.Watch(context.check, pace.embedded, pace.seen)
                texts.sync(site.store, schemas[move.source], move.copy, embed, watch)

    @staticmethod
    def _seed(context: Context, site: Site, move: Move) -> None:
        """Begin with vectors of this model that an earlier re-embedding kept, where there are any."""
        seed = context.record.parameters["seeds"].get(move.alias or move.name)
        if seed and site.store.resolve(seed) == seed and site.store.resolve(move.copy) is None:
            seeded = dict(context.record.results.get("seeded", {}))
            context.save_result("seeded", {**seeded, move.copy: seed})
            context.check()
            site.store.rename(seed, move.copy)


class _Pace:
    """Counts texts, reports them, and waits where they are embedded faster than wanted."""

    def __init__(self, context: Context, site: Site, total: int) -> None:
        self._context, self._site, self._total = context, site, total
        self._rate = float(context.record.parameters.get("max_rate") or 0)
        self._begun_s = site.clock.monotonic()
        self._embedded, self._done = 0, 0

    def embedded(self, count: int) -> None:
        """Count embedded texts."""
        self._embedded += count
        self.seen(count)
        while self._rate and (early_s := self._embedded / self._rate - self._elapsed_s()) > 0:
            self._site.clock.pause(min(1.0, early_s))
            self._report()

    def seen(self, count: int) -> None:
        """Count rows that are done."""
        self._done += count
        self._report()

    def _elapsed_s(self) -> float:
        return self._site.clock.monotonic() - self._begun_s

    def _report(self) -> None:
        self._context.report(self._done, max(self._total, self._done), "texts")


@contextmanager
def _lazily(site: Site) -> Iterator[texts.Embed]:
    """The new model, which is opened with the first text: to find nothing to do takes no model."""
    with ExitStack() as opened:
        held: list[texts.Embed] = []

        def embed(asked: Any) -> Any:
            if not held:
                held.append(opened.enter_context(site.open_new()).passages)
            return held[0](asked)

        yield embed


def _moves(context: Context) -> list[Move]:
    return names.from_plain(context.record.results.get("moves", []))


def _model(target: Target) -> Any:
    """What a profile says of the embedding model."""
    return target.profile["models"]["embedding"]
