"""Texts → vectors in a web process: a bounded queue before each transformer, and a circuit breaker around every encoder.

More texts than can be read in good time get 503 and come again. An encoder that fails raises here; whoever asked knows what
stands behind it (the teacher behind a student, people behind the teacher: serving/served.py).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from feedback.group_commit import Busy
from feedback.problems import Problem
from serving.breaker import Breaker, LeftAlone
from serving.encoder import Encoder, OnnxEncoder, StaticEncoder
from serving.turns import Turns

log = logging.getLogger(__name__)
T = TypeVar("T")
# Texts that wait for the encoder in this process, and how long one may: by then the caller has given up.
MOST_WAITING, PATIENCE_SECONDS = 64, 10.0
_turns = Turns(len(os.sched_getaffinity(0)), waiting=MOST_WAITING, patience=PATIENCE_SECONDS)


@cache
def breaker(encoder_sha: str) -> Breaker:
    """The breaker of an encoder in this process. Slowness does not open it: people would be slower."""
    return Breaker()


class Unreadable(Exception):
    """The encoder is broken, or left alone because it was."""


def vectors(encoder: Encoder, texts: list[str]) -> NDArray[np.float32]:
    """Vectors [n, d]. Raises Problem 503 where too many wait, Unreadable where the encoder is broken."""
    if not isinstance(encoder, OnnxEncoder):
        return _guarded(encoder, lambda: encoder.encode(texts))
    try:
        with _turns.turn():
            return _guarded(encoder, lambda: encoder.encode(texts))
    except Busy as error:
        raise Problem(
            503, "busy", f"More texts arrive than can be read ({error}): send this again.", retry_after=1
        ) from error


def vectors_with_known_share(
    encoder: StaticEncoder, texts: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A student's vectors [n, d], and how much of each text it knows [n]. Raises Unreadable."""
    return _guarded(encoder, lambda: encoder.encode_with_known_share(texts))


def one_with_known_share(encoder: StaticEncoder, text: str) -> tuple[NDArray[np.float32], float]:
    """The same for one text: (vector [d], share)."""
    return _guarded(encoder, lambda: encoder.encode_one(text))


def _guarded(encoder: Encoder, work: Callable[[], T]) -> T:
    """A broken encoder fails for every request: said with its traceback when it breaks, in silence while it is left alone."""
    try:
        with breaker(encoder.sha256).call():
            return work()
    except LeftAlone as error:
        raise Unreadable(str(error)) from error
    except Exception as error:
        log.exception("encoder %s failed", encoder.sha256[:12])
        raise Unreadable(str(error)) from error
