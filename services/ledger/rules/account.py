"""The rules of an account: merged into another, told apart again."""

from collections.abc import Iterator

from immutables import Map
from msgspec import Struct
from msgspec.structs import replace

from schemas.events import AccountIdentified, AccountMerged, AccountUnmerged, Event, EventRetracted
from services.ledger.rules.merging import against_merging, against_unmerging
from services.ledger.rules.objection import Objection


class Account(Struct, frozen=True):
    """`into`: what it was merged into. `apart`: it was told apart, and not merged since. `claims`: what it says it is
    called elsewhere, by the position at which it says so."""

    into: str | None = None
    apart: bool = False
    claims: Map[int, frozenset[str]] = Map()

    def evolve(self, event: Event, position: int) -> "Account":
        match event:
            case AccountIdentified():
                return replace(self, claims=self.claims.set(position, frozenset(each.alias for each in event.same_as)))
            case EventRetracted() if event.position in self.claims:
                return replace(self, claims=self.claims.delete(event.position))
            case AccountMerged():
                return replace(self, into=event.into, apart=False)
            case AccountUnmerged():
                return replace(self, into=None, apart=True)
            case _:
                return self

    def against_merging(self, act: AccountMerged, into: "Account") -> Iterator[Objection]:
        yield from against_merging("account", act.account, act.into, merged=self.into, into_merged=into.into)
        if any(act.into in aliases for aliases in self.claims.values()):
            message = f"{act.into} is an id of {act.account} elsewhere, and counts for it already"
            yield Objection("/data/into", message, retryable=True)

    def against_unmerging(self, act: AccountUnmerged) -> Iterator[Objection]:
        # An alias may be one with an account because that says so; whose it is not, only an act can say.
        if ":" not in act.account or self.apart:
            yield from against_unmerging("account", act.account, self.into)
