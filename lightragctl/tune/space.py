"""Which indexes a search tries, and the knob of each: candidates by type, ladders of `ef` and `nprobe`, bytes. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from lightragctl.core.settings import Index
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.model import index_spec

Param = int | str
_GRAPHS = {"HNSW", "HNSW_SQ"}
_LISTS = {"IVF_FLAT", "IVF_SQ8", "IVF_PQ", "SCANN", "IVF_RABITQ"}
_EF = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_NPROBE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
_FLAT_ROWS = 50_000
"""Above this number of rows an exact search is not tried: it was never the fastest."""
_LEAST_ROWS_OF_LIST = 39
"""faiss trains a list with at least this number of rows."""
_MOST_LISTS = 65_536
_REORDER = 10
"""SCANN reorders this number of rows for each that is wanted."""
_PQ_DIMENSIONS = (4, 2, 8)
"""Dimensions of a part that IVF_PQ encodes in a byte, in the order of preference."""
LIVE, GUIDE = "current", "guide"
"""Roles of candidates: the index as it is, and HNSW IP M=16 efConstruction=64, the usual advice for Milvus."""


@dataclass(frozen=True)
class Candidate:
    """An index to build.

    Attributes:
        name: unique, shown to users.
        index_type, metric: in Milvus's terms.
        params: build parameters, as pairs.
        lists_per_root: `nlist` is this times the square root of the rows; 0: it is in `params`, or there is none.
        role: `current`, `guide` or empty.
        search: parameters that are searched with at present; only of the current index.
    """

    name: str
    index_type: str
    metric: str
    params: tuple[tuple[str, Param], ...] = ()
    lists_per_root: float = 0.0
    role: str = ""
    search: tuple[tuple[str, int], ...] = ()

    @property
    def is_graph(self) -> bool:
        """Whether it is searched along a graph, so that `ef` is its knob."""
        return self.index_type in _GRAPHS

    @property
    def knob(self) -> str:
        """The search parameter that trades recall for speed; empty when there is none."""
        return "ef" if self.is_graph else "nprobe" if self.index_type in _LISTS else ""

    def build(self, rows: int) -> dict[str, Param]:
        """The build parameters for a number of rows."""
        params = dict(self.params)
        most = max(1, min(_MOST_LISTS, rows // _LEAST_ROWS_OF_LIST))
        if self.lists_per_root:
            params["nlist"] = max(1, min(most, 2 ** round(math.log2(self.lists_per_root * math.sqrt(rows)))))
        elif self.index_type in _LISTS:
            params["nlist"] = max(1, min(most, int(params.get("nlist", 128))))
        return params

    def ladder(self, rows: int, k: int, fine: bool = False) -> tuple[int, ...]:
        """The values of the knob to choose from, ascending; recall rises with them. `fine`: with those between."""
        found: tuple[int, ...] = (0,)
        if self.is_graph:
            found = tuple(one for one in _EF if one >= k) or (k,)
        elif self.knob:
            lists = int(self.build(rows)["nlist"])
            found = (*(one for one in _NPROBE if one < lists), lists)
        between = (round(math.sqrt(low * high)) for low, high in pairwise(found)) if fine else ()
        return tuple(sorted({*found, *between}))

    def search_params(self, value: int, k: int) -> dict[str, int]:
        """The parameters of a search with a value of the knob."""
        found = {self.knob: value} if self.knob else {}
        if self.index_type == "SCANN":
            found["reorder_k"] = max(_REORDER * k, 100)
        return found

    def bytes_per_row(self, dimension: int) -> float:
        """Bytes of a loaded index for each row, without what is the same for any number of rows.

        Source:
            Measured on Milvus 2.3.5 and Milvus Lite for HNSW and the flat types (docs/guides/tune.md); codes of the
            others by their definition in faiss and ScaNN.
        """
        params = dict(self.params)
        whole, links = 4.0 * dimension, 8.0 * int(params.get("M", 16)) + 16
        parts = {
            "HNSW": whole + links,
            "HNSW_SQ": dimension + links,
            "IVF_FLAT": whole + 8,
            "IVF_SQ8": dimension + 8.0,
            "IVF_PQ": int(params.get("m", dimension // 4)) + 8.0,
            "SCANN": whole + dimension / 4 + 8,
            "IVF_RABITQ": dimension / 8 + 16.0,
        }
        return parts.get(self.index_type, whole)

    def size_bytes(self, rows: int, dimension: int) -> int:
        """About the bytes of the loaded index."""
        lists = int(self.build(rows).get("nlist", 0))
        return round(self.bytes_per_row(dimension) * rows + 4.0 * dimension * lists)


def candidates(rows: int, dimension: int, current: Candidate) -> tuple[Candidate, ...]:
    """The indexes to try for a collection, the current one and the guide's first; each build once.

    Types that the server does not have are among them: it says so when one is built.
    """
    metric = current.metric
    tried = [
        current,
        Candidate("HNSW IP M=16 efConstruction=64", "HNSW", "IP", _hnsw(16, 64), role=GUIDE),
        *(Candidate(f"HNSW M={m} efConstruction={ef}", "HNSW", metric, _hnsw(m, ef)) for m, ef in _GRID),
        *_flat(rows, metric),
        *(_lists("IVF_FLAT", metric, share) for share in (1.0, 4.0)),
        _lists("IVF_SQ8", metric, 2.0),
        *_quantized(dimension, metric),
        _lists("SCANN", metric, 2.0, (("with_raw_data", "true"),)),
        Candidate("HNSW_SQ M=16 SQ8", "HNSW_SQ", metric, (*_hnsw(16, 200), ("sq_type", "SQ8"))),
        _lists("IVF_RABITQ", metric, 2.0),
    ]
    seen: dict[tuple[object, ...], Candidate] = {}
    for one in tried:
        seen.setdefault((one.index_type, one.metric, tuple(sorted(one.build(rows).items()))), one)
    return tuple(seen.values())


_GRID = ((16, 64), (8, 100), (16, 200), (32, 200), (48, 360))


def _hnsw(m: int, ef_construction: int) -> tuple[tuple[str, Param], ...]:
    return (("M", m), ("efConstruction", ef_construction))


def _flat(rows: int, metric: str) -> Iterator[Candidate]:
    if rows <= _FLAT_ROWS:
        yield Candidate("FLAT", "FLAT", metric)


def _lists(index_type: str, metric: str, share: float, params: tuple[tuple[str, Param], ...] = ()) -> Candidate:
    return Candidate(f"{index_type} nlist={share:g}*sqrt(rows)", index_type, metric, params, share)


def _quantized(dimension: int, metric: str) -> Iterator[Candidate]:
    """Product quantization, where the dimension can be divided."""
    width = next((one for one in _PQ_DIMENSIONS if dimension % one == 0), None)
    if width is not None:
        yield _lists("IVF_PQ", metric, 2.0, (("m", dimension // width), ("nbits", 8)))


def current_candidate(index: AppliedIndex, profile: Index) -> Candidate:
    """The index of a collection as a candidate, searched as it is at present.

    Args:
        index: of the collection; without search parameters where it is searched as the profile says.
        profile: whose `ef` or `nprobe` applies then.
    """
    spec = index_spec(profile)
    knob = Candidate("", index.index_type, index.metric).knob
    known: Mapping[str, int] = index.search or ({knob: spec.search[knob]} if knob in spec.search else {})
    params = tuple(sorted(index.build.items()))
    shown = " ".join((index.index_type, *(f"{name}={value}" for name, value in params)))
    return Candidate(f"current: {shown}", index.index_type, index.metric, params, 0.0, LIVE, tuple(known.items()))
