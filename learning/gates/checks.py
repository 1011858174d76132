"""A project's own expectations, in a small YAML file.

functionality:                      # must be answered so
  - {text: I want my money back, category: refund}
directional:                        # adding words must move a probability
  - {text: Where is my parcel?, add: It never arrived., category: delivery, expect: up}
invariance: [case, typos, greeting, names, numbers]   # must not change the answer; all by default
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml


@dataclass(frozen=True)
class Expected:
    text: str
    category: str


@dataclass(frozen=True)
class Directional:
    text: str
    add: str
    category: str
    expect: str  # up or down


def _case(text: str, rng: np.random.Generator) -> str:
    return text.upper() if rng.random() < 0.5 else text.lower()


def _typos(text: str, rng: np.random.Generator) -> str:
    """Two neighbouring letters change places, once in thirty characters, inside words."""
    letters = list(text)
    places = [i for i in range(1, len(letters) - 2) if letters[i].isalpha() and letters[i + 1].isalpha()]
    for i in rng.permutation(places)[: max(1, len(text) // 30)].tolist() if places else []:
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def _greeting(text: str, rng: np.random.Generator) -> str:
    return str(rng.choice(["Hello, ", "Good morning. ", "Hi there, "])) + text + str(rng.choice(["", " Thanks!"]))


def _names(text: str, rng: np.random.Generator) -> str:
    return text + " " + str(rng.choice(["Regards, Ana", "Regards, Kenji", "Regards, Oluwaseun", "Regards, Priya"]))


def _numbers(text: str, rng: np.random.Generator) -> str:
    return re.sub(r"\d", lambda _: str(rng.integers(1, 10)), text)


PERTURBATIONS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "case": _case,
    "typos": _typos,
    "greeting": _greeting,
    "names": _names,
    "numbers": _numbers,
}


@dataclass(frozen=True)
class Checks:
    functionality: tuple[Expected, ...] = ()
    directional: tuple[Directional, ...] = ()
    invariance: tuple[str, ...] = tuple(PERTURBATIONS)

    @classmethod
    def parse(cls, text: str) -> Checks:
        """Raises ValueError saying which entry is wrong and how it should look."""
        try:
            given = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"the checks are not YAML: {error}") from error
        if not isinstance(given, dict):
            raise ValueError("the checks must be a mapping with functionality, directional and invariance")
        if unknown := given.keys() - {"functionality", "directional", "invariance"}:
            raise ValueError(f"there are no checks {sorted(map(str, unknown))[0]!r}")
        names = given.get("invariance", list(PERTURBATIONS))
        if not isinstance(names, list) or not set(map(str, names)) <= PERTURBATIONS.keys():
            raise ValueError(f"invariance must be a list of {', '.join(PERTURBATIONS)}")
        moves = tuple(Directional(**e) for e in _entries(given, "directional", "text", "add", "category", "expect"))
        if wrong := [m for m in moves if m.expect not in ("up", "down")]:
            raise ValueError(f"directional: expect must be up or down, not {wrong[0].expect!r}")
        expected = tuple(Expected(**e) for e in _entries(given, "functionality", "text", "category"))
        return cls(expected, moves, tuple(map(str, names)))


def _entries(given: dict[str, Any], name: str, *fields: str) -> list[dict[str, str]]:
    entries = given.get(name) or []
    for n, entry in enumerate(entries if isinstance(entries, list) else [None]):
        good = isinstance(entry, dict) and entry.keys() == set(fields)
        if not good or not all(isinstance(v, str) and v.strip() for v in entry.values()):
            raise ValueError(f"{name}[{n}] must have exactly {', '.join(fields)}, each a text")
    return list(entries)
