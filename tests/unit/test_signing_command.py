"""A command that signs: what it prints is verified before it counts, and whatever is wrong with it is said."""

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from services import signing
from services.proof.checkpoint import Checkpoint
from services.proof.note import NoteError, VerifierKey
from services.settings import Settings, SettingsError
from services.signing import SigningCommand, SigningKeyError, SigningKeys, signing_of

ORIGIN = "ledger.example/main"
TEXT = Checkpoint(ORIGIN, 3, bytes(32)).text
OPENSSL = Path(__file__).parents[2] / "examples" / "signing" / "openssl.sh"


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return SigningKeys.load_or_make(tmp_path / "signing.key")


def command(tmp_path: Path, body: str) -> SigningCommand:
    """A command in Python, with `what`, `origin` and `keys`: those of the file."""
    script = tmp_path / "command.py"
    script.write_text(
        textwrap.dedent(f"""\
        import os, subprocess, sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from services.proof.note import Note
        from services.signing import SigningKeys
        what, origin = sys.argv[1:]
        keys = SigningKeys.load(Path({str(tmp_path / "signing.key")!r})).signers(origin)
        def all_keys():
            for signer in keys: print(signer.key)
        def all_signatures(text, signers=keys):
            for each in Note.signed(text, signers).signatures: print(each)
        """)
        + textwrap.dedent(body)
    )
    return SigningCommand([sys.executable, str(script)])


GOOD = """\
if what == "keys": all_keys()
else: all_signatures(sys.stdin.read())
"""


async def test_what_a_command_signs_is_what_the_file_signs(tmp_path: Path, keys: SigningKeys):
    SigningKeys.rotate(tmp_path / "signing.key")
    both = SigningKeys.load(tmp_path / "signing.key")
    by_command = command(tmp_path, GOOD)
    assert await by_command.verifier_keys(ORIGIN) == await both.verifier_keys(ORIGIN)
    assert str(await by_command.sign(ORIGIN, TEXT)) == str(await both.sign(ORIGIN, TEXT))


async def test_a_key_that_the_command_has_anew_is_known_from_its_next_signature(tmp_path: Path, keys: SigningKeys):
    by_command = command(tmp_path, GOOD)
    assert len((await by_command.sign(ORIGIN, TEXT)).signatures) == 1
    SigningKeys.rotate(tmp_path / "signing.key")
    assert len((await by_command.sign(ORIGIN, TEXT)).signatures) == 2
    assert len(await by_command.verifier_keys(ORIGIN)) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit('the token is locked')", "ended with status 1, saying: the token is locked"),
        ("os.kill(os.getpid(), 9)", "ended with status -9"),
        ("print('x' * 70_000)", "printed more than 65536 bytes"),
        ("sys.stdout.buffer.write(bytes([0xff]))", "not UTF-8"),
        ("print('nonsense')", "not a verifier key"),
        ("pass", "not 1 to 8 verifier keys"),
        ("print(str(keys[0].key))\nprint('else+00000000+AA==')", "for `keys` it printed something else"),
        (
            "keys = SigningKeys([each._private for each in keys]).signers(origin + '/other')\nall_keys()",
            f"not 1 to 8 verifier keys named {ORIGIN}",
        ),
    ],
)
async def test_a_command_that_names_no_keys_is_told_apart(tmp_path: Path, keys: SigningKeys, body: str, said: str):
    with pytest.raises(SigningKeyError) as raised:
        await command(tmp_path, body).verifier_keys(ORIGIN)
    assert said in str(raised.value) and sys.executable in str(raised.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "lines of signatures"),
        ("print('nonsense')", "not a line with a signature"),
        ("all_signatures(sys.stdin.read() + 'more\\n')", "is broken"),
        ("all_signatures(sys.stdin.read(), [*keys, *keys])", "something else than one signature by each of its 1 keys"),
        # A signature that is good, of another text, which stands before it.
        ("print('more')\nprint()\nall_signatures(sys.stdin.read() + '\\nmore\\n')", "more than lines of signatures"),
        ("all_signatures(sys.stdin.read()); sys.exit(3)", "ended with status 3"),
        (
            "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey\n"
            "all_signatures(sys.stdin.read(), SigningKeys([Ed25519PrivateKey.generate()]).signers(origin))",
            "nobody known has signed it",
        ),
    ],
)
async def test_what_is_not_signed_as_it_should_be_does_not_count(
    tmp_path: Path, keys: SigningKeys, body: str, said: str
):
    body = f"if what == 'keys': all_keys()\nelse:\n{textwrap.indent(body or 'pass', '    ')}\n"
    with pytest.raises(SigningKeyError) as raised:
        await command(tmp_path, body).sign(ORIGIN, TEXT)
    assert said in str(raised.value)


async def test_of_two_keys_that_are_named_both_have_to_sign(tmp_path: Path, keys: SigningKeys):
    SigningKeys.rotate(tmp_path / "signing.key")
    half = "if what == 'keys': all_keys()\nelse: all_signatures(sys.stdin.read(), keys[:1])"
    with pytest.raises(SigningKeyError, match="one signature by each of its 2 keys"):
        await command(tmp_path, half).sign(ORIGIN, TEXT)


async def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signing, "COMMAND_SECONDS_MAX", 3)
    held = tmp_path / "held"
    os.mkfifo(held)
    hangs = SigningCommand(["sh", "-c", f"(exec 3> {held}; sleep 60) & sleep 60"])
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    asking = asyncio.create_task(hangs.verifier_keys(ORIGIN))
    while is_free(reading) and not asking.done():
        await asyncio.sleep(0.02)
    assert not asking.done()
    with pytest.raises(SigningKeyError, match=r"it had not ended after 3 seconds"):
        await asking
    async with asyncio.timeout(20):
        while not is_free(reading):
            await asyncio.sleep(0.02)
    os.close(reading)


async def test_one_that_leaves_something_behind_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signing, "COMMAND_SECONDS_MAX", 0.5)
    leaves = SigningCommand(["sh", "-c", "setsid sleep 20 & sleep 20"])
    asking = asyncio.create_task(leaves.verifier_keys(ORIGIN))
    done, _ = await asyncio.wait({asking}, timeout=15)
    assert done
    with pytest.raises(SigningKeyError, match=r"it had not ended after 0\.5 seconds"):
        await asking


def is_free(pipe: int) -> bool:
    """Whether nobody has it open to write."""
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


async def test_a_command_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(SigningKeyError, match="cannot be run"):
        await SigningCommand([str(tmp_path / "nothing")]).verifier_keys(ORIGIN)


async def test_a_text_that_is_none_of_a_note_is_not_given_to_the_command(tmp_path: Path, keys: SigningKeys):
    with pytest.raises(NoteError):
        await command(tmp_path, GOOD).sign(ORIGIN, "no newline")


def test_the_setting_is_split_as_a_shell_does(tmp_path: Path):
    settings = Settings.load({"LEDGER_SIGNING_COMMAND": "signer --key 'a b' x"})
    assert settings.signing_arguments == ["signer", "--key", "a b", "x"]
    assert isinstance(signing_of(settings), SigningCommand)
    for wrong, said in (("signer 'a", "No closing quotation"), ("  ", "there is no command in it")):
        with pytest.raises(SettingsError, match=f"LEDGER_SIGNING_COMMAND: {said}"):
            Settings.load({"LEDGER_SIGNING_COMMAND": wrong})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
async def test_the_example_signs_by_openssl(tmp_path: Path):
    pems = [tmp_path / "new signer.pem", tmp_path / "old.pem"]
    for pem in pems:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True)
    both, old = SigningCommand([str(OPENSSL), *map(str, pems)]), SigningCommand([str(OPENSSL), str(pems[1])])
    note = str(await both.sign(ORIGIN, TEXT)).encode()
    [new_key, old_key] = await both.verifier_keys(ORIGIN)
    assert [old_key] == await old.verifier_keys(ORIGIN)
    assert VerifierKey.read(str(new_key)) == new_key != old_key
    for key in (new_key, old_key):
        assert Checkpoint.verified(note, ORIGIN, [key]).size == 3
    with pytest.raises(SigningKeyError, match="ended with status 1, saying"):
        await SigningCommand([str(OPENSSL), str(tmp_path / "none.pem")]).sign(ORIGIN, TEXT)
