"""The page that describes a service: an index, types in words, whole sentences, and no link that leads nowhere."""

import re
from collections import Counter
from html import unescape
from typing import Any

import pytest

from services.ledger import administration, emitters, ingest, reading
from services.ledger import meanings as ledger_meanings
from services.openapi import describe
from services.openapi_page import sentence
from services.projector.http import routes as projector_routes
from services.projector.requests import meanings as projector_meanings

NOTHING: Any = None  # Only what is declared is looked at.


def ledger_page() -> str:
    routes = [
        *ingest.routes(NOTHING),
        *reading.routes(NOTHING),
        *emitters.routes(NOTHING, NOTHING),
        *administration.routes(NOTHING, NOTHING),
    ]
    return describe("The ledger", "Records events", routes, ledger_meanings.meaning).page


def projector_page() -> str:
    return describe("The projector", "Answers", projector_routes(NOTHING), projector_meanings.meaning).page


@pytest.fixture(params=[ledger_page, projector_page])
def page(request: pytest.FixtureRequest) -> str:
    made: str = request.param()
    return made


def test_an_index_leads_to_each_request_and_shape(page: str):
    ids = re.findall(r'id="([^"]+)"', page)
    linked = re.findall(r'href="#([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(linked) - set(ids) == set()

    index = page[page.index("<nav>") : page.index("</nav>")]
    sections = re.findall(r'<section id="([^"]+)">\n<h3><a href="#\1">', page)
    assert sections
    assert set(sections) == set(re.findall(r'href="#([^"]+)"', index))


def test_a_request_has_the_fields_of_its_body_and_of_its_answer_in_its_place():
    section = request_section(ledger_page(), "post_v1_keys")
    takes, answers = section.split("It answers 201")
    for field in ("name", "scopes", "ledgers", "sources", "teams", "expires"):
        assert f"<td><code>{field}</code>" in takes, field
    for field in ("id", "key"):
        assert f"<td><code>{field}</code>" in answers, field
    assert "The ledgers that the key is for. Empty: all of them." in takes


def test_an_answer_says_what_its_words_mean():
    page = projector_page()
    for field in ("cut", "seen", "backdated", "would_settle", "departs", "voice_if_known"):
        cells = re.findall(rf"<tr><td><code>{field}</code>.*?</td><td>.*?</td><td>(.*?)</td></tr>", page)
        assert cells, field
        assert all(cells), field
    assert "The knowledge cut: the last position of the log that the deciders can have known." in page


def test_what_an_answer_means_is_said_by_one_subject():
    """Of two that say it, only one would be read."""
    subjects = [value for value in vars(projector_meanings).values() if hasattr(value, "FIELDS")]
    said = Counter(cls for subject in subjects for cls in subject.FIELDS)
    assert said["OneRequirement"] == 1
    assert [cls for cls, count in said.items() if count > 1] == []


def test_what_a_request_takes_is_shown_by_an_example():
    takes, _ = request_section(projector_page(), "post_v1_ledgers_ledger_agreements_agreement_what_if").split(
        "It answers 200"
    )
    assert "&#34;threshold&#34;: 60" in takes


def test_an_event_says_what_it_is_and_which_scope_it_needs():
    page = ledger_page()
    asks, decides = (request_section(page, f"{each}Event") for each in ("AskRecorded", "DecisionMade"))
    assert "An observation: a key needs the scope <code>observe</code> to send it." in asks
    assert "An act: a key needs the scope <code>act</code> to send it." in decides


def test_other_forms_and_the_size_of_a_page_are_told():
    page = projector_page()
    brief = request_section(page, "get_v1_ledgers_ledger_decisions_decision_brief")
    assert "With <code>Accept: text/markdown</code> as a document" in brief
    assert "MADR 4.0" in brief
    assert "With <code>Accept: text/csv</code> as CSV." in request_section(page, "get_v1_ledgers_ledger_decisions")
    assert "The first page has the last 500 of each list" in page


def test_types_are_told_in_words(page: str):
    for type in re.findall(r"<td>(.*?)</td><td>.*?</td></tr>", page):
        assert not re.search(r"[{}^]|\[0-9|&#34;|\$ref", re.sub(r"<code>.*?</code>", "", type)), type
    assert "name of a ledger" in page
    assert "&#34;type&#34;:" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_a_type_says_its_limits_and_a_parameter_what_is_said_of_it_rather_than_of_its_type():
    page = ledger_page()
    assert "<td>list of at most 200: text (at most 60 characters)</td>" in request_section(page, "post_v1_keys")
    assert "Keys that are listed below this one, by its id" in request_section(page, "get_v1_keys")


def test_all_that_is_said_are_sentences(page: str):
    body = re.sub(r"<pre>.*?</pre>", "", page[page.index("<body>") :], flags=re.DOTALL)
    assert "`" not in body
    said = re.findall(r"<tr><td>.*?</td><td>.*?</td><td>(.*?)</td></tr>", body) + re.findall(r"<p>(.*?)</p>", body)
    assert len(said) > 100
    for text in said:
        plain = unescape(re.sub(r"<[^>]+>", "", text)).strip()
        assert plain[-1:] in (".", ":"), text


def test_it_can_be_read_on_a_phone(page: str):
    assert '<meta name="viewport" content="width=device-width' in page
    assert "@media (max-width: 44rem)" in page
    assert "overflow-x" not in page  # Lines wrap, and nothing is scrolled sideways.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the name of the ledger", "The name of the ledger."),
        ("`null` if <none>", "<code>null</code> if &lt;none&gt;."),
        ("What is this?", "What is this?"),
        ("an odd ` one", "An odd ` one."),
        ("always; unless", "Always; unless."),
        ("iX.y stays", "iX.y stays."),
        ("", ""),
    ],
)
def test_a_text_becomes_a_sentence(text: str, shown: str):
    assert sentence(text) == shown


def request_section(page: str, id: str) -> str:
    return page.split(f'<section id="{id}">')[1].split("</section>")[0]
