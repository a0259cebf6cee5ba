"""Where a service listens: on each address of its host that this machine has."""

import asyncio
import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services import workers
from services.web import _listening
from services.workers import Shared
from tests.conftest import free_ports

HOST = "somewhere"
NOT_OURS = "198.51.100.7"  # Of TEST-NET-2 (RFC 5737): no machine's.
SWITCHED_OFF = 255  # No family of addresses that a kernel has.

Found = tuple[int, str]
"""A family and an address of it."""

HERE: Found = (socket.AF_INET, "127.0.0.1")
ELSEWHERE: Found = (socket.AF_INET, NOT_OURS)
FAMILY_OFF: Found = (SWITCHED_OFF, "127.0.0.1")


def resolves(monkeypatch: pytest.MonkeyPatch, *addresses: Found) -> None:
    """Have the host be told to have these addresses, in this order."""

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert host == HOST
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for family, address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@contextmanager
def closing(sockets: Iterable[socket.socket]) -> Iterator[list[str]]:
    """On which addresses these sockets listen."""
    with_all = [*sockets]
    try:
        yield [each.getsockname()[0] for each in with_all]
    finally:
        for each in with_all:
            each.close()


@pytest.mark.parametrize("unusable", [ELSEWHERE, FAMILY_OFF], ids=["not of this machine", "family switched off"])
async def test_an_address_that_is_not_there_is_passed_over_where_another_is(
    monkeypatch: pytest.MonkeyPatch, unusable: Found
) -> None:
    for addresses in ((unusable, HERE), (HERE, unusable), (unusable, HERE, unusable), (HERE, HERE, unusable)):
        resolves(monkeypatch, *addresses)
        with closing(await _listening(HOST, free_ports(1)[0], shared=False)) as listened:
            assert listened == ["127.0.0.1"], addresses


@pytest.mark.parametrize(
    "addresses",
    [(ELSEWHERE,), (FAMILY_OFF, ELSEWHERE), (ELSEWHERE, ELSEWHERE)],
    ids=["one", "several", "the same twice"],
)
async def test_where_no_address_is_there_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[Found, ...]
) -> None:
    resolves(monkeypatch, *addresses)
    with pytest.raises(OSError, match=NOT_OURS) as raised:
        await _listening(HOST, free_ports(1)[0], shared=False)
    assert raised.value.errno == errno.EADDRNOTAVAIL


async def test_a_port_that_is_taken_at_one_address_is_an_error_and_none_is_listened_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        resolves(monkeypatch, HERE, (socket.AF_INET, "127.0.0.2"))
        with pytest.raises(OSError, match=r"127\.0\.0\.2") as raised:
            await _listening(HOST, port, shared=False)
        assert raised.value.errno == errno.EADDRINUSE
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host", ["no such host", NOT_OURS])
async def test_a_host_without_an_address_here_is_named_by_one_process_and_by_several(host: str, tmp_path: Path) -> None:
    [port] = free_ports(1)
    with pytest.raises(OSError, match=host) as alone:
        await _listening(host, port, shared=False)
    with pytest.raises(OSError, match=host) as shared:
        workers.prepare(Shared(processes=2, host=host, port=port, metrics=tmp_path))
    assert (alone.value.errno, shared.value.errno) == (errno.EADDRNOTAVAIL, errno.EADDRNOTAVAIL)


async def test_what_cannot_be_a_name_is_said_like_a_name_that_nobody_has() -> None:
    with pytest.raises(OSError, match="is neither an address nor the name of one"):
        await _listening("a..b", free_ports(1)[0], shared=False)
