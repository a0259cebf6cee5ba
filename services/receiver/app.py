"""Joins the parts of the receiver: hooks, the file of what is kept, the ledger, routes."""

import asyncio

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.openapi import describe
from services.receiver.hooks import Hooks
from services.receiver.http import AskedKeys, Faces, routes
from services.receiver.kept import Count, Kept, KeptUnusable
from services.receiver.meanings import meaning
from services.receiver.posting import Ledgers
from services.receiver.reception import Reception
from services.settings import Settings
from services.web import application, serve

COUNT_SECONDS = 2.0  # How old what is measured may be.
SUMMARY = "Turns webhooks of other systems into events, by a mapping each."

_log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Serve until asked to stop. A file that cannot be used ends nothing: requests are answered 503, and told why."""
    url = settings.ledger_of_receiver
    faces = Faces(Hooks(settings.hooks_directory))
    declared = routes(faces)
    # No origins: senders call it, and no page in a browser.
    app = application(
        "receiver",
        declared,
        AskedKeys(url),
        faces.ready,
        describe("The receiver of webhooks", SUMMARY, declared, meaning),
    )
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.hooks_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    gauge = _KeptGauge()
    tasks = []
    async with Ledgers(url) as ledgers:
        try:
            kept = await asyncio.to_thread(Kept, settings.home, bytes_max=settings.receiver_kept_bytes_max)
        except KeptUnusable as error:
            faces.amiss = str(error)
            _log.error("kept_unusable", reason=str(error))
        else:
            faces.kept = kept
            faces.reception = Reception(
                faces.hooks, kept, ledgers, settings.receiver_key, days_max=settings.receiver_kept_days_max
            )
            running = (faces.reception.go_on(), faces.reception.forget(), gauge.follow(kept))
            tasks = [asyncio.create_task(each) for each in running]
        serving = asyncio.create_task(serve(app, host=settings.bind, port=settings.receiver_port, service="receiver"))
        REGISTRY.register(gauge)
        try:
            done, _ = await asyncio.wait({serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            REGISTRY.unregister(gauge)
            for task in (serving, *tasks):
                task.cancel()
            await asyncio.gather(serving, *tasks, return_exceptions=True)
            if faces.kept is not None:
                faces.kept.close()
        for task in done:
            task.result()


class _KeptGauge(Collector):
    """What is kept, as it was counted last: who asks for measurements waits for no disk."""

    def __init__(self) -> None:
        self._counts: list[Count] = []

    async def follow(self, kept: Kept) -> None:
        """Count, for ever."""
        while True:
            try:
                self._counts = await asyncio.to_thread(kept.counts)
            except KeptUnusable as error:
                _log.error("kept_unusable", reason=str(error))
            await asyncio.sleep(COUNT_SECONDS)

    def collect(self) -> list[GaugeMetricFamily]:
        bodies = GaugeMetricFamily("receiver_kept", "Bodies that are kept.", labels=["hook", "state"])
        size = GaugeMetricFamily("receiver_kept_bytes", "Bytes of bodies that are kept.", labels=["hook", "state"])
        for each in self._counts:
            bodies.add_metric([each.hook, each.state], each.count)
            size.add_metric([each.hook, each.state], each.size)
        return [bodies, size]
