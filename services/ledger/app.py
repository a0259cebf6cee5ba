"""Joins the parts of the ledger: pool, keys, master key, ledgers, routes."""

from contextlib import nullcontext

import asyncpg
from msgspec.structs import replace

from services.kept_outside import KeptOutside, store_of
from services.keys import Keys
from services.ledger import access_log, administration, emitters, ingest, proofs, reading
from services.ledger.integrator import Integrator
from services.ledger.ledgers import Ledgers
from services.ledger.meanings import meaning
from services.ledger.timestamps import Timestamper
from services.migrate import differences
from services.openapi import describe
from services.postgres import Unavailable, open_pool, unavailable
from services.sealing import MasterKeys
from services.settings import Settings
from services.signing import signing_of
from services.web import application, serve
from services.workers import Worker

RECORDING_CONNECTIONS_MAX = 5
SUMMARY = "Records events: CloudEvents in, one append-only log, read as it was stored."


async def run(settings: Settings, worker: Worker | None = None) -> None:
    """Serve until asked to stop; then commit what was accepted, and return. `worker`: which one of several."""
    settings = settings if worker is None else _share(settings, worker.count)
    master = MasterKeys(settings.master_key)  # `ledger migrate` makes it, once.
    signing, store = signing_of(settings), store_of(settings)
    pool = await open_pool(settings.url("writer"), connections_max=settings.pool_connections_max)
    recording = await open_pool(settings.url("writer"), connections_max=RECORDING_CONNECTIONS_MAX)

    async def every_origin() -> list[tuple[str, str]]:
        return [(each.ledger, each.origin) for each in await ledgers.every()]

    def outside(ledger: str) -> KeptOutside:
        return KeptOutside(store, ledger)

    timestamper = None
    if settings.timestamp_url is not None:
        timestamper = Timestamper(
            settings.url("writer"), every_origin, outside, settings.timestamp_url, settings.timestamp_seconds
        )
    integrator = Integrator(settings.url("writer"), every_origin, signing, outside)
    async with (
        pool,
        recording,
        Ledgers(pool, recording, settings, master, signing, outside) as ledgers,
        integrator,
        timestamper or nullcontext(),
    ):
        keys = Keys(pool)
        routes = [
            *ingest.routes(ledgers),
            *reading.routes(ledgers),
            *proofs.routes(ledgers),
            *emitters.routes(ledgers, pool),
            *access_log.routes(ledgers, pool),
            *administration.routes(ledgers, keys),
        ]

        up_to_date = False

        async def ready() -> None:
            nonlocal up_to_date
            try:
                with unavailable():
                    ledger = await pool.fetchval("SELECT EXISTS (SELECT FROM registry.ledgers)")
                    amiss = [] if up_to_date else await differences(pool)
            except asyncpg.UndefinedTableError:
                ledger = False
            if not ledger:
                raise Unavailable("there is no ledger yet; run `ledger migrate`")
            if amiss:
                raise Unavailable(f"the database is not migrated to this version: {', and '.join(amiss)}")
            if worker is not None and not worker.all_started:
                raise Unavailable("not all processes of the ledger have started")
            up_to_date = True  # Not asked again: a newer version may migrate before this one is stopped.

        description = describe("The requirements ledger", SUMMARY, routes, meaning)
        app = application("ledger", routes, keys, ready, description, settings.origins)
        await serve(app, host=settings.bind, port=settings.ledger_port, service="ledger", worker=worker)


def _share(settings: Settings, processes: int) -> Settings:
    """The settings of one of so many processes: together they hold as much as one alone would."""
    return replace(
        settings,
        queue_events_max=max(1, settings.queue_events_max // processes),
        queue_bytes_max=settings.queue_bytes_max // processes,
    )
