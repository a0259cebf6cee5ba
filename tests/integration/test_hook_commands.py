"""`ledger hook`: hooks are tried out, and what is kept is seen to, on the command line."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import msgspec

from services.settings import Settings
from tests.conftest import free_ports
from tests.ledger_service import LedgerService
from tests.receiver_service import EXAMPLES, GITHUB, ReceiverService, receiving, ticket

SECONDS_MAX = 90
BODIES = EXAMPLES / "bodies"


class Ended(msgspec.Struct, frozen=True):
    status: int
    said: str
    errors: str


async def hook(settings: Settings, *arguments: str | Path) -> Ended:
    """Run `ledger hook …` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.command", "hook", *map(str, arguments),
        env={"PATH": os.environ["PATH"]} | settings.environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode is not None
    return Ended(process.returncode, said.decode(), errors.decode())


async def test_check_shows_the_events_and_posts_nothing(tmp_path: Path) -> None:
    home, hooks = tmp_path / "home", tmp_path / "hooks"
    home.mkdir()
    hooks.mkdir()
    settings = Settings(home=home)
    for name in ("zendesk-ticket", "github-issues"):
        shutil.copy(EXAMPLES / f"{name}.yaml", hooks)
    body = BODIES / "zendesk-ticket.json"
    # There is no secret yet.
    ended = await hook(settings, "check", hooks / "zendesk-ticket.yaml", body)
    assert ended.status == 2, ended
    assert "makes 1 events" in ended.said
    assert '"zendesk:8447346622462"' in ended.said
    assert "it cannot be used yet: " in ended.errors
    assert "zendesk-ticket.secret cannot be read" in ended.errors
    assert "it can be used" not in ended.said
    for name in ("zendesk-ticket", "github-issues"):
        secret = hooks / f"{name}.secret"
        secret.touch(mode=0o600)
        secret.write_text("a-secret-of-twenty-four-bytes")
    ended = await hook(settings, "check", hooks / "zendesk-ticket.yaml", body)
    assert (ended.status, "it can be used; " in ended.said) == (0, True)
    secret.chmod(0o644)
    ended = await hook(settings, "check", hooks / "github-issues.yaml")
    assert (ended.status, "run `chmod 600` on it" in ended.errors) == (2, True)
    secret.chmod(0o600)
    assert [*home.iterdir()] == []

    ended = await hook(settings, "check", hooks / "github-issues.yaml", body)
    assert ended.status == 1
    assert "the body has no 'header.x-github-event'" in ended.errors
    ended = await hook(settings, "check", hooks / "github-issues.yaml", body, "--header", "X-GitHub-Event: ping")
    assert (ended.status, "makes 0 events, as the conditions of the hook say" in ended.said) == (0, True)


async def test_check_looks_at_the_file_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    file.write_text(GITHUB.replace("source:", "key_file: own.key\nsource:"))
    for name, text in (("desk.secret", "a-secret-of-twenty-four-bytes"), ("own.key", "lk_a\nlk_b")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    ended = await hook(Settings(home=tmp_path), "check", file)
    assert (ended.status, "key_file: own.key has 2 lines" in ended.errors) == (2, True)


async def test_what_steers_a_terminal_is_written_out(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    body = receiver.directory / "body.json"
    for number, sent in enumerate(('{"ticket": {"\\u001b[2Jidd": 1}}', "\x1b]0;title\x07 \u202e", '{"a": "\x7f"}'), 1):
        body.write_text(sent)
        assert (await receiver.send("desk", sent.encode(), delivery=f"d-{number}")).status in (400, 422)
        for arguments in (("kept",), ("show", str(number)), ("check", receiver.directory / "desk.yaml", body)):
            ended = await hook(receiver.settings, *arguments)
            written = ended.said + ended.errors
            assert not {"\x1b", "\x07", "\x7f", "\u202e"} & {*written}, written
    assert "\\u001b[2Jidd" in (await hook(receiver.settings, "show", "1")).said


async def test_check_tells_a_mistake_with_file_line_and_spot(tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    file.write_text(GITHUB.replace("account: {from", "acount: {from"))
    ended = await hook(Settings(home=tmp_path), "check", file)
    assert ended.status == 2
    assert f"{file}:10: events[0].data.acount: ledger.feedback.received.v1 has no field 'acount'" in ended.errors
    assert "did you mean 'account'?" in ended.errors


async def test_send_signs_as_the_sender_would(ledger: LedgerService, receiver: ReceiverService, tmp_path: Path) -> None:
    settings = receiver.settings
    for name in ("github-issues", "zendesk-ticket", "hubspot-deal"):
        receiver.sample(name)
        header = ["--header", "X-GitHub-Event: issues"] if name == "github-issues" else []
        ended = await hook(settings, "send", name, BODIES / f"{name}.json", *header)
        assert (ended.status, ended.said.split()[0]) == (0, "200"), ended
    assert await ledger.head() == 3
    ended = await hook(settings, "send", "nobody", BODIES / "zendesk-ticket.json")
    assert (ended.status, "there is no hook nobody" in ended.errors) == (2, True)


async def test_what_is_kept_is_listed_shown_replayed_and_dropped(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    settings = receiver.settings
    receiver.hook("desk", GITHUB.replace("ticket.text", "ticket.words"))
    for number in range(1, 5):
        assert (await receiver.send("desk", ticket(number), delivery=f"d-{number}")).status == 422
    assert (await receiver.send("desk", b"{", delivery="d-5")).status == 400
    ended = await hook(settings, "kept")
    assert ended.errors.strip() == "5 kept"
    assert "mapping-misfit: the body has no 'ticket.words'" in ended.said
    ended = await hook(settings, "show", "1")
    assert "We need an export." in ended.said
    assert "x-github-delivery: d-1" in ended.said

    # Before the hook is mended, all stay; then those that fit go on, in their order.
    ended = await hook(settings, "replay", "desk")
    assert (ended.status, ended.said.strip()) == (1, "0 went on and made 0 events; 5 are still refused")
    receiver.hook("desk")
    ended = await hook(settings, "replay")
    assert (ended.status, ended.said.strip()) == (1, "4 went on and made 4 events; 1 are still refused")
    assert "5 desk: the body is not JSON" in ended.errors
    events = [json.loads((await ledger.get(f"/v1/ledgers/main/events/{n}")).body)["id"] for n in range(1, 5)]
    assert events == [f"ticket-{number}" for number in range(1, 5)]
    # A sender that repeats what went on by hand is answered as before.
    assert (await receiver.send("desk", ticket(2), delivery="d-2")).json["events"][0]["duplicate"]

    assert (await hook(settings, "drop", "5")).status == 0
    assert (await hook(settings, "drop", "5")).status == 1
    assert (await hook(settings, "show", "5")).status == 2
    assert (await hook(settings, "kept")).errors.strip() == "0 kept"
    assert (await hook(settings, "replay")).status == 0


async def test_a_replay_without_a_ledger_changes_nothing(tmp_path: Path) -> None:
    """What was refused then waits for the ledger, as if it had just come."""
    ports = free_ports(2)
    settings = Settings(home=tmp_path, ledger_port=ports[0], receiver_port=ports[1])
    (tmp_path / "receiver.key").touch(mode=0o600)
    (tmp_path / "receiver.key").write_text("lk_a")
    async with receiving(settings) as receiver:
        receiver.hook("desk", GITHUB.replace("ticket.text", "ticket.words"))
        assert (await receiver.send("desk", ticket())).status == 422
    receiver.hook("desk")
    ended = await hook(settings, "replay")
    assert ended.status == 2
    assert "1 waits for the ledger, and goes on by itself once it can" in ended.errors
    assert [item.state for item in receiver.kept()] == ["waiting"]


async def test_every_command_has_examples(tmp_path: Path) -> None:
    for command in ("check", "send", "kept", "show", "replay", "drop"):
        ended = await hook(Settings(home=tmp_path), command, "--help")
        assert (ended.status, "Examples:" in ended.said) == (0, True)


async def test_nothing_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    for arguments in (("kept",), ("replay",)):
        assert (await hook(Settings(home=tmp_path), *arguments)).status == 0
    assert [*tmp_path.iterdir()] == []
