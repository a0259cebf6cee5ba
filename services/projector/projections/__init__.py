"""The read models: one module each, with its tables, the event types it cares about, and its fold.

Rows are only ever added, and a fold never reads: so observations may come in any order, `as_of` is
`position <= P`, and to build a read model anew is the same fold from position 1.
"""

from services.projector.projections import (
    accounts,
    agreements,
    decisions,
    emitters,
    feedback,
    opportunities,
    persons,
    promises,
    requirements,
    retractions,
)
from services.projector.projections.projection import Projection, Row

__all__ = ["ALL", "Projection", "Row"]

ALL: tuple[Projection, ...] = (
    accounts.PROJECTION,
    opportunities.PROJECTION,
    requirements.PROJECTION,
    agreements.PROJECTION,
    decisions.PROJECTION,
    emitters.PROJECTION,
    feedback.PROJECTION,
    promises.PROJECTION,
    retractions.PROJECTION,
    persons.PROJECTION,
)
