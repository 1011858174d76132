"""Artifacts that several machines share through a bucket. The storage is a real server; a machine is a directory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from serving import registry, storage
from serving.artifacts import CorruptBundle, load_bundle, write_bundle
from serving.s3 import Bucket, Refused

FILES = {"weights.npy": b"\1\2\3" * 1000, "head.onnx": b"graph"}


def test_a_bundle_that_one_machine_wrote_is_opened_by_another(
    shelf: Bucket, elsewhere: Callable[[], None], settings: Any
) -> None:
    bundle = write_bundle(settings.ENSO_ARTIFACTS, FILES, {"kind": "ridge"})
    storage.put(bundle.path)
    elsewhere()
    path = registry.bundle_path(bundle.sha256)
    assert path.parent == settings.ENSO_ARTIFACTS
    assert load_bundle(path, bundle.sha256).read("weights.npy") == FILES["weights.npy"]
    assert not list(path.parent.glob(".unfinished-*"))


def test_a_bundle_that_is_not_whole_yet_is_not_there(
    shelf: Bucket, elsewhere: Callable[[], None], settings: Any
) -> None:
    bundle = write_bundle(settings.ENSO_ARTIFACTS, FILES, {"kind": "ridge"})
    storage.put(bundle.path)
    shelf.delete(f"enso/a shelf/{bundle.sha256}/manifest.json")
    elsewhere()
    assert not registry.bundle_path(bundle.sha256).exists()


def test_a_byte_that_was_changed_in_the_bucket_is_refused(
    shelf: Bucket, elsewhere: Callable[[], None], settings: Any
) -> None:
    bundle = write_bundle(settings.ENSO_ARTIFACTS, FILES, {"kind": "ridge"})
    storage.put(bundle.path)
    shelf.put(f"enso/a shelf/{bundle.sha256}/head.onnx", b"grapH")
    elsewhere()
    with pytest.raises(CorruptBundle, match=r"head\.onnx"):
        load_bundle(registry.bundle_path(bundle.sha256), bundle.sha256)


def test_a_file_is_fetched_once_and_is_gone_everywhere_when_it_is_removed(
    shelf: Bucket, elsewhere: Callable[[], None], settings: Any
) -> None:
    storage.write(settings.ENSO_ARTIFACTS / "continual" / "7" / "a.state", b"weights")
    elsewhere()
    path = settings.ENSO_ARTIFACTS / "continual" / "7" / "a.state"
    assert storage.names(path.parent) == {"a.state"}
    assert storage.local(path).read_bytes() == b"weights"
    shelf.put("enso/a shelf/continual/7/a.state", b"something else")
    assert storage.local(path).read_bytes() == b"weights"
    storage.remove(path)
    storage.remove(path)
    assert not storage.local(path).exists()
    assert storage.names(path.parent) == set()


def test_what_cannot_be_put_is_not_written_here_either(shelf: Bucket, settings: Any) -> None:
    path = settings.ENSO_ARTIFACTS / "a.state"
    settings.ENSO_S3_BUCKET = "there-is-none"
    with pytest.raises(Refused, match=r"refused PUT there-is-none/enso/a shelf/a\.state \(404\): NoSuchBucket"):
        storage.write(path, b"weights")
    assert not path.exists()


def test_storage_that_is_away_leaves_what_is_here(shelf: Bucket, settings: Any) -> None:
    path = settings.ENSO_ARTIFACTS / "a.state"
    storage.write(path, b"weights")
    settings.ENSO_S3_ENDPOINT = "http://127.0.0.1:9"
    assert storage.local(path).read_bytes() == b"weights"
    assert not storage.local(path.with_name("b.state")).exists()


def test_a_long_list_is_read_page_by_page(shelf: Bucket) -> None:
    for n in range(5):
        shelf.put(f"page/{n}", b"x" * n)
    assert list(shelf.keys("page/", page=2)) == [(f"page/{n}", n) for n in range(5)]


def test_what_lay_here_before_there_was_a_bucket_is_put_once(
    shelf: Bucket, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = settings.ENSO_ARTIFACTS
    write_bundle(root, FILES, {"kind": "ridge"})
    for name in ("snapshots/a.json", "checkpoints/1.head", ".unfinished-x/weights.npy"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    call_command("push_artifacts")
    call_command("push_artifacts")
    assert capsys.readouterr().out.splitlines() == ["4 put, 0 there already", "0 put, 4 there already"]
    settings.ENSO_S3_BUCKET = ""
    with pytest.raises(CommandError, match="ENSO_S3_BUCKET"):
        call_command("push_artifacts")
