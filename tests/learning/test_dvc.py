"""A project's snapshots as a DVC project: parsed, held against MD5 sums of our own, and pulled by DVC where it is there."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from feedback.models import Inquiry, Project
from learning.models import Snapshot, TrainingRun
from learning.snapshots import files_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_heads")]


def exported(project: Project, folder: Path) -> str:
    out = io.StringIO()
    call_command("export_dvc", project.slug, str(folder), stdout=out)
    return out.getvalue()


def pulled(folder: Path, pointer: dict[str, Any]) -> dict[str, bytes]:
    """What DVC would put into the folder of a pointer: found and checked as its documentation says, not as we write it."""
    (out,) = pointer["outs"]
    listing = (folder / "remote/files/md5" / out["md5"][:2] / out["md5"][2:]).read_bytes()
    assert hashlib.md5(listing).hexdigest() + ".dir" == out["md5"]
    found = {}
    for row in json.loads(listing):
        content = (folder / "remote/files/md5" / row["md5"][:2] / row["md5"][2:]).read_bytes()
        assert hashlib.md5(content).hexdigest() == row["md5"]
        found[row["relpath"]] = content
    assert (sum(map(len, found.values())), len(found)) == (out["size"], out["nfiles"])
    return found


def test_the_remote_gives_every_file_of_a_snapshot_back(shop: Project, tmp_path: Path) -> None:
    assert "1 snapshots and 1 runs" in exported(shop, tmp_path / "out")
    snapshot = Snapshot.objects.get()
    pointer = yaml.safe_load((tmp_path / "out/snapshots" / f"{snapshot.sha256}.dvc").read_text())
    assert pointer["outs"][0]["path"] == snapshot.sha256
    files = files_of(snapshot.sha256)
    assert sorted(pulled(tmp_path / "out", pointer).values()) == sorted(f.read_bytes() for f in files)
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert not [text for text in Inquiry.objects.values_list("text", flat=True) if text.encode() in everything]


def test_a_run_is_a_stage_whose_lock_says_what_dvc_yaml_and_params_say(shop: Project, tmp_path: Path) -> None:
    exported(shop, tmp_path / "out")
    run = TrainingRun.objects.select_related("snapshot", "model").get()
    stages, lock, params = (
        yaml.safe_load((tmp_path / "out" / name).read_text()) for name in ("dvc.yaml", "dvc.lock", "params.yaml")
    )
    stage, locked = stages["stages"][f"run-{run.pk}"], lock["stages"][f"run-{run.pk}"]
    assert stage["cmd"] == locked["cmd"] == f"python manage.py train sample --reproduce {run.pk}"
    assert [d["path"] for d in locked["deps"]] == stage["deps"] == [f"snapshots/{run.snapshot.sha256}"]
    assert locked["params"]["params.yaml"] == {f"run-{run.pk}": params[f"run-{run.pk}"]}
    assert params[f"run-{run.pk}"]["hyperparameters"] == run.hyperparameters
    assert run.model is not None
    assert stage["meta"]["bundle"] == run.model.manifest_sha


def test_writing_again_changes_nothing_and_goes_on_after_a_kill(shop: Project, tmp_path: Path) -> None:
    exported(shop, tmp_path / "out")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert "0 objects are new" in exported(shop, tmp_path / "out")
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
    lost = next(p for p in before if "md5" in p.parts)
    lost.unlink()
    assert "1 objects are new" in exported(shop, tmp_path / "out")
    assert lost.read_bytes() == before[lost][1]


def test_what_an_erasure_replaced_is_taken_out(shop: Project, tmp_path: Path) -> None:
    exported(shop, tmp_path / "out")
    gone = Inquiry.objects.order_by("pk").first()
    assert gone is not None
    Inquiry.objects.filter(pk=gone.pk).update(customer="Quorra-17")
    call_command("erase_customer", shop.slug, "Quorra-17", stdout=io.StringIO())
    said = exported(shop, tmp_path / "out")
    assert "1 snapshots and 0 runs" in said
    assert "1 snapshots are left out" in said
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert str(gone.pk).encode() not in everything


def test_a_folder_of_somebody_else_is_left_alone(shop: Project, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CommandError, match="neither empty nor an earlier export"):
        exported(shop, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_snapshot_that_was_changed_on_disk_is_not_exported(shop: Project, tmp_path: Path) -> None:
    part = files_of(Snapshot.objects.get().sha256)[1]
    part.chmod(0o600)
    part.write_bytes(part.read_bytes() + b" ")
    with pytest.raises(CommandError, match="was changed"):
        exported(shop, tmp_path / "out")


@pytest.mark.skipif(shutil.which("dvc") is None, reason="DVC is not installed: the layout is checked by hand alone")
def test_dvc_itself_pulls_the_snapshot_and_finds_nothing_to_do(shop: Project, tmp_path: Path) -> None:
    exported(shop, tmp_path / "out")
    snapshot = Snapshot.objects.get()
    for command in (["pull"], ["status"]):
        done = subprocess.run(["dvc", *command], cwd=tmp_path / "out", capture_output=True, text=True, check=True)
    assert "up to date" in done.stdout
    names = {p.name for p in (tmp_path / "out/snapshots" / snapshot.sha256).rglob("*") if p.is_file()}
    assert names == {f.name for f in files_of(snapshot.sha256)}
