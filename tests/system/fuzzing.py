"""What schemathesis is told of these services beyond what their descriptions can say.

It loads this file into its own process (`hooks` in its configuration). Requests that are meant to be valid are
brought within rules that OpenAPI has no words for; those that are meant to be refused go out as they are.
"""

import os
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import AllowHeaderMismatch, EnsureResourceAvailability, RejectedPositiveData

from schemas.events import EVENT_TYPES

LEDGERS = ("main", "second", "third")
WAIT_SECONDS_MAX = 0.05
BATCH_EVENTS_MAX = 5

_OWN_KEY = os.environ["LEDGER_TEST_API_KEY_ID"]
_cursors: dict[str, str] = {}


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Bring a request that is meant to be valid within the rules; spare what the run itself needs."""
    if case.path_parameters.get("key") == _OWN_KEY:
        case.path_parameters["key"] = "0000"
    if case.method == "PUT" and case.path.endswith("/{ledger}") and _is_meant_to_be_valid(case):
        # A ledger is a schema of the database, and a hundred of them are a load test.
        case.path_parameters["ledger"] = LEDGERS[len(str(case.path_parameters["ledger"])) % len(LEDGERS)]
    if "timeout" in case.query or "at_least" in case.query:
        _wait_briefly(case)
    if _is_meant_to_be_valid(case):
        _within_rules(case)
        if case.method == "POST" and case.path.endswith("/events"):
            _events_within_rules(case)
    if case.method == "GET":
        _ask_for_each_media_type(case)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    """Keep the cursors that links lead to: no other cursor is valid."""
    for link in response.headers.get("link", []):
        target = urlsplit(link.partition(">")[0].lstrip("<"))
        if cursor := parse_qs(target.query).get("cursor"):
            _cursors[target.path] = cursor[0]


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """The dialects of patterns do not agree, a path may match two templates, and a proof waits for the next checkpoint,
    which the answer says. None of it is amiss."""
    if isinstance(failure, RejectedPositiveData):
        # Whether U+0085 and a few more are space. And a header more than there are makes a request one that is left as
        # it is, with a made-up cursor or a period that ends before it begins, and is yet judged as valid.
        blank = rb"matching regex '\\\\S'" in response.content
        made_up = "cursor" in case.query and case.query["cursor"] not in _cursors.values()
        reversed_ = b"`from` is after `to`" in response.content
        return not (response.status_code == 400 and (blank or made_up or reversed_))
    if isinstance(failure, EnsureResourceAvailability):
        return "retry-after" not in response.headers
    if isinstance(failure, AllowHeaderMismatch):
        return len(_templates_of(case)) < 2
    return True


def _templates_of(case: Case) -> list[str]:
    """The paths of the description that the path of this request matches."""
    paths = case.operation.schema.raw_schema["paths"]
    return [path for path in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), case.formatted_path)]


def _is_meant_to_be_valid(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _wait_briefly(case: Case) -> None:
    try:
        seconds = float(case.query.get("timeout", 1))
    except (TypeError, ValueError):
        return
    if WAIT_SECONDS_MAX < seconds <= 30:
        case.query["timeout"] = WAIT_SECONDS_MAX


def _within_rules(case: Case) -> None:
    """Take out of a request that is meant to be valid what may not go together, each in its range."""
    query = case.query
    if "cursor" in query:
        path = case.formatted_path
        query.clear()
        if path in _cursors:
            query["cursor"] = _cursors[path]
    if "id" in query:
        if "source" not in query:
            query["source"] = "/crm"
        query.pop("type", None)
        query.pop("subject", None)
    if "similar_to" in query or (query.get("sort") == "revenue") != ("currency" in query):
        query.pop("currency", None)
        query.pop("sort", None)
    if "from" in query and "to" in query and str(query["from"])[:4] >= str(query["to"])[:4]:
        query.pop("to")  # By their years: within one, the zones of the two decide.
    if "as_of" in query:
        query.pop("at_least", None)  # What is asked for may be before it.
    if isinstance(case.body, dict) and case.body.get("expires"):
        case.body["expires"] = "2096-01-01T00:00:00Z"


def _events_within_rules(case: Case) -> None:
    if case.media_type == "application/json":
        _name_the_type(case)
        return
    events = case.body if isinstance(case.body, list) else [case.body]
    if isinstance(case.body, list):
        case.headers.pop("If-Match", None)
        del case.body[BATCH_EVENTS_MAX:]
    for number, event in enumerate(events):
        if isinstance(event, dict):
            event["id"] = f"fuzz-{case.id}-{number}"
            event.pop("subject", None)
            event.pop("expectedversion", None)
            for name in ("time", "recordedtime"):
                if event.get(name) is not None:
                    event[name] = "2026-11-21T10:00:00Z"


def _name_the_type(case: Case) -> None:
    """In binary mode the type is a header, which no schema joins to the body."""
    for name in [name for name in case.headers if name.lower().startswith("ce-")]:
        del case.headers[name]
    case.headers["ce-specversion"] = "1.0"
    case.headers["ce-id"] = f"fuzz-{case.id}"
    case.headers["ce-source"] = "/fuzzing"
    case.headers["ce-type"] = _type_of(case.body)


def _type_of(data: Any) -> str:
    """The event type that has the members of `data`: all that it requires, and no other."""
    for name, cls in EVENT_TYPES.items():
        fields = msgspec.structs.fields(cls)
        required = {field.encode_name for field in fields if field.required}
        if required <= data.keys() <= {field.encode_name for field in fields}:
            return name
    raise AssertionError(f"data of no type: {data}")


def _ask_for_each_media_type(case: Case) -> None:
    """Ask for what the description lists besides JSON, by turns."""
    definition = case.operation.definition.raw["responses"].get("200", {})
    media = [*definition.get("content", {})]
    if len(media) > 1 and "Accept" not in case.headers:
        case.headers["Accept"] = media[sum(case.id.encode()) % len(media)]
