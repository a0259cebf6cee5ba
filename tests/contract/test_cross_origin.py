"""CORS: off by default; turned on for exact origins, with what a browser needs and no more."""

import asyncio

import aiohttp
import pytest
from msgspec.structs import replace

from services.origins import origins
from services.projector.app import run
from services.settings import Settings, SettingsError
from tests.conftest import Database
from tests.ledger_service import EVENTS, SECONDS_MAX, LedgerService, holds, profile, serving

APP = "https://app.example"
PREFLIGHT = {
    "Origin": APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type, ce-id",
}


def cors(headers: "aiohttp.typedefs.LooseHeaders") -> set[str]:
    return {name for name in headers if str(name).lower().startswith("access-control-")}  # type: ignore[union-attr]


async def test_without_the_setting_no_answer_has_a_header_of_it(ledger: LedgerService):
    for method, path, headers in (
        ("GET", EVENTS, {"Origin": APP}),
        ("GET", "/nowhere", {"Origin": APP}),
        ("OPTIONS", EVENTS, PREFLIGHT),
    ):
        reply = await ledger.ask(method, path, headers=headers)
        assert cors(reply.headers) == set()
        assert "Origin" not in reply.headers.get("Vary", "")


async def test_a_page_of_an_allowed_origin_reads_answers_and_problems(database: Database):
    settings = replace(database.settings, cors_origins=f" {APP}, http://localhost:3000 ")
    async with serving(settings) as ledger:
        posted = await ledger.post(profile(), headers={"Origin": APP})
        assert posted.status == 201
        for reply in (
            posted,
            await ledger.get(EVENTS, headers={"Origin": "http://localhost:3000"}),
            await ledger.get(EVENTS, headers={"Origin": APP}, key=None),
            await ledger.get("/nowhere", headers={"Origin": APP}),
            await ledger.ask("PATCH", EVENTS, headers={"Origin": APP}),
        ):
            assert reply.headers["Access-Control-Allow-Origin"] in (APP, "http://localhost:3000")
            exposed = {each.strip() for each in reply.headers["Access-Control-Expose-Headers"].split(",")}
            assert {"ETag", "Link", "Location", "Retry-After"} <= exposed
            assert "Origin" in reply.headers["Vary"]
            assert "Access-Control-Allow-Credentials" not in reply.headers

        async with ledger.session.get(
            f"{ledger.url}{EVENTS}/stream", headers=ledger.authorized(headers={"Origin": APP})
        ) as stream:
            assert stream.headers["Access-Control-Allow-Origin"] == APP

        one = await ledger.get(f"{EVENTS}/1", headers={"Origin": APP})
        assert {each.strip() for each in one.headers["Vary"].split(",")} == {"Authorization", "Origin"}

        ahead = await ledger.ask("OPTIONS", EVENTS, headers=PREFLIGHT, key=None)
        assert (ahead.status, ahead.body) == (204, b"")
        assert ahead.headers["Access-Control-Allow-Origin"] == APP
        assert "POST" in ahead.headers["Access-Control-Allow-Methods"]
        assert ahead.headers["Access-Control-Allow-Headers"] == "authorization, content-type, ce-id"
        assert int(ahead.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.evil", "https://evil.app.example", "http://app.example", "https://app.example:444", "null",
     "*", "https://APP.example", ""],
)  # fmt: skip
async def test_another_origin_learns_nothing(database: Database, origin: str):
    async with serving(replace(database.settings, cors_origins=APP)) as ledger:
        for method in ("GET", "OPTIONS"):
            reply = await ledger.ask(method, EVENTS, headers=PREFLIGHT | {"Origin": origin})
            assert cors(reply.headers) == set()
            assert "Origin" in reply.headers["Vary"]  # A cache does not mix it up with an answer for another.


async def test_the_projector_has_it_too(database: Database):
    settings = replace(database.settings, cors_origins=APP)
    service = asyncio.create_task(run(settings))
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS_MAX)) as session:

            async def answered() -> bool:
                try:
                    url = f"http://127.0.0.1:{settings.projector_port}/livez"
                    async with session.get(url, headers={"Origin": APP}) as answer:
                        return answer.headers["Access-Control-Allow-Origin"] == APP
                except aiohttp.ClientConnectionError:
                    return False

            assert await holds(answered, meanwhile=service)
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


@pytest.mark.parametrize(
    "text",
    ["*", "null", "app.example", "https://app.example/", "https://app.example/x", "https://App.example", "ftp://a.b",
     "https://a.b:443", "http://a.b:80", "https://a.b, *", "https://*.example", "https://a b", "https://user@a.b",
     "https://a.b:0", "https://"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(text: str):
    with pytest.raises(SettingsError, match=r"^LEDGER_CORS_ORIGINS: .* is not an origin"):
        Settings.load({"LEDGER_CORS_ORIGINS": text})


def test_a_list_of_origins_is_read_and_handed_on():
    text = "https://a.b, http://localhost:3000,http://[::1]:8080, "
    settings = Settings.load({"LEDGER_CORS_ORIGINS": text})
    assert settings.origins == {"https://a.b", "http://localhost:3000", "http://[::1]:8080"}
    assert Settings.load(settings.environ()).origins == settings.origins
    assert Settings.load({}).origins == origins("") == frozenset()
