"""What each field of the projector's answers means, in a sentence or two: the descriptions in /openapi.json and /docs.

By the name of a class, or for a name wherever nothing else is said: a module a subject, like the requests, and here
what is the same in several. What answers repeat from events, as the test of a bullet, is said in schemas/meanings.py.
"""

from collections.abc import Mapping

from schemas import meanings
from services.projector.requests.meanings import (
    accounts,
    agreements,
    briefs,
    decisions,
    overview,
    persons,
    requirements,
)

# What a field of this name means wherever nothing else is said.
_EVERYWHERE: Mapping[str, str] = {
    "accounts": "How many accounts ask, by class. Each is counted once.",
    "acknowledgements": "Which teams have taken note of it.",
    "aliases": "The other names that count for the account: ids in other systems, and accounts merged into it.",
    "as_asked": "How on-target the account was at the time of its ask, by the agreement in force then. Null: none was.",
    "as_decided": f"{decisions.AS_DECIDED} Null: no agreement was in force, or nothing was decided.",
    "as_now": "How on-target the account is now, by the agreement in force. Null: none is.",
    "as_of": "The position of the log that the answer reflects. Ask with it as `as_of`, and the answer stays the same.",
    "at_stake": "The revenue that argued for it: what was at stake when it was decided, by class as decided. Null: it"
    " was not made yet.",
    "available": "From when customers can have it, and how sure that is.",
    "became": "What became of what was at stake, in the amounts that were at stake. What was retracted since is in"
    " none. Null: it was not made yet.",
    "bullet": "The id of the bullet, unique in its revision.",
    "bullets": "The lines by which accounts are judged.",
    "class": "`on_target`, `off_target`, `undetermined` while too little is known, or `exploratory` while the company"
    " is still learning whom the product is for.",
    "consulted": "Who was heard before the decision, by role and team.",
    "cut": "The knowledge cut: the last position of the log that the deciders can have known. It is `seen` if they"
    " stated it, otherwise the position just before the decision.",
    "decide_by": "The day by which the decision is needed.",
    "deciders": "Who decided, by role and team.",
    "delivery": "How far the work on it is. Null: nothing was said.",
    "departs": "Whether a decision to commit departs from the agreement: `no` if some asker was on target as decided,"
    " `undetermined` if none was but some might be, `yes` if all were off target. Null: nobody asked, or it commits to"
    " nothing.",
    "dissent": "Which teams were against it, each with its own statement.",
    "feedback": "The id of the feedback that it was read from.",
    "fit": "The share of the bullets' weights that the account meets for certain, from 0 to 1; 0 if it misses a"
    " required bullet. Null: there is nothing to judge it by.",
    "fit_if_known": "The highest fit that the account can have once everything is known: unknown bullets are taken as"
    " met.",
    "grounds": "Why that was right: `target` (the target market), `exception` (from it), `obligation` or `technical`.",
    "importance": "From 0 to 3, the highest of the account's asks that stand; 3: a deal or a renewal depends on it.",
    "informed": "The teams to be told.",
    "instruction": "What everyone does now, in one sentence.",
    "links": "Where it is kept in other systems.",
    "name": "What the account is called. Null: nobody has said.",
    "named": "The account as the event names it; it may be an alias.",
    "needs_review": "Which inputs of the decision have changed since, by enough to change the class of an account that"
    " asked. Empty: it rests on what it rested on then.",
    "option": "The option that was chosen, of those last proposed.",
    "outcome": "Do it (`commit`), refuse it (`decline`), put it off (`defer`) or find out more (`explore`).",
    "overdue": "Whether its day has passed: a proposed one was to be decided by `decide_by`; a made one was to be"
    " looked at on `revisit`, and was neither reaffirmed since that day nor superseded.",
    "position": "The place of its event in the log.",
    "question": "What is to be decided.",
    "rationale": "Why, in the deciders' own words.",
    "reaffirmations": "When and why it was said to stand.",
    "recordedtime": "When the ledger recorded it, as RFC 3339.",
    "requirements": "The requirements that it is about.",
    "revenue": "What the account is worth, by currency.",
    "revisions": "The revisions that the fits here name, by name: enough to recompute every fit.",
    "revisit": "The day on which to look at the decision again.",
    "score": "How alike they are, from 0 to 1; 1 is the same words.",
    "seen": "The position of the log that the deciders stated they had before them. Null: they stated none.",
    "stage": "`exploratory`: still learning whom the product is for. `focused`: agreed.",
    "state": "`proposed` while it is open, then `made`; `superseded` once another holds instead.",
    "status": "By the decision that holds: `committed`, `declined`, `deferred` or `exploring`; `open` where none does,"
    " `merged` where it counts as another.",
    "superseded_by": "What holds instead of it, and why. Null: it has not given way to another.",
    "supersedes": "What has given way to it.",
    "tell_customer": "What customers may be told, in these words.",
    "text": "The line, in a few words.",
    "threshold": "The share of the weights, in percent, from which an account is on target.",
    "time": "When it happened, as RFC 3339. Nothing counts from later than it was recorded.",
    "title": "The requirement in a few words. Null: nobody has named it, as it was never raised.",
    "total": "How many rows there are on all pages, with the filters applied.",
    "type": "The event type.",
    "voice": "What the askers add up to: fit × importance, each account once. Null: no agreement was ever in force.",
    "voice_if_known": "The same with `fit_if_known`: what the voice can grow to once more is known.",
    "words": "The words that both have.",
    "would_settle": "The attributes that would settle it: what to ask or find out about the account. Empty unless it is"
    " undetermined.",
}

# What several subjects show.
_SHARED: Mapping[str, Mapping[str, str]] = {
    "AsOf": {
        "position": "The last position of the log that the answer reflects.",
        "recordedtime": "When that position was recorded, as RFC 3339. Null at position 0.",
    },
    "Money": {
        "currency": "The currency, ISO 4217.",
        "contracted": "Won opportunities whose contract has not ended, as a decimal text.",
        "pipeline": "Open opportunities, as a decimal text.",
    },
    "Role": {"role": "What the person does there.", "team": "The team."},
}

_FIELDS = {
    **_SHARED,
    **accounts.FIELDS,
    **agreements.FIELDS,
    **briefs.FIELDS,
    **decisions.FIELDS,
    **overview.FIELDS,
    **persons.FIELDS,
    **requirements.FIELDS,
}

# What has the fields of another class, and more.
_SAME = {
    "AskOfAccount": "AskShown",
    "OneDecision": "Made",
    "RequirementBrief": "SalesBrief",
    "RequirementRow": "SimilarRow",
}

_CLASSES = {
    **accounts.CLASSES,
    **agreements.CLASSES,
    **decisions.CLASSES,
    **overview.CLASSES,
    **requirements.CLASSES,
}


def meaning(cls: str, field: str | None) -> str | None:
    """What a field of this class means; of none, what the class is for."""
    if field is None:
        return _CLASSES.get(cls) or meanings.CLASSES.get(cls)
    of_class = _FIELDS.get(cls, {}).get(field) or _FIELDS.get(_SAME.get(cls, ""), {}).get(field)
    return of_class or meanings.meaning(cls, field) or _EVERYWHERE.get(field)
