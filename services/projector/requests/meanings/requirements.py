"""What is answered about requirements: who asked, how on-target they were, what became of it, proof."""

from collections.abc import Mapping

from services.projector.telling.history import HISTORY_MAX

FIELDS: Mapping[str, Mapping[str, str]] = {
    "RequirementsFound": {
        "lens": "By what accounts are judged: `now`, or as each was when it `asked`.",
        "requirements": "The requirements of this page.",
    },
    "SimilarRow": {
        "area": "The part of the product.",
        "into": "The requirement that it counts as, if it was merged. Otherwise null.",
        "revenue": "What the asking accounts are worth: `strategic` is from on-target accounts, `opportunistic` from"
        " off-target ones.",
        "decision": "The decision that holds. Null: none does.",
        "similarity": "How like the text of `similar_to` it is; only there with that parameter.",
    },
    "Similarity": {
        "words": "The words that its title shares with the text; with the scope `personal`, then those of its problem."
    },
    "Delivery": {
        "state": "How far the work is.",
        "target": "The day for which it is planned.",
        "url": "Where the work is followed.",
    },
    "OneRequirement": {
        "area": "The part of the product.",
        "into": "The requirement that it counts as, if it was merged. Otherwise null.",
        "merged": "The requirements that were merged into it; their asks and decisions count here.",
        "who_asked_total": "How many accounts ask for it; `who_asked` is a page of them.",
        "who_asked": "Who asked for it: the accounts of this page, the loudest voice first.",
        "how_on_target": "How on-target they were: what the asks add up to, and each account judged bullet by bullet.",
        "who_decided": "Who decided, and on what knowledge: every decision about it.",
        "assessments": "The last word of each team that would build it, in the order of the teams' names, all at the"
        " same size.",
        "perspectives": "The last statement of each team, and of each decision that it speaks of, in the order of the"
        " teams' names, all at the same size.",
        "history": f"The last events about it, {HISTORY_MAX} at most, in the order of the log.",
        "history_more": "There, and `true`, if the history does not show all: events before those that it shows are in"
        " this answer with an earlier `as_of`, and those of its own stream in `…/streams/requirement/{id}` of the"
        " ledger.",
        "proof": "What it takes to check the answer without the ledger: `ledger verify` does. Only with `proof=1`.",
        "problem": "The customer's problem, in the customer's words; only with the scope `personal`. Null: none was"
        " given, or it was erased.",
    },
    **{
        cls: {
            "team": "Whose word it is.",
            "recorded_on": "The requirement that the event names; it may have been merged since.",
            "earlier": "How often the team had said something else, or the same, before.",
            "by": "On whose behalf it was said.",
            "feasibility": "Whether it can be done: `feasible`, `costly`, `infeasible`, or `unknown`.",
            "effort": "The estimate. Null: none was given.",
            "risks": "What may go otherwise.",
            "plain": "The same for people who do not build it. Null: nothing was said.",
            "decision": "The decision that it speaks of. Null: it speaks of the requirement.",
            "statement": "The team's own words.",
        }
        for cls in ("SideShown", "AssessmentShown", "PerspectiveShown")
    },
    "Merged": {
        "requirement": "The requirement that was merged.",
        "into": "The one that it was merged into.",
    },
    "WhoAsked": {"asks": "Its asks that stand."},
    "AskShown": {
        "recorded_on": "The requirement that the ask names. It is another one if the ask was moved, or that requirement"
        " merged.",
        "position": "The place in the log of its first recording: that about the earliest time.",
        "time": "When the account first asked, as RFC 3339.",
        "recordedtime": "When that recording of it was made, as RFC 3339.",
        "revised": "Its last recording, if there was more than one; what is shown is what that said.",
        "importance": "From 0 to 3; 3: a deal or a renewal depends on it.",
        "opportunity": "The opportunity that depends on it.",
        "needed_by": "The day by which the account needs it.",
        "quote": "What the customer said, word for word; only with the scope `personal`. Null: it was erased.",
    },
    "Revised": {
        "position": "The place in the log of the last recording.",
        "time": "When the account asked so, as RFC 3339.",
    },
    "HowOnTarget": {
        "revenue": "What the asking accounts are worth: `strategic` is from on-target accounts, `opportunistic` from"
        " off-target ones.",
        "at_stake": "What is at stake: the opportunities that name this requirement, or that an ask for it names.",
        "fits": "Each account of this page under the three lenses: as asked, as decided, as now.",
    },
    "FitShown": {
        "revision": "The revision that the account was judged by, as agreement@revision; `revisions` has its bullets.",
        "met": "The weights of the bullets that the account meets.",
        "unknown": "The weights of the bullets that nobody knows about yet.",
        "total": "The weights of all bullets that have a test.",
        "bullets": "The verdict on each bullet.",
        "backdated": "Whether that revision was adopted only after the ask was recorded, to be in force from an earlier"
        " time.",
    },
    "BulletFit": {
        "verdict": "`met`, `missed`, `unknown` while the attribute is, or `prose` for a bullet without a test.",
        "found": "The value of the attribute that its test looks at, or an object if it looks at several.",
    },
    "AnswerProof": {
        "checkpoint": "A checkpoint of the log, as it was signed (C2SP tlog-checkpoint): the first that has the"
        " position of the answer.",
        "events": "Every event on which the answer rests, in the order of the log.",
    },
    "ProvenEvent": {
        "position": "Its place in the log.",
        "entry": "The stored bytes, exactly as they were hashed; they are UTF-8. Sealed texts are sealed in them.",
        "proof": "That they are at that place in the log of the checkpoint (C2SP tlog-proof).",
    },
    "RequirementOutcome": {
        "requirement": "The requirement.",
        "into": "The requirement that it counts as, if it was merged. Otherwise null.",
        "decisions": "The decisions on it and on what was merged into it, the first one first.",
    },
    "DecisionOutcome": {
        "requirements": "Those of its requirements that are meant here: this one, or what was merged into it.",
        "superseded_by": "The decision that holds instead. Null: it has not given way to another.",
        "at_stake": "What was at stake when it was decided, as the deciders knew it.",
        "became": "What became of exactly that, up to now.",
        "opportunities": "What was at stake, the greatest amounts first; 200 at most.",
        "later": "What names the requirement now, and was not at stake then.",
    },
    "AtStake": {
        "opportunities": "How many opportunities.",
        "accounts": "How many accounts, by their class as decided.",
        "revenue": "What they were worth then: `strategic` is from accounts that were on target as decided,"
        " `opportunistic` from those that were off target.",
    },
    "Fates": {
        "won": "Open then, and won since.",
        "renewed": "Open then, and won since as a renewal.",
        "kept": "Under contract then, and still.",
        "lost": "Lost since.",
        "ended": "Under contract then; that contract has ended.",
        "open": "Open still.",
        "retracted": "All that was said of it was retracted since.",
    },
    "BecameSo": {
        "opportunities": "How many opportunities.",
        "then": "What they were worth when it was decided.",
        "now": "What they are worth by what was said of them last.",
    },
    "CameSo": {
        "opportunities": "How many opportunities.",
        "now": "What they are worth by what was said of them last, by the class of the account now.",
    },
    "Later": {
        "total": "How many opportunities.",
        "won": "Won, and no renewals.",
        "renewed": "Won as renewals.",
        "lost": "Lost.",
        "open": "Open.",
        "opportunities": "The opportunities, the greatest amounts first; 200 at most.",
    },
    "OpportunityShown": {
        "opportunity": "The id of the opportunity.",
        "account": "The account that it was with, by what its name stands for now.",
        "as_decided": "The class of the account for the deciders.",
        "as_now": "The class of the account now.",
        "became": "What became of it.",
        "then": "As the deciders knew it. Null: they knew nothing of it.",
        "now": "What was said of it last. Null: that was retracted.",
    },
    "OpportunityState": {
        "stage": "Whether it is open, won or lost.",
        "amount": "What it is worth, as a decimal text. Null: nobody has said.",
        "currency": "The currency of the amount, ISO 4217.",
        "kind": "New business, more of it, or its renewal.",
        "closes": "The day on which it is expected to close, or did.",
        "ends": "The last day of the contract.",
        "closed_because": "What decided it.",
    },
    "Sum": {
        "currency": "The currency, ISO 4217.",
        "amount": "What the amounts add up to, as a decimal text.",
    },
    "Happened": {
        "subject": "What the event is about, as requirement/SSO-42.",
        "summary": "What happened, in a sentence.",
        "retracted": "There if it was recorded in error: it stays in the history, and counts no more.",
    },
}

# What a class is for, where its own docstring does not say.
CLASSES: Mapping[str, str] = {
    "RequirementsFound": "Requirements, in the order asked for.",
    "Delivery": "How far the work on a requirement is, as last said.",
    "WhoAsked": "An account that asks, and its asks.",
    "HowOnTarget": "How on-target those who ask are: together, and one by one.",
}
