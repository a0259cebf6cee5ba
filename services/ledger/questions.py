"""What the rules of a batch ask of a log: little, by index, however long it is.

Asked on the connection that holds the head, so that nothing is recorded between an answer and what rests on it. Each
aggregate is that of a replay of its stream, as far as the batch needs it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import asyncpg
from immutables import Map

from schemas.codec import decode_recorded
from schemas.events import EVENT_TYPES, AskRecorded, RequirementRaised
from services.ledger.rules.account import Account
from services.ledger.rules.requirement import Requirement
from services.ledger.rules.retraction import Named
from services.postgres import ledger_schema
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Questions:
    """To the log of the ledger `name`."""

    def __init__(self, name: str) -> None:
        self._sql = _statements.bind(schema=ledger_schema(name))

    async def named(self, connection: asyncpg.Connection, positions: Sequence[int]) -> dict[int, Named]:
        """What stands at these positions; one beyond the head is left out."""
        if not positions:
            return {}
        rows = await connection.fetch(self._sql["named"], [*positions])
        return {
            row["position"]: Named(row["subject"], row["topic"], row["retracted"], row["sealed"], row["redacted"])
            for row in rows
        }

    async def persons(self, connection: asyncpg.Connection, persons: Sequence[str]) -> frozenset[str]:
        """Those of these persons about whom something sealed can still be opened."""
        if not persons:
            return frozenset()
        rows = await connection.fetch(self._sql["persons"], [*persons])
        return frozenset(row["person"] for row in rows)

    async def accounts(self, connection: asyncpg.Connection, streams: Mapping[str, UUID]) -> dict[str, Account]:
        """What rules read of these accounts, by subject: who each is, however much else was said of it."""
        found = {uuid: Account() for uuid in streams.values()}
        for row in await connection.fetch(self._sql["identities"], [*found]) if found else []:
            event = decode_recorded(row["state"]).event
            found[row["id"]] = found[row["id"]].evolve(event, row["position"])
        return {subject: found[uuid] for subject, uuid in streams.items()}

    async def requirements(
        self,
        connection: asyncpg.Connection,
        streams: Mapping[str, UUID],
        versions: Mapping[str, int],
        named: Mapping[int, Named],
        moves: Collection[tuple[str, str]],
    ) -> dict[str, Requirement]:
        """What rules read of these requirements, by subject, as far as a batch needs it that names these positions
        and moves these asks, each of one of these subjects. `versions`: those of the streams that have events."""
        if not streams:
            return {}
        at = [versions.get(subject, 0) for subject in streams]
        rows = await connection.fetch(self._sql["requirements"], [*streams.values()], at, [*named])
        found = {row["id"]: row for row in rows}
        heard, asks = _heard_at(named), await self._asks(connection, streams, moves)
        requirements = {}
        for subject, uuid in streams.items():
            positions = [*heard.get(subject, ()), found[uuid]["heard"]]
            requirement = Requirement(
                heard=Map({position: None for position in positions if position is not None}), asks=Map(asks[subject])
            )
            requirements[subject] = _told(requirement, found[uuid]["merged"])
        return requirements

    async def _asks(
        self, connection: asyncpg.Connection, streams: Mapping[str, UUID], moves: Collection[tuple[str, str]]
    ) -> dict[str, dict[str, str]]:
        """By subject, those of these asks that were recorded on it, and the requirement that each is for now."""
        found: dict[str, dict[str, str]] = {subject: {} for subject in streams}
        asked = [*moves]
        uuids, ids = [streams[subject] for subject, _ in asked], [ask for _, ask in asked]
        for row in await connection.fetch(self._sql["asks"], uuids, ids) if asked else []:
            subject, ask = asked[row["n"] - 1]
            asked_for = Requirement(asks=Map({ask: subject.partition("/")[2]}))
            found[subject] |= _told(asked_for, row["moved"]).asks
        return found


def _told(requirement: Requirement, state: bytes | None) -> Requirement:
    """A requirement after one more of its events, if there is one."""
    if state is None:
        return requirement
    recorded = decode_recorded(state)
    return requirement.evolve(recorded.event, recorded.position)


def _heard_at(named: Mapping[int, Named]) -> dict[str, list[int]]:
    """By subject, those of the named positions at which a requirement was raised or asked for, and that count."""
    found: dict[str, list[int]] = {}
    for position, each in named.items():
        if (
            each.is_known
            and not each.retracted
            and issubclass(EVENT_TYPES[each.type], (RequirementRaised, AskRecorded))
        ):
            found.setdefault(each.subject, []).append(position)
    return found
