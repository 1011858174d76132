"""The composition root: settings, URLs, the Celery application and the servers that Enso brings along."""
