"""One settings file: every value that an operator may change is read from the environment (or a `.env` beside manage.py)."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import environ

from config import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").exists():
    environ.Env.read_env(BASE_DIR / ".env")
HOME = embedded.home()


def _secret_key() -> str:
    """The key from the environment, or one made once and kept readable by its owner only."""
    if given := env.str("SECRET_KEY", ""):
        return str(given)
    path = HOME / "secret_key"
    if not path.exists():
        HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"secret_key.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(50))
        # A hard link appears whole or not at all, and never over the key of a process that was first.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text()


SECRET_KEY = _secret_key()
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "config.apps.AssetsConfig",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "pgtrigger",
    "feedback",
    "labeling",
    "serving",
    "learning",
    "config",
]

MIDDLEWARE = [
    "config.middleware.Measured",
    "config.middleware.ApiFastPath",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.Acting",
    "config.middleware.ContentSecurityPolicy",
    "feedback.limits.RateLimitHeaders",
]

# Traces over OpenTelemetry (config/tracing.py); its packages are those of requirements/tracing.lock.
ENSO_TRACES = env.bool("ENSO_TRACES", False)
# An MLflow tracking server that is told of every run and version (learning/mirroring.py); empty: none.
ENSO_MLFLOW_URL: str = env.str("ENSO_MLFLOW_URL", "")
ENSO_MLFLOW_TOKEN: str = env.str("ENSO_MLFLOW_TOKEN", "")
if ENSO_TRACES:
    MIDDLEWARE.insert(0, "config.tracing.Traced")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.pages.shell",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    """The server named by DATABASE_URL, or the embedded one (addresses only: nothing is started here)."""
    given: dict[str, Any] = (
        dict(env.db_url("DATABASE_URL")) if env.str("DATABASE_URL", "") else embedded.database_settings()
    )
    options: dict[str, Any] = dict(given.get("OPTIONS", {}))
    # Waiting for a free connection has an end: the caller then gets 503 instead of a hung thread.
    options["pool"] = {"min_size": 1, "max_size": env.int("DATABASE_POOL", 16), "timeout": 10}
    return {**given, "ENGINE": "django.db.backends.postgresql", "OPTIONS": options, "CONN_HEALTH_CHECKS": True}


DATABASES = {"default": _database()}
REDIS_URL: str = env.str("REDIS_URL", "") or embedded.redis_url(0)
CELERY_BROKER_URL: str = env.str("REDIS_URL", "") or embedded.celery_broker_url(0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "feedback.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ja", "日本語")]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.storage.Assets"},
}

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", False)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 0)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", False)
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "feedback.keys.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["feedback.rest.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "feedback.rest.drf_exception_handler",
    "DEFAULT_THROTTLE_CLASSES": ["feedback.limits.KeyThrottle"],
    "NUM_PROXIES": env.int("NUM_PROXIES", 0),
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Enso",
    "DESCRIPTION": "Feedback-loop and active-learning labeling service for customer inquiries.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "config.schema.complete"],
}

CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "io"
# A message is only a wake-up (feedback/jobs.py): the sweeper re-sends what a lost worker held long before this.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 6 * 3600, "socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

ENSO_ARTIFACTS = Path(env.str("ENSO_ARTIFACTS", str(HOME / "artifacts")))
# S3-compatible storage in which the artifacts of all machines meet (serving/storage.py); an empty bucket: the directory alone.
ENSO_S3_BUCKET: str = env.str("ENSO_S3_BUCKET", "")
ENSO_S3_ENDPOINT: str = env.str("ENSO_S3_ENDPOINT", "https://s3.amazonaws.com")
ENSO_S3_PREFIX: str = env.str("ENSO_S3_PREFIX", "")
ENSO_S3_REGION: str = env.str("ENSO_S3_REGION", "us-east-1")
ENSO_S3_KEY: str = env.str("ENSO_S3_KEY", "")
ENSO_S3_SECRET: str = env.str("ENSO_S3_SECRET", "")
ENSO_ENCODERS = Path(env.str("ENSO_ENCODERS", str(HOME / "encoders")))
# Vectors of the open tasks of large queues, as files (learning/pools.py); a cache of one machine or pod.
ENSO_POOLS = Path(env.str("ENSO_POOLS", str(HOME / "pools")))
# The encoder for texts without kana or han; those take the n-gram encoder.
ENSO_ENCODER = env.str("ENSO_ENCODER", "all-MiniLM-L6-v2-int8")
ENSO_MODEL_POLL_SECONDS = env.float("ENSO_MODEL_POLL_SECONDS", 1.0)
# Memory in MB that a training may take: beyond it, it fails and says so, before the machine's other processes suffer. 0: no limit.
ENSO_LEARNER_MEMORY_MB = env.int("ENSO_LEARNER_MEMORY_MB", 4096)
# Rated comments after which the head that reads comments is learned anew (every night in any case).
ENSO_SENTIMENT_PAIRS = env.int("ENSO_SENTIMENT_PAIRS", 50)
# Votes on shown replies after which the reply policy is learned anew (every night in any case).
ENSO_REPLY_VOTES = env.int("ENSO_REPLY_VOTES", 200)
# The directory of a causal language model (config.json, tokenizer.json, safetensors) that writes drafts for agents once tuned.
ENSO_LANGUAGE_MODEL = env.str("ENSO_LANGUAGE_MODEL", "")
# Tune the last layers of the encoder on rated comments once a night as well (minutes of CPU, and 23 MB per version).
ENSO_SENTIMENT_TUNING = env.bool("ENSO_SENTIMENT_TUNING", False)

# Where web processes lay their counts for /metrics; of one machine or pod, and gone when it is.
ENSO_METRICS_DIR = Path(env.str("ENSO_METRICS_DIR", str(HOME / "metrics")))
# Who may read /metrics from elsewhere (Authorization: Bearer …); without it only this machine may.
ENSO_METRICS_TOKEN = env.str("ENSO_METRICS_TOKEN", "")

# A line per API request in PostgreSQL, a partition per day (serving/request_log.py), and for how many days.
ENSO_REQUEST_LOG = env.bool("ENSO_REQUEST_LOG", True)
ENSO_REQUEST_LOG_DAYS = env.int("ENSO_REQUEST_LOG_DAYS", 90)

# Hosts that JWKS may be fetched from although they are not public, or over plain http.
ENSO_OUTBOUND_ALLOW: list[str] = env.list("ENSO_OUTBOUND_ALLOW", default=[])

# Where people open Enso: the address in mails and one-time links.
ENSO_URL = env.str("ENSO_URL", "http://127.0.0.1:8000").rstrip("/")
# Mail for missed targets, such as smtp+tls://user:password@host:587. Without it none is sent, and the screen says so.
_mail = env.email_url("EMAIL_URL", default="dummymail://")
EMAIL_BACKEND, EMAIL_TIMEOUT = _mail["EMAIL_BACKEND"], 10
EMAIL_HOST, EMAIL_PORT = _mail.get("EMAIL_HOST") or "localhost", _mail.get("EMAIL_PORT") or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_USER") or "", _mail.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.get("EMAIL_USE_TLS", False), _mail.get("EMAIL_USE_SSL", False)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "enso@localhost")

# `json` for what collects logs, `line` for people (`manage.py run` and `demo` choose it where nothing is said).
LOG_FORMAT = "line" if env.str("LOG_FORMAT", "json") == "line" else "json"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "feedback.logs.MaskedFormatter", "format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "feedback.logs.json_formatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {"django.request": {"level": "ERROR"}, "httpx": {"level": "WARNING"}},
}

# Personal data (feedback/vault.py): Fernet keys, the newest first; without them a file of mode 0600 that is made once.
ENSO_VAULT_KEYS: list[str] = env.list("ENSO_VAULT_KEYS", default=[])
ENSO_VAULT_FILE = Path(env.str("ENSO_VAULT_FILE", str(HOME / "vault_keys")))

# Statements of the hot paths are prepared once per connection; switch it off behind a pooler that does not carry them.
DATABASE_PREPARE = env.bool("DATABASE_PREPARE", True)
