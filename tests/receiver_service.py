"""The receiver for tests: the real application in this process, on a real port, beside a real ledger."""

import asyncio
import contextlib
import io
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from services.process import configure_logs
from services.receiver.app import run
from services.receiver.hooks import Hooks
from services.receiver.kept import Came, Item, Kept
from services.receiver.signatures import sign
from services.settings import Settings
from tests.ledger_service import SECONDS_MAX, LedgerService, Reply, holds

EXAMPLES = Path(__file__).parents[1] / "examples" / "hooks"
SECRET = "a-secret-of-twenty-four-bytes"

GITHUB = """\
signature: {scheme: github, secret_file: desk.secret}
source: /hooks/desk
events:
  - type: ledger.feedback.received.v1
    id: ticket-{ticket.id}
    time: {from: ticket.at, as: time, formats: [iso]}
    data:
      feedback: "desk-{ticket.id}"
      text: {from: ticket.text}
      account: {from: ticket.customer, default: nobody}
"""


def ticket(id: Any = 1, text: Any = "We need an export.", **more: Any) -> dict[str, Any]:
    return {"ticket": {"id": id, "text": text, "at": "2026-11-20T10:00:00Z", **more}}


class ReceiverService:
    """A running receiver, or the address of one that will run."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession | None = None) -> None:
        self.settings = settings
        self.session = session
        self.url = f"http://127.0.0.1:{settings.receiver_port}"
        self.directory = settings.hooks_directory
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def hook(self, name: str, text: str = GITHUB, *, secret: str | None = SECRET) -> None:
        """Write a hook, and its secret into the file that it names."""
        self._secret(name if "desk.secret" not in text else "desk", secret)
        (self.directory / f"{name}.yaml").write_text(text)

    def key(self, name: str, text: str) -> Path:
        """Write an API key into the file that a hook names."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def sample(self, name: str, *, secret: str = SECRET) -> None:
        """Set up one of the sample hooks."""
        self._secret(name, secret)
        shutil.copy(EXAMPLES / f"{name}.yaml", self.directory)

    def signed(self, name: str, body: bytes, *, minutes: float = 0, delivery: str = "d-1") -> dict[str, str]:
        """The headers by which the sender of a hook signs a body, at a time that is so many minutes from now."""
        hook = Hooks(self.directory).get(name)
        secret = hook.secrets[0] if hook.secrets else b""
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        return sign(hook.signature, secret, body, now=now, delivery=delivery)

    async def send(self, name: str, body: Any, headers: Mapping[str, str] | None = None, **how: Any) -> Reply:
        """Send a body, signed as its sender would."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.post(name, raw, {**self.signed(name, raw, **how), **(headers or {})})

    async def post(self, name: str, body: Any, headers: Any = ()) -> Reply:
        """Post bytes as they are, with these headers only."""
        assert self.session is not None
        # A large body goes out in parts.
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.session.post(f"{self.url}/hooks/{name}", data=data, headers=headers) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, key: str | None = None) -> Reply:
        assert self.session is not None
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with self.session.get(self.url + path, headers=headers) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def answers(self) -> bool:
        try:
            return (await self.get("/livez")).status == 200
        except aiohttp.ClientConnectionError:
            return False

    def kept(self, hook: str | None = None) -> list[Item]:
        """What is kept, read from the file."""
        with opened(self.settings) as kept:
            return kept.page(hook=hook, limit=1_000)

    def requests(self) -> list[Came]:
        """The requests that are kept, in the order in which they came."""
        with opened(self.settings) as kept:
            return [kept.came(item) for item in kept.page(limit=1_000)]

    def _secret(self, name: str, secret: str | None) -> None:
        if secret is not None:
            path = self.directory / f"{name}.secret"
            path.write_text(secret + "\n")
            path.chmod(0o600)


@contextlib.contextmanager
def opened(settings: Settings) -> Any:
    """The file of what is kept."""
    kept = Kept(settings.home, bytes_max=settings.receiver_kept_bytes_max)
    try:
        yield kept
    finally:
        kept.close()


@contextlib.asynccontextmanager
async def receiving(settings: Settings) -> AsyncIterator[ReceiverService]:
    """Run the receiver with these settings; on leaving, stop it as a signal does."""
    logs = structlog.get_config()
    configure_logs(settings)
    service = asyncio.create_task(run(settings))
    try:
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asked = ReceiverService(settings, session)
            await holds(asked.answers, meanwhile=service)
            yield asked
    finally:
        service.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await service
        structlog.configure(**logs)


@pytest.fixture
async def receiver(ledger: LedgerService) -> AsyncIterator[ReceiverService]:
    """The receiver, beside the ledger of this test."""
    async with receiving(ledger.settings) as service:
        yield service
