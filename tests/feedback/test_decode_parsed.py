from __future__ import annotations

import msgspec
import pytest

from feedback.http import decode_parsed
from feedback.problems import Problem


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 1


def test_an_empty_object_takes_the_defaults():
    assert decode_parsed({}, Shape) == Shape(1)


@pytest.mark.parametrize("body", [None, 0, [], "", False])
def test_a_body_that_is_no_object_is_refused_even_where_it_is_empty(body):
    with pytest.raises(Problem) as refused:
        decode_parsed(body, Shape)
    assert refused.value.status == 422
