"""Bundles: what is written is what is read, and anything else is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.artifacts import (
    MANIFEST,
    UNFINISHED,
    CorruptBundle,
    load_bundle,
    manifest_sha256,
    remove_unfinished,
    write_bundle,
)

FILES = {"head.onnx": b"graph" * 100, "weights.npy": bytes(range(256))}
META = {"kind": "ridge", "categories": ["refund", "card_lost"], "encoder_sha256": "e" * 64, "temperature": 0.07}


def test_it_reads_back_what_was_written(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    again = load_bundle(bundle.path, bundle.sha256)
    assert {name: again.read(name) for name in FILES} == FILES
    assert (again.kind, again.categories, again.size) == ("ridge", ("refund", "card_lost"), 756)
    assert again.manifest["temperature"] == 0.07
    assert again.manifest["parent"] is None


def test_the_directory_is_named_by_the_hash_of_the_canonical_manifest(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest.pop("created_at")
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert bundle.path.name == bundle.sha256 == hashlib.sha256(canonical.encode()).hexdigest()


def test_writing_the_same_twice_changes_nothing(tmp_path: Path) -> None:
    first = write_bundle(tmp_path, FILES, {**META, "created_at": "2026-01-01T00:00:00+00:00"})
    before = {p: p.stat().st_mtime_ns for p in first.path.iterdir()}
    second = write_bundle(tmp_path, FILES, {**META, "created_at": "2026-02-02T00:00:00+00:00"})
    assert second.sha256 == first.sha256
    assert {p: p.stat().st_mtime_ns for p in first.path.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == [first.sha256]


@pytest.mark.parametrize("change", [{"kind": "linear"}, {"categories": ["card_lost", "refund"]}, {"parent": "f" * 64}])
def test_any_change_of_the_metadata_is_another_bundle(tmp_path: Path, change: dict[str, object]) -> None:
    assert write_bundle(tmp_path, FILES, META).sha256 != write_bundle(tmp_path, FILES, {**META, **change}).sha256


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "head.onnx").unlink(), "head.onnx is missing"),
        (lambda p: (p / "weights.npy").write_bytes(bytes(range(255))), "weights.npy .* has 255 bytes"),
        (lambda p: (p / "weights.npy").write_bytes(bytes(range(255, -1, -1))), "weights.npy .* was changed"),
        (lambda p: (p / "notes.txt").write_text("hello"), "notes.txt .* is not listed"),
        (lambda p: (p / MANIFEST).unlink(), f"{MANIFEST} .* cannot be read"),
        (lambda p: (p / MANIFEST).write_text("{"), f"{MANIFEST} .* is not JSON"),
        (lambda p: (p / MANIFEST).write_text("[]"), f"{MANIFEST} .* does not say that it is enso-bundle/1"),
        (lambda p: (p / MANIFEST).write_bytes(b"\xff\xfe\x00"), f"{MANIFEST} .* is not JSON"),
    ],
)
def test_it_refuses_a_damaged_bundle_with_a_sentence_naming_the_file(tmp_path: Path, damage, sentence: str) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    damage(bundle.path)
    with pytest.raises(CorruptBundle, match=sentence):
        load_bundle(bundle.path, bundle.sha256)


def test_it_refuses_a_bundle_with_another_hash_than_the_expected_one(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    with pytest.raises(CorruptBundle, match="was expected"):
        load_bundle(bundle.path, "0" * 64)


def test_it_refuses_an_edited_manifest_even_where_the_files_agree_with_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest["thresholds"] = {"auto": 0.0}
    (bundle.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptBundle, match="was expected"):
        load_bundle(bundle.path, bundle.sha256)


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden"])
def test_a_manifest_cannot_point_outside_its_directory(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"]["head.onnx"]
    (bundle.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptBundle, match="does not list its files"):
        load_bundle(bundle.path, manifest_sha256(manifest))


def test_it_refuses_a_symbolic_link(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    (tmp_path / "elsewhere").write_bytes(FILES["head.onnx"])
    (bundle.path / "head.onnx").unlink()
    (bundle.path / "head.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptBundle, match="symbolic link"):
        load_bundle(bundle.path, bundle.sha256)


def test_a_file_changed_after_loading_is_not_read(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    (bundle.path / "head.onnx").write_bytes(b"other" * 100)
    with pytest.raises(CorruptBundle, match=r"head\.onnx"):
        bundle.read("head.onnx")


def test_writing_over_a_damaged_bundle_repairs_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, FILES, META)
    (bundle.path / "weights.npy").write_bytes(b"")
    repaired = write_bundle(tmp_path, FILES, META)
    assert repaired.sha256 == bundle.sha256
    assert repaired.read("weights.npy") == FILES["weights.npy"]
    assert [p.name for p in tmp_path.iterdir()] == [bundle.sha256]


@pytest.mark.parametrize("name", ["../x", "a/b", MANIFEST, "", ".hidden", "x" * 101])
def test_it_refuses_a_file_name_that_could_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        write_bundle(tmp_path, {name: b""}, META)


@pytest.mark.parametrize(
    "meta", [{}, {"kind": ""}, {**META, "categories": ["a", "a"]}, {**META, "temperature": float("nan")}]
)
def test_it_refuses_metadata_that_cannot_be_served(tmp_path: Path, meta: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        write_bundle(tmp_path, FILES, meta)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path, FILES, META)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_the_same_content_end_with_one_bundle(tmp_path: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(4)

    def write() -> None:
        start.wait()
        found.append(write_bundle(tmp_path, FILES, META).sha256)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert [p.name for p in tmp_path.iterdir()] == [found[0]]
    load_bundle(tmp_path / found[0], found[0])


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    kept = write_bundle(tmp_path, FILES, META)
    old, young = tmp_path / f"{UNFINISHED}a", tmp_path / f"{UNFINISHED}b"
    for path in (old, young):
        path.mkdir()
        (path / "head.onnx").write_bytes(b"half")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    assert remove_unfinished(tmp_path) == 1
    assert {p.name for p in tmp_path.iterdir()} == {kept.sha256, young.name}


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True), st.binary(max_size=200), max_size=4
    ),
    at=st.integers(min_value=0),
)
def test_no_single_changed_byte_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, files, at: int) -> None:
    root = tmp_path_factory.mktemp("bundles")
    bundle = write_bundle(root, files, META)
    victims = [(name, i) for name, data in files.items() for i in range(len(data))]
    if not victims:
        return
    name, position = victims[at % len(victims)]
    data = bytearray(files[name])
    data[position] ^= 1
    (bundle.path / name).write_bytes(bytes(data))
    with pytest.raises(CorruptBundle, match=name):
        load_bundle(bundle.path, bundle.sha256)
