"""Objects in S3-compatible storage over its REST API, path-style, signed with AWS Signature Version 4.

After the S3 API Reference: GetObject, PutObject, DeleteObject, ListObjectsV2, and "Authenticating Requests (AWS Signature
Version 4)". The cloud's own library is not needed: it would bring a hundred megabytes into the web process. Every call may be
repeated. Not here: multipart uploads (an artifact is far below the 5 GB of one request), and credentials from anywhere but a key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import httpx

SECONDS = 60.0
ALGORITHM = "AWS4-HMAC-SHA256"
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Refused(OSError):
    """The storage answered with an error, or not at all; the message names the call."""


@dataclass(frozen=True)
class Credentials:
    key: str
    secret: str
    region: str = "us-east-1"


class Bucket:
    """One bucket at ``endpoint`` (https://host[:port]). Safe to use from several threads. Every call raises Refused."""

    def __init__(self, endpoint: str, name: str, credentials: Credentials) -> None:
        self.name, self._credentials = name, credentials
        self._endpoint = endpoint.rstrip("/")
        self._http = httpx.Client(timeout=SECONDS, follow_redirects=False)

    def put(self, key: str, data: bytes) -> None:
        self._ask("PUT", key, data=data)

    def get(self, key: str) -> bytes | None:
        """None where there is no such object."""
        answer = self._ask("GET", key, allow=(404,))
        return None if answer.status_code == 404 else answer.content

    def delete(self, key: str) -> None:
        """The same where there is none."""
        self._ask("DELETE", key, allow=(404,))

    def keys(self, prefix: str, *, page: int = 1000) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, and their sizes in bytes; ``page`` of them per request, at most 1,000."""
        token = ""
        while True:
            query = {
                "list-type": "2",
                "max-keys": str(page),
                "prefix": prefix,
                **({"continuation-token": token} if token else {}),
            }
            root = ElementTree.fromstring(self._ask("GET", "", query=query).content)  # noqa: S314 - of the operator's own storage
            for found in root.iter(f"{NAMESPACE}Contents"):
                yield found.findtext(f"{NAMESPACE}Key", ""), int(found.findtext(f"{NAMESPACE}Size", "0"))
            token = root.findtext(f"{NAMESPACE}NextContinuationToken", "")
            if not token:
                return

    def close(self) -> None:
        self._http.close()

    def _ask(
        self,
        method: str,
        key: str,
        *,
        data: bytes = b"",
        query: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
    ) -> httpx.Response:
        path = "/" + quote(f"{self.name}/{key}" if key else self.name, safe="/-_.~")
        asked = canonical_query(query or {})
        url = f"{self._endpoint}{path}" + (f"?{asked}" if asked else "")
        headers = signed(
            method, host=urlsplit(self._endpoint).netloc, path=path, query=asked, headers={}, data=data,
            credentials=self._credentials, at=datetime.now(UTC),
        )  # fmt: skip
        call = f"{method} {self.name}/{key}"
        try:
            answer = self._http.request(method, url, headers=headers, content=data if method == "PUT" else None)
        except httpx.HTTPError as error:
            raise Refused(f"the storage cannot be reached for {call}: {type(error).__name__}: {error}") from error
        if not answer.is_success and answer.status_code not in allow:
            raise Refused(f"the storage refused {call} ({answer.status_code}): {_reason(answer)}")
        return answer


def canonical_query(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))


def signed(
    method: str,
    *,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    data: bytes,
    credentials: Credentials,
    at: datetime,
) -> dict[str, str]:
    """Headers of a request, with its signature. ``path`` and ``query`` are canonical (percent-encoded, sorted)."""
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    digest = hashlib.sha256(data).hexdigest()
    sent = {
        **{k.lower(): v for k, v in headers.items()},
        "host": host,
        "x-amz-content-sha256": digest,
        "x-amz-date": stamp,
    }
    names = ";".join(sorted(sent))
    lines = [method, path, query, *(f"{name}:{sent[name].strip()}" for name in sorted(sent)), "", names, digest]
    scope = f"{day}/{credentials.region}/s3/aws4_request"
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    told = f"{ALGORITHM} Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "authorization": told}


def _reason(answer: httpx.Response) -> str:
    try:
        root = ElementTree.fromstring(answer.content)  # noqa: S314 - of the operator's own storage
    except ElementTree.ParseError:
        return answer.text[:200]
    return f"{root.findtext('Code', '?')}: {root.findtext('Message', '')}"[:300]
