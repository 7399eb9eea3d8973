"""Kubernetes quantities."""

from decimal import Decimal

import pytest

from lightragctl.core.quantity import quantity, words


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", "0.5"), ("2", "2"), ("1Gi", str(1024**3)), ("1.5Gi", str(3 * 2**29)), ("2k", "2000"), ("1e3", "1000")],
)
def test_a_quantity_is_the_number_that_kubernetes_means(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "1GB", "abc", "m", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("text", "resource", "said"),
    [
        ("1500m", "requests.cpu", "1.5"),
        ("250m", "limits.cpu", "250m"),
        ("1536Mi", "requests.memory", "1.5Gi"),
        ("20Gi", "requests.storage", "20Gi"),
        ("3", "pods", "3"),
    ],
)
def test_an_amount_is_said_as_a_person_writes_it(text: str, resource: str, said: str) -> None:
    assert words(quantity(text), resource) == said
