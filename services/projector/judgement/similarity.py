"""How alike a text and a title are, by the words that they share. Pure; PostgreSQL says what the words are.

A word is what the dictionary makes of it, so that "locks" and "locking" are the same. What has no letter, or one
character alone, is none, for no number makes two texts alike; nor is what every request says ("we would like to").

The score is the geometric mean of two shares: of the text's words, those that the title has, each weighted by how rare
it is in titles; and of the title's words, those that the text has. So it is 1 for the same words in whatever order, and
0 for none in common; a title that says more, or less, than the text lies in between.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from msgspec import Struct

TITLES_COUNTED_MAX = 200
"""A word that so many titles have is frequent, and it is not counted further."""

TITLES_OF_RARE_WORDS_MAX = 1_000
"""Titles that are looked at because they have a rare word of the text."""

FREQUENT_WORDS_MAX = 5
"""Frequent words of the text that are looked for together."""

TITLES_TOGETHER_MAX = 50
"""Titles that are looked at for each choice of frequent words; for all of them together, TITLES_COUNTED_MAX."""

SCORE_PLACES = 6

FILLERS = frozenset({"want", "need", "would", "could", "like", "wish", "abl", "pleas", "also"})
"""What every request says, as the dictionary has it; these are no words either. Another language has others."""

_word = re.compile(r"[^\W_]+")


class Word(Struct, frozen=True):
    """A word of a text: as the dictionary has it, as a tsquery, and how many titles have it, counted up to a limit."""

    lexeme: str
    query: str
    titles: int

    @property
    def weight(self) -> float:
        """The rarer, the heavier, from ln 2 on. What no title has weighs as much as what one has."""
        return math.log1p(TITLES_COUNTED_MAX / max(self.titles, 1))


class Look(Struct, frozen=True):
    """What titles are looked for: those that have the words of a tsquery; at most `titles_max`, if that is given."""

    query: str
    weight: float
    words: int
    titles_max: int | None = None


def looks(words: Iterable[Word]) -> Iterator[Look]:
    """Where the titles most like a text are to be found, without a look at each title that has one of its words.

    Titles with a rare word, the rarest first, as long as these are few. And titles with several of the frequent words:
    all of them, or all but one, and so on down to more than half of them.
    """
    rare, frequent, titles = 0, [], 0
    for word in sorted(words, key=lambda word: (word.titles, word.lexeme)):
        if word.titles == 0:
            continue
        if word.titles < TITLES_COUNTED_MAX and titles + word.titles <= TITLES_OF_RARE_WORDS_MAX:
            rare, titles = rare + 1, titles + word.titles
            yield Look(word.query, word.weight, 1)
        else:
            frequent.append(word)

    frequent = frequent[:FREQUENT_WORDS_MAX]
    fewest = 1 if len(frequent) == 1 and rare == 0 else max(2, len(frequent) // 2 + 1)
    for count in range(len(frequent), fewest - 1, -1):
        for chosen in combinations(frequent, count):
            weight = math.fsum(word.weight for word in chosen)
            titles_max = TITLES_COUNTED_MAX if count == len(frequent) else TITLES_TOGETHER_MAX
            yield Look(" & ".join(word.query for word in chosen), weight, count, titles_max)


def score(weights: Mapping[str, float], lexemes: Iterable[str]) -> float:
    """From 0 to 1. `weights`: the words of the text, and what each weighs; `lexemes`: those of the title."""
    words = {each for each in lexemes if counts(each)}
    shared = words & weights.keys()
    if not shared:
        return 0.0
    of_text = math.fsum(weights[word] for word in shared) / math.fsum(weights.values())
    of_title = len(shared) / len(words)
    return round(math.sqrt(of_text * of_title), SCORE_PLACES)


def words_in(text: str) -> list[str]:
    """The words of a text as they stand there, each once."""
    return list(dict.fromkeys(_word.findall(text)))


def shared_words(text: str, weights: Collection[str], lexemes: Mapping[str, Sequence[str]]) -> list[str]:
    """The words of a title, as they stand there, that the other text has. `lexemes`: what each word comes to."""
    return [word for word in words_in(text) if any(each in weights and counts(each) for each in lexemes.get(word, ()))]


def counts(lexeme: str) -> bool:
    """Whether it is a word that two texts may have in common."""
    return len(lexeme) > 1 and lexeme not in FILLERS and any(character.isalpha() for character in lexeme)
