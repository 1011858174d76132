"""The WSGI application that granian serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import entry

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

entry.prepare()

from django.conf import settings  # noqa: E402 - the servers come first
from django.core.wsgi import get_wsgi_application  # noqa: E402

application: WSGIApplication = get_wsgi_application()
if not settings.ENSO_TRACES:  # spans are made by a middleware
    from config.middleware import Direct

    application = Direct(application)
