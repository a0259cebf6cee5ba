"""The access log: who has read what is sealed. It is written before the answer leaves, or no answer does.

A reading is an answer that shows sealed texts in the clear, or a page about a person. What shows no word is none: a
304, the answer to HEAD, a refusal.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import structlog
from aiohttp import hdrs
from msgspec import Struct

from services.postgres import UNAVAILABLE, Pool, Unavailable, ledger_schema
from services.statements import Statements
from services.web import Call

WRITE_SECONDS_MAX = 5.0

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_log = structlog.get_logger()


class Opened(Struct, frozen=True, kw_only=True):
    """What an answer shows of what is sealed.

    `texts`: the position of each event whose texts are in the clear, and the person whom they are about, as far as the
    event said. `person`: whose page it is.
    """

    texts: Mapping[int, str | None]
    person: str | None = None


async def put_on_record(pool: Pool, service: str, call: Call, opened: Opened) -> None:
    """Have it committed that this call is shown what is opened; of nothing, nothing.

    Raises Unavailable if it cannot be, or if what is opened was erased meanwhile: then nothing may be shown.
    """
    if call.request.method == hdrs.METH_HEAD or not (opened.texts or opened.person):
        return
    texts = sorted(opened.texts.items())
    sql = _statements.bind(schema=ledger_schema(call.ledger))
    try:
        async with (
            asyncio.timeout(WRITE_SECONDS_MAX),
            pool.acquire() as connection,
            connection.transaction(),
        ):
            # Some pools let commits be lost that can be made again. This one cannot.
            await connection.execute("SET LOCAL synchronous_commit = on")
            await connection.execute(
                sql["write"],
                call.principal.key,
                service,
                call.request.method,
                call.request.path,  # Its query may hold a customer's words.
                opened.person,
                [position for position, _ in texts],
                [person for _, person in texts],
            )
            # An erasure that was answered while this waited for its turn has the last word.
            if await connection.fetchval(sql["kept"], [position for position, _ in texts]) < len(texts):
                raise Unavailable("what was to be shown was erased meanwhile; ask again")
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        _log.error("access_not_on_record", ledger=call.ledger, service=service, reason=type(error).__name__)
        raise Unavailable("sealed texts are shown once it is on record who reads them, and that failed") from error
