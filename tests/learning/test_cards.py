"""Cards, the lineage graph, explanations, and the pages that show them."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from django.test import Client

from feedback.models import Inquiry, Project, Role, User
from learning import cards
from learning.comparison import accuracy_curve, compared
from learning.explanations import explain
from learning.lineage import Edge, Graph, Node, drawn, lineage
from learning.models import Snapshot, TrainingRun
from serving.models import ModelVersion
from serving.served import served
from tests.browser import scene
from tests.conftest import make_key, make_person
from tests.learning.following import TEXT, ask


@pytest.fixture
def people(settings: Any) -> Any:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return scene.make_people


@pytest.mark.django_db
@pytest.mark.usefixtures("small_heads")
def test_card_and_graph_lead_from_a_trained_version_back_to_all_that_made_it(shop: Project, client: Client) -> None:
    version = ModelVersion.objects.get()
    run = TrainingRun.objects.select_related("snapshot").get()
    card = cards.model_card(version)
    for part in (
        version.manifest_sha,
        version.encoder_sha,
        run.snapshot.sha256,
        f"--reproduce {run.pk}",
        "| parity | yes |",
    ):
        assert part in card
    data = cards.dataset_card(run.snapshot)
    total = re.search(r"\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", data)
    assert total is not None
    *folds, together = map(int, total.groups())
    assert (sum(folds), together) == (run.snapshot.labels, 80)
    assert not any(text in data + card for text in Inquiry.objects.values_list("text", flat=True))

    headers = {"Authorization": f"Api-Key {make_key(shop, 'labels:read')}"}
    told = client.get("/api/v1/models/1/lineage", headers=headers).json()
    kinds = {n["id"]: n["kind"] for n in told["nodes"]}
    reached = {kinds[e["source"]] for e in told["edges"]}
    assert reached == {"data", "encoder", "environment", "settings", "run"}
    assert all(e["target"] in kinds for e in told["edges"])
    answer = client.get("/api/v1/models/1/card", headers=headers)
    assert (answer.headers["Content-Type"], answer.text) == ("text/markdown; charset=utf-8", card)
    assert client.get("/api/v1/models/1/data-card", headers=headers).text == data


@pytest.mark.django_db
@pytest.mark.usefixtures("small_heads")
def test_exact_contributions_are_those_of_the_head_that_serves(shop: Project) -> None:
    inquiry = ask(shop, TEXT)
    first = explain(project_id=shop.pk, inquiry=inquiry)
    assert first is not None
    assert first.exact is not None
    other = next(c.key for c in shop.categories.order_by("pk") if c.key != first.category)
    second = explain(project_id=shop.pk, inquiry=inquiry, category=other)
    assert second is not None
    assert second.exact is not None
    for found in (first.exact, second.exact):
        parts = sum(c["value"] for c in found["coordinates"]) + found["others"]
        assert parts + found["neighbours"] + found["bias"] == pytest.approx(found["score"], abs=1e-4)
    head = next(iter(served.desk(shop.pk).heads.values())).head
    gap = (first.exact["score"] - second.exact["score"]) / head.temperature  # type: ignore[attr-defined]
    assert math.log(first.probability / second.probability) == pytest.approx(gap, abs=1e-3)


@pytest.mark.django_db
def test_a_head_without_a_version_is_explained_by_words_that_add_up(project: Project) -> None:
    inquiry = ask(project, "I want my money back, please. 返金してください")
    found = explain(project_id=project.pk, inquiry=inquiry)
    assert found is not None
    told = found.as_json()
    words = told["words"]
    assert (told["exact"], words["permutations"], words["method"]) == (None, 3, "sampled Shapley values, in log-odds")
    assert sum(w["value"] for w in words["values"]) == pytest.approx(
        words["with_all"] - words["without_words"], abs=0.01
    )
    assert {inquiry.text[w["start"] : w["end"]] for w in words["values"]} >= {"money", "返金"}
    again = explain(project_id=project.pk, inquiry=inquiry)
    assert again is not None
    assert again.as_json() == told, "the same text always gets the same explanation"
    with pytest.raises(LookupError, match="does not know"):
        explain(project_id=project.pk, inquiry=inquiry, category="nothing")


@pytest.mark.django_db
def test_an_annotator_learns_nothing_of_what_the_model_thinks(project: Project, client: Client) -> None:
    inquiry = ask(project, "Where is my parcel?")
    for role, status in ((Role.ANNOTATOR, 403), (Role.EXPERT, 403), (Role.AGENT, 200)):
        client.force_login(make_person(project, f"a-{role}", role))
        for path in (f"/p/shop/inquiries/{inquiry.pk}/explanation", f"/api/v1/inquiries/{inquiry.pk}/explanation"):
            answer = client.get(path)
            assert answer.status_code == status, path
    assert "parcel" in client.get(f"/p/shop/inquiries/{inquiry.pk}/explanation").text


@pytest.mark.django_db
def test_the_pages_show_a_version_and_two_of_them_side_by_side(people: Any, client: Client) -> None:
    shop = scene.make_shop()
    team: dict[str, User] = people(shop)
    version = scene.train_once(shop, team)
    client.force_login(team["lead"])
    page = client.get("/p/shop/models/1").text
    for part in ("not_worse", "Served before" if version.parent else "Training run", version.manifest_sha, "91.4"):
        assert part in page
    assert client.get("/p/shop/models/99").status_code == 404
    sides = client.get("/p/shop/models/compare").text
    assert sides.count("<circle") == 2
    assert "v1 ridge, live" in sides
    assert "Worse than v1 by 3.4 points." in sides
    assert client.get("/p/shop/models/compare?a=nonsense&b=2").status_code == 200


@pytest.mark.django_db
def test_what_people_wrote_does_not_become_markup_of_a_card(project: Project) -> None:
    version = ModelVersion.objects.create(
        project=project, number=1, encoder_sha="e" * 64, manifest_sha="d" * 64, kind="ridge", barred="a | b\n# c",
        gates=[{"name": "parity", "passed": False, "detail": "x | y\n\n# <script>"}],
    )  # fmt: skip
    card = cards.model_card(version)
    assert "x \\| y # &lt;script>" in card
    assert [line for line in card.splitlines() if line.startswith("# ")] == ["# Shop v1"]
    gone = Snapshot.objects.create(project=project, encoder_sha="e" * 64, sha256="0" * 64, labels=1)
    assert "cannot be read" in cards.dataset_card(gone)


@pytest.mark.django_db
def test_what_differs_between_two_versions_is_marked(project: Project) -> None:
    def version(number: int, share: float, seen: int) -> ModelVersion:
        metrics = {"test_accuracy": {"value": share, "low": share - 0.05, "high": share + 0.04}}
        return ModelVersion.objects.create(
            project=project, number=number, encoder_sha="e" * 64, manifest_sha=str(number) * 64, kind="ridge",
            metrics=metrics, lineage={"labels": seen, "data": "a" * 64},
        )  # fmt: skip

    old, new = version(1, 0.8, 50), version(2, 0.9, 50)
    lines = {str(line.name): line.differs for s in compared(old, new) for line in s.lines}
    assert (lines["Accuracy on the test fold"], lines["Labels"], lines["Bundle"]) == (True, False, True)
    curve = accuracy_curve([new, old])
    assert curve is not None
    assert [p.number for p in curve.points] == [1, 2]
    assert float(curve.points[1].y) < float(curve.points[0].y)
    assert accuracy_curve([new]) is None
    assert lineage(old).edges == ()


def test_boxes_of_a_drawing_do_not_overlap_and_edges_join_them() -> None:
    nodes = [Node(f"n{i}", "data", "x" * 40, i % 4) for i in range(11)]
    edges = [Edge("n0", "n1", "data"), Edge("n1", "n2", "weights")]
    picture = drawn(Graph(tuple(nodes), tuple(edges)))
    places = [(b.x, b.y) for b in picture.boxes]
    assert len(set(places)) == 11
    assert all(0 <= x <= picture.width - 200 and 0 <= y <= picture.height - 52 for x, y in places)
    assert all(len(b.name) <= 26 for b in picture.boxes)
    start = next(b for b in picture.boxes if b.node.id == "n0")
    assert picture.paths[0].startswith(f"M{start.x + 200} {start.y + 26} ")
