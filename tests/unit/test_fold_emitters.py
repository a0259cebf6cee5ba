"""What each event adds to what is counted of emitters."""

from datetime import UTC, datetime
from decimal import Decimal

from schemas.examples import EXAMPLES
from services.projector.projections import emitters
from tests.unit.test_fold import ABOUT, SEALED, TIMES, recorded

AHEAD = datetime(2027, 1, 1, tzinfo=UTC)


def test_every_event_is_counted_for_its_source_at_its_time() -> None:
    assert list(emitters.fold(recorded("person.introduced", person="p-1", name=SEALED))) == [
        ("emissions", (7, "urn:test", "ledger.person.introduced.v1", ABOUT, None))
    ]
    assert emitters.PROJECTION.topics == EXAMPLES.keys()


def test_an_event_counts_at_the_time_that_its_emitter_gave_it() -> None:
    [(_, values)] = emitters.fold(recorded("person.introduced", AHEAD, person="p-1", name=SEALED))
    assert values[3] == AHEAD


def test_an_amount_is_kept_to_be_added_up() -> None:
    data = {"opportunity": "O-1", "account": "acme", "stage": "open", "amount": "10.50", "currency": "EUR"}
    [(_, values)] = emitters.fold(recorded("opportunity.updated", **data))
    assert values[4] == Decimal("10.50")
    assert emitters.has_amount("ledger.opportunity.updated.v1")
    assert not emitters.has_amount("ledger.ask.recorded.v1")
    assert not emitters.has_amount("ledger.nothing.known.v1")


def test_a_count_is_kept_with_its_period_and_who_stated_it() -> None:
    data = {"source": "/crm", "from": "2026-10-01", "to": "2026-11-01T00:00:00+01:00", "type": "ledger.ask.recorded.v1"}
    [emission, kept] = emitters.fold(recorded("source.reconciled", **data, count=214, sum="-1.5"))
    assert emission == ("emissions", (7, "urn:test", "ledger.source.reconciled.v1", ABOUT, None))
    period = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert kept == (
        "reconciliations",
        (7, "urn:test", "/crm", "ledger.ask.recorded.v1", *period, 214, Decimal("-1.5"), *TIMES),
    )
