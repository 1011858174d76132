"""``manage.py build_encoder``: the text encoder, made once at set-up."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from learning.core.encoder_source import LEAST_COSINE, local_source, package_source
from serving.encoder.catalogue import enso_home
from serving.encoder.manifest import EncoderError, identity, read_manifest, verify_files


class Command(BaseCommand):
    help = (
        "Build a text encoder (ONNX graph and tokenizer) under ENSO_HOME/encoders: all-MiniLM-L6-v2 from its package, "
        "or any local sentence-transformers / Hugging Face BERT-style directory with --from."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="directory", type=Path, metavar="DIR", help="a local model directory")
        parser.add_argument("--name", help="the encoder's name (default: the model's name and the variant)")
        parser.add_argument(
            "--variant", choices=sorted(LEAST_COSINE), default="int8", help="default: int8 (per channel)"
        )
        parser.add_argument("--output", type=Path, metavar="DIR", help="default: ENSO_HOME/encoders/NAME")
        parser.add_argument("--force", action="store_true", help="build again what is already built")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            source = local_source(options["directory"]) if options["directory"] else package_source()
            name = options["name"] or f"{source.name}-{options['variant']}"
            output = options["output"] or enso_home() / "encoders" / name
            if not options["force"] and (found := intact(output)):
                self._say(f"{found['name']} is already built at {output} ({identity(found)[:12]}).")
                return
            # onnx and the checkpoint readers are slow to import: not for the line above.
            export = import_module("learning.core.encoder_export").export_encoder
            sha256 = export(source, output, variant=options["variant"], name=name, report=self._say)
        except (EncoderError, OSError) as error:
            raise CommandError(str(error)) from error
        self._say(f"{name} is built at {output} ({sha256[:12]}).")

    def _say(self, line: str) -> None:
        self.stdout.write(line)


def intact(output: Path) -> dict[str, Any] | None:
    """The manifest of a whole and undamaged encoder at ``output``, else ``None``."""
    try:
        manifest = read_manifest(output)
        verify_files(output, manifest)
    except EncoderError:
        return None
    return manifest
