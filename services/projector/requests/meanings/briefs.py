"""What briefs tell."""

from collections.abc import Mapping

_KNOWN = "Whether it was on record for the deciders: recorded by the `cut`, and said by then. Null: nothing is decided."
_BRIEF = {
    "voice": "For whom it is told: `engineering` or `sales`.",
    "decision": "The decision. Null: nothing was decided or proposed on the requirement.",
    "state": "`open`: nothing was decided or proposed. `proposed`: it is not made yet. `made`: it was made, and holds."
    " `superseded`: it gave way to another.",
    "outcome": "Do it (`commit`), refuse it (`decline`), put it off (`defer`) or find out more (`explore`). Null:"
    " nothing is decided.",
    "grounds": "Why that was right: `target` (the target market), `exception` (from it), `obligation` or `technical`."
    " Null: nothing is decided.",
    "proposed_on": "When it was last proposed, as RFC 3339. Null: it was not.",
    "since": "When it was decided, as RFC 3339. Null: it is not.",
    "available": "From when customers can have it, and how sure that is. Null: no date is on record.",
    "needs_review": "Whether an input of it has changed since, by enough to change the class of an account that asked.",
    "superseded_by": "The decision to which it gave way. Null: to none.",
    "holds_on": "Those of its requirements on which it holds itself: a later decision may hold on some, or on all.",
    "holds": "The other decisions that hold on its requirements, whether it gave way to them or they are later.",
    "undecided_on": "Those of its requirements on which no decision holds: nothing may be promised of them.",
    "instruction": "What everyone does now, in one sentence. Null: it is not decided, or holds no more: see `holds`.",
    "tell_customer": "What customers may be told, in these words. Null: no such words are on record, or it holds no"
    " more.",
    "overdue": "Whether a day has passed (UTC) without what was to be done: to decide, or to look at it again.",
    "reaffirmed_on": "When it was last looked at again, and reaffirmed, as RFC 3339. Null: never.",
    "promises": "The open promises about its requirements that name this decision or none; of a requirement, all that"
    " are open.",
    "events": "The events on which the briefs of both voices rest, in the order of the log. The ledger has each at"
    " `/events/{position}`. What was said of the accounts that asked is not among them:"
    " `/decisions/{decision}/context` has that.",
}

FIELDS: Mapping[str, Mapping[str, str]] = {
    "EngineeringBrief": {
        **_BRIEF,
        "question": "What is to be decided, as last proposed. Null: it was made without a proposal.",
        "proposed_by": "On whose behalf it was proposed.",
        "instruction_then": "What everyone was to do by it. Null: it is not decided, or still holds.",
        "tell_customer_then": "What customers were to be told by it. Null: no such words are on record, or it is not"
        " decided, or still holds.",
        "drivers": "What presses for a decision.",
        "options": "What can be decided, with what speaks for and against each.",
        "agreement": "The agreement that was in force for the deciders. Null: none was.",
        "revision": "Its revision that was in force for the deciders. Null: none was.",
        "evidence": "Who asked, and how on-target they were.",
        "assessments": "What those who would build it say of it, by team, each at the same size.",
        "perspectives": "What each side says in its own words, by team, each at the same size.",
        "marks": "Which inputs have changed since, by enough to change the class of an account that asked.",
        "acknowledged": "The teams that have taken note of it. They need not agree.",
        "reaffirmations": "When it was looked at again, and reaffirmed.",
        "supersedes": "The decisions that gave way to it.",
    },
    "ReaffirmationTold": {"reason": "Why it stands.", "by": "Who said so, by role and team."},
    "SalesBrief": {
        **_BRIEF,
        "stands_behind": "Who decided it, by role and team. Empty: it is not decided, or holds no more.",
        "plain_words": "Whether it can be built, and what else is to be said in plain words: the last word of each team"
        " that assessed it, by requirement and team.",
        "statements": "What may be said, in plain language, a sentence each. The first says how it stands.",
    },
    "RequirementBrief": {
        "requirement": "The requirement that was asked about.",
        "into": "The requirement that it counts as, if it was merged; the brief is that one's. Otherwise null.",
        "status": "By the decision that holds: `committed`, `declined`, `deferred` or `exploring`; `open` where none"
        " does.",
        "pending": "The decisions on it that are proposed and not made, apart from the one that this brief is of.",
    },
    "Cited": {
        "subject": "What the event is about, as requirement/SSO-42.",
        "tells": "The members of the briefs that rest on it.",
    },
    "RequirementTold": {"into": "The requirement that it counts as, if it was merged. Otherwise null."},
    "Holding": {
        "decision": "The decision that holds.",
        "requirements": "Those on which it holds, of the requirements of the decision that the brief is of.",
        "available": "From when customers can have it, and how sure that is. Null: no date is on record.",
        "stands_behind": "Who decided it, by role and team.",
        "overdue": "Whether its day to be looked at again has passed (UTC), and nobody has since.",
    },
    "PromisesTold": {
        "open": "How many there are.",
        "due": "The first day by which one of them is due. Null: none has such a day.",
        "accounts": "The accounts to which they are, that of the first due day first; of 200 promises at most.",
    },
    "EvidenceTold": {
        "lens": "`decided`: as the deciders knew it. `now`: it is not decided yet, and this is how it is now.",
        "total": "How many accounts asked.",
        "accounts": "How many accounts asked, by class. Each is counted once.",
        "at_stake": "The revenue that argued for it, by class as decided: opportunities that named its requirements, or"
        " that an ask named. Null: nothing is decided.",
        "fits": "The weightiest of them: those of highest fit × importance.",
        "revisions": "The revisions that these fits name, with their bullets.",
    },
    "FitTold": {
        "position": "The place in the log of the last recording of that ask that the deciders knew.",
        "requirement": "The requirement that it asked for.",
        "importance": "Of that ask, from 0 to 3; 3: a deal or a renewal depends on it.",
        "revision": "The revision that it was judged by, as agreement@revision. Null: none was in force.",
        "met": "The bullets that it met.",
        "missed": "The bullets that it missed.",
        "unknown": "The bullets that nobody knew about.",
        "ended": "What became of that ask since, by a mark that says so: it was `withdrawn`, `retracted`, or `moved` to"
        " another requirement. Null: no mark says that it ended.",
    },
    "AssessmentTold": {
        "feasibility": "What the team says of building it.",
        "effort": "Its estimate, from the least to the most. Null: none.",
        "risks": "What it sees in the way.",
        "plain": "The same for people who do not build it. Null: not said.",
        "known": _KNOWN,
    },
    "PerspectiveTold": {
        "decision": "The decision that it speaks of: this one. Null: it speaks of the requirement.",
        "team": "Whose side it is.",
        "statement": "Its own words.",
        "known": _KNOWN,
    },
    "PlainTold": {
        "team": "The team that says so.",
        "feasibility": "What the team says of building it.",
        "plain": "What it says for people who do not build it. Null: nothing more.",
    },
    "Statement": {
        "text": "The sentence.",
        "events": "The positions of the events that it rests on.",
    },
    "Pending": {"position": "The place of its last proposal in the log."},
}
