"""The pages behind the types of problems, and the promise that every problem has one."""

import ast
from html import unescape
from pathlib import Path

from schemas.envelope import Problem as EventProblem
from services import problem_pages
from services.problems import KINDS
from tests.ledger_service import EVENTS, LedgerService, profile

ROOT = Path(__file__).parents[2]
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_every_problem_has_a_page_with_a_text_of_its_own():
    assert problem_pages.PAGES.keys() == KINDS.keys()
    for part in ("means", "when", "detail"):
        texts = [getattr(page, part) for page in problem_pages.PAGES.values()]
        assert all(texts)
    assert len({page.when for page in problem_pages.PAGES.values()}) == len(KINDS)
    assert len({(page.means, page.when) for page in problem_pages.PAGES.values()}) == len(KINDS)
    assert len({problem_pages.html(name) for name in KINDS}) == len(KINDS)


def test_every_problem_that_is_raised_is_in_the_table():
    raised: dict[str, str] = {}
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "schemas").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Problem" and node.args and isinstance(node.args[0], ast.Constant):
                raised[node.args[0].value] = str(path)
            for keyword in node.keywords:
                if keyword.arg == "problem" and isinstance(keyword.value, ast.Constant):
                    raised[keyword.value.value] = str(path)
                if keyword.arg == "refusals" and isinstance(keyword.value, ast.Tuple):
                    names = [each.value for each in keyword.value.elts if isinstance(each, ast.Constant)]
                    raised |= dict.fromkeys(names, str(path))
    raised |= dict.fromkeys(EventProblem.__args__, "schemas/envelope.py")
    assert len(raised) > 25
    assert {name: where for name, where in raised.items() if name not in KINDS} == {}


async def test_each_problem_is_a_page_for_programs_and_one_for_people(ledger: LedgerService):
    for name in KINDS:
        kind, page = KINDS[name], problem_pages.PAGES[name]
        reply = await ledger.get(f"/problems/{name}", key=None)
        assert reply.headers["Content-Type"].startswith("application/json")
        told = reply.json
        assert (told["type"], told["title"], told["status"], told["next"]) == (
            f"/problems/{name}",
            kind.title,
            kind.status,
            kind.next,
        )
        assert told["example"]["type"] == told["type"]
        assert told["example"]["status"] == kind.status
        assert told["example"]["detail"]

        shown = await ledger.get(f"/problems/{name}", key=None, headers=BROWSER)
        assert shown.headers["Content-Type"].startswith("text/html")
        assert shown.headers["Vary"] == "Accept"
        text = unescape(shown.body.decode())
        assert kind.title in text
        for sentence in (page.means, page.when, kind.next):
            word = max(sentence.replace("`", " ").split(), key=lambda word: (word.isalpha(), len(word)))
            assert word in text
        assert "`" not in text.partition("<pre>")[0].partition("<body>")[2]
        assert "<script" not in text
        assert "http://" not in text
        assert "https://" not in text


async def test_the_list_of_problems(ledger: LedgerService):
    listed = (await ledger.get("/problems", key=None)).json["problems"]
    assert {each["type"] for each in listed} == {f"/problems/{name}" for name in KINDS}
    shown = (await ledger.get("/problems", key=None, headers=BROWSER)).body.decode()
    assert all(f'href="/problems/{name}"' in shown for name in KINDS)
    for headers in (BROWSER, {}):
        assert (await ledger.get("/problems/none", key=None, headers=headers)).problem == "not-found"


async def test_a_problem_s_type_leads_to_its_page(ledger: LedgerService):
    refused = await ledger.post(profile(id=""))
    for type in {refused.json["type"], *(error["type"] for error in refused.json["errors"])}:
        assert (await ledger.get(type, key=None)).json["title"]


# HEAD and OPTIONS


async def test_options_says_which_methods_a_path_takes(ledger: LedgerService):
    for path, methods in (
        (EVENTS, "GET, HEAD, POST"),
        ("/v1/keys", "GET, HEAD, POST"),
        ("/v1/keys/x", "DELETE"),
        ("/v1/ledgers/main", "GET, HEAD, PUT"),
        ("/problems", "GET, HEAD"),
    ):
        reply = await ledger.ask("OPTIONS", path, key=None)
        assert (reply.status, reply.body, reply.headers["Allow"]) == (204, b"", methods)
        refused = await ledger.ask("PATCH", path)
        assert (refused.status, refused.headers["Allow"]) == (405, methods)
    assert (await ledger.ask("OPTIONS", "/nowhere", key=None)).problem == "not-found"


async def test_head_is_get_without_its_body(ledger: LedgerService):
    await ledger.post(profile())
    for path in (
        EVENTS,
        f"{EVENTS}/1",
        "/v1/ledgers/main/emitters",
        "/v1/keys/history",
        "/problems",
        "/docs",
        "/livez",
    ):
        get, head = await ledger.get(path), await ledger.ask("HEAD", path)
        assert (head.status, head.body) == (get.status, b"")
        for name in ("Content-Type", "ETag", "Link"):
            assert head.headers.get(name) == get.headers.get(name), path
