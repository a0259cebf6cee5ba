"""The rules of an agreement: revised, endorsed by its signatories, adopted."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import AgreementAdopted, AgreementEndorsed, AgreementRevised, Event
from schemas.values import same_team
from services.ledger.rules.objection import Objection


class Revision(Struct, frozen=True):
    """Who is to sign, by the names given, and the last word of each team (compared form) that endorsed."""

    signatories: tuple[str, ...]
    words: dict[str, str] = {}


class Agreement(Struct, frozen=True):
    revisions: dict[str, Revision] = {}
    adopted: tuple[str, str] | None = None
    """The revision that was adopted last, and from when on."""

    def evolve(self, event: Event, position: int) -> "Agreement":
        match event:
            case AgreementRevised():
                revision = Revision(tuple(event.signatories))
                return replace(self, revisions=self.revisions | {event.revision: revision})
            case AgreementEndorsed():
                revision = self.revisions[event.revision]
                words = revision.words | {same_team(event.team): event.meaning}
                return replace(self, revisions=self.revisions | {event.revision: replace(revision, words=words)})
            case AgreementAdopted():
                return replace(self, adopted=(event.revision, event.effective))
            case _:
                return self

    def against_revising(self, act: AgreementRevised) -> Iterator[Objection]:
        if act.revision in self.revisions:
            yield Objection(
                "/data/revision", f"{act.agreement} has a revision {act.revision} already; give this one another name"
            )
        if act.stage == "focused" and not any(bullet.test is not None for bullet in act.bullets):
            yield Objection("/data/bullets", "a focused agreement needs at least one bullet with a test")

    def against_endorsing(self, act: AgreementEndorsed) -> Iterator[Objection]:
        if act.revision not in self.revisions:
            yield _no_such_revision(act.agreement, act.revision)

    def against_adopting(self, act: AgreementAdopted) -> Iterator[Objection]:
        revision = self.revisions.get(act.revision)
        if revision is None:
            yield _no_such_revision(act.agreement, act.revision)
            return
        if self.adopted == (act.revision, act.effective):
            yield Objection(
                "/data/revision", f"{act.revision} was adopted last, effective {act.effective}", retryable=True
            )

        missing = tuple(team for team in revision.signatories if same_team(team) not in revision.words)
        if missing:
            yield Objection(
                "/data/revision",
                f"not yet endorsed by {', '.join(missing)}",
                retryable=True,
                missing=missing,
            )
        objecting = [team for team in revision.signatories if revision.words.get(same_team(team)) == "object"]
        if objecting:
            yield Objection("/data/revision", f"{', '.join(objecting)} object to it", retryable=True)


def _no_such_revision(agreement: str, revision: str) -> Objection:
    return Objection("/data/revision", f"{agreement} has no revision {revision}", retryable=True)
