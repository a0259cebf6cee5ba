"""The requests that the projector answers."""

from pathlib import Path

from msgspec.structs import replace

from services.projector.answers.held import Held
from services.projector.projector import Projector
from services.projector.requests import accounts, agreements, briefs, decisions, overview, persons, requirements
from services.projector.requests.readings import Readings
from services.web import Handler, Route


def routes(projector: Projector, master_key: Path | None = None, held: Held | None = None) -> list[Route]:
    """What the projector answers. `master_key`: the file of the key that opens sealed texts. `held`: what is counted,
    if it is loaded ahead."""
    readings = Readings(projector, master_key, held)
    subjects = (requirements, accounts, agreements, decisions, briefs, overview, persons)
    # Whatever a handler opens is on record, then, and what it answers is kept, without its having to think of that.
    return [
        replace(route, handler=readings.on_record(_kept(readings, route)))
        for subject in subjects
        for route in subject.routes(readings)
    ]


def _kept(readings: Readings, route: Route) -> Handler:
    return readings.unless_kept(route.handler) if route.method == "GET" else route.handler
