"""The bare Django view on a server of its own, beside the product's stack."""

from __future__ import annotations

from benchmarks.stack import Stack
from benchmarks.usual.beside import Beside


class Bare(Beside):
    """The bare view with as many processes and threads as the product."""

    application, name = "benchmarks.usual.bare:application", "the bare view"
    method, path, status = "POST", "/bare", 200

    def __init__(self, stack: Stack, *, workers: int, threads: int = 8) -> None:
        super().__init__(stack, workers=workers, threads=threads)
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)
