"""What an event takes on disk: the log, its keys, the read models; heap and indexes."""

from pathlib import Path

from msgspec import Struct

from services.postgres import connect, ledger_schema
from services.settings import Settings
from services.statements import Statements

LOG, KEYS, READ_MODELS, REST = "log", "keys", "read models", "rest"

_PARTS = {"stored_events": LOG, "sealing_keys": KEYS}
_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Table(Struct, frozen=True):
    """Of one table of a ledger: bytes an event of the log."""

    part: str
    table: str
    heap: float
    indexes: float


async def storage(settings: Settings, ledger: str, events: int) -> list[Table]:
    """Every table of a ledger, the largest first."""
    connection = await connect(settings.url("owner"))
    try:
        rows = await connection.fetch(_statements["tables"], ledger_schema(ledger))
    finally:
        await connection.close()
    return [
        Table(
            part=_PARTS.get(row["name"], READ_MODELS if row["projected"] else REST),
            table=row["name"],
            heap=round(row["heap"] / events, 1),
            indexes=round(row["indexes"] / events, 1),
        )
        for row in rows
    ]
