"""What both clients do alike around a request: addresses, headers, and reading the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from enso_client.calls import Call
from enso_client.errors import problem_of

Token = str | Callable[[], str]
VERSION = "0.1.0"


class Session:
    """Where the server is and how to prove who is calling: by a key, or by a token (a function is asked for each request)."""

    def __init__(self, base_url: str, *, key: str | None, token: Token | None) -> None:
        if (key is None) == (token is None):
            raise ValueError("give either a key or a token")
        if key is not None and key.startswith("pk_"):
            raise ValueError("this is a public key, for pages only: use a secret key")
        self.base = f"{base_url.rstrip('/')}/api/v1/"
        self._key, self._token = key, token

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        headers = {"Authorization": self._authorization(), "User-Agent": f"enso-client/{VERSION}", **call.headers}
        body = {} if call.body is None else {"json": call.body}
        return client.build_request(call.method, self.base + call.path, params=call.query, headers=headers, **body)

    def _authorization(self) -> str:
        if self._key is not None:
            return f"Api-Key {self._key}"
        assert self._token is not None
        return f"Bearer {self._token if isinstance(self._token, str) else self._token()}"


def read(response: httpx.Response) -> Any:
    """The answer's JSON; raises the matching Problem where it is an error."""
    if response.is_success:
        return response.json() if response.content else None
    raise problem_of(response)
