"""How alike a text and a title are, and where the titles most like a text are looked for."""

import pytest

from services.projector.judgement.similarity import (
    FREQUENT_WORDS_MAX,
    TITLES_COUNTED_MAX,
    TITLES_OF_RARE_WORDS_MAX,
    Word,
    looks,
    score,
    shared_words,
)


def word(lexeme: str, titles: int = 1) -> Word:
    return Word(lexeme, f"'{lexeme}'", titles)


def weights(**titles: int) -> dict[str, float]:
    return {lexeme: word(lexeme, count).weight for lexeme, count in titles.items()}


def test_the_same_words_score_one_in_whatever_order_and_number() -> None:
    assert score(weights(single=3, sign=200), ["sign", "single"]) == 1.0
    assert score(weights(single=3, sign=200), ["sign", "single", "42", "a", "%"]) == 1.0


def test_no_word_in_common_scores_nothing() -> None:
    assert score(weights(single=3), ["dark"]) == 0.0
    assert score(weights(single=3), []) == 0.0
    assert score({}, ["dark"]) == 0.0
    assert score(weights(single=3), ["42"]) == 0.0


def test_each_share_counts() -> None:
    text = weights(single=1, sign=1, audit=1, login=1)
    assert score(text, ["single"]) == 0.5
    assert score(text, ["single", "other"]) == pytest.approx((1 / 4 * 1 / 2) ** 0.5, abs=1e-6)
    assert score(text, ["single", "sign", "audit"]) > score(text, ["single", "sign"]) > score(text, ["single"])


def test_a_rare_word_says_more_than_a_frequent_one() -> None:
    text = weights(geyser=2, home=TITLES_COUNTED_MAX)
    assert score(text, ["geyser", "other"]) > score(text, ["home", "other"]) > 0


def test_a_word_that_no_title_has_weighs_as_much_as_what_one_has() -> None:
    assert word("x", 0).weight == word("x", 1).weight > word("x", 2).weight > word("x", TITLES_COUNTED_MAX).weight > 0


def test_rare_words_are_looked_for_one_by_one() -> None:
    found = list(looks([word("b", 7), word("a", 7), word("c", 2), word("never", 0)]))
    assert [(look.query, look.words, look.titles_max) for look in found] == [
        ("'c'", 1, None),
        ("'a'", 1, None),
        ("'b'", 1, None),
    ]


def test_rare_words_are_looked_for_as_long_as_they_are_in_few_titles() -> None:
    found = list(looks([word(f"w{number:02d}", TITLES_COUNTED_MAX - 1) for number in range(50)]))
    rare = [look for look in found if look.titles_max is None]
    assert len(rare) == TITLES_OF_RARE_WORDS_MAX // (TITLES_COUNTED_MAX - 1)
    # The rest are looked for together.
    assert any(look.titles_max for look in found)


def test_frequent_words_are_looked_for_together_down_to_more_than_half_of_them() -> None:
    frequent = [word(lexeme, TITLES_COUNTED_MAX) for lexeme in "abcd"]
    found = list(looks(frequent))
    assert [look.words for look in found] == [4, 3, 3, 3, 3]
    assert found[0].query == "'a' & 'b' & 'c' & 'd'"
    assert found[0].weight == pytest.approx(4 * frequent[0].weight)
    many = list(looks([word(f"w{number:02d}", TITLES_COUNTED_MAX) for number in range(90)]))
    assert max(look.words for look in many) == FREQUENT_WORDS_MAX
    assert len(many) == 1 + 5 + 10


def test_one_frequent_word_is_looked_for_if_there_is_no_other() -> None:
    assert [look.words for look in looks([word("home", TITLES_COUNTED_MAX)])] == [1]
    assert [look.query for look in looks([word("home", TITLES_COUNTED_MAX), word("geyser", 2)])] == ["'geyser'"]
    assert [look.words for look in looks([word("home", TITLES_COUNTED_MAX), word("door", TITLES_COUNTED_MAX)])] == [2]
    assert list(looks([word("never", 0)])) == []


def test_words_are_shown_as_they_stand_in_the_title() -> None:
    title = "Single Sign-On: sign on ONCE, lock/unlock 42 times"
    lexemes = {"Single": ["singl"], "Sign": ["sign"], "sign": ["sign"], "lock": ["lock"], "42": ["42"], "On": []}
    assert shared_words(title, {"singl": 1.0, "sign": 1.0, "lock": 1.0, "42": 1.0}, lexemes) == [
        "Single",
        "Sign",
        "sign",
        "lock",
    ]
