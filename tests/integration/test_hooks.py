"""The sample hooks, end to end: a body signed as that system signs it becomes events, and every field is looked at."""

import json
from typing import Any

import pytest

from tests.ledger_service import EVENTS, LedgerService
from tests.receiver_service import EXAMPLES, ReceiverService

WANTED: dict[str, tuple[str, dict[str, str], list[dict[str, Any]]]] = {
    "github-issues": (
        "github-issues",
        {"X-GitHub-Event": "issues"},
        [
            {
                "source": "/hooks/github",
                "type": "ledger.feedback.received.v1",
                "subject": "feedback/github-issue-2641880713",
                "time": "2026-11-19T14:02:37Z",
                "data": {
                    "feedback": "github-issue-2641880713",
                    "text": "Auditors cannot see who approved a payout\n\nEvery quarter our auditors ask who approved "
                    "each payout.\r\n\r\nToday we answer from screenshots.",
                    "account": "cedar",
                    "contact": "github-90312447",
                    "channel": "github",
                    "url": "https://github.com/cloudfold/portal/issues/412",
                    "labels": {"repository": "cloudfold/portal"},
                },
            }
        ],
    ),
    "github-comment": (
        "github-issues",
        {"X-GitHub-Event": "issue_comment"},
        [
            {
                "source": "/hooks/github",
                "type": "ledger.feedback.received.v1",
                "subject": "feedback/github-comment-2488103377",
                "time": "2026-11-20T08:15:10Z",
                "data": {
                    "feedback": "github-comment-2488103377",
                    "text": "An export as CSV would be enough for us.",
                    "account": "cedar",
                    "contact": "github-77120934",
                    "channel": "github",
                    "url": "https://github.com/cloudfold/portal/issues/412#issuecomment-2488103377",
                    "labels": {"repository": "cloudfold/portal", "issue": "412"},
                },
            }
        ],
    ),
    "github-requirement": (
        "github-issues",
        {"X-GitHub-Event": "issues"},
        [
            {
                "source": "/hooks/github",
                "type": "ledger.requirement.raised.v1",
                "subject": "requirement/gh-portal-398",
                "time": "2026-11-18T09:41:00Z",
                "data": {
                    "requirement": "gh-portal-398",
                    "title": "Payout approvals in the audit log",
                    "links": [
                        {
                            "system": "github",
                            "id": "cloudfold/portal#398",
                            "url": "https://github.com/cloudfold/portal/issues/398",
                        }
                    ],
                },
            }
        ],
    ),
    "zendesk-ticket": (
        "zendesk-ticket",
        {},
        [
            {
                "id": "ticket-cbe4028c-7239-495d-b020-f22348516046",
                "source": "/hooks/zendesk",
                "type": "ledger.feedback.received.v1",
                "subject": "feedback/zendesk-35436",
                "time": "2026-11-20T10:12:07.672717Z",
                "data": {
                    "feedback": "zendesk-35436",
                    "text": "Importing employees\n\nWe have 1,400 employees and add them one by one. Is there a way to "
                    "import them?",
                    "account": "zendesk:8447346622462",
                    "contact": "zendesk-8447388090494",
                    "channel": "web_service",
                    "url": "https://example.zendesk.com/agent/tickets/35436",
                    "labels": {"priority": "high", "type": "question"},
                },
            }
        ],
    ),
    "salesforce-opportunity": (
        "salesforce-opportunity",
        {},
        [
            {
                "source": "/hooks/salesforce",
                "type": "ledger.opportunity.updated.v1",
                "subject": "opportunity/salesforce-006Qy00000DnWbXIAV",
                "time": "2026-11-20T16:20:45Z",
                "data": {
                    "opportunity": "salesforce-006Qy00000DnWbXIAV",
                    "account": "salesforce:001Qy00000fJx7cIAC",
                    "stage": "open",
                    "pipeline_stage": "Negotiation/Review",
                    "amount": "86400.5",
                    "currency": "EUR",
                    "kind": "expansion",
                    "closes": "2026-12-18",
                    "competitors": ["Ledgerly", "Spreadsheets"],
                },
            },
            {
                "source": "/hooks/salesforce",
                "type": "ledger.opportunity.updated.v1",
                "subject": "opportunity/salesforce-006Qy00000DnWcAIAV",
                "time": "2026-11-20T16:21:02Z",
                "data": {
                    "opportunity": "salesforce-006Qy00000DnWcAIAV",
                    "account": "salesforce:001Qy00000fJxAZIA0",
                    "stage": "lost",
                    "pipeline_stage": "Closed Lost",
                    "currency": "USD",
                    "closes": "2026-11-19",
                    "reason": "No import of employees",
                },
            },
        ],
    ),
    "hubspot-deal": (
        "hubspot-deal",
        {},
        [
            {
                "source": "/hooks/hubspot",
                "type": "ledger.opportunity.updated.v1",
                "subject": "opportunity/hubspot-18499883104",
                "time": "2026-11-21T08:10:05.123000Z",
                "data": {
                    "opportunity": "hubspot-18499883104",
                    "account": "hubspot:8954037001",
                    "stage": "won",
                    "pipeline_stage": "closedwon",
                    "amount": "75000.00",
                    "currency": "GBP",
                    "kind": "expansion",
                    "closes": "2026-12-01",
                },
            }
        ],
    ),
}


def body_of(name: str) -> bytes:
    return (EXAMPLES / "bodies" / f"{name}.json").read_bytes()


async def recorded(ledger: LedgerService) -> list[dict[str, Any]]:
    """What the ledger holds, its texts in the clear."""
    positions = range(1, await ledger.head() + 1)
    return [(await ledger.get(f"{EVENTS}/{position}?unseal=1")).json for position in positions]


@pytest.mark.parametrize("body", WANTED)
async def test_a_sample_hook_makes_these_events(ledger: LedgerService, receiver: ReceiverService, body: str) -> None:
    hook, headers, wanted = WANTED[body]
    receiver.sample(hook)
    reply = await receiver.send(hook, body_of(body), headers)
    assert reply.status == 200, reply.body

    made = await recorded(ledger)
    assert [{name: event[name] for name in like} for event, like in zip(made, wanted, strict=True)] == wanted
    assert reply.json == {
        "hook": hook,
        "events": [
            {"id": event["id"], "type": event["type"], "position": position, "duplicate": False}
            for position, event in enumerate(made, 1)
        ],
    }
    # What the sender repeats is answered as before.
    again = await receiver.send(hook, body_of(body), headers)
    assert again.status == 200
    assert [each | {"duplicate": False} for each in again.json["events"]] == reply.json["events"]
    assert all(each["duplicate"] for each in again.json["events"])
    assert await ledger.head() == len(wanted)
    assert receiver.kept() == []


async def test_every_sample_is_tried(receiver: ReceiverService) -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {hook for hook, _, _ in WANTED.values()}
    assert {path.stem for path in (EXAMPLES / "bodies").glob("*.json")} == set(WANTED)


async def test_what_github_says_besides_makes_no_event(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.sample("github-issues")
    ping = {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {"type": "Repository"}}
    reply = await receiver.send("github-issues", ping, {"X-GitHub-Event": "ping"})
    assert (reply.status, reply.json["events"]) == (200, [])
    inside = json.loads(body_of("github-comment"))
    inside["comment"]["author_association"] = "MEMBER"
    reply = await receiver.send("github-issues", inside, {"X-GitHub-Event": "issue_comment"}, delivery="d-2")
    assert (reply.status, reply.json["events"]) == (200, [])
    assert await ledger.head() == 0


async def test_a_list_of_deals_is_taken_too(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.sample("hubspot-deal")
    deal = json.loads(body_of("hubspot-deal"))
    reply = await receiver.send("hubspot-deal", [deal, deal | {"dealId": 2}])
    assert reply.status == 200, reply.body
    assert len(reply.json["events"]) == 2


async def test_a_stage_that_nobody_has_mapped_is_kept_until_somebody_has(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.sample("salesforce-opportunity")
    body = json.loads(body_of("salesforce-opportunity"))
    body["opportunities"][1]["StageName"] = "Verbal Yes"
    reply = await receiver.send("salesforce-opportunity", body)
    assert (reply.status, reply.problem) == (422, "mapping-misfit")
    assert "item 1: StageName: 'Verbal Yes' is not in the mapping's table" in reply.json["detail"]
    assert await ledger.head() == 0  # Nothing half done: the other deal of the body waits with it.

    hook = receiver.directory / "salesforce-opportunity.yaml"
    hook.write_text(hook.read_text().replace("Closed Won: won", "Closed Won: won\n          Verbal Yes: open"))
    reply = await receiver.send("salesforce-opportunity", body)
    assert reply.status == 200, reply.body
    assert await ledger.head() == 2
    assert receiver.kept() == []  # What was kept is settled by the retry.
