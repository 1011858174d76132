"""Prompt templates have versions and are checked when written; a language model that read an erased customer writes no more."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from feedback.models import Project
from feedback.problems import Problem
from serving import language, prompts
from serving.artifacts import write_bundle
from serving.drafter import GRAPH, KIND
from serving.models import LanguageVersion, PromptTemplate
from serving.prompts import BUILT_IN, Template, fitting

pytestmark = pytest.mark.django_db


def add(project: Project, text: str = "{inquiry}", **more) -> PromptTemplate:
    return language.add_template(project_id=project.pk, text=text, **more)


def test_every_change_is_a_new_version_and_the_same_again_is_none(project: Project) -> None:
    assert [add(project, t).number for t in ("{inquiry}", "{inquiry}", "Q: {inquiry}")] == [1, 1, 2]
    assert [t.text for t in language.templates(project_id=project.pk)] == ["Q: {inquiry}"]


def test_examples_belong_to_the_version(project: Project) -> None:
    text, example = "{examples}{inquiry}", {"inquiry": "Hi", "reply": "Hello"}
    first, second = add(project, text), add(project, text, examples=[example])
    assert (first.number, second.number, first.sha256 == second.sha256) == (1, 2, False)
    (found,) = language.templates(project_id=project.pk)
    assert Template.of(found.as_dict()) == found
    assert prompts.render(found, {"inquiry": "Why?"}) == "Q: Hi\nA: Hello\n\nWhy?"


def test_an_earlier_version_can_be_taken_back(project: Project) -> None:
    add(project), add(project, "Q: {inquiry}")
    assert language.take_back(project_id=project.pk, number=1).active
    assert [t.number for t in language.templates(project_id=project.pk)] == [1]
    with pytest.raises(Problem) as missing:
        language.take_back(project_id=project.pk, number=3)
    assert missing.value.status == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [({"text": "Hello"}, "text"), ({"text": "{inquiry} {order}"}, "text"), ({"category": "none"}, "category"),
     ({"examples": [{"inquiry": "a"}]}, "examples"), ({"examples": [{"inquiry": "a", "reply": "b"}]}, "examples"),
     ({"examples": ["a"]}, "examples")],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused_by_its_field(project: Project, given: dict, field: str) -> None:
    with pytest.raises(Problem) as refused:
        add(project, **{"text": "{inquiry}", **given})
    assert (refused.value.status, refused.value.field) == (422, field)
    assert not PromptTemplate.objects.exists()


def test_the_most_particular_template_is_taken() -> None:
    places = [("", ""), ("", "ja"), ("refund", ""), ("refund", "de")]
    made = [Template(c, at, n, "{inquiry}") for n, (c, at) in enumerate(places, 1)]
    asked = [("refund", "de-AT"), ("refund", "ja"), ("other", "ja-JP"), ("other", "en"), ("", "")]
    assert [fitting(made, category=c, locale=at).number for c, at in asked] == [4, 3, 2, 1, 1]
    assert fitting([], category="refund", locale="en") == BUILT_IN


def test_the_command_writes_lists_and_takes_back(project: Project, tmp_path, capsys) -> None:
    (tmp_path / "prompt.txt").write_text("{examples}Q: {inquiry}\n")
    (tmp_path / "examples.json").write_text(json.dumps([{"inquiry": "a", "reply": "b"}]))
    where = {"category": "refund", "locale": "en"}
    call_command("prompt_template", project.slug, tmp_path / "prompt.txt", examples=tmp_path / "examples.json", **where)
    call_command("prompt_template", project.slug)
    said = capsys.readouterr().out
    assert "Version 1 is in force from the next tuning on (refund, en)" in said
    assert "* 1  refund, en" in said
    (tmp_path / "examples.json").write_text("{")
    broken = {"file": tmp_path / "prompt.txt", "examples": tmp_path / "examples.json"}
    for wrong in ({"file": tmp_path / "none.txt"}, {"take_back": 7}, broken):
        with pytest.raises(CommandError):
            call_command("prompt_template", project.slug, **wrong)


def version(project: Project, root, n: int, inquiries: list[str]) -> LanguageVersion:
    bundle = write_bundle(root, {GRAPH: bytes([n])}, {"kind": KIND})
    made = language.register(
        project_id=project.pk, bundle=bundle, encoder_sha="", base_sha="b" * 64, lineage={"inquiries": inquiries}
    )
    return language.promote(version_id=made.pk)


def test_a_version_that_read_an_erased_inquiry_gives_way_to_the_one_before(project: Project, settings) -> None:
    first, second = (version(project, settings.ENSO_ARTIFACTS, n, [f"i{n}"]) for n in (1, 2))
    assert [v.pk for v in language.bar(project_id=project.pk, inquiries=["i2", "i9"], why="gone")] == [second.pk]
    assert language.in_production(project_id=project.pk) == first
    with pytest.raises(Problem, match="gone"):
        language.promote(version_id=second.pk)
    language.bar(project_id=project.pk, inquiries=["i1"], why="gone")
    assert language.in_production(project_id=project.pk) is None


def test_a_model_whose_bundle_is_damaged_does_not_come_into_service(project: Project, settings) -> None:
    bundle = write_bundle(settings.ENSO_ARTIFACTS, {"notes.txt": b"x"}, {"kind": KIND})
    made = language.register(project_id=project.pk, bundle=bundle, encoder_sha="", base_sha="b" * 64)
    with pytest.raises(Problem) as refused:
        language.promote(version_id=made.pk)
    assert refused.value.kind == "corrupt-bundle"
