"""The WSGI application of the usual way, for the same server as the product's."""

from __future__ import annotations

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.usual.settings"

from config import entry

entry.prepare()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the servers come first

application = get_wsgi_application()
