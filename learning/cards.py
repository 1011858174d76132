"""Model cards (Mitchell et al. 2019, arXiv:1810.03993) and dataset cards (Gebru et al. 2018, arXiv:1803.09010) as Markdown.

They are made from rows whenever somebody asks, so that they cannot grow stale, and hold no text of a customer: categories,
counts, hashes and measured figures alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from feedback.models import Fold
from learning.models import Snapshot, TrainingRun
from learning.snapshots import read_manifest
from serving.models import ModelVersion

FOLDS = {fold.value: str(fold.label) for fold in Fold}


def model_card(version: ModelVersion) -> str:
    """What a version is, what it was measured to do, and what it was made from."""
    run = TrainingRun.objects.filter(model=version).select_related("snapshot").first()
    parts = [
        f"# {version.project.name} v{version.number}",
        (f"A {version.kind} head over frozen text embeddings. It sorts customer inquiries of the project "
        f"`{version.project.slug}` into its categories and says how sure it is. Stage: **{version.stage}**."),
        *_barred(version),
        "## Intended use",
        ("Routing of inquiries in this project's languages and categories. Answers below the project's confidence threshold, "
        "in high-risk categories, or to angry customers go to a person. It is not meant for other projects, for decisions "
        "about people, or for texts that are no inquiries."),
        "## Measured",
        _metrics(version.metrics),
        "Figures are of the test fold: labels that no head has trained on. Brackets are 95 % intervals.",
        "## Gates",
        _table(("gate", "passed", "found"), [(g["name"], "yes" if g["passed"] else "no", g.get("detail", "")) for g in version.gates])
        if version.gates else "Not judged yet.",
        "## Made from",
        _five(version, run),
        "## History",
        _history(version),
        "## Limits",
        ("Trained on labels of this project alone; categories with few labels are known from their texts. Probabilities were "
        "calibrated on past inquiries and are trusted as long as the drift checks are quiet. Between two trainings the head follows "
        "new labels (its delta number is recorded with each answer); the figures above are of the version as it was trained."),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def dataset_card(snapshot: Snapshot) -> str:
    """What labels a snapshot holds: by category and fold, never a text."""
    try:
        manifest = read_manifest(snapshot.sha256)
    except LookupError as error:
        return f"# Snapshot {snapshot.sha256[:12]}\n\nIts manifest cannot be read: {error}.\n"
    rows = manifest["labels"]
    parts = [
        f"# Snapshot {snapshot.sha256[:12]}",
        (f"{len(rows)} labels and {len(manifest.get('pool', []))} unlabeled inquiries of the project `{snapshot.project.slug}`, "
        f"read by the encoder `{snapshot.encoder_sha[:12]}`, taken {snapshot.created_at:%Y-%m-%d %H:%M} UTC."),
        *_succeeded(snapshot),
        "## Composition",
        _composition(manifest["categories"], rows, manifest.get("guidelines", {})),
        "## Collection and labeling",
        ("Inquiries that customers sent, masked when they were stored. Labels are what annotators agreed on, what experts, agents or "
        "imports decided. Each inquiry got its fold by a hash of its near-duplicate group when it was stored: test and calibrate "
        "train nothing."),
        "## Weights",
        _weights(rows),
        "## Privacy",
        ("The snapshot holds ids, categories, weights and hashes, no text and no embedding of a customer. An erasure writes a "
        "successor without the customer."),
        "## Identity",
        _table(("what", "value"), [("SHA-256", f"`{snapshot.sha256}`"), ("format", manifest["format"])]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _barred(version: ModelVersion) -> list[str]:
    return [f"**It must not serve again: {_cell(version.barred)}.**"] if version.barred else []


def _succeeded(snapshot: Snapshot) -> list[str]:
    after = snapshot.successor
    return [f"**After an erasure, `{after.sha256[:12]}` with {after.labels} labels took its place.**"] if after else []


def _metrics(metrics: dict[str, Any]) -> str:
    share, rows = metrics.get("test_accuracy"), list[tuple[str, str]]()
    if isinstance(share, dict):
        value, low, high = (100 * share[k] for k in ("value", "low", "high"))
        rows.append(("accuracy", f"{value:.1f} % [{low:.1f}, {high:.1f}]"))
    if "test_ece" in metrics:
        rows.append(("expected calibration error", f"{metrics['test_ece']:.3f}"))
    for name, key in (("labels of the test fold", "test_labels"), ("labels", "labels")):
        if key in metrics:
            rows.append((name, str(metrics[key])))
    held = metrics.get("held_out")
    if isinstance(held, dict) and "accuracy" in held:
        rows.append(("accuracy, cross-validated", f"{100 * held['accuracy']:.1f} %"))
    if challenge := metrics.get("challenge"):
        losses = " against ".join(f"{challenge[k]['log_loss']:.3f}" for k in ("network", "closed_form"))
        rows.append((f"log-loss against the closed form's on {challenge['labels']} calibrate labels", losses))
    for name, past in metrics.get("forgotten", {}).items():
        now, then = (f"{100 * past[k]:.1f} %" for k in ("now", "then"))
        rows.append((f"accuracy on {past['labels']} test labels that {name} knew", f"{now}; {name} had {then}"))
    return _table(("figure", "value"), rows) if rows else "Too few labels to measure."


def _five(version: ModelVersion, run: TrainingRun | None) -> str:
    lineage = version.lineage
    rows: list[tuple[str, Any]] = [
        ("weights", f"bundle `{version.manifest_sha}`"),
        ("encoder", f"`{version.encoder_sha}`"),
        (
            "data",
            f"snapshot `{lineage['data']}`, {lineage.get('labels', '?')} labels" if "data" in lineage else "unknown",
        ),
    ]
    if run is not None:
        rows.append(("why it was trained", run.reason or "hand"))
        shown = {k: v for k, v in run.hyperparameters.items() if not isinstance(v, dict | list)}
        packages = run.environment.get("packages", {})
        rows += [
            ("hyper-parameters", ", ".join(f"{k} = {v}" for k, v in sorted(shown.items())) or "none"),
            ("environment", f"Python {run.environment.get('python', '?')}, " + ", ".join(f"{k} {v}" for k, v in packages.items())),
            ("seed", run.seed),
            ("to repeat it", f"`manage.py train {version.project.slug} --reproduce {run.pk}`"),
        ]  # fmt: skip
    return _table(("part", "value"), rows)


def _history(version: ModelVersion) -> str:
    rows = [("created", f"{version.created_at:%Y-%m-%d %H:%M} UTC")]
    if version.promoted_at:
        rows.append(("promoted", f"{version.promoted_at:%Y-%m-%d %H:%M} UTC"))
    if version.approved_by and version.approved_at:
        rows.append(("let serve by", f"{version.approved_by}, {version.approved_at:%Y-%m-%d %H:%M} UTC"))
    if version.parent:
        rows.append(("served before it", f"v{version.parent.number}"))
    if names := sorted(a.name for a in version.aliases.all()):
        rows.append(("names", ", ".join(names)))
    return _table(("what", "when, by whom"), rows)


def _composition(categories: Sequence[str], rows: Iterable[dict[str, Any]], guidelines: dict[str, int]) -> str:
    counts = Counter((row["category"], row["fold"]) for row in rows)
    known = [*categories, *sorted({c for c, _ in counts} - set(categories))]
    lines = [
        (c, *(counts[c, fold] for fold in FOLDS), sum(counts[c, fold] for fold in FOLDS), guidelines.get(c, "–"))
        for c in known
    ]
    total = ("all", *(sum(counts[c, f] for c in known) for f in FOLDS), sum(counts.values()), "")
    return _table(("category", *FOLDS.values(), "together", "guideline"), [*lines, total])


def _weights(rows: Sequence[dict[str, Any]]) -> str:
    weights = sorted(float(row["weight"]) for row in rows)
    if not weights:
        return "No label."
    middle = weights[len(weights) // 2]
    return f"From {weights[0]:.2f} to {weights[-1]:.2f}, median {middle:.2f}: reliability of whoever labeled, and what customers did."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """One line that neither ends the cell nor becomes markup."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
