"""What the answers of Milvus 2.3.5 and Milvus Lite 3.2.2 mean, each as it was seen, and how pymilvus is imported."""

import os
import subprocess
import sys

import pytest
from pymilvus.exceptions import DataNotMatchException, MilvusException

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.model import (
    CollectionMissingError,
    InvalidFilterError,
    InvalidRowError,
    NotLoadedError,
    StoreError,
    StoreUnavailableError,
)
from lightragctl.vectors.sdk import store_error

READ = [
    (100, "can't find collection collection not found[database=default][collection=zz]", CollectionMissingError),
    (100, "collection 'zz' does not exist", CollectionMissingError),
    (101, "failed to search: collection not loaded[collection=470693334206531455]", NotLoadedError),
    (101, "collection 'c' is in state 'released'", NotLoadedError),
    (65535, "fail to get shard leaders from QueryCoord: channel is not available", NotLoadedError),
    (65535, "failed to search: collection c has not fully loaded", NotLoadedError),
    (65535, "cannot parse expression: bogus ===, error: line 1:9 mismatched input", InvalidFilterError),
    (65535, "failed to create query plan: predicate is not a boolean expression: content", InvalidFilterError),
    (1100, "failed to create query plan: cannot parse expression: 1 +", InvalidFilterError),
    (6, "unexpected character '=' at column 9\n  bogus ===\n", InvalidFilterError),
    (1, "Python int too large to convert to C long", InvalidFilterError),
    (65535, "query failed:  => unsupported right datatype JSON of compare expr: service internal", InvalidFilterError),
    (65535, "query failed:  => unsupported expr proto node: value_expr {", InvalidFilterError),
    (2, "Fail connecting to server on 127.0.0.1:1, illegal connection params", StoreUnavailableError),
    (1, "[query] Retry timeout: 2.0s", StoreUnavailableError),
    (1, "Unexpected error, message=<Cannot invoke RPC on closed channel!>", StoreUnavailableError),
    (8, "rate limit exceeded", StoreUnavailableError),
    (65535, "metric type not match: invalid parameter[expected=IP][actual=L2]", StoreError),
    (1, "", StoreError),
]
WRITE = [
    (6, "VARCHAR field 'content' value length 101 exceeds max_length=100", InvalidRowError),
    (1100, "the length (101) of 0th string exceeds max length (100): invalid parameter", InvalidRowError),
    (65535, "value 'NaN' is not a number or infinity", InvalidRowError),
    (65535, "the length(5) of float data should divide the dim(8)", InvalidRowError),
    (9, "quota exceeded[reason=disk quota exceeded]", StoreError),
    (100, "collection not found[database=default][collection=zz]", CollectionMissingError),
]


@pytest.mark.parametrize(("code", "text", "expected"), READ)
def test_an_answer_to_a_read_is_told_in_our_words(code: int, text: str, expected: type[LightragctlError]) -> None:
    error = store_error(MilvusException(code, text), "docs")
    assert type(error) is expected
    assert "docs" in error.message or isinstance(error, InvalidFilterError)


@pytest.mark.parametrize(("code", "text", "expected"), WRITE)
def test_an_answer_to_a_write_is_told_in_our_words(code: int, text: str, expected: type[LightragctlError]) -> None:
    assert type(store_error(MilvusException(code, text), "docs", writing=True)) is expected


def test_a_row_that_pymilvus_itself_refuses_is_a_wrong_row() -> None:
    problem = DataNotMatchException(message="Insert missed an field `created_at` to collection")
    assert type(store_error(problem, "docs", writing=True)) is InvalidRowError


def test_the_environment_neither_disturbs_the_import_nor_is_changed_by_it() -> None:
    asked = "import os, lightragctl.vectors.search; print(os.environ['MILVUS_URI'])"
    environ = {**os.environ, "MILVUS_URI": "/data/milvus.db"}
    environ.pop("PYTHON_DOTENV_DISABLED", None)
    command = [sys.executable, "-c", f"{asked}; print(os.environ.get('PYTHON_DOTENV_DISABLED'))"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["/data/milvus.db", "None"], "")
