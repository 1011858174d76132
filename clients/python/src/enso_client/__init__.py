"""Python client of Enso: inquiries, predictions, feedback and models over HTTP, with retries that never do a thing twice."""

from enso_client.aio import AsyncClient
from enso_client.aio_batch import AsyncFeedbackBatch
from enso_client.batch import BufferFull, FeedbackBatch
from enso_client.calls import Event
from enso_client.client import Client
from enso_client.customer import sign_customer
from enso_client.errors import (
    Conflict,
    EnsoError,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Problem,
    RateLimited,
    ServerError,
    Unreachable,
)
from enso_client.retries import Retries

__all__ = [
    "AsyncClient",
    "AsyncFeedbackBatch",
    "BufferFull",
    "Client",
    "Conflict",
    "EnsoError",
    "Event",
    "FeedbackBatch",
    "Invalid",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Problem",
    "RateLimited",
    "Retries",
    "ServerError",
    "Unreachable",
    "sign_customer",
]
