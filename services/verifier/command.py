"""`ledger verify`: one answer, or one event, offline."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from services.proof.merkle import ProofError
from services.proof.note import NoteError, VerifierKey
from services.verifier.event import verify_event
from services.verifier.verify import ANSWER_BYTES_MAX, CHECKS, Report, Unverifiable, verify

FINDINGS_SHOWN_MAX = 20
VERIFIED, FOUND, NOT_VERIFIED = 0, 1, 2


@click.command("verify")
@click.argument("answer", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str))
@click.option(
    "--key", "keys", multiple=True, required=True, help="A verifier key of the log that you trust, as GET …/key has it."
)
@click.option(
    "--proof", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ANSWER is an event, and this its proof: GET …/events/POSITION and …/events/POSITION/proof.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify_(answer: str, keys: tuple[str, ...], proof: Path | None, as_json: bool) -> None:
    """Check an answer about a requirement that was asked for with `proof=1`. No ledger and no network are needed.

    ANSWER is a file, or - for what is piped in. Every event that it rests on is checked against the signed checkpoint
    in it, and everything that it says is made anew from these events and compared. With --proof it is the stored bytes
    of one event, which is checked to be in the log. Ends with 0 if all of it holds, with 1 if something does not, and
    with 2 if it could not be verified.

    \b
    Examples:
      ledger verify answer.json --key "ledger.example.com/main+1f2e3d4c+A…"
      curl … "…/requirements/SSO-42?proof=1" | ledger verify - --key "$KEY" --json
      ledger verify event-17.json --proof event-17.proof --key "ledger.example.com/main+1f2e3d4c+A…"
    """
    try:
        with click.open_file(answer, "rb") as file:
            octets = file.read(ANSWER_BYTES_MAX + 1)
        trusted = [VerifierKey.read(key) for key in keys]
        if proof is not None:
            if as_json:
                raise Unverifiable("there is no report of one event; leave out --json")
            checkpoint = verify_event(octets, proof.read_bytes(), trusted)
            click.echo(f"Verified: this event is in the log {checkpoint.origin}, which has {checkpoint.size} events.")
            sys.exit(VERIFIED)
        report = verify(octets, trusted)
    except ProofError as error:
        click.echo(f"The event is not where the proof says: {error}", err=True)
        sys.exit(FOUND)
    except (Unverifiable, NoteError, OSError) as error:
        click.echo(f"Not verified: {error}", err=True)
        sys.exit(NOT_VERIFIED)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        click.echo("\n".join(_told(report)))
    sys.exit(FOUND if report.found else VERIFIED)


def _told(report: Report) -> Iterator[str]:
    """The report for people."""
    yield f"Requirement {report.requirement} at position {report.position} of {report.ledger}"
    yield f"  rests on     {report.events} events, in a log of {report.size}"
    yield f"  signed by    {', '.join(report.keys)}"
    yield ""
    kinds = {found.check for found in report.found}
    for check, holds in CHECKS.items():
        mark = "✗" if check in kinds else "✓" if check in report.checked else "–"
        yield f"  {mark} {check}: {holds}{'' if check in report.checked else ' (not looked at)'}"
    for found in report.found[:FINDINGS_SHOWN_MAX]:
        yield f"\n  {found.check}: {found.spot or '/'} ({found.about}): {found.text}"
    left = len(report.found) - FINDINGS_SHOWN_MAX
    if left > 0:
        yield f"\n  and {left} more (--json has all of them)"
    if report.sealed:
        yield f"\n  {report.sealed} sealed texts are shown in the clear, and were not compared with the sealed ones"
    if report.erased:
        yield f"\n  {report.erased} sealed texts are shown as erased; only the ledger can say whether they are"
    yield ""
    yield "Verified." if not report.found else f"{len(report.found)} findings: the answer does not hold."
    yield "What an answer cannot show by itself:"
    for each in report.not_shown:
        yield f"  - {each}"
