"""Joins the parts of the projector: the runners that keep read models up, the publisher of digests, keys, routes."""

import asyncio
import contextlib

from services.kept_outside import KeptOutside, store_of
from services.keys import Keys
from services.openapi import describe
from services.projector.ahead import keep_ahead
from services.projector.answers.held import Held
from services.projector.http import routes
from services.projector.projector import Projector
from services.projector.publisher import Publisher
from services.projector.requests.meanings import meaning
from services.settings import Settings
from services.signing import SigningKeys
from services.web import application, serve

SUMMARY = "Answers from the read models: who asked, how on-target they were, who decided."


async def run(settings: Settings) -> None:
    """Keep up and serve until asked to stop. Raises what ends the keeping up, if anything does."""
    async with Projector(settings) as projector, _publishing(settings, projector):
        held = Held()
        declared = routes(projector, settings.master_key, held)
        app = application(
            "projector",
            declared,
            Keys(projector.pool),
            projector.ready,
            describe("The projector of the requirements ledger", SUMMARY, declared, meaning),
            settings.origins,
        )
        serving = asyncio.create_task(serve(app, host=settings.bind, port=settings.projector_port, service="projector"))
        failing = asyncio.create_task(projector.failure())
        loading = asyncio.create_task(keep_ahead(projector, held))
        try:
            done, _ = await asyncio.wait({serving, failing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # What still runs is ended in order: requests that were accepted are answered.
            for task in (loading, failing, serving):
                task.cancel()
            await asyncio.gather(loading, serving, failing, return_exceptions=True)
        for task in done:
            task.result()


def _publishing(settings: Settings, projector: Projector) -> contextlib.AbstractAsyncContextManager[object]:
    """What publishes digests, unless the settings say that nobody does. Raises SigningKeyError."""
    if not settings.digest_seconds:
        return contextlib.nullcontext()
    keys = SigningKeys.load(settings.projector_signing_key)  # `ledger migrate` makes it, once.
    store = store_of(settings)

    def outside(ledger: str) -> KeptOutside:
        return KeptOutside(store, ledger)

    return Publisher(settings.url("projector"), keys, outside, settings.digest_seconds, begin=projector.caught_up)
