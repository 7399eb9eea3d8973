"""Facts: typed keys, their values, and why a fact is missing. Values are plain JSON in a bundle. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from lightragctl.core.errors import UsageError

T = TypeVar("T")


class MissingFactError(LookupError):
    """A check read a fact that it does not declare in `needs`: a mistake in our own code."""


@dataclass(frozen=True, eq=False)
class Fact(Generic[T]):
    """A key of a fact.

    Attributes:
        name: in a bundle and in messages.
        about: what the fact holds, for people.
        kind: its type, which pydantic reads and writes; its fields are the allow-list of what a bundle holds.
        private: it may hold text of users and never goes into a bundle.
    """

    name: str
    about: str
    kind: Any
    private: bool = False

    def dump(self, value: T) -> Any:
        """The value as plain JSON."""
        return TypeAdapter(self.kind).dump_python(value, mode="json")

    def load(self, document: Any) -> T:
        """The value from plain JSON.

        Raises:
            UsageError: the document is of another shape.
        """
        try:
            value: T = TypeAdapter(self.kind).validate_python(document)
        except ValidationError as error:
            raise UsageError(f"fact {self.name} of the bundle cannot be read: {error.errors()[0]['msg']}") from error
        return value


@dataclass
class Facts:
    """Collected facts; `missing` holds, by the fact's name, why it could not be collected."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _derived: dict[str, Any] = field(default_factory=dict, compare=False)

    def __getitem__(self, fact: Fact[T]) -> T:
        """The value.

        Raises:
            MissingFactError: it was not collected.
        """
        if fact.name not in self.values:
            raise MissingFactError(f"fact {fact.name} is missing: {self.reason(fact)}")
        value: T = self.values[fact.name]
        return value

    def __contains__(self, fact: Fact[Any]) -> bool:
        return fact.name in self.values

    def get(self, fact: Fact[T], default: T) -> T:
        """The value, or `default` when it was not collected."""
        value: T = self.values.get(fact.name, default)
        return value

    def put(self, fact: Fact[T], value: T) -> None:
        """Add a fact."""
        self.values[fact.name] = value
        self.missing.pop(fact.name, None)

    def miss(self, fact: Fact[Any], reason: str) -> None:
        """Note why a fact is missing; one that is there stays."""
        if fact not in self:
            self.missing.setdefault(fact.name, reason)

    def reason(self, fact: Fact[Any]) -> str:
        """Why the fact is missing."""
        return self.missing.get(fact.name, "not collected")

    def derived(self, name: str, derive: Callable[["Facts"], T]) -> T:
        """What `derive` makes of the facts; made once for each name."""
        if name not in self._derived:
            self._derived[name] = derive(self)
        value: T = self._derived[name]
        return value

    def document(self, known: Mapping[str, Fact[Any]]) -> dict[str, Any]:
        """Facts and reasons as plain JSON, without private facts."""
        public = {name: fact for name, fact in known.items() if not fact.private}
        values = {name: fact.dump(self.values[name]) for name, fact in sorted(public.items()) if name in self.values}
        hidden = dict.fromkeys(known.keys() - public.keys(), "not in a bundle: it may hold text of users")
        return {"facts": values, "missing": dict(sorted({**self.missing, **hidden}.items()))}

    @classmethod
    def of_document(cls, document: Mapping[str, Any], known: Mapping[str, Fact[Any]]) -> "Facts":
        """Facts from plain JSON; unknown names, as of a newer version, are passed over.

        Raises:
            UsageError: a fact is of another shape.
        """
        given = document.get("facts") or {}
        values = {name: known[name].load(value) for name, value in given.items() if name in known}
        return cls(values, {str(name): str(why) for name, why in (document.get("missing") or {}).items()})


def declared_in(namespace: Mapping[str, Any]) -> Iterator[Fact[Any]]:
    """The facts among a module's names."""
    return (value for value in namespace.values() if isinstance(value, Fact))
