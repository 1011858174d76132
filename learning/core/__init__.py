"""Pure learning algorithms: arrays in, arrays out, neither Django nor Celery."""
