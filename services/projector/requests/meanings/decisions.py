"""What is answered about decisions, and about what was known when they were made."""

from collections.abc import Mapping

from services.projector.answers.context import CONTEXT_ITEMS_MAX

AS_DECIDED = (
    "How on-target the account was for the deciders: judged at the decision's time, by what was known at its `cut`."
)

FIELDS: Mapping[str, Mapping[str, str]] = {
    "Made": {
        "agreement": "The agreement that was in force for the deciders. Null: none was.",
        "revision": "Its revision that was in force for the deciders. Null: none was.",
    },
    "Became": {
        "won": "Won since, renewed, or under contract then and still.",
        "lost": "Lost, or under contract then and ended since.",
        "open": "Still open.",
    },
    "Acknowledgement": {
        "team": "The team that has taken note.",
        "note": "What it adds. Null: nothing.",
        "recorded_by": "The public id of the API key that recorded it.",
        "recorded_on_behalf_of": "Whether that key has recorded acknowledgements of this decision by several teams, and"
        " so stands for none of them alone.",
    },
    "Reaffirmation": {
        "seen": "The position of the log that was looked at. Null: all that came before it.",
    },
    "Superseded": {
        "decision": "The other decision.",
    },
    "Mark": {
        "position": "The place in the log of the event that says so.",
        "kind": "`learned_since`: recorded after the cut, about the time before the decision. `changed_since`: about"
        " the time after it. `withdrawn`: what the decision rested on is gone.",
        "input": "What has changed: an attribute of an account, an ask, or the agreement. An account is heard by one of"
        " its asks: where that is another one now, what has changed is the one that came, or the one that is gone or"
        " says less.",
        "from": "What the deciders had; of a decision that was reaffirmed, what was known then.",
        "to": "What it is now. Null: it is gone, or unknown.",
        "classes": "The accounts whose class has changed with it.",
    },
    "Reclassified": {
        "as_decided": "The class of the account as decided.",
        "as_now": "Its class now. Null: it does not ask any more.",
    },
    "DecisionList": {"decisions": "The decisions of this page, the last one first."},
    "DecisionRow": {
        "superseded_by": "The decision that holds instead. Null: it has not given way to another.",
        "needs_review": "Whether an input of it has changed since, by enough to change the class of an account that"
        " asked.",
        "agreement": "The agreement that was in force for the deciders. Null: none was.",
        "revision": "Its revision that was in force for the deciders. Null: none was.",
    },
    "OneDecision": {
        "proposed": "The question with its options, as last proposed. Null: it was made without a proposal.",
        "agreement": "The agreement that was in force for the deciders. Null: none was.",
        "revision": "Its revision that was in force for the deciders. Null: none was.",
        "accounts": "How many accounts asked, by their class as decided. Each is counted once.",
        "fits": "The accounts that asked, as the deciders knew them.",
    },
    "Proposed": {
        "drivers": "What presses for a decision.",
        "options": "What can be decided.",
    },
    "DecidedFit": {
        "position": "The place in the log of the last recording of that ask that the deciders knew.",
        "requirement": "The requirement that it asked for.",
        "importance": "Of that ask, from 0 to 3; 3: a deal or a renewal depends on it.",
        "as_decided": f"{AS_DECIDED} Null: no agreement was in force.",
    },
    "OneContext": {
        "basis": "By what `known` is told from the rest: `recorded`, by the positions of this log; or `declared`, for a"
        " decision that was imported with the time at which another system recorded it, by such times of its events.",
        "cut": "Up to where the deciders knew the log; while it is only proposed, up to where anybody does.",
        "position": "The place of the decision in the log. Null while it is proposed, as are both times.",
        "totals": "How many items each list has on all pages. The first page has the last"
        f" {CONTEXT_ITEMS_MAX} of each list; while there are more, the header `Link` leads to those before them.",
        "known": "What was known when it was decided: recorded by the cut, about a time not after the decision's.",
        "true_then_not_yet_known": "What was true when it was decided, and recorded only after the cut.",
        "happened_later": "What is about a time after the decision's, whenever it was recorded.",
    },
    "Cut": {
        "position": "The last position that was known. Null if the basis is declared.",
        "recordedtime": "When that position was recorded, as RFC 3339; if the basis is declared, when another system"
        " recorded the decision. Null at position 0.",
    },
    "ContextTotals": {
        "known": "Items of `known`.",
        "true_then_not_yet_known": "Items of `true_then_not_yet_known`.",
        "happened_later": "Items of `happened_later`.",
    },
    "RetractedShown": {
        "position": "The place in the log of the retraction.",
        "recordedtime": "When the retraction was recorded, as RFC 3339.",
    },
    "ContextItem": {
        "time": "What time it is about, as RFC 3339. It counts from here, or from `recordedtime` if that is earlier.",
        "subject": "What the event is about, as requirement/SSO-42.",
        "summary": "What happened, in a sentence.",
        "sourcerecordedtime": "When another system recorded it, as RFC 3339, if its emitter says so.",
        "retracted": "There if it was recorded in error: it stays in the list where it was, and counts no more.",
        "retracts": "The position of what this retracts.",
        "account": "The account that it is about: what the event's name for it stands for.",
        "named": "The account as the event names it, if that is another name.",
        "attribute": "The attribute of the account.",
        "from": "What the attribute was before, by the time it is about, as known when this was recorded; or as known"
        " now, where this makes a difference only by what was recorded since. Null: unknown.",
        "to": "What the attribute is from then on. Null: unknown again.",
        "requirement": "The requirement that the event names.",
        "ask": "The id of the ask.",
        "importance": "Of the ask, from 0 to 3; 3: a deal or a renewal depends on it.",
        "needed_by": "The day by which the account needs it.",
        "feedback": "The id of the feedback.",
        "opportunity": "The id of the opportunity.",
        "stage": "Whether the opportunity was `open`, `won` or `lost`.",
        "amount": "What the opportunity is worth, as a decimal text.",
        "currency": "The currency of the amount, ISO 4217.",
        "closes": "The day on which the opportunity is expected to close.",
        "ends": "The day on which the contract ends.",
        "requirements": "The requirements that the opportunity, or another decision, names.",
        "closed_because": "Why the opportunity was won or lost.",
        "promise": "The id of the promise.",
        "due": "The day by which it was promised.",
        "state": "How far the work is.",
        "target": "The day for which the work is planned.",
        "feasibility": "What those who would build it say of it.",
        "team": "The team that said so.",
        "revision": "The revision of the target market.",
        "effective": "From when on the revision was to be in force.",
        "decision": "The decision that the event names.",
        "outcome": "What was decided, or how the promise ended.",
    },
}

# What a class is for, where its own docstring does not say.
CLASSES: Mapping[str, str] = {
    "DecisionList": "A page of decisions.",
    "Proposed": "A decision as it was proposed.",
}
