"""The client for ordinary code; `enso_client.aio` has the same for asyncio."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import httpx

from enso_client import calls
from enso_client.answers import Answer, Escalation, Job, Model, Receipt, Story
from enso_client.batch import FeedbackBatch
from enso_client.calls import Call, Event
from enso_client.errors import Unreachable
from enso_client.retries import Retries
from enso_client.session import Session, Token, read


class Client:
    """Enso over HTTP. May be shared by threads; close it, or use it in a `with`.

    Give a `key`, or a `token` (a JWT or a function that returns one). Raises the exceptions of `enso_client.errors`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        token: Token | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._session, self._retries = Session(base_url, key=key, token=token), retries or Retries()
        self._http = httpx.Client(timeout=timeout, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call) -> Any:
        """Send a request, again where that helps and is safe; the answer's JSON."""
        attempt = 0
        while True:
            attempt += 1
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.send(self._session.request(self._http, call))
            except httpx.TransportError as error:
                outcome = error
            wait = self._retries.wait_after(attempt, outcome, repeatable=call.repeatable)
            if wait is not None:
                time.sleep(wait)
            elif isinstance(outcome, httpx.Response):
                return read(outcome)
            else:
                raise Unreachable(f"no answer from {self._session.base}: {outcome}") from outcome

    def inquire(
        self,
        text: str,
        *,
        external_id: str | None = None,
        locale: str | None = None,
        customer: str | None = None,
        channel: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Answer and store an inquiry (`dry_run`: only answer)."""
        call = calls.inquire(
            text, external_id=external_id, locale=locale, customer=customer, channel=channel, metadata=metadata,
            dry_run=dry_run, idempotency_key=idempotency_key,
        )  # fmt: skip
        return cast(Answer, self.send(call))

    def inquiry(self, inquiry_id: str) -> Story:
        """Where an inquiry stands."""
        return cast(Story, self.send(calls.inquiry(inquiry_id)))

    def escalate(self, inquiry_id: str, *, reason: str = "") -> Escalation:
        """Ask for a person."""
        return cast(Escalation, self.send(calls.escalate(inquiry_id, reason=reason)))

    def predict(self, text: str, *, locale: str | None = None) -> Answer:
        """The answer to a text, without storing it."""
        return cast(Answer, self.send(calls.predict(text, locale=locale)))

    def predict_many(self, texts: Sequence[str], *, locale: str | None = None) -> list[Answer]:
        """Answers to any number of texts, in their order."""
        return [a for call in calls.predict_many(texts, locale=locale) for a in self.send(call)["predictions"]]

    def feedback(self, event: Event) -> Receipt:
        """Store one event. Conflict where its event_id was used for another one."""
        return cast(Receipt, self.send(calls.feedback(event)))

    def feedback_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Store any number of events; one receipt each, in their order."""
        return [r for call in calls.feedback_many(events) for r in self.send(call)["results"]]

    def feedback_batch(self, *, size: int = 500, seconds: float = 2.0, most: int = 100_000) -> FeedbackBatch:
        """A buffer that sends events in the background: `size` at a time, at the latest after `seconds`."""
        return FeedbackBatch(self.feedback_many, size=size, seconds=seconds, most=most)

    def agreement(self) -> dict[str, Any]:
        """How well annotators agree."""
        return cast("dict[str, Any]", self.send(calls.agreement()))

    def models(self) -> list[Model]:
        """Model versions, newest first."""
        return cast("list[Model]", self.send(calls.models())["models"])

    def promote(self, number: int) -> Model:
        return cast(Model, self.send(calls.promote(number)))

    def rollback(self, number: int) -> Model:
        return cast(Model, self.send(calls.rollback(number)))

    def jobs(self) -> list[Job]:
        """Background jobs, newest first."""
        return cast("list[Job]", self.send(calls.jobs())["jobs"])

    def cancel_job(self, job_id: int) -> Job:
        return cast(Job, self.send(calls.cancel_job(job_id)))
