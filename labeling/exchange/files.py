"""Files in PostgreSQL, a piece at a time: nothing here holds a whole file in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from labeling.exchange.models import ExchangeChunk, ExchangeFile

PIECE = 1 << 18
KEPT = timedelta(days=1)


def keep_file(*, project_id: int, name: str, pieces: Iterable[bytes]) -> ExchangeFile:
    """Store a file from its pieces, whole or not at all."""
    with transaction.atomic():
        file = ExchangeFile.objects.create(project_id=project_id, name=name[-200:], expires_at=timezone.now() + KEPT)
        digest, size = hashlib.sha256(), 0
        for number, piece in enumerate(_even(pieces)):
            ExchangeChunk.objects.create(file=file, number=number, data=piece)
            digest.update(piece)
            size += len(piece)
        file.size, file.sha256 = size, digest.hexdigest()
        file.save(update_fields=["size", "sha256"])
    return file


def _even(pieces: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= PIECE:
            yield bytes(buffer[:PIECE])
            del buffer[:PIECE]
    if buffer:
        yield bytes(buffer)


def pieces_of(file_id: int) -> Iterator[bytes]:
    """The file's bytes, piece by piece; no transaction stays open between them."""
    number = 0
    while (
        found := ExchangeChunk.objects.filter(file_id=file_id, number=number).values_list("data", flat=True).first()
    ) is not None:
        yield bytes(found)
        number += 1


@contextmanager
def on_disk(file: ExchangeFile) -> Iterator[Path]:
    """The file as a temporary one, for as long as somebody reads it."""
    with tempfile.TemporaryDirectory(prefix="enso-exchange-") as folder:
        path = Path(folder) / f"file{Path(file.name).suffix.lower()}"
        with path.open("wb") as out:
            for piece in pieces_of(file.pk):
                out.write(piece)
        yield path


def read_pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while piece := handle.read(PIECE):
            yield piece


def forget_files(*, project_id: int) -> int:
    """Remove every file of a project: after an erasure none may hold the text of who was erased. Returns how many."""
    return ExchangeFile.objects.filter(project_id=project_id).delete()[1].get("labeling.ExchangeFile", 0)


def forget_expired() -> int:
    """Remove what nobody fetched in time; returns how many files."""
    gone = ExchangeFile.objects.filter(expires_at__lt=timezone.now())
    return gone.delete()[1].get("labeling.ExchangeFile", 0)
