"""The rules of an account: merged into another, told apart again."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import AccountIdentified, AccountMerged, AccountUnmerged, Event
from services.ledger.rules.merging import against_merging, against_unmerging
from services.ledger.rules.objection import Objection


class Account(Struct, frozen=True):
    """`into`: what it was merged into. `apart`: it was told apart, and not merged since. `aliases`: what it is called
    elsewhere, by its own account."""

    into: str | None = None
    apart: bool = False
    aliases: frozenset[str] = frozenset()

    def evolve(self, event: Event) -> "Account":
        match event:
            case AccountIdentified():
                return replace(self, aliases=self.aliases | {each.alias for each in event.same_as})
            case AccountMerged():
                return replace(self, into=event.into, apart=False)
            case AccountUnmerged():
                return replace(self, into=None, apart=True)
            case _:
                return self

    def against_merging(self, act: AccountMerged, into: "Account") -> Iterator[Objection]:
        yield from against_merging("account", act.account, act.into, merged=self.into, into_merged=into.into)
        if act.into in self.aliases:
            yield Objection("/data/into", f"{act.into} is an id of {act.account} elsewhere, and counts for it already")

    def against_unmerging(self, act: AccountUnmerged) -> Iterator[Objection]:
        # An alias may be one with an account because that says so; whose it is not, only an act can say.
        if ":" not in act.account or self.apart:
            yield from against_unmerging("account", act.account, self.into)
