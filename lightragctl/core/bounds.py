"""Types with Kubernetes' rules: names, labels, images, quantities, addresses; each message states its rule. Pure."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

_LABEL_TEXT = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_DNS = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_DNS}(?:\.{_DNS})*"
_HOST_PORT = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?)*(?::[0-9]+)?"
_IMAGE_STEP = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"


def _bounded(check: Callable[[str], str]) -> AfterValidator:
    """The check as a pydantic validator; strings in the validation context are placeholders and pass."""

    def judge(text: str, info: ValidationInfo) -> str:
        return text if info.context and text in info.context else check(text)

    return AfterValidator(judge)


def _checked(kind: str, rule: str, form: str, most: int) -> Callable[[str], str]:
    """A check that a string matches a pattern and has at most `most` characters."""
    pattern = re.compile(form)

    def check(text: str) -> str:
        if len(text) > most or not pattern.fullmatch(text):
            raise ValueError(f"'{text}' is not a valid {kind}: {rule}, at most {most} characters")
        return text

    return check


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if slash:
        _subdomain(prefix)
    _label_name(name)
    return text


_subdomain = _checked(
    "DNS name", "lower-case letters, digits, - and ., a letter or digit at both ends", _SUBDOMAIN, 253
)
_label_name = _checked(
    "label key",
    "letters, digits, -, _ and ., a letter or digit at both ends, after an optional PREFIX/",
    _LABEL_TEXT,
    63,
)

check_name = _checked(
    "name of an object", "lower-case letters, digits, - and ., a letter or digit at both ends", _SUBDOMAIN, 253
)
Name = Annotated[str, _bounded(check_name)]
"""The name of most objects: a DNS-1123 subdomain."""

Label = Annotated[
    str,
    _bounded(
        _checked(
            "label value", "letters, digits, -, _ and ., a letter or digit at both ends", f"(?:{_LABEL_TEXT})?", 63
        )
    ),
]
LabelKey = Annotated[str, _bounded(_label_key)]

DataKey = Annotated[str, _bounded(_checked("key of a Secret", "letters, digits, -, _ and .", r"[-._a-zA-Z0-9]+", 253))]

Variable = Annotated[
    str,
    _bounded(
        _checked(
            "environment variable", "letters, digits, _, - and ., no digit first", r"[-._a-zA-Z][-._a-zA-Z0-9]*", 253
        )
    ),
]

Host = Annotated[
    str,
    _bounded(
        _checked(
            "host name",
            "lower-case letters, digits, - and ., or *. before one, and no address",
            rf"(?![0-9.]+$)(?:\*\.)?{_SUBDOMAIN}",
            253,
        )
    ),
]

ImageTag = Annotated[
    str,
    _bounded(
        _checked(
            "image tag",
            "letters, digits, _, . and -, no . or - first; @sha256:... may follow",
            r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?:@sha256:[0-9a-f]{64})?",
            200,
        )
    ),
]

ImageRepository = Annotated[
    str,
    _bounded(
        _checked(
            "image repository",
            "HOST[:PORT]/ where it is not the default registry, then lower-case letters, digits, ., _, - and /",
            rf"(?:(?:localhost|{_HOST_PORT})/)?{_IMAGE_STEP}(?:/{_IMAGE_STEP})*",
            255,
        )
    ),
]

_quantity = _checked(
    "quantity", "a number and a unit, such as 500m, 2, 512Mi, 10Gi", r"[0-9]+(?:\.[0-9]+)?(?:m|[kMGTPE]|[KMGTPE]i)?", 30
)


def _number_as_text(value: Any) -> Any:
    """Kubernetes accepts `cpu: 1`, which YAML reads as a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


Amount = Annotated[str, BeforeValidator(_number_as_text), _bounded(_quantity)]
"""An amount of a resource in Kubernetes's units."""
Size = Annotated[
    str,
    BeforeValidator(_number_as_text),
    _bounded(
        _checked(
            "size of a volume",
            "a number above 0 and a unit, such as 10Gi",
            r"(?=[0-9.]*[1-9])[0-9]+(?:\.[0-9]+)?(?:[kMGTPE]|[KMGTPE]i)?",
            30,
        )
    ),
]
