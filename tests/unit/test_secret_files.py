"""Files that hold a secret."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.secret_files import read_or_make, remove_unfinished, write_anew

MAKERS = 8


def test_of_many_that_make_a_file_at_once_one_wins_and_all_use_it(tmp_path: Path):
    with ThreadPoolExecutor(MAKERS) as threads:
        for number in range(200):
            path = tmp_path / f"home-{number}" / "key"
            found = list(threads.map(lambda path: read_or_make(path, secrets.token_hex), [path] * MAKERS))
            assert len({*found}) == 1
            assert [file.name for file in path.parent.iterdir()] == ["key"]
            assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_kept(tmp_path: Path):
    (tmp_path / "key").write_text(" kept \n")
    assert read_or_make(tmp_path / "key", lambda: "new") == "kept"


def test_a_file_is_written_anew_for_its_owner_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_anew(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(tmp_path: Path):
    for name in ("key", "key.bak", ".key.abc", ".keys.abc"):
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path / "key")
    assert {path.name for path in tmp_path.iterdir()} == {"key", "key.bak", ".keys.abc"}
