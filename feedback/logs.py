"""Log lines without personal data: messages and tracebacks are masked, and what a database quotes of a row is dropped."""

from __future__ import annotations

import logging
import re

from feedback.masking import mask

# PostgreSQL quotes the row that it refused ("Failing row contains (…)", "Key (…)=(…) already exists").
_QUOTED_ROW = re.compile(r"^(\s*(?:DETAIL|CONTEXT|HINT):).*$", re.MULTILINE)


class MaskedFormatter(logging.Formatter):
    """A formatter whose lines may be kept and sent elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        return without_personal_data(super().format(record))


def without_personal_data(line: str) -> str:
    """
    >>> without_personal_data("no mail to jo@example.com\\nDETAIL:  Key (text)=(secret) already exists.")
    'no mail to [email]\\nDETAIL: …'
    """
    return mask(_QUOTED_ROW.sub(r"\1 …", line)).text
