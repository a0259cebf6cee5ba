"""Rows of files as real exports write them, each with its line."""

from pathlib import Path

import pytest

from services.importer.mapping import Csv, Lookup, Rows
from services.importer.rows import LINE_CHARS_MAX, Faulty, Found, Reader, Unreadable, read_lookup


def rows_of(path: Path, content: str | bytes, rows: Rows | None = None) -> list[tuple[int, dict[str, object] | str]]:
    """Line and row of each row, or the reason why there is none."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with Reader(path, rows or Rows(file=path.name)) as reader:
        return [(each.origin.line, each.row if isinstance(each, Found) else each.reason) for each in reader]


def test_a_row_has_the_number_of_its_first_line(tmp_path: Path):
    content = '\ufeffid,said\r\n1,"two\r\nlines, ""quoted"""\r\n\r\n2,plain\r\n'
    assert rows_of(tmp_path / "a.csv", content) == [
        (2, {"id": "1", "said": 'two\r\nlines, "quoted"'}),
        (5, {"id": "2", "said": "plain"}),
    ]


def test_a_quote_left_open_costs_one_row(tmp_path: Path):
    content = 'id,said\n1,"open\n2,"fine"\n3,plain\n4,"open to the end\n5,last\n'
    assert rows_of(tmp_path / "a.csv", content) == [
        (2, "not CSV: ',' expected after '\"'"),
        (3, {"id": "2", "said": "fine"}),
        (4, {"id": "3", "said": "plain"}),
        (5, "not CSV: unexpected end of data"),
        (6, {"id": "5", "said": "last"}),
    ]


def test_a_row_with_too_few_or_too_many_cells_is_told_apart(tmp_path: Path):
    assert rows_of(tmp_path / "a.csv", "id,said\n1\n2,x,y\n3,z\n") == [
        (2, "it has 1 cells, and there are 2 columns"),
        (3, "it has 3 cells, and there are 2 columns"),
        (4, {"id": "3", "said": "z"}),
    ]


def test_bytes_that_are_not_of_the_encoding_cost_one_row(tmp_path: Path):
    assert rows_of(tmp_path / "a.csv", b"id,said\n1,caf\xe9\n2,caf\xc3\xa9\n") == [
        (2, "it has bytes that are not utf-8-sig"),
        (3, {"id": "2", "said": "café"}),
    ]
    latin = Rows(file="a.csv", csv=Csv(encoding="cp1252"))
    assert rows_of(tmp_path / "a.csv", b"id,said\n1,caf\xe9\n", latin) == [(2, {"id": "1", "said": "café"})]


def test_other_delimiters_encodings_and_files_without_a_header(tmp_path: Path):
    form = Rows(file="a.csv", csv=Csv(delimiter=";", encoding="utf-16", columns=["id", "said"]))
    assert rows_of(tmp_path / "a.csv", "1;a,b\n".encode("utf-16"), form) == [(1, {"id": "1", "said": "a,b"})]


def test_a_line_without_end_is_passed_over_and_not_held(tmp_path: Path):
    content = "id,said\n1," + "x" * (2 * LINE_CHARS_MAX) + "\n2,y\n"
    assert rows_of(tmp_path / "a.csv", content) == [
        (2, f"not CSV: a line of more than {LINE_CHARS_MAX} characters"),
        (3, {"id": "2", "said": "y"}),
    ]


def test_a_cell_that_is_too_long_costs_one_row(tmp_path: Path):
    [(line, reason), after] = rows_of(tmp_path / "a.csv", "id,said\n1," + "x" * 200_000 + "\n2,y\n")
    assert line == 2
    assert "field larger than field limit" in str(reason)
    assert after == (3, {"id": "2", "said": "y"})


def test_json_lines_are_objects(tmp_path: Path):
    content = b'{"a": {"b": 1}}\n\n[1]\n{"a": \n{"a": "\\ud800"}\n{"a": "\xff"}\n{"a": 2}'
    found = rows_of(tmp_path / "a.ndjson", content)
    assert [line for line, _ in found] == [1, 3, 4, 5, 6, 7]
    assert found[0][1] == {"a": {"b": 1}}
    assert found[1][1] == "a row is a JSON object"
    assert str(found[2][1]).startswith("not JSON: ")
    assert str(found[3][1]).startswith("not JSON: ")
    assert found[4][1] == "it has bytes that are not UTF-8"
    assert found[5][1] == {"a": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; its first line must name the columns"),
        (b"a,b,a\n1,2,3\n", "the header names a twice"),
        (b"caf\xe9,b\n", "the header is not utf-8-sig; name its encoding in the mapping"),
    ],
)
def test_a_file_whose_columns_have_no_names_is_not_read(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(Unreadable, match=message):
        rows_of(tmp_path / "a.csv", content)


def test_a_lookup_makes_one_row_of_several_and_tells_what_is_left_over(tmp_path: Path):
    path = tmp_path / "answers.csv"
    path.write_text("user,question,answer\n5,1,Male\n5,2,\n5,1,Female\n,1,x\n6,1\n")
    lookup = Lookup(name="answers", file="answers.csv", key="user", column="question", value="answer")
    joined, refused = read_lookup(path, lookup)
    assert joined.find("5") == {"1": "Male", "2": ""}
    assert joined.columns == {"1", "2"}
    assert joined.find("7") == {}
    assert [(row.origin.line, reason) for row, reason in refused] == [
        (4, "the key '5' was there before"),
        (5, "its key is blank"),
        (6, "it has 2 cells, and there are 3 columns"),
    ]
    assert isinstance(refused[2][0], Faulty)
