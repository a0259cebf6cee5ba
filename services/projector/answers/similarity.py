"""Requirements that are like a text: found by the words of their titles, in PostgreSQL's full-text search.

The answer depends on the position and the text alone. Of sealed texts only those are looked at which the reader may
see; they are sent to PostgreSQL to be taken apart into words, and stored nowhere.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from services.projector.answers.requirements import RequirementList, RequirementRow
from services.projector.answers.sealed import Opener, read_to_compare
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement.similarity import (
    TITLES_COUNTED_MAX,
    Word,
    counts,
    looks,
    score,
    shared_words,
    words_in,
)
from services.statements import Statements

RESULTS_MAX = 100
"""Requirements that an answer has; what is less like the text than these is no likely duplicate."""

WORDS_MAX = 100
"""Different words of a text that count: the first."""

PROBLEM_CHARACTERS_MAX = 2_000

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Similarity(Struct, frozen=True, kw_only=True):
    """How like the text a requirement is: from 0 to 1, which is the same words. `words` are those of its title, as they
    stand there, that the text has; for readers of sealed texts followed by those of its problem."""

    score: float
    words: list[str]


class SimilarRow(RequirementRow, frozen=True, kw_only=True):
    """A requirement in a list; with `similar_to`, how like that text it is."""

    similarity: Similarity | UnsetType = UNSET


class RequirementsFound(RequirementList, frozen=True, kw_only=True):
    requirements: list[SimilarRow]  # type: ignore[assignment]  # A row of a list, and more.


class Alike(Struct, frozen=True, kw_only=True):
    """A requirement that is like a text. `problem`: its sealed problem, if that was opened, stated at `stated`."""

    requirement: str
    title: str
    lexemes: list[str]
    score: float
    problem: str = ""
    stated: int | None = None


class Compared(Struct, frozen=True, kw_only=True):
    """A text as the dictionary has it (word → weight), and the requirements that are like it, best first."""

    weights: Mapping[str, float]
    alike: Sequence[Alike]


async def read_alike(
    snapshot: Snapshot, texts: Sequence[str], results_max: int, *, words_max: int = WORDS_MAX
) -> list[Compared]:
    """The requirements whose titles are like each of these texts. A text without a word is like none."""
    rows = await snapshot.fetch(_statements, "words", snapshot.position, [*texts], words_max, TITLES_COUNTED_MAX)
    words: list[list[Word]] = [[] for _ in texts]
    for row in rows:
        for text in row["texts"] if counts(row["lexeme"]) else ():
            words[text].append(Word(row["lexeme"], row["query"], row["titles"]))
    weights = [{word.lexeme: word.weight for word in each} for each in words]
    look = [(text, each) for text, said in enumerate(words) for each in looks(said)]
    candidates = await snapshot.fetch(
        _statements,
        "candidates",
        snapshot.position,
        [text for text, _ in look],
        [each.query for _, each in look],
        [each.weight for _, each in look],
        [each.words for _, each in look],
        [each.titles_max for _, each in look],
        results_max,
    )
    found: list[list[Alike]] = [[] for _ in texts]
    for row in candidates:
        alike = score(weights[row["text"]], row["lexemes"])
        found[row["text"]].append(
            Alike(requirement=row["requirement"], title=row["title"], lexemes=row["lexemes"], score=alike)
        )
    return [
        Compared(weights=weight, alike=sorted(each, key=_likeness)) for weight, each in zip(weights, found, strict=True)
    ]


async def read_similar(snapshot: Snapshot, text: str, opener: Opener | None) -> Compared:
    """The requirements that are like a text, best first. With an `opener`, their problems count too.

    What has the words of the text in title and problem together is as like it as what has them in its title.
    Raises MasterKeyError.
    """
    [compared] = await read_alike(snapshot, [text], RESULTS_MAX)
    if opener is None or not compared.alike:
        return compared
    found = [each.requirement for each in compared.alike]
    problems_read = await snapshot.fetch(_statements, "problems", snapshot.position, found)
    stated = {row["requirement"]: row["position"] for row in problems_read}
    opened = await read_to_compare(snapshot, stated.values(), "problem", opener)
    problems = {name: (opened[position] or "")[:PROBLEM_CHARACTERS_MAX] for name, position in stated.items()}
    lexemes = await _read_lexemes(snapshot, problems.values())

    def with_problem(alike: Alike) -> Alike:
        problem = problems.get(alike.requirement, "")
        both = score(compared.weights, [*alike.lexemes, *lexemes.get(problem, ())])
        at = stated.get(alike.requirement)
        return msgspec.structs.replace(alike, problem=problem, stated=at, score=max(alike.score, both))

    return Compared(weights=compared.weights, alike=sorted(map(with_problem, compared.alike), key=_likeness))


async def read_similarities(snapshot: Snapshot, compared: Compared, shown: Iterable[Alike]) -> dict[str, Similarity]:
    """Requirement → how like the text it is, of those that are shown."""
    [found] = await read_words_shared(snapshot, [(compared.weights, [*shown])])
    return found


def problems_told(
    compared: Compared, similarities: Mapping[str, Similarity], requirements: Collection[str]
) -> list[int]:
    """The positions of the problems of which an answer with these requirements tells something: a word that is not in
    the title, or a score that the title has not."""
    return [
        each.stated
        for each in compared.alike
        if each.stated is not None
        and each.requirement in requirements
        and (
            {*similarities[each.requirement].words} - {*words_in(each.title)}
            or each.score > score(compared.weights, each.lexemes)
        )
    ]


async def read_words_shared(
    snapshot: Snapshot, shown: Sequence[tuple[Mapping[str, float], Sequence[Alike]]]
) -> list[dict[str, Similarity]]:
    """The same for several texts."""
    texts = {text for _, each in shown for alike in each for text in (alike.title, alike.problem)}
    lexemes = await _read_lexemes(snapshot, {word for text in texts for word in words_in(text)})
    return [
        {
            alike.requirement: Similarity(
                score=alike.score,
                words=list(
                    dict.fromkeys(
                        word for text in (alike.title, alike.problem) for word in shared_words(text, weights, lexemes)
                    )
                ),
            )
            for alike in each
        }
        for weights, each in shown
    ]


async def _read_lexemes(snapshot: Snapshot, texts: Iterable[str]) -> dict[str, list[str]]:
    wanted = sorted(set(texts))
    rows = await snapshot.fetch(_statements, "lexemes", wanted)
    return {wanted[row["text"]]: row["lexemes"] for row in rows}


def show_similar(row: RequirementRow, similarity: Similarity) -> SimilarRow:
    return SimilarRow(similarity=similarity, **_members(row))


def _members(row: RequirementRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _likeness(alike: Alike) -> tuple[float, str]:
    """Best first; of equals the lower id."""
    return -alike.score, alike.requirement
