"""The shapes of CloudEvents in the description of the ledger: what is sent, by type, and what is served."""

from functools import cache
from typing import Annotated, Any

from msgspec import Meta

from schemas.cloudevents import components
from schemas.events import EVENT_TYPES
from services.web import Shape

RecordedEvents = list[Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/RecordedEvent"})]]


@cache
def shape(name: str) -> Shape:
    """One of the schemas of schemas/cloudevents.py as the body of a request or an answer."""
    return Shape(name, components(), (*EVENT_TYPES.values(),))
