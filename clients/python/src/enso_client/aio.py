"""The client for asyncio: `enso_client.client` with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import httpx

from enso_client import calls
from enso_client.aio_batch import AsyncFeedbackBatch
from enso_client.answers import Answer, Escalation, Job, Model, Receipt, Story
from enso_client.calls import Call, Event
from enso_client.errors import Unreachable
from enso_client.retries import Retries
from enso_client.session import Session, Token, read


class AsyncClient:
    """Enso over HTTP for one event loop; close it with `aclose`, or use it in an `async with`."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        token: Token | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._session, self._retries = Session(base_url, key=key, token=token), retries or Retries()
        self._http = httpx.AsyncClient(timeout=timeout, transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(self, call: Call) -> Any:
        """Send a request, again where that helps and is safe; the answer's JSON."""
        attempt = 0
        while True:
            attempt += 1
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.send(self._session.request(self._http, call))
            except httpx.TransportError as error:
                outcome = error
            wait = self._retries.wait_after(attempt, outcome, repeatable=call.repeatable)
            if wait is not None:
                await asyncio.sleep(wait)
            elif isinstance(outcome, httpx.Response):
                return read(outcome)
            else:
                raise Unreachable(f"no answer from {self._session.base}: {outcome}") from outcome

    async def inquire(
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
        return cast(Answer, await self.send(call))

    async def inquiry(self, inquiry_id: str) -> Story:
        """Where an inquiry stands."""
        return cast(Story, await self.send(calls.inquiry(inquiry_id)))

    async def escalate(self, inquiry_id: str, *, reason: str = "") -> Escalation:
        """Ask for a person."""
        return cast(Escalation, await self.send(calls.escalate(inquiry_id, reason=reason)))

    async def predict(self, text: str, *, locale: str | None = None) -> Answer:
        """The answer to a text, without storing it."""
        return cast(Answer, await self.send(calls.predict(text, locale=locale)))

    async def predict_many(self, texts: Sequence[str], *, locale: str | None = None) -> list[Answer]:
        """Answers to any number of texts, in their order."""
        return [a for call in calls.predict_many(texts, locale=locale) for a in (await self.send(call))["predictions"]]

    async def feedback(self, event: Event) -> Receipt:
        """Store one event. Conflict where its event_id was used for another one."""
        return cast(Receipt, await self.send(calls.feedback(event)))

    async def feedback_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Store any number of events; one receipt each, in their order."""
        return [r for call in calls.feedback_many(events) for r in (await self.send(call))["results"]]

    def feedback_batch(self, *, size: int = 500, seconds: float = 2.0, most: int = 100_000) -> AsyncFeedbackBatch:
        """A buffer that sends events in the background: `size` at a time, at the latest after `seconds`."""
        return AsyncFeedbackBatch(self.feedback_many, size=size, seconds=seconds, most=most)

    async def agreement(self) -> dict[str, Any]:
        """How well annotators agree."""
        return cast("dict[str, Any]", await self.send(calls.agreement()))

    async def models(self) -> list[Model]:
        """Model versions, newest first."""
        return cast("list[Model]", (await self.send(calls.models()))["models"])

    async def promote(self, number: int) -> Model:
        return cast(Model, await self.send(calls.promote(number)))

    async def rollback(self, number: int) -> Model:
        return cast(Model, await self.send(calls.rollback(number)))

    async def jobs(self) -> list[Job]:
        """Background jobs, newest first."""
        return cast("list[Job]", (await self.send(calls.jobs()))["jobs"])

    async def cancel_job(self, job_id: int) -> Job:
        return cast(Job, await self.send(calls.cancel_job(job_id)))
