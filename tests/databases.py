"""The suite's database: copied from a migrated one that stays on the server until a migration or a model changes.

To migrate from nothing takes Django 25 s of one core, for it makes the classes of all models anew after each operation.
PostgreSQL copies the result in a second.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import django
import psycopg
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections

from benchmarks.stack import postgres_tool

PREFIX = "enso_migrated_"
BLOCKED = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database() AND NOT l.granted
"""
LOCK = 0x6D696772  # of whoever makes the database: workers may share a server


def digest() -> str:
    """Of all that a migrated database is made from: the migrations, and the models by which Django fills its own tables."""
    found = hashlib.sha256(repr(django.VERSION).encode())
    for app in apps.get_app_configs():
        for file in sorted(Path(app.path).glob("migrations/*.py")):
            found.update(f"{app.label}/{file.name}".encode() + b"\0" + file.read_bytes())
        for model in app.get_models():
            names = model._meta
            found.update(repr((names.label, names.verbose_name, names.default_permissions, names.permissions)).encode())
    return found.hexdigest()[:16]


def migrated() -> str:
    """The name of the database to copy, made if there is none. Needs the right to create databases."""
    name = PREFIX + digest()
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # until this connection is closed
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX])
        known = {row[0] for row in cursor.fetchall()}
        for old in known - {name}:
            cursor.execute(f'DROP DATABASE "{old}"')
        if name not in known:
            growing = f"{PREFIX}unfinished"
            cursor.execute(f'CREATE DATABASE "{growing}"')
            with connected_to(growing):
                call_command("migrate", verbosity=0, interactive=False)
            cursor.execute(f'ALTER DATABASE "{growing}" RENAME TO "{name}"')
    return name


def dump(file: Path) -> Path:
    """The migrated database as SQL, for stacks that tests start in homes of their own."""
    server = connection.settings_dict
    command = [
        postgres_tool("pg_dump"), "--no-owner", "--no-privileges", f"--file={file}", f"--dbname={migrated()}",
        *(f"--{option}={server[key]}" for option, key in (("host", "HOST"), ("port", "PORT"), ("username", "USER")) if server[key]),
    ]  # fmt: skip
    subprocess.run(command, env={**os.environ, "PGPASSWORD": server["PASSWORD"]}, check=True, capture_output=True)
    return file


def url() -> str:
    """Where other processes find the database of this test."""
    told = connection.settings_dict
    who = f"{told['USER']}:{quote(told['PASSWORD'])}" if told["PASSWORD"] else told["USER"]
    return f"postgres://{who}@/{told['NAME']}?host={quote(str(told['HOST']), safe='')}&port={told['PORT']}"


@contextmanager
def held(statement: str) -> Iterator[None]:
    """Hold the locks that a statement takes."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("BEGIN")
        other.execute(statement)
        yield
        other.execute("ROLLBACK")


def blocked() -> bool:
    """Whether anybody waits for a lock in this test's database."""
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED)
        return bool(cursor.fetchone()[0])


@contextmanager
def connected_to(name: str) -> Iterator[None]:
    """Django's connection leads to another database, and nobody is connected to that one afterwards."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()
        connection.settings_dict["NAME"] = before


def failure_of(work: Callable[[], object]) -> Exception | None:
    """What work fails with that is done in a thread with a connection of its own; for one whose connection the server cuts."""
    found: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            found.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0] if found else None
