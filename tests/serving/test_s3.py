"""Signatures of requests to S3, against the examples of its reference ("Authenticating Requests", header-based)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serving.s3 import Bucket, Credentials, Refused, canonical_query, signed

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("path", "query", "headers", "signature"),
    [
        ("/test.txt", {}, {"Range": "bytes=0-9"}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("/", {"prefix": "J", "max-keys": "2"}, {}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_requests_are_signed_as_the_reference_signs_them(path: str, query: dict, headers: dict, signature: str) -> None:
    found = signed(
        "GET", host="examplebucket.s3.amazonaws.com", path=path, query=canonical_query(query), headers=headers, data=b"",
        credentials=EXAMPLE, at=datetime(2013, 5, 24, tzinfo=UTC),
    )  # fmt: skip
    assert found["authorization"].endswith(f"Signature={signature}")
    assert "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request" in found["authorization"]


def test_storage_that_is_away_is_named_with_the_call() -> None:
    with pytest.raises(Refused, match=r"cannot be reached for PUT shelf/a\.bin"):
        Bucket("http://127.0.0.1:9", "shelf", EXAMPLE).put("a.bin", b"1")
