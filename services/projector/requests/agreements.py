"""Agreements, and what a proposed revision would change: the routes, and how each is answered."""

import asyncio
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from services.problems import Problem
from services.projector.answers import agreements, whatif
from services.projector.answers.agreements import AgreementList, AgreementRow, OneAgreement, OneRevision
from services.projector.answers.snapshot import Wanted
from services.projector.answers.whatif import WhatIfAnswer
from services.projector.requests import paging
from services.projector.requests.asked import WhatIfAsked
from services.projector.requests.paging import Lists, Moment
from services.projector.requests.readings import Readings, Whole
from services.projector.requests.replies import JSON, as_they_are, respond, send_computed, send_list
from services.projector.requests.route import AT_A_POSITION, LEDGER, get, named, page_of
from services.web import Answer, Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Agreements(readings)
    return [
        get("/agreements", answers.agreements, "Agreements, and what is in force", Lists, AgreementList),
        get("/agreements/{agreement}", answers.agreement, "An agreement with its revisions", Moment, OneAgreement),
        get("/agreements/{agreement}/revisions/{revision}", answers.revision, "One revision", Moment, OneRevision),
        Route(
            method="POST",
            path=LEDGER + "/agreements/{agreement}/what-if",
            handler=answers.what_if,
            summary="What a proposed revision would change; nothing is recorded",
            scope="query",
            parameters=WhatIfAsked,
            takes={JSON: whatif.PROPOSAL},
            answers={200: Answer("What a proposed revision would change", {JSON: WhatIfAnswer})},
            refusals=(*AT_A_POSITION, "malformed-json", "invalid-proposal", "too-large"),
        ),
    ]


class _Agreements:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def agreements(self, call: Call) -> web.StreamResponse:
        page, _ = page_of(call)
        async with self._readings.snapshot(call, agreements.READS, page.wanted) as snapshot:
            found = await agreements.list_agreements(snapshot)
            as_of = snapshot.as_of

        def body(found: Sequence[AgreementRow], rows: list[AgreementRow]) -> AgreementList:
            return AgreementList(as_of=as_of, total=len(found), agreements=rows)

        return await send_list(call, page, as_of, Whole(found), None, as_they_are, AgreementRow, body)

    async def agreement(self, call: Call) -> web.StreamResponse:
        name = named(call, "agreement")
        async with self._readings.snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_agreement(snapshot, name)
        return respond(call, answer)

    async def revision(self, call: Call) -> web.StreamResponse:
        name, revision = named(call, "agreement"), named(call, "revision")
        async with self._readings.snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_revision(snapshot, name, revision)
        return respond(call, answer)

    async def what_if(self, call: Call) -> web.StreamResponse:
        name, asked = named(call, "agreement"), call.parameters
        proposal = whatif.read_proposal(await _small_body(call.request, whatif.PROPOSAL_OCTETS_MAX))
        async with self._readings.aside(call, whatif.READS, paging.wanted(asked)) as (settled, known):
            if known is None:
                raise Problem("not-found", "nothing is recorded at position 0")
            pinned = Wanted(as_of=settled.as_of.position)
            async with self._readings.snapshot(call, whatif.READS, pinned) as snapshot:
                evidence = await whatif.read_evidence(snapshot, name)
            try_revision = partial(
                whatif.try_revision,
                known,
                evidence,
                proposal,
                limit=asked.limit,
                new_attributes=asked.new_attributes,
            )
            tried = await self._readings.compute_aside(try_revision)
            async with self._readings.snapshot(call, whatif.READS, pinned) as snapshot:
                names = await whatif.read_names_shown(snapshot, tried)
            answer = await asyncio.to_thread(whatif.show, tried, names, settled.as_of)
        return send_computed(answer)


async def _small_body(request: web.Request, octets_max: int) -> bytes:
    """The body of a request. Raises Problem if it has too many octets; so many are read at most."""
    body = bytearray()
    async for part in request.content.iter_chunked(octets_max):
        body += part
        if len(body) > octets_max:
            raise Problem("too-large", f"the body of this request has at most {octets_max} bytes")
    return bytes(body)
