"""Where the embedded servers keep their data and their sockets, and under which addresses they are reached.

Everything here is a pure function of the environment and of who asks: importing the settings needs the addresses, and
must start nothing and create nothing.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parents[2]
ROLE = DATABASE = "enso"
PORT = 5432  # names the socket file; nothing listens on TCP
_SYSTEM_STATE = Path("/var/lib/enso")


@dataclass(frozen=True)
class Places:
    """The folders of one Enso home.

    `state` holds what the servers write, `sockets` their Unix sockets. A socket's path may have at most 107 bytes, so
    `sockets` is named by a digest of the home and not placed inside it. For root both lie outside the home, where an
    unprivileged account can own them whatever the modes of the folders above the clone. `digest` is in either path.
    """

    home: Path
    state: Path
    sockets: Path
    digest: str

    @property
    def postgres_data(self) -> Path:
        return self.state / "postgres"

    @property
    def redis_data(self) -> Path:
        return self.state / "redis"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def programs(self) -> Path:
        """Copies of the servers' programs, for an account that cannot reach the virtual environment."""
        return self.state / "programs"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "redis.sock"


def home() -> Path:
    """The folder of everything that Enso keeps: `$ENSO_HOME`, else `.enso` in the clone."""
    named = os.environ.get("ENSO_HOME")
    return Path(named).expanduser().resolve() if named else REPOSITORY / ".enso"


def places() -> Places:
    """The folders of the present home for the present user."""
    where = home()
    digest = sha256(os.fsencode(where)).hexdigest()[:12]
    user = os.geteuid()
    if user == 0:
        state = _SYSTEM_STATE / digest
        return Places(home=where, state=state, sockets=state / "run", digest=digest)
    # Not $TMPDIR or $XDG_RUNTIME_DIR: the address must be the same in a terminal, under cron and after `su`.
    sockets = Path(f"/tmp/enso-{user}-{digest}")  # noqa: S108 - created 0700 and its owner checked before use
    return Places(home=where, state=where / "servers", sockets=sockets, digest=digest)


def database_url() -> str:
    """The embedded PostgreSQL as a URL that libpq, psycopg and django-environ read alike."""
    return f"postgres://{ROLE}@/{DATABASE}?host={quote(str(places().sockets), safe='')}&port={PORT}"


def database_settings() -> dict[str, str]:
    """The embedded PostgreSQL as the fields of a Django `DATABASES` entry."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": ROLE,
        "PASSWORD": "",
        "HOST": str(places().sockets),
        "PORT": str(PORT),  # said outright, so that a PGPORT in the environment does not lead elsewhere
    }


def redis_url(db: int = 0) -> str:
    """Database `db` of the embedded Redis as redis-py and Django's cache read it."""
    return f"unix://{places().redis_socket}?db={db}"


def celery_broker_url(db: int = 0) -> str:
    """Database `db` of the embedded Redis as kombu reads it, for Celery's broker and result backend."""
    return f"redis+socket://{places().redis_socket}?virtual_host={db}"
