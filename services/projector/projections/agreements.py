"""Agreements: revisions, endorsements, and from when which revision is in force."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import AgreementAdopted, AgreementEndorsed, AgreementRevised
from schemas.values import moment
from services.projector.projections.projection import Row, json, on_behalf, projection, times

NAME = "agreements"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    position = recorded.position
    match recorded.event:
        case AgreementRevised() as event:
            yield (
                "agreement_revisions",
                (
                    position,
                    event.agreement,
                    event.revision,
                    event.title,
                    event.stage,
                    event.statement,
                    json(event.bullets),
                    event.threshold,
                    event.signatories,
                    event.review_by,
                    event.reason,
                    *on_behalf(event.by),
                    *times(recorded),
                ),
            )
        case AgreementEndorsed() as event:
            said = (event.team, event.meaning, event.note)
            yield (
                "agreement_endorsements",
                (
                    position,
                    event.agreement,
                    event.revision,
                    *said,
                    recorded.authid,
                    *on_behalf(event.by),
                    *times(recorded),
                ),
            )
        case AgreementAdopted() as event:
            effective = moment(event.effective)
            in_force = (effective, max(effective, recorded.valid_from))
            yield (
                "agreement_adoptions",
                (position, event.agreement, event.revision, *in_force, *on_behalf(event.by), *times(recorded)),
            )
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "agreement_revisions": ("position",),
        "agreement_endorsements": ("position",),
        "agreement_adoptions": ("position",),
    },
    events=(AgreementRevised, AgreementEndorsed, AgreementAdopted),
    fold=fold,
    edition=2,
)
