"""Numbers that are read of metrics, certificates and profiles."""

import base64
from datetime import UTC, datetime

import httpx
import pytest

from lightragctl.client.series import parse_series, quantile, total
from lightragctl.diagnose.certificates import expires_at
from lightragctl.diagnose.checks.models import CHECKS, kind_of
from lightragctl.diagnose.collect.sources import models
from lightragctl.diagnose.deployed import deployed
from lightragctl.diagnose.model import FOREIGN, Endpoint
from lightragctl.diagnose.signatures import count_signs, since
from lightragctl.diagnose.text import percent, sized

TEXT = """# HELP x y
milvus_proxy_req_count{function_name="Search",status="fail"} 3
milvus_proxy_req_count{function_name="Search",status="success"} 97
other_series 1
wait_bucket{le="0.1"} 50
wait_bucket{le="1"} 99
wait_bucket{le="+Inf"} 100
broken NaN
quoted{name="a \\"b\\", c"} 2 1700000000
"""


def test_wanted_series_are_read_with_their_labels() -> None:
    found = parse_series(TEXT, lambda name: not name.startswith("other"))
    assert total(found["milvus_proxy_req_count"], status="fail") == 3
    assert total(found["milvus_proxy_req_count"]) == 100
    assert found.keys() == {"milvus_proxy_req_count", "wait_bucket", "quoted"}
    assert found["quoted"] == [({"name": 'a \\"b\\", c'}, 2.0)]


@pytest.mark.parametrize(("at", "bound"), [(0.5, 0.1), (0.99, 1.0), (1.0, float("inf"))])
def test_a_quantile_is_the_bound_of_its_bucket(at: float, bound: float) -> None:
    assert quantile(parse_series(TEXT, lambda name: True), "wait", at) == bound


def test_a_histogram_without_samples_has_no_quantile() -> None:
    assert quantile({}, "wait", 0.5) is None


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    head = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + head + content


def certificate(text: bytes, tag: int, versioned: bool = True) -> bytes:
    validity = der(0x30, der(0x17, b"250101000000Z") + der(tag, text))
    version = der(0xA0, der(0x02, b"\x02")) if versioned else b""
    body = version + der(0x02, b"\x01") + der(0x30, b"") + der(0x30, b"x" * 200) + validity + der(0x30, b"")
    encoded = base64.b64encode(der(0x30, der(0x30, body) + b"rest"))
    return b"-----BEGIN CERTIFICATE-----\n" + encoded + b"\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(("text", "tag"), [(b"270601120000Z", 0x17), (b"20270601120000Z", 0x18)])
@pytest.mark.parametrize("versioned", [True, False])
def test_the_end_of_a_certificate_is_read(text: bytes, tag: int, versioned: bool) -> None:
    until = expires_at(certificate(text, tag, versioned))
    assert until == datetime(2027, 6, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_has_no_end(pem: bytes) -> None:
    assert expires_at(pem) is None


def test_a_release_is_read_from_the_values_of_its_record() -> None:
    values = {
        "runtime": "local",
        "workspace": "w",
        "models": {"embedding": {"name": "My Model", "dimension": 8, "url": "http://u:p@h/v1"}},
        "local": {"port_offset": 100},
        "components": {
            "lightrag-api": {"port": 8080, "deadlines": {"request_s": 30}, "cache": {"result_bytes": 5}},
            "vector-engine": {
                "port": 19530,
                "topology": "cluster",
                "roles": {"querynode": {"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}}},
            },
            "kafka": {"heap": "512m"},
        },
    }
    found = deployed("r", "p", values, ["lightrag-api", "vector-engine", "kafka"], 0.0)
    assert (found.suffix, found.request_s, found.cache_bytes) == ("my_model_8d", 30.0, 5)
    assert (found.query_memory_bytes, found.jvm_heap_bytes) == (2 * 1024**3, 512 * 1024**2)
    assert found.components["lightrag-api"].port == 8180
    assert "u:p" not in found.embedding_at
    assert found.behind("lightrag-api") == {"vector-engine", "kafka"}


def test_amounts_are_told_in_units_that_a_person_reads() -> None:
    assert [sized(one) for one in (10, 2048, 3 * 1024**3)] == ["10 B", "2.0 KiB", "3.0 GiB"]
    assert percent(1, 0) == "0 %"


FOREIGN_ANSWERS = [
    ("a page", b"<html>Sign in</html>", True),
    ("an error with status 200", b'{"error": {"message": "no"}}', True),
    ("a list", b"[]", True),
    ("another shape", b'{"data": {"x": 1}, "choices": "x"}', True),
    ("the API", b'{"data": [{"embedding": [1.0]}], "choices": []}', False),
]


@pytest.mark.parametrize(
    ("body", "foreign"), [row[1:] for row in FOREIGN_ANSWERS], ids=[row[0] for row in FOREIGN_ANSWERS]
)
@pytest.mark.parametrize("kind", ["embedding", "chat"])
def test_an_answer_that_is_not_of_the_openai_api_is_told_apart(kind: str, body: bytes, foreign: bool) -> None:
    found = models._measured(httpx.Response(200, content=body), kind)
    assert (found.get("code") == FOREIGN) is foreign
    assert b"Sign in" not in str(found).encode()


REASONS = [
    ("certificate", "cannot connect to https://h: certificate verify failed: self-signed certificate"),
    ("not-tls", "cannot connect to https://h: [SSL: WRONG_VERSION_NUMBER] wrong version number"),
    ("dns", "cannot connect to http://h: Name or service not known"),
    ("refused", "cannot connect to http://h: Connect call failed ('127.0.0.1', 9)"),
    ("network", "no connection to http://h within 5 s"),
    ("proxy", "cannot connect to http://h through the proxy http://p:1: Connection refused"),
    ("", "cannot connect to http://h: planted-s3cret"),
]


@pytest.mark.parametrize(("cause", "text"), REASONS, ids=[row[0] or "unknown" for row in REASONS])
def test_why_an_endpoint_is_unreachable_is_kept_by_name_and_not_by_its_text(cause: str, text: str) -> None:
    assert models._cause(httpx.Response(503, json={"error": {"message": text}})) == cause


def test_an_endpoint_behind_a_firewall_is_unreachable_and_not_slow() -> None:
    assert kind_of(Endpoint("chat", "m", "", 504, "upstream_unreachable")) == "unreachable"
    assert kind_of(Endpoint("chat", "m", "", 504, "upstream_timeout")) == "late"
    assert kind_of(Endpoint("chat", "m", "", 302)) == "foreign"
    assert kind_of(Endpoint("chat", "m", "", 402)) == "credit"
    assert kind_of(Endpoint("chat", "m", "", 429, "rate_limit_exceeded")) == "rate"
    assert {"LR301", "LR304", "LR314"} <= {one.code for one in CHECKS}


def test_errors_of_an_earlier_start_are_no_signs() -> None:
    log = [
        "  File x",
        "2026-11-30 10:00:01,5 ERROR no such host",
        "getaddrinfo",
        "2026-11-30 10:00:09 INFO x",
        "EMFILE",
    ]
    assert count_signs(since(log, "2026-11-30 10:00:05")) == {"open-files": 1}
    assert count_signs(since(log, "2026-11-30 10:00:00")) == {"dns": 2, "open-files": 1}
    assert since(["no time"], "2026-11-30 10:00:05") == ["no time"]


def test_of_a_foreign_code_only_known_words_are_kept() -> None:
    def code(value: object) -> str:
        return models._code(httpx.Response(500, json={"error": {"code": value, "message": "planted-s3cret"}}))

    assert code("insufficient_quota") == "insufficient_quota"
    assert code("urn:lightragctl:upstream_key") == "upstream_key"
    assert code("planted-s3cret") == code({"planted-s3cret": 1}) == models.OTHER_CODE
    assert models._code(httpx.Response(500, text="planted-s3cret")) == ""
