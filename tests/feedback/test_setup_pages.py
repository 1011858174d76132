"""The pages on which leads set their desk up: settings, categories, replies, and projects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from feedback import keys
from feedback.models import Category, Membership, OutboxEvent, Project, Reply, Role, User
from tests.conftest import make_key, make_person

PAGES = ("settings", "categories", "people", "cases/hours", "proposals")


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def lead(project: Project, client: Client) -> User:
    person = make_person(project, "lead", Role.LEAD)
    client.force_login(person)
    return person


@pytest.fixture
def admin(project: Project, client: Client) -> User:
    person = make_person(project, "boss", Role.ADMIN)
    client.force_login(person)
    return person


@pytest.fixture
def refund(project: Project) -> Category:
    return Category.objects.get(project=project, key="refund")


def form_of(project: Project, **changes: Any) -> dict[str, Any]:
    from feedback.forms import SettingsForm

    project.refresh_from_db()
    given = {n: getattr(project, n) for n in SettingsForm.Meta.fields} | {"revision": project.revision} | changes
    return {k: v for k, v in given.items() if v is not False}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", Role.values)
def test_setting_up_is_for_leads_and_admins(path: str, role: str, client: Client, project: Project) -> None:
    client.force_login(make_person(project, "somebody", role))
    assert client.get(f"/p/shop/{path}").status_code == (200 if role in (Role.LEAD, Role.ADMIN) else 403)


@pytest.mark.parametrize("path", PAGES)
def test_another_project_does_not_exist(path: str, client: Client, project: Project, outsider: User) -> None:
    client.force_login(outsider)
    assert client.get(f"/p/shop/{path}").status_code == 404


class TestSettings:
    def test_saving_writes_them_and_tells_serving(self, client: Client, lead: User, project: Project) -> None:
        project.refresh_from_db()
        before = project.revision
        client.post("/p/shop/settings", form_of(project, confidence_threshold=0.8, answers_by_hand=True))
        project.refresh_from_db()
        assert (project.confidence_threshold, project.answers_by_hand, project.revision) == (0.8, True, before + 1)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("confidence_threshold", 1.2), ("anger_threshold", -3), ("audit_rate", "many"), ("overlap", 0), ("lease_seconds", 1),
         ("rating_max", 1), ("name", ""), ("click_weight", 7)],
    )  # fmt: skip
    def test_a_wrong_one_names_its_field_and_changes_nothing(
        self, name: str, value: Any, client: Client, lead: User, project: Project
    ) -> None:
        before = Project.objects.values().get(pk=project.pk)
        response = client.post("/p/shop/settings", form_of(project, **{name: value}))
        assert response.status_code == 422
        assert f'id="fault-{name}"' in response.content.decode()
        assert Project.objects.values().get(pk=project.pk) == before

    def test_the_second_of_two_leads_overwrites_nothing(self, client: Client, lead: User, project: Project) -> None:
        mine, theirs = form_of(project, name="Mine"), form_of(project, name="Theirs")
        client.post("/p/shop/settings", theirs)
        page = client.post("/p/shop/settings", mine, follow=True).content.decode()
        assert "Somebody has changed this" in page
        project.refresh_from_db()
        assert project.name == "Theirs"

    def test_archiving_takes_the_project_and_its_keys_away_and_back(
        self, client: Client, admin: User, project: Project
    ) -> None:
        secret = make_key(project)
        client.post("/p/shop/settings/archive", {"on": "yes"})
        keys.cache.clear()
        headers = {"Authorization": f"Api-Key {secret}"}
        assert client.get("/p/shop/categories").status_code == 404
        assert client.post("/api/v1/predict", {}, content_type="application/json", headers=headers).status_code == 401
        assert "archived" in client.get("/projects").content.decode()
        client.post("/p/shop/settings/archive", {"on": "no"})
        assert client.get("/p/shop/categories").status_code == 200

    def test_a_lead_does_not_archive(self, client: Client, lead: User, project: Project) -> None:
        assert client.post("/p/shop/settings/archive", {"on": "yes"}).status_code == 403


class TestCategories:
    def test_a_new_one_gets_a_key_and_models_are_taught_it(self, client: Client, lead: User, project: Project) -> None:
        client.post(
            "/p/shop/categories", {"name": "Damaged goods", "name_ja": "破損", "examples": "Broken.\n\nIn pieces."}
        )
        made = Category.objects.get(project=project, key="damaged-goods")
        assert (made.names, made.examples) == ({"ja": "破損"}, ["Broken.", "In pieces."])
        assert OutboxEvent.objects.filter(kind="category.changed", payload={"categories": [made.pk]}).exists()

    def test_a_change_is_kept_from_overwriting_another(self, client: Client, lead: User, refund: Category) -> None:
        path, old = f"/p/shop/categories/{refund.pk}", refund.project.revision
        client.post(path, {"name": "Money back", "revision": old})
        client.post(path, {"name": "Too late", "revision": old})
        refund.refresh_from_db()
        assert refund.name == "Money back"

    def test_the_last_one_in_use_stays(self, client: Client, lead: User, project: Project) -> None:
        for c in project.categories.all():
            client.post(f"/p/shop/categories/{c.pk}/act", {"act": "archive"})
        assert Category.objects.filter(project=project, archived_at=None).count() == 1

    def test_moving_changes_the_number_keys(
        self, client: Client, lead: User, project: Project, refund: Category
    ) -> None:
        client.post(f"/p/shop/categories/{refund.pk}/act", {"act": "down"})
        assert [c.key for c in project.categories.all()] == ["delivery", "refund", "fraud"]
        client.post(f"/p/shop/categories/{refund.pk}/act", {"act": "up"})
        client.post(f"/p/shop/categories/{refund.pk}/act", {"act": "up"})
        assert [c.key for c in project.categories.all()] == ["refund", "delivery", "fraud"]

    def test_a_guideline_is_a_version_and_never_over_anothers(
        self, client: Client, lead: User, refund: Category
    ) -> None:
        path = f"/p/shop/categories/{refund.pk}/guideline"
        client.post(path, {"guideline": "First.", "known": ""})
        response = client.post(path, {"guideline": "Second.", "known": ""})
        assert response.status_code == 422
        assert "Second." in response.content.decode()  # what was written is not lost
        refund.refresh_from_db()
        assert refund.guideline == "First."
        assert OutboxEvent.objects.filter(kind="guideline.amended").count() == 1

    @pytest.mark.parametrize("text", ["", "\x00", "x" * 20_001])
    def test_a_guideline_that_is_no_text_is_refused(
        self, text: str, client: Client, lead: User, refund: Category
    ) -> None:
        response = client.post(f"/p/shop/categories/{refund.pk}/guideline", {"guideline": text, "known": ""})
        assert response.status_code == 422
        refund.refresh_from_db()
        assert refund.guideline == ""

    def test_replies_get_versions_and_are_retired(self, client: Client, lead: User, refund: Category) -> None:
        path = f"/p/shop/categories/{refund.pk}/reply"
        client.post(path, {"locale": "en", "text": "Wait."})
        client.post(path, {"locale": "en", "text": "Wait, please.", "slot": "1"})
        client.post(path, {"locale": "en", "text": "Another."})
        assert list(Reply.objects.order_by("pk").values_list("slot", "version", "active")) == [
            (1, 1, False),
            (1, 2, True),
            (2, 1, True),
        ]
        client.post(path, {"retire": Reply.objects.get(version=2).pk})
        assert Reply.objects.get(active=True).text == "Another."
        assert client.post(path, {"locale": "english!", "text": "x"}).status_code == 422

    def test_a_category_of_another_project_does_not_exist(
        self, client: Client, lead: User, other_project: Project
    ) -> None:
        foreign = other_project.categories.get(key="refund")
        assert client.get(f"/p/shop/categories/{foreign.pk}").status_code == 404
        for path in ("act", "guideline", "reply"):
            assert client.post(f"/p/shop/categories/{foreign.pk}/{path}", {"act": "archive"}).status_code == 404
        foreign.refresh_from_db()
        assert foreign.archived_at is None


class TestProjects:
    def test_an_admin_makes_one_and_leads_it(self, client: Client, admin: User) -> None:
        given = {"name": "Clinic", "slug": "clinic", "categories": "Appointment: wants a date\n返金\n請求"}
        response = client.post("/projects", given)
        assert response.headers["Location"] == "/p/clinic/people"
        made = Project.objects.get(slug="clinic")
        assert [c.key for c in made.categories.all()] == ["appointment", "category-1", "category-2"]
        assert set(Membership.objects.filter(project=made).values_list("role", flat=True)) == {"admin", "lead"}

    def test_others_do_not(self, client: Client, lead: User) -> None:
        assert client.post("/projects", {"name": "x", "slug": "x", "categories": "a"}).status_code == 403

    def test_a_taken_short_name_is_refused(self, client: Client, admin: User) -> None:
        response = client.post("/projects", {"name": "x", "slug": "SHOP", "categories": "a"})
        assert response.status_code == 422
        assert Project.objects.count() == 1
