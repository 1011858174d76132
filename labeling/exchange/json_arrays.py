"""One JSON array of objects, an object at a time: the file may be far larger than memory. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from labeling.exchange.rows import Refused

PIECE = 1 << 16
MAX_OBJECT = 4 << 20
_BLANK = " \t\r\n"


def objects(path: Path) -> Iterator[Any]:
    """The elements of the array in a file; one object alone counts as an array of one. Raises `Refused` where it is neither."""
    with path.open(encoding="utf-8-sig") as handle:
        try:
            yield from _elements(handle)
        except UnicodeDecodeError as error:
            raise Refused(f"The file is not UTF-8: save it as UTF-8. ({error})") from error


def _elements(handle: TextIO) -> Iterator[Any]:
    decode = json.JSONDecoder().raw_decode
    text = handle.read(PIECE).lstrip(_BLANK)
    if not text:
        raise Refused("The file is empty: export it again.")
    if text[0] == "{":
        text = "[" + text
    elif text[0] != "[":
        raise Refused("The file is no JSON array: export the tasks as JSON.")
    text, done, count = text[1:], False, 0
    while True:
        text = text.lstrip(_BLANK + ",")
        if text.startswith("]"):
            return
        try:
            element, end = decode(text)
        except ValueError as error:
            if done or len(text) > MAX_OBJECT:
                if not text and count:
                    return
                raise Refused(f"The file breaks off after item {count}: it is no complete JSON. ({error})") from error
            piece = handle.read(max(PIECE, len(text)))
            done, text = not piece, text + piece
            continue
        count, text = count + 1, text[end:]
        yield element
