"""The WSGI application that granian serves."""

from __future__ import annotations

from config import entry

entry.prepare()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the servers come first

application = get_wsgi_application()
