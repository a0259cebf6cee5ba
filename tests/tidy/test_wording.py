"""What the software says of itself is neutral: facts, times, documents. It calls nobody and nothing guilty."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# As whole words: `default` is not among them.
JUDGING = re.compile(
    r"\b(accus\w+|blam\w+|careless\w*|culprits?|faults?|faulty|foolish\w*|guilt\w*|incompeten\w+|lazy|liars?|lied|"
    r"negligen\w+|offend\w*|perpetrat\w+|scapegoat\w*|sham(e|ed|eful)|stupid\w*|suspect\w*|suspicio\w+|violat\w+|"
    r"wrong\w*)\b",
    re.IGNORECASE,
)


def said() -> Iterator[tuple[str, int, str]]:
    """The texts that somebody meets who runs the software: file, line, text."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        tree = ast.parse(path.read_text())
        told = {id(text) for node in ast.walk(tree) for text in docstrings(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
                yield str(path.relative_to(ROOT)), node.lineno, node.value
    for path in sorted((ROOT / "services").rglob("*.html")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield str(path.relative_to(ROOT)), number, line


def docstrings(node: ast.AST) -> Iterator[ast.expr]:
    """What stands by itself in the code: it is read by those who change it."""
    for number, child in enumerate(getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ()):
        # What a class says of itself may go into the description that is served.
        served = number == 0 and isinstance(node, ast.ClassDef)
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and not served:
            yield child.value


def test_nobody_and_nothing_is_judged() -> None:
    found = [f"{path}:{line}: {match[0]}" for path, line, text in said() for match in JUDGING.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["Whose fault is it?", "a suspected lead", "WRONG", "the guilty team", "violations"])
def test_a_judging_word_is_seen(text: str) -> None:
    assert JUDGING.search(text)


@pytest.mark.parametrize("text", ["by default", "a lasting promise", "it is shown", "no such ledger"])
def test_another_word_is_not(text: str) -> None:
    assert not JUDGING.search(text)
