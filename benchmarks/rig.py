"""What steps share: the plan, the services that are asked, the logs, and alternation."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import isnan
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.progress import Progress, TaskID

from benchmarks import recording
from benchmarks.found import Found
from benchmarks.history import Subjects
from benchmarks.measuring import Case, alternate, rounded
from benchmarks.plan import Plan, scale
from benchmarks.processes import watching
from benchmarks.running import Served, database, home, load_once, services, vacuum
from services.migrate import migrate
from services.settings import Settings

COMPARED_SECONDS_MAX = 900


class Rig(Struct, frozen=True):
    """What is measured and how much of it, and where that goes which is found. `directory` holds the files of the run;
    `task` is its line in the progress."""

    plan: Plan
    seed: int
    directory: Path
    settings: Settings
    served: Served
    found: Found
    progress: Progress
    task: TaskID
    subjects: Mapping[str, Subjects] = {}
    """What is asked about in each log; nothing before the read models are there."""

    def say(self, doing: str) -> None:
        self.progress.update(self.task, description=doing)

    async def alternate(
        self,
        name: str,
        cases: Mapping[str, Case],
        *,
        rates: bool = True,
        seconds_max: float = COMPARED_SECONDS_MAX,
        rounds: int | None = None,
        warm_up: int | None = None,
        mirrored: bool = False,
    ) -> dict[str, list[float]]:
        """Samples of each case, without those of who has failed. `rates`: they are; otherwise they are seconds."""
        samples = await alternate(
            cases,
            rounds=self.plan.rounds if rounds is None else rounds,
            seconds_max=seconds_max,
            progress=lambda doing: self.say(f"{name}: {doing}"),
            warm_up=self.plan.warm_up if warm_up is None else warm_up,
            mirrored=mirrored,
        )
        samples = {case: each for case, each in samples.items() if not any(map(isnan, each))}
        kept = self.found.rates if rates else self.found.seconds
        kept[name] = {case: [*map(rounded, each)] for case, each in samples.items()}
        return samples

    @asynccontextmanager
    async def anew(self) -> AsyncIterator["Rig"]:
        """The same on another home, with a server of its own: what the steps before have left is not tidied up at the
        cost of this one."""
        with home(None) as directory:
            async with (
                database(directory, []) as settings,
                services(settings) as served,
                watching(served, self.found.watch),
            ):
                yield msgspec.structs.replace(self, settings=settings, served=served)

    async def load(self, ledger: str, events: int) -> None:
        """Write a company's log of so many events into a ledger."""
        await migrate(self.settings, ledgers=[ledger])
        of = scale(events)
        task = self.progress.add_task(f"{ledger}: recording", total=events)
        loaded = await load_once(
            self.settings, ledger, events, partial(self.progress.advance, task), seed=self.seed, of=of
        )
        self.progress.remove_task(task)
        await vacuum(self.settings, ledger)
        self.found.about.setdefault("scales", {})[ledger] = of._asdict()
        self.found.about.setdefault("stored_bytes_an_event", {})[ledger] = round(loaded.stored_bytes / loaded.events)

    async def start_projector(self) -> None:
        self.served.start("projector")
        await self.served.ready("projector")

    async def projecting(self, ledger: str) -> int:
        """Start the projector and wait until it has come to the head of a ledger: its position."""
        await self.start_projector()
        return await self.served.caught_up(ledger)

    def loading(
        self, ledger: str, events: int, connections: int, head: int | None = None
    ) -> AbstractAsyncContextManager[recording.Load]:
        """Clients that record so many events a request. `head`: events in the log beforehand, the short one's unless
        said."""
        head = self.plan.short if head is None else head
        return recording.loading(self.served, ledger, head, scale(head), events=events, connections=connections)

    def superuser(self, name: str) -> str:
        """The URL of a database of this name, as the one who may make others."""
        directory = self.settings.home.absolute()
        password = msgspec.json.decode((directory / "database.json").read_bytes())["passwords"]["postgres"]
        return f"postgresql://postgres:{password}@/{name}?host={directory / 'database'}&port=5432"
