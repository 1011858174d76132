"""`make` explains itself and finds a Python that works, or says in one sentence what is missing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"setup", "demo", "test", "soak", "lint", "types", "docs", "bench", "stop", "reset", "help"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return _new_clone(tmp_path / "a clone")


def _new_clone(folder: Path) -> Path:
    """A clone with nothing but the set-up, whose name has a space in it."""
    (folder / "ops").mkdir(parents=True)
    shutil.copy(ROOT / "ops" / "setup.sh", folder / "ops")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return folder


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _setup(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    programs = clone / "programs"
    for tool in ("dirname", "df", "awk", "cmp", "grep", "rm", "mkdir", "cp"):
        _program(programs, tool, f'exec {shutil.which(tool)} "$@"')
    everything = {"PATH": str(programs), "HOME": str(clone), **environment}
    return subprocess.run(
        ["/bin/sh", "ops/setup.sh"], cwd=clone, env=everything, capture_output=True, text=True, check=False
    )


def test_every_target_is_explained() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_can_be_made(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


def test_without_python_the_sentence_names_the_versions(clone: Path) -> None:
    done = _setup(clone)
    assert done.returncode == 1
    assert re.fullmatch(r"setup: Python 3\.11 or 3\.12 is needed and none was found: .*\n", done.stderr)


def test_a_python_that_was_named_but_does_not_suit_is_refused(clone: Path) -> None:
    done = _setup(clone, PYTHON="/bin/false")
    assert done.returncode == 1
    assert "PYTHON=/bin/false is not Python 3.11 or 3.12" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_is_told_what_to_install(clone: Path) -> None:
    _program(clone / "programs", "python3.11", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = _setup(clone)
    assert done.returncode == 1
    assert "python3.11 has no venv module: install it" in done.stderr


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A clone where every shim fails, pyenv holds a Python that works, and the packages cannot be installed."""
    clone = _new_clone(tmp_path_factory.mktemp("setup") / "a clone")
    for name in ("python3.11", "python3.12", "python3"):
        _program(clone / "programs", name, "exit 127")
    version = clone / ".pyenv" / "versions" / "3.11.99"
    version.mkdir(parents=True)
    _program(version / "bin", "python3", f'exec {os.path.realpath(sys.executable)} "$@"')
    (clone / "requirements" / "dev.lock").write_text("nothing-of-this-name==0\n")
    return clone, _setup(clone, PIP_NO_INDEX="1", PIP_FIND_LINKS="")


@pytest.mark.processes
def test_a_shim_that_fails_is_passed_over_for_a_python_that_works(
    interrupted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    clone, done = interrupted
    assert "making .venv with Python" in done.stdout
    assert (clone / ".venv" / "bin" / "python").exists()


@pytest.mark.processes
def test_an_installation_that_failed_is_not_taken_for_done(
    interrupted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    clone, done = interrupted
    assert done.returncode == 1
    assert "make again goes on from here" in done.stderr
    assert not (clone / ".venv" / "installed").exists()


@pytest.mark.processes
def test_a_package_that_was_cut_off_while_it_was_installed_is_forgotten(
    interrupted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    clone, _ = interrupted
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    half, aside = packages / "half-1.0.dist-info", packages / "~alf-0.9.dist-info"
    half.mkdir()
    aside.mkdir()
    (half / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    again = _setup(clone, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert again.returncode == 1
    assert not half.exists()
    assert not aside.exists()
    assert "making .venv" not in again.stdout
