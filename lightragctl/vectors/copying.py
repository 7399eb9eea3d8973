"""What every copy of a collection needs beside reading and writing rows. Talks to a `CollectionStore`."""

import contextlib
from collections.abc import Iterator

from lightragctl.vectors.store import CollectionStore


@contextlib.contextmanager
def loaded(store: CollectionStore, name: str) -> Iterator[None]:
    """Loads a collection for the length of the block, and leaves it loaded or not, as it was before.

    A collection of which only some partitions are loaded is left so, and reading all of it is then refused. A process
    that is killed in the block leaves the collection loaded, which takes memory of the server.
    """
    before = store.is_loaded(name)
    if not before:
        store.load(name)
    try:
        yield
    finally:
        if not before:
            store.release(name)
