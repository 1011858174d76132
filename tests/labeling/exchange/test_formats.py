"""Files as people send them: each fault is named with its row, its column and what to do, and nothing else is lost."""

from __future__ import annotations

import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.exchange.cells import guard, starts_formula, unguard
from labeling.exchange.csv_files import read_csv, write_csv
from labeling.exchange.formats import format_of
from labeling.exchange.json_lines import read_jsonl, write_jsonl
from labeling.exchange.label_studio import interface, read_label_studio
from labeling.exchange.rows import Fault, Item, Reading, Refused, Row, check

PLAIN = Reading()


def written(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv_rows(tmp_path, content, reading=PLAIN):
    return list(read_csv(written(tmp_path, content), reading))


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nWhere is it?,delivery\n",
        "\ufefftext,label\r\nWhere is it?,delivery\r\n",
        "text;label\nWhere is it?;delivery\n",
        "text\tlabel\nWhere is it?\tdelivery\n",
        "text,label\nWhere is it?,delivery\n".encode("utf-16"),
        '"text","label"\n\n"Where is it?","delivery"',
    ],
)
def test_csv_is_read_from_whatever_spreadsheets_write(tmp_path, content):
    assert [dict(r.cells) for r in csv_rows(tmp_path, content)] == [{"text": "Where is it?", "label": "delivery"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("text,text\na,b\n", "twice"),
        ("body,label\na,b\n", "no column 'text'"),
        (b"PK\x03\x04rest", "save it as CSV"),
        ("本文,label\n".encode("cp932"), "encoding"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_to_do(tmp_path, content, says):
    with pytest.raises(Refused, match=says):
        csv_rows(tmp_path, content)


def test_a_wrong_column_name_is_refused_with_the_names_that_are_there(tmp_path):
    with pytest.raises(Refused, match="no column 'body' for the text; the file has text, label"):
        csv_rows(tmp_path, "text,label\na,b\n", Reading(columns={"text": "body"}))


def test_columns_under_other_names_are_found(tmp_path):
    rows = csv_rows(
        tmp_path, "Frage,Thema\nWo ist es?,delivery\n", Reading(columns={"text": "Frage", "label": "Thema"})
    )
    assert rows == [Row(2, {"text": "Wo ist es?", "label": "delivery"})]


def test_a_row_with_too_many_or_too_few_cells_is_a_fault_and_the_next_one_is_read(tmp_path):
    first, second, third = csv_rows(tmp_path, "text,label\na,b,c\na\nWhere?,delivery\n")
    assert (first.number, second.number, third.number) == (2, 3, 4)
    assert "not in quotes" in first.advice
    assert "not in quotes" in second.advice
    assert isinstance(third, Row)


def test_bytes_of_another_encoding_spoil_their_own_row_only(tmp_path):
    content = b"text,label\n" + "返金して".encode("cp932") + b",refund\nWhere is it?,delivery\n"
    spoiled, good = (check(r) for r in csv_rows(tmp_path, content))
    assert isinstance(spoiled, Fault)
    assert spoiled.field == "text"
    assert "name its encoding" in spoiled.advice
    assert isinstance(good, Item)


def test_a_named_encoding_is_read(tmp_path):
    content = "text,label\n返金してください,refund\n".encode("cp932")
    (row,) = csv_rows(tmp_path, content, Reading(encoding="cp932"))
    assert row.cells["text"] == "返金してください"


def test_a_cell_beyond_the_limit_is_a_fault_and_reading_goes_on(tmp_path):
    content = "text,label\n" + "a" * 200_000 + ",refund\nWhere is it?,delivery\n"
    long, good = csv_rows(tmp_path, content)
    assert isinstance(long, Fault)
    assert good.cells["label"] == "delivery"


@pytest.mark.parametrize(
    ("cells", "field", "says"),
    [
        ({"text": "   "}, "text", "must not be empty"),
        ({"text": "a" * 8001}, "text", "shorten it"),
        ({"text": "a\x00b"}, "text", "control characters"),
        ({"text": 17}, "text", "write it as text"),
        ({"text": "a", "label": "x" * 201}, "label", "shorten it"),
        ({"text": "a", "external_id": "x" * 201}, "external_id", "shorten it"),
        ({"text": "a", "locale": "english please"}, "locale", "language tag"),
        ({"text": "a", "metadata": "{"}, "metadata", "no JSON"),
        ({"text": "a", "metadata": [1]}, "metadata", "no JSON object"),
        ({"text": "a", "notes": "x" * 5000}, "metadata", "leave some out"),
        ({"label": "refund"}, "text", "give the customer's text"),
    ],
)
def test_each_bad_cell_names_its_column_and_what_to_do(cells, field, says):
    fault = check(Row(7, cells))
    assert isinstance(fault, Fault)
    assert (fault.number, fault.field) == (7, field)
    assert says in fault.advice


def test_a_column_without_a_name_of_ours_is_kept_as_metadata():
    item = check(Row(2, {"text": "a", "order": "17", "metadata": '{"shop": "north"}'}))
    assert item.metadata == {"order": "17", "shop": "north"}


def test_json_lines_tell_each_bad_line(tmp_path):
    content = '\ufeff{"text": "a"}\n\n[1]\n{"text": \n{"text": "b", "external_id": 7}\n'
    rows = list(read_jsonl(written(tmp_path, content), PLAIN))
    assert [r.number for r in rows] == [1, 3, 4, 5]
    assert [isinstance(r, Fault) for r in rows] == [False, True, True, False]
    assert check(rows[3]).external_id == "7"


def test_a_line_beyond_the_limit_is_a_fault_and_the_next_is_read(tmp_path):
    content = '{"text": "' + "a" * (3 << 20) + '"}\n{"text": "b"}\n'
    long, good = read_jsonl(written(tmp_path, content), PLAIN)
    assert "longer than" in long.advice
    assert good == Row(2, {"text": "b"})


def choice(*names, **fields):
    result = [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": list(names)}}] if names else []
    return {"result": result, **fields}


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([choice("refund"), choice("refund")], "refund"),
        ([choice("refund"), choice("delivery", ground_truth=True)], "delivery"),
        ([choice("refund"), choice("delivery", was_cancelled=True)], "refund"),
        ([choice()], None),
        ([], None),
    ],
)
def test_label_studio_tasks_give_the_label_their_annotations_agree_on(tmp_path, annotations, label):
    task = {"id": 1, "data": {"text": "a", "order": 5}, "annotations": annotations}
    (row,) = read_label_studio(written(tmp_path, json.dumps([task], indent=2)), PLAIN)
    assert row.cells.get("label") == label
    assert row.cells["order"] == 5


@pytest.mark.parametrize(
    ("annotations", "says"),
    [([choice("refund"), choice("delivery")], "disagree"), ([choice("refund", "delivery")], "several choices")],
)
def test_label_studio_tasks_without_one_answer_are_faults(tmp_path, annotations, says):
    task = {"data": {"text": "a"}, "annotations": annotations}
    (fault,) = read_label_studio(written(tmp_path, json.dumps([task])), PLAIN)
    assert (fault.number, fault.field) == (1, "label")
    assert says in fault.advice


def test_a_label_studio_file_that_breaks_off_gives_its_whole_tasks_first(tmp_path):
    whole = json.dumps([{"data": {"text": f"t{i}"}} for i in range(3)])
    rows = read_label_studio(written(tmp_path, whole[:-10]), PLAIN)
    assert [next(rows).cells["text"], next(rows).cells["text"]] == ["t0", "t1"]
    with pytest.raises(Refused, match="breaks off after item 2"):
        next(rows)


def test_a_label_studio_array_is_read_piece_by_piece(tmp_path):
    tasks = [{"data": {"text": f"{i} " + "x" * 3000}} for i in range(200)]
    rows = list(read_label_studio(written(tmp_path, json.dumps(tasks)), PLAIN))
    assert [r.cells["text"].split()[0] for r in rows] == [str(i) for i in range(200)]


def test_the_interface_for_label_studio_escapes_its_choices():
    assert '<Choice value="a &lt;b&gt;"/>' in interface(["a <b>"])


def test_the_ending_tells_the_format_and_an_unknown_one_is_refused():
    assert format_of("Export.CSV").name == "csv"
    assert format_of("export.bin", "jsonl").name == "jsonl"
    with pytest.raises(Refused, match="name the format"):
        format_of("export.xlsx")


def test_an_archive_without_data_is_refused(tmp_path):
    from labeling.exchange.hugging_face import read_hugging_face

    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("README.md", "nothing")
    with pytest.raises(Refused, match="no data files"):
        list(read_hugging_face(tmp_path / "empty.zip", PLAIN))


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
risky = st.one_of(
    cells, st.sampled_from(["=1+1", "'=1", "''=1", "+1", "\t=x", "＝SUM(A1)", "'", "-", " =1", "|calc", "%0A"])
)


@given(st.dictionaries(st.sampled_from(["text", "label", "external_id"]), risky))
def test_a_guarded_row_starts_no_formula_and_comes_back_exactly(row):
    safe = guard(row)
    assert not any(starts_formula(c) for c in safe.values())
    assert unguard(safe) == row


@given(st.dictionaries(st.sampled_from(["text", "label"]), risky))
def test_nothing_is_taken_off_a_row_that_nobody_guarded(row):
    assert unguard(row) == row


@given(st.lists(st.tuples(risky.filter(bool), risky.filter(bool)), max_size=5))
def test_csv_comes_back_exactly_as_it_was_written(tmp_path_factory, rows):
    path = written(tmp_path_factory.mktemp("csv"), b"".join(write_csv(rows, ["text", "label"], bom=True)))
    found = list(read_csv(path, PLAIN))
    assert [(r.cells["text"], r.cells["label"]) for r in found] == rows


@given(st.lists(risky.filter(bool), max_size=5))
def test_json_lines_come_back_exactly_as_they_were_written(tmp_path_factory, texts):
    path = written(tmp_path_factory.mktemp("jsonl"), b"".join(write_jsonl({"text": t} for t in texts)) or b"\n")
    assert [r.cells["text"] for r in read_jsonl(path, PLAIN)] == texts
