"""A causal language model in a directory, as transformers saves one: what must be there, and its identity.

Nothing is ever fetched from a hub, and no code of the directory is run: weights are read as safetensors only, the
tokenizer as `tokenizer.json`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

PACKAGES = ("transformers", "peft", "onnxscript")


class LanguageModelError(ValueError):
    """The directory, the data or the environment does not allow it; the message names what."""


@dataclass(frozen=True)
class Base:
    """A model that can be tuned: ``sha256`` over configuration, tokenizer and weights, ``end`` the ids that end a text,
    ``context`` the most tokens that it reads."""

    directory: Path
    sha256: str
    end: tuple[int, ...]
    context: int

    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.directory / "tokenizer.json"))

    def model(self) -> Any:
        """The weights in float32, ready to be read (eval). Raises LanguageModelError."""
        if why := missing():
            raise LanguageModelError(why)
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM

        try:
            found = AutoModelForCausalLM.from_pretrained(
                str(self.directory), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="float32",
                attn_implementation="eager",
            )  # fmt: skip
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise LanguageModelError(
                f"{self.directory} is no causal language model that can be read: {error}"
            ) from error
        return found.eval()


def missing() -> str | None:
    """None where the extra is installed, else the sentence that says what is absent."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if not absent:
        return None
    return f"Language models need {', '.join(absent)}: install the extra, pip install -r requirements/llm.lock."


def read_base(directory: Path) -> Base:
    """Look at a directory without loading its weights. Raises LanguageModelError naming the file or the field."""
    config = _json(directory / "config.json")
    if not (directory / "tokenizer.json").is_file():
        raise LanguageModelError(f"{directory / 'tokenizer.json'} is missing: save the tokenizer in its fast form.")
    weights = sorted(directory.glob("*.safetensors"))
    if not weights:
        raise LanguageModelError(f"{directory} holds no weights as safetensors; pickled ones are not read.")
    found = hashlib.sha256()
    for path in (directory / "config.json", directory / "tokenizer.json", *weights):
        found.update(f"{path.name}\0".encode())
        with path.open("rb") as handle:
            found.update(hashlib.file_digest(handle, "sha256").digest())
    return Base(directory, found.hexdigest(), _end(config), _context(config))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LanguageModelError(f"{path} is missing: is this the directory of a language model?") from None
    except ValueError as error:
        raise LanguageModelError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise LanguageModelError(f"{path} must hold a JSON object.")
    return content


def _end(config: dict[str, Any]) -> tuple[int, ...]:
    given = config.get("eos_token_id")
    ids = given if isinstance(given, list) else [given]
    if not ids or any(not isinstance(i, int) or isinstance(i, bool) or i < 0 for i in ids):
        raise LanguageModelError(
            f"config.json: eos_token_id must be a token's number or a list of them, not {given!r}: a draft has to end somewhere."
        )
    return tuple(ids)


def _context(config: dict[str, Any]) -> int:
    given = next((config[k] for k in ("max_position_embeddings", "n_positions") if k in config), None)
    if not isinstance(given, int) or isinstance(given, bool) or given < 16:
        raise LanguageModelError(
            f"config.json: max_position_embeddings must be a whole number from 16 on, not {given!r}."
        )
    return given
