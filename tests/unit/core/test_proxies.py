"""Which proxy of the environment a connection takes: none to what is ours, that of the scheme to others."""

from collections.abc import Mapping

import pytest

from lightragctl.core.proxies import direct_variables, proxy_for

P, Q = "http://proxy:3128", "http://other:3128"
OUTSIDE = "http://models.example/v1"

CASES: list[tuple[str, Mapping[str, str], str | None]] = [
    (OUTSIDE, {}, None),
    (OUTSIDE, {"http_proxy": P}, P),
    (OUTSIDE, {"HTTP_PROXY": P}, P),
    (OUTSIDE, {"http_proxy": P, "HTTP_PROXY": Q}, P),
    (OUTSIDE, {"http_proxy": "", "HTTP_PROXY": P}, None),
    (OUTSIDE, {"https_proxy": P}, None),
    (OUTSIDE, {"all_proxy": P}, P),
    (OUTSIDE, {"ALL_PROXY": P, "http_proxy": Q}, Q),
    (OUTSIDE, {"http_proxy": "proxy:3128"}, P),
    (OUTSIDE, {"http_proxy": "http://ann:p%40ss@proxy"}, "http://ann:p%40ss@proxy:80"),
    (OUTSIDE, {"http_proxy": "https://proxy"}, "https://proxy:443"),
    (OUTSIDE, {"all_proxy": "socks5://proxy:1080"}, None),
    ("https://models.example", {"https_proxy": P, "http_proxy": Q}, P),
    ("https://models.example", {"http_proxy": P}, None),
    ("grpc://milvus.example:19530", {"http_proxy": P}, P),
    ("grpc://milvus.example:19530", {"https_proxy": P, "http_proxy": Q}, P),
    ("grpc://milvus.example:19530", {"GRPC_PROXY": P, "https_proxy": Q}, P),
    ("http://127.0.0.1:8080", {"http_proxy": P}, None),
    ("http://127.8.8.8:8080", {"http_proxy": P}, None),
    ("http://localhost:8080", {"http_proxy": P}, None),
    ("http://[::1]:8080", {"http_proxy": P}, None),
    ("grpc://127.0.0.1:19530", {"grpc_proxy": P}, None),
    ("http://op-lightrag-api:8080", {"http_proxy": P}, None),
    ("http://op-embedder.op.svc:8080", {"http_proxy": P}, None),
    ("http://op-embedder.op.svc.cluster.local:8080", {"http_proxy": P}, None),
    (OUTSIDE, {"http_proxy": P, "no_proxy": "*"}, None),
    (OUTSIDE, {"http_proxy": P, "NO_PROXY": "a.b, .example"}, None),
    (OUTSIDE, {"http_proxy": P, "no_proxy": "example"}, None),
    (OUTSIDE, {"http_proxy": P, "no_proxy": "ample"}, P),
    (OUTSIDE, {"http_proxy": P, "no_proxy": "models.example:80"}, P),
    ("http://models.example:80", {"http_proxy": P, "no_proxy": "models.example:80"}, None),
    ("https://192.0.2.254:6443", {"https_proxy": P, "no_proxy": "192.0.2.0/24"}, None),
    ("https://192.0.2.254:6443", {"https_proxy": P, "no_proxy": "198.51.100.0/24"}, P),
    ("https://192.0.2.254:6443", {"https_proxy": P, "no_proxy": "192.0.2.254"}, None),
    ("https://[2001:db8::5]:6443", {"https_proxy": P, "no_proxy": "2001:db8::/32"}, None),
    ("https://[2001:db8::5]:6443", {"https_proxy": P}, P),
]


@pytest.mark.parametrize(("url", "environ", "expected"), CASES, ids=[f"{url} {environ}" for url, environ, _ in CASES])
def test_the_proxy_of_an_address(url: str, environ: Mapping[str, str], expected: str | None) -> None:
    assert proxy_for(url, environ) == expected


def test_a_process_that_is_not_ours_is_told_what_to_ask_directly() -> None:
    found = direct_variables(["http://op-vector-engine:19530"], {"NO_PROXY": "corp.example"})
    assert found["no_proxy"] == found["NO_PROXY"] == "corp.example,127.0.0.1,localhost,op-vector-engine"
