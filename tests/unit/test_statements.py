"""Named statements."""

from pathlib import Path

import pytest

from services.statements import Statements


def test_two_statements_of_one_name_are_refused(tmp_path: Path):
    path = tmp_path / "of.sql"
    path.write_text("-- one --\nSELECT 1;\n\n-- two --\nSELECT 2;\n")
    assert dict(Statements.load(path)) == {"one": "SELECT 1;", "two": "SELECT 2;"}
    path.write_text(path.read_text() + "\n-- one --\nSELECT 3;\n")
    with pytest.raises(ValueError, match=r"of.sql has two statements of the name one"):
        Statements.load(path)
