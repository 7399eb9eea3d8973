"""What a cache keeps, and what it lets go."""

from hypothesis import given
from hypothesis import strategies as st

from lightragctl.service.cache import ENTRY_BYTES, ByteCache


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def cache(entries: int, age_s: float = 0.0, clock: Clock | None = None) -> ByteCache[str, int]:
    """Room for so many entries of 100 bytes."""
    return ByteCache(entries * (ENTRY_BYTES + 100), age_s, clock or Clock())


def test_the_least_recently_used_goes_first() -> None:
    subject = cache(2)
    subject.put("a", 1, 100)
    subject.put("b", 2, 100)
    assert subject.get("a") == 1
    subject.put("c", 3, 100)
    assert (subject.get("a"), subject.get("b"), subject.get("c")) == (1, None, 3)


def test_an_entry_is_not_given_out_past_its_age() -> None:
    clock = Clock()
    subject = cache(2, age_s=5, clock=clock)
    subject.put("a", 1, 100)
    clock.now_s = 4.9
    assert subject.get("a") == 1
    clock.now_s = 5.0
    assert subject.get("a") is None
    assert (len(subject), subject.size_bytes) == (0, 0)


def test_without_room_nothing_is_kept() -> None:
    subject = cache(0)
    subject.put("a", 1, 0)
    assert subject.get("a") is None


def test_what_is_larger_than_everything_pushes_nothing_out() -> None:
    subject = cache(2)
    subject.put("a", 1, 100)
    subject.put("b", 2, 10_000)
    assert (subject.get("a"), subject.get("b")) == (1, None)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2000))))
def test_it_never_takes_more_than_it_may(puts: list[tuple[str, int]]) -> None:
    subject = cache(5)
    for key, size in puts:
        subject.put(key, size, size)
        assert subject.size_bytes <= 5 * (ENTRY_BYTES + 100)
    assert subject.size_bytes == sum(
        value + ENTRY_BYTES for key in "abcdefgh" if (value := subject.get(key)) is not None
    )
