"""What each field of the projector's answers means, in a sentence or two: the descriptions in /openapi.json and /docs.

By the name of a class, or for a name wherever nothing else is said. What answers repeat from events, as the test of a
bullet, is said in schemas/meanings.py.
"""

from collections.abc import Mapping

from schemas import meanings
from services.projector.answers.context import CONTEXT_ITEMS_MAX

_AS_NOW = "how on-target the account is now: by the agreement in force, and by what is known of it"
_AS_DECIDED = (
    "How on-target the account was for the deciders: judged at the decision's time, by what was known at its `cut`."
)

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

# What a field of this name means wherever nothing else is said below.
_EVERYWHERE: Mapping[str, str] = {
    "accounts": "How many accounts ask, by class. Each is counted once.",
    "acknowledgements": "Which teams have taken note of it.",
    "aliases": "The other names that count for the account: ids in other systems, and accounts merged into it.",
    "as_asked": "How on-target the account was at the time of its ask, by the agreement in force then. Null: none was.",
    "as_decided": f"{_AS_DECIDED} Null: no agreement was in force, or nothing was decided.",
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

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "AsOf": {
        "position": "The last position of the log that the answer reflects.",
        "recordedtime": "When that position was recorded, as RFC 3339. Null at position 0.",
    },
    "OnePerson": {"on_record": "The places of this page, the oldest first."},
    "OnRecord": {
        "subject": "The subject of the event, as requirement/SSO-42. Null: a person.",
        "appears_as": "As what the event names the person: `introduced`, `erased`, a customer's `contact`, a `decider`,"
        " `consulted`, or the one on whose behalf it was said (`by`).",
        "role": "The role that the event gives the person. Null: none.",
        "team": "The team that the event gives the person. Null: none.",
        "name": "What the person is called. Absent: the event does not say. Null: it was erased.",
        "email": "The person's e-mail address. Absent: the event does not say. Null: it was erased.",
        "quote": "What the person said, with an ask. Absent: the event has no words of this person. Null: it was"
        " erased.",
        "text": "What the person said, as feedback. Absent: the event has no words of this person. Null: it was"
        " erased.",
        "retracted": "The position of the act by which the event counts no more. Null: it counts.",
    },
    "Money": {
        "currency": "The currency, ISO 4217.",
        "contracted": "Won opportunities whose contract has not ended, as a decimal text.",
        "pipeline": "Open opportunities, as a decimal text.",
    },
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
        "history": "The events about it, in the order of the log.",
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
    "BulletShown": {
        "weight": "How much it counts, from 1 on.",
        "required": "Whether an account that misses it is off target, whatever else it meets.",
        "test": "What makes an account meet it. Null: it is prose, shown and never counted.",
    },
    "RevisionShown": {
        "title": "The revision in a few words.",
        "digest": "SHA-256, in hexadecimal, of the canonical JSON (compact, UTF-8, members sorted) of the revision as"
        " it is shown, with its name as `revision` and without this digest.",
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
    "Mark": {
        "position": "The place in the log of the event that says so.",
        "kind": "`learned_since`: recorded after the cut, about the time before the decision. `changed_since`: about"
        " the time after it. `withdrawn`: what the decision rested on is gone.",
        "input": "What has changed: an attribute of an account, an ask, or the agreement.",
        "from": "What the deciders had; of a decision that was reaffirmed, what was known then.",
        "to": "What it is now. Null: it is gone, or unknown.",
        "classes": "The accounts whose class has changed with it.",
    },
    "Reclassified": {
        "as_decided": "The class of the account as decided.",
        "as_now": "Its class now. Null: it does not ask any more.",
    },
    "Happened": {
        "subject": "What the event is about, as requirement/SSO-42.",
        "summary": "What happened, in a sentence.",
        "retracted": "There if it was recorded in error: it stays in the history, and counts no more.",
    },
    "AccountList": {
        "totals": "Sums over all rows, with the filters applied, on all pages.",
        "accounts": "The accounts of this page.",
    },
    "Totals": {
        "accounts": "How many accounts, by class.",
        "revenue": "What they are worth: `strategic` is from on-target accounts, `opportunistic` from off-target ones.",
        "overall": "What all of them are worth, by currency.",
    },
    "AccountRow": {
        "revision": "The revision that the account is judged by, as agreement@revision. Null: none is in force.",
        "asks": "How many of its asks stand.",
    },
    "OneAccount": {
        "aliases": "Its ids in other systems, and who said so.",
        "merged": "The accounts that were merged into it.",
        "claimed_by": "Where the name asked for is a contested alias: the accounts that claim it. Otherwise empty.",
        "profile": "What is known of it now: a value by attribute.",
        "facts": "What was said of its attributes, each with when it was said, what has been replaced too: the 1,000"
        " that were recorded last, in the order of the log. What was retracted is left out.",
        "fit": f"Bullet by bullet, {_AS_NOW}. Null: no agreement is in force.",
        "asks": "Its asks that stand, with how on-target it was at the time of each.",
    },
    "AliasShown": {
        "alias": "The id elsewhere, as system:id.",
        "account": "The account that it was said to be an id of.",
        "contested": "Whether several accounts claim it. It then belongs to none of them.",
        "claimed_by": "All accounts that claim it.",
    },
    "MergedAccount": {
        "account": "The account that was merged.",
        "into": "The one that it was merged into.",
    },
    "FactShown": {
        "attribute": "The attribute.",
        "value": "Its value. Null: it is unknown again.",
        "time": "The time that it is about, as RFC 3339.",
        "valid_from": "From when on it counts: `time`, or `recordedtime` if that is earlier.",
    },
    "AskOfAccount": {
        "requirement": "The requirement that it is for.",
    },
    "AttributeList": {
        "accounts": "How many accounts are known.",
        "attributes": "The attributes of this page; those that most undetermined accounts wait for come first.",
    },
    "AttributeRow": {
        "attribute": "The name of the attribute.",
        "accounts": "How many accounts have it.",
        "share": "Of all known accounts, the share that has it, from 0 to 1.",
        "undetermined": "How many undetermined accounts wait for it: by the target market in force, knowing it would"
        " settle them.",
        "types": "As what the accounts have it. More than one kind usually means that sources disagree on its form.",
        "sources": "Whose values count now.",
        "top": "The most frequent values.",
        "bullets": "The bullets whose tests look at it.",
    },
    "Types": {
        "string": "How many accounts have a text.",
        "number": "How many accounts have a number.",
        "boolean": "How many accounts have true or false.",
        "list": "How many accounts have a list of texts.",
    },
    "SourceShown": {
        "source": "The source that emitted the values.",
        "accounts": "For how many accounts its value is the one that counts.",
    },
    "TopValue": {"value": "The value.", "accounts": "How many accounts have it."},
    "BulletUsing": {"in_force": "Whether its revision is in force; otherwise it is the one proposed last."},
    "AgreementList": {"agreements": "The agreements of this page."},
    "AgreementRow": {
        "title": "The last revision in a few words.",
        "in_force": "The revision in force. Null: none is.",
        "last_revision": "The name of the revision that was written last.",
        "revisions": "How many revisions it has.",
    },
    "InForce": {
        "title": "The revision in a few words.",
        "from": "Since when it is in force, as RFC 3339: its effective time, or its adoption if that was later.",
        "position": "The place of its adoption in the log.",
    },
    "OneAgreement": {
        "in_force": "The revision in force. Null: none is.",
        "revisions": "All revisions, with who signed them and what each changed.",
    },
    **{
        cls: {
            "title": "The revision in a few words.",
            "statement": "The same in a paragraph.",
            "signatories": "The teams that have to endorse it before it can be adopted.",
            "review_by": "The day by which to look at it again.",
            "reason": "Why it was written.",
            "in_force": "Whether it is in force.",
            "endorsements": "What the teams have said of it.",
            "adoptions": "When it was adopted, and for how long it was in force.",
            "difference": "What it changed of the revision before it. Null: it is the first.",
        }
        for cls in ("RevisionOfAgreement", "OneRevision")
    },
    "Endorsement": {
        "meaning": "What the team says of the revision. Its last word counts.",
        "note": "Its reservations.",
        "recorded_by": "The public id of the API key that recorded it.",
        "recorded_on_behalf_of": "Whether that key has recorded endorsements of several teams, and so stands for none"
        " of them alone.",
    },
    "AdoptionShown": {
        "effective": "From when on it was to be in force, as RFC 3339.",
        "in_force_from": "From when on it is in force, as RFC 3339: `effective`, or the adoption if that was later.",
        "until": "Until when it was in force, as RFC 3339. Null: until further notice.",
    },
    "Difference": {
        "since": "The name of the revision that it is compared with.",
        "added": "The bullets that are new.",
        "removed": "The bullets that are gone.",
        "altered": "The bullets that read, weigh or test otherwise.",
        "changed": "What else is different, by field: `title`, `stage`, `statement`, `threshold`, `signatories`.",
    },
    "ChangedBullet": {"from": "The bullet before.", "to": "The bullet now."},
    "Change": {"from": "What stood there before.", "to": "What stands there now."},
    "DecisionList": {"decisions": "The decisions of this page, the last one first."},
    "DecisionRow": {
        "superseded_by": "The decision that holds instead. Null: it has not given way to another.",
        "needs_review": "Whether an input of it has changed since, by enough to change the class of an account that"
        " asked.",
        "agreement": "The agreement that was in force for the deciders. Null: none was.",
        "revision": "Its revision that was in force for the deciders. Null: none was.",
    },
    "WhatIfAnswer": {
        "judges_asks": "Whether asks are judged by this agreement, as they are by the target market only. By another no"
        " voice changes: its accounts and its coverage are answered, and the other lists are empty.",
        "agreement": "The agreement of which a revision is proposed.",
        "before": "The revision in force. Null: none is, and what is said of before is null everywhere.",
        "after": "The proposal.",
        "totals": "What would change, in numbers: of all, not only of what is listed.",
        "accounts": "Accounts whose class would change: those whose asks weigh most first, then by id. Without a"
        " revision in force all of them.",
        "voices": "Requirements whose voice would change, those that change most first, then by id.",
        "ranks": "Requirements whose place by voice would change: by the higher of both places, then by id. Those that"
        " were merged have none.",
        "decisions": "Made decisions that nothing superseded, and that need review now, or would if the proposal were"
        " adopted at once, or would depart otherwise than now. Those made last first.",
        "coverage": "How much is known of the attributes that the proposal looks at.",
        "digest": "SHA-256, in hexadecimal, of the whole result, whatever is listed: the same input gives the same.",
    },
    "ProposedRevision": {
        "bullets": "The lines by which accounts would be judged, as in `agreement.revised`.",
    },
    "TriedRevision": {
        "revision": "Its name. Null: it is the proposal.",
        "weights": "What the weights of all bullets with a test come to: a voice is a sum of weights, divided by this.",
    },
    "TotalsTried": {
        "accounts": "Accounts by class.",
        "voices": "Requirements that somebody asks for, by what becomes of their voices.",
        "ranks": "How many requirements change their place.",
        "decisions": "Made decisions that nothing superseded.",
    },
    "AccountsTried": {
        "total": "How many accounts there are.",
        "before": "How many are of each class now. Null: no revision is in force.",
        "after": "How many would be of each class.",
        "change": "How many would be of another class.",
    },
    "VoicesTried": {
        "grow": "How many requirements would have a louder voice.",
        "shrink": "How many would have a lower one.",
        "stay": "How many would have the same. Those that nobody asks for are not among them.",
    },
    "RevenueTried": {
        "before": "What all accounts are worth now, by class. Null: no revision is in force.",
        "after": "What they would be worth by class.",
    },
    "DecisionsTried": {
        "total": "How many there are.",
        "need_review": "How many would need review if the proposal were adopted at once: as `needs_review_after` has"
        " it.",
        "need_review_newly": "How many of these need none now.",
        "depart": "How many commitments would depart if they were made after that, as `departs_after` has it.",
        "depart_newly": "How many of these would not if they were made now.",
    },
    "AccountTried": {
        "from": "Its class now. Null: no revision is in force.",
        "to": "The class that it would have.",
        "fit_before": "Its fit now.",
        "fit_after": "The fit that it would have.",
        "importance": "What its asks weigh: the sum of their importances, for each requirement the highest.",
    },
    "VoiceTried": {
        "before": "The voice now. Null: no revision is in force.",
        "after": "The voice that it would have.",
        "change": "The difference.",
        "by_bullet": "What each bullet adds to the voice before and after.",
    },
    "BulletTried": {
        "before": "What it adds to the voice now. Null: the revision in force has no such bullet.",
        "after": "What it would add. Null: the proposal has no such bullet.",
        "weight_before": "The same exactly: importance × weight of those who meet it. The sum of all bullets, divided"
        " by `weights` of the revision, is the voice.",
        "weight_after": "The same of the proposal.",
    },
    "RankTried": {
        "before": "Its place now, from 1. Null: no revision is in force.",
        "after": "The place that it would have.",
    },
    "DecisionTried": {
        "needs_review_before": "Whether it needs review now: exactly as the list of decisions has it.",
        "needs_review_after": "Whether it would need review if the proposal were adopted at once, and all else were as"
        " it is: exactly as the list of decisions would have it.",
        "accounts_before": "How many of the accounts that asked as decided are now of another class than as decided,"
        " and than at its last reaffirmation, or ask no more.",
        "accounts_after": "How many of them would be, by the proposal.",
        "departs_before": "Whether it would depart if it were made now: `yes` if all accounts that ask now are off"
        " target, `no` if one is on target. What it was made as, `departs` of the decision, is by those who asked as"
        " decided, and never changes. Null: it commits to nothing, or nobody asks.",
        "departs_after": "The same where those who ask now are judged by the proposal.",
    },
    "CoverageTried": {
        "attribute": "An attribute that tests of the proposal look at.",
        "accounts": "How many accounts have it.",
        "share": "Of all accounts. Null: there are none.",
        "bullets": "The bullets whose tests look at it.",
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
        "as_decided": f"{_AS_DECIDED} Null: no agreement was in force.",
    },
    "OneContext": {
        "state": "`proposed` while it is open, then `made`.",
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
    "FeedbackList": {"feedback": "The feedback of this page: what no ask refers to yet, the newest first."},
    "FeedbackRow": {
        "feedback": "The id of the feedback.",
        "account": "The account that `named` stands for. Null: the event names none.",
        "named": "The account as the event names it; it may be an alias. Null: it names none.",
        "text": "What the customer said, word for word; only with the scope `personal`. Null: it was erased.",
        "class": "The class of the account now. Null: the event names no account.",
        "fit": f"Bullet by bullet, {_AS_NOW}. Null: there is no account, or no agreement.",
        "suggested": "The requirements that it may be about, the likeliest first; only with the scope `personal`.",
    },
    "Suggested": {"title": "The requirement in a few words.", "words": "The words of its title that the text has."},
    "Alignment": {
        "period": "What the answer is about. What is counted was asked, decided or promised in it.",
        "revision": "The revision of the target market that is in force now. Null: none is.",
        "asked": "Asks and the accounts that made them, by class: of the whole period, and month by month.",
        "first_to_decision": "How long requirements wait from the first ask to a decision.",
        "decisions": "What was decided in the period, and whether commitments depart from the agreement.",
        "off_target": "The demand of accounts that are off target now, and what many of them share.",
        "undetermined": "The demand of accounts that are undetermined now, and what would settle them.",
        "promises": "The share of promises that was made at the end of a calendar quarter.",
    },
    "PeriodShown": {
        "from": "Its beginning, itself part of it, as RFC 3339. Null: from the first on.",
        "to": "Its end, itself no part of it, as RFC 3339. Null: up to now.",
    },
    "AllHeard": {
        "as_asked": "Each ask by the class of its account at the time of the ask.",
        "as_now": "Each ask by the class of its account now.",
        "months": "The same by the month (UTC) in which each ask was first made. Months without any are left out.",
    },
    "HeardInMonth": {
        "month": "The month, as 2026-03.",
        "as_asked": "Each ask by the class of its account at the time of the ask.",
        "as_now": "Each ask by the class of its account now.",
    },
    "Heard": {
        "asks": "How many asks, by class.",
        "ask_shares": "The share of each class in the asks, from 0 to 1. Null: there are none.",
        "accounts": "How many accounts made them, by class. Each is counted once.",
        "revenue": "What those accounts are worth now: `strategic` is from on-target accounts, `opportunistic` from"
        " off-target ones.",
        "revenue_shares": "The share of each class in that revenue, by currency. Currencies without any deal are left"
        " out.",
    },
    "ShareOfRevenue": {
        "currency": "The currency, ISO 4217.",
        "shares": "By class, from 0 to 1: `strategic` is from on-target accounts, `opportunistic` from off-target ones."
        " Null: the revenue is zero, or that of a class is negative, so there are no shares of it.",
    },
    "FirstToDecision": {
        "decided": "Requirements that were first settled in the period, after somebody had asked for them: by a"
        " decision to commit, decline or defer.",
        "undecided": "Requirements that nothing had settled by the end of the period and whose asks stand: how long"
        " they have waited by then.",
        "before_asked": "How many requirements were settled in the period before anybody asked for them.",
    },
    "Waited": {
        "requirements": "How many requirements.",
        "lower_quartile_days": "A quarter of them waited no longer than this.",
        "median_days": "Half of them waited no longer than this.",
        "upper_quartile_days": "Three quarters of them waited no longer than this.",
    },
    "DecidedInPeriod": {
        "made": "How many decisions were made.",
        "outcomes": "How many, by outcome.",
        "commitments": "Decisions to commit, by their grounds and by whether they depart from the agreement.",
    },
    "DepartedOnGrounds": {
        "departs": "How many depart from the agreement: `no` if some asker was on target as decided, `undetermined` if"
        " none was but some might be, `yes` if all were off target.",
        "nobody_asked": "How many commit to what nobody had asked for.",
    },
    "OffTarget": {
        "askers": "How many accounts that ask are off target now.",
        "revenue": "What they are worth, by currency.",
        "askers_min": "How many of them have to share something before it is shown.",
        "lift_min": "How many times as frequent it has to be among them as among all accounts.",
        "total": "How many clusters there are; the first ones are shown.",
        "clusters": "What they share, most beyond the base rate first: perhaps an opportunity that the target market"
        " misses.",
    },
    "ClusterShown": {
        "attribute": "The attribute that they share.",
        "value": "Its value, or for a list a member of it, as most accounts spell it. Null: a range of numbers.",
        "above": "Of a range: the numbers above this one. Null: from the least on.",
        "upto": "Of a range: the numbers up to this one. Null: up to the greatest.",
        "test": "The test of a bullet that finds all accounts that share it: try it with what-if.",
        "askers": "How many off-target askers share it.",
        "askers_known": "Of how many: the off-target askers that have the attribute.",
        "accounts": "How many of all accounts share it.",
        "accounts_known": "Of how many: all accounts that have the attribute.",
        "expected": "How many of the askers would share it if it were as frequent among them as among all accounts.",
        "lift": "How many times as frequent it is among the askers as among all accounts.",
        "lift_exact": "The same as a fraction.",
        "revenue": "What the off-target askers that share it are worth, by currency.",
        "requirements": "The requirements that most of them ask for.",
    },
    "RequirementOfCluster": {"accounts": "How many of them ask for it."},
    "Undetermined": {
        "askers": "How many accounts that ask are undetermined now.",
        "revenue": "What they are worth, by currency.",
        "settled_by": "The attributes that would settle them, those that most accounts wait for first.",
    },
    "SettledBy": {
        "attribute": "The attribute to find out.",
        "accounts": "How many undetermined askers wait for it, perhaps for others too.",
        "revenue": "What those are worth, by currency.",
        "alone": "How many wait for nothing else.",
        "alone_revenue": "What those are worth, by currency.",
    },
    "PromiseList": {
        "totals": "Sums over all rows, with the filters applied, on all pages.",
        "promises": "The promises of this page, the one that was made last first.",
    },
    "PromiseRow": {
        "promise": "The id of the promise.",
        "account": "The account that it was made to: what `named` stands for.",
        "requirement": "The requirement that was promised: what `recorded_on` counts as now.",
        "recorded_on": "The requirement that the event names; it may have been merged since.",
        "state": "`open`: nobody has said how it ended, and it has no due day. `due`: the same, with a due day, passed"
        " or not (see `overdue`). Closed: `kept`, `missed`, or `released` where the account let it go.",
        "due": "The day by which it was promised. Null: none was named.",
        "overdue": "Whether the due day has passed (UTC) and nobody has said how it ended.",
        "position": "The place in the log of its first recording: that about the earliest time.",
        "time": "When it was made, as RFC 3339: the time of that recording.",
        "recordedtime": "When that recording was made, as RFC 3339.",
        "revised": "Its last recording, if there was more than one; what is shown is what that said.",
        "by": "Who made it, by role and team.",
        "opportunity": "The opportunity that it was made for.",
        "decision": "The decision that it says it rests on. Null: it names none.",
        "basis": "How it stood to what was decided on the requirement, as known when it was made: `with` a decision to"
        " commit that held then, `against` one to decline or defer, `before` one that came later, `without` any to this"
        " day. A decision to explore settles nothing, and counts as none.",
        "held": "The decision that held then, as known then. Null: none did.",
        "basis_as_known_now": "The same with what is known now of that time: a decision made by then and recorded only"
        " later counts.",
        "holds_now": "The decision that holds now. Null: none does.",
        "infeasible": "The teams whose last assessment, as known when it was made, was that it cannot be done.",
        "quarter_end": "Whether it was made in the last ten days of a calendar quarter (UTC).",
        "closed": "Who said how it ended. Null: nobody has.",
    },
    "LastSaid": {
        "position": "The place in the log of the last recording.",
        "time": "When it was promised so, as RFC 3339.",
    },
    "Held": {"decision": "The id of the decision."},
    "Ended": {"reason": "Why it ended so. Null: nobody said.", "by": "Who said so, by role and team."},
    "PromiseTotals": {
        "state": "How many there are in each state.",
        "overdue": "How many are overdue.",
        "basis": "How they stood to decisions, as known when each was made.",
        "basis_as_known_now": "The same with what is known now of those times.",
        "infeasible": "How many were made against an assessment that said it cannot be done, as known then.",
        "quarter_end": "How many were made in the last days of a calendar quarter.",
    },
    "QuarterEnd": {
        "days": "How many days count as the last ones of a quarter.",
        "promises": "How many promises were made in those days.",
        "of": "How many promises were made at all.",
        "share": "`promises` of `of`, from 0 to 1. Null: there are none.",
        "quarters": "The same of each calendar quarter (UTC) in which a promise was made.",
    },
    "QuarterShare": {
        "quarter": "The quarter, as 2026-Q1.",
        "promises": "How many promises were made in its last days.",
        "of": "How many promises were made in it.",
        "share": "`promises` of `of`, from 0 to 1.",
    },
    "Reconciliation": {"reconciliations": "The counts of this page, each against what is here."},
    "Reconciled": {
        "source": "The source whose events are counted.",
        "type": "The event type that is counted.",
        "from": "The beginning of the period, itself part of it, as RFC 3339.",
        "to": "The end of the period, itself no part of it, as RFC 3339.",
        "count": "How many events the emitter has counted.",
        "sum": "What their amounts add up to for the emitter, as a decimal text. Null: it stated none.",
        "here": "The same, of the events that are in the ledger.",
        "difference": "What is here less what was stated. Below zero: events are missing here.",
        "agrees": "Whether the counts agree, and the sums where one was stated.",
        "stated_by": "The source of the count itself, which may be another than `source`.",
    },
    "Counted": {"count": "How many events.", "sum": "What their amounts add up to, as a decimal text."},
    "ProjectionList": {"projections": "The read models, by name."},
    "ProjectionShown": {
        "projection": "The name of the read model.",
        "position": "The position up to which it has got.",
        "head": "The last position of the log.",
        "lag": "How far behind the head it is.",
        "state": "`live`, or `stopped` at an event that it cannot apply. The others go on.",
        "reason": "Why it has stopped. Null while it is live.",
        "stopped_at": "The position of the event that it cannot apply. Null while it is live.",
        "version": "Changes when the read model is defined anew, and so has to be rebuilt.",
        "digest": "The digest that was published last, of this version of the read model: 64 hexadecimal digits."
        " Whoever folds the same events comes to the same. Null: none was published yet.",
        "digest_position": "The position up to which the events come to that digest.",
        "digest_note": "The digest as it was published: a signed note (C2SP signed-note) that names the log, the read"
        " model, its version, the position and its recorded time.",
        "rebuild": "How far it is being built anew, beside the one that answers until then. Null: nobody is at it.",
    },
    "RebuildShown": {
        "version": "The version that is being built.",
        "position": "The position up to which it has got.",
        "since": "When the process that is at it began, or went on with what another had left.",
        "events_per_second": "Events of the log that it has passed a second since then. Null: that cannot be told yet.",
        "seconds_left": "How many seconds it needs for the rest of the log if it goes on like that; indexes come after."
        " Null: that cannot be told yet.",
    },
    "Lag": {
        "events": "How many events it has yet to apply.",
        "seconds": "The time between the recording of what it applied last and of the head, in seconds.",
    },
    "Role": {"role": "What the person does there.", "team": "The team."},
}

# What has the fields of another class, and more.
_SAME = {
    "AskOfAccount": "AskShown",
    "OneDecision": "Made",
    "RequirementBrief": "SalesBrief",
    "RequirementRow": "SimilarRow",
}

# What a class is for, where its own docstring does not say.
_CLASSES: Mapping[str, str] = {
    "RequirementsFound": "Requirements, in the order asked for.",
    "Delivery": "How far the work on a requirement is, as last said.",
    "WhoAsked": "An account that asks, and its asks.",
    "HowOnTarget": "How on-target those who ask are: together, and one by one.",
    "BulletShown": "One terse line of an agreement.",
    "AccountList": "A page of accounts, with totals.",
    "TopValue": "A frequent value of an attribute.",
    "AgreementList": "A page of agreements.",
    "AgreementRow": "An agreement in a list.",
    "OneAgreement": "An agreement with its revisions.",
    "RevisionOfAgreement": "A revision of an agreement, with who signed it.",
    "OneRevision": "A revision of an agreement, with who signed it.",
    "ChangedBullet": "A bullet that two revisions have in different forms.",
    "Change": "What a field was, and what it is.",
    "DecisionList": "A page of decisions.",
    "Proposed": "A decision as it was proposed.",
    "HeardInMonth": "The asks that were first made in a month.",
    "DecidedInPeriod": "The decisions that were made in the period.",
    "Undetermined": "Accounts that ask and are undetermined, and what would settle them.",
    "PromiseList": "A page of promises, with totals.",
    "Reconciliation": "A page of counts.",
    "ProjectionList": "The read models, and how far they have got.",
    "ProjectionShown": "A read model: a table that a projection derives from the log, and could derive again.",
    "RebuildShown": "A read model that is being built anew.",
}


def meaning(cls: str, field: str | None) -> str | None:
    """What a field of this class means; of none, what the class is for."""
    if field is None:
        return _CLASSES.get(cls) or meanings.CLASSES.get(cls)
    of_class = _FIELDS.get(cls, {}).get(field) or _FIELDS.get(_SAME.get(cls, ""), {}).get(field)
    return of_class or meanings.meaning(cls, field) or _EVERYWHERE.get(field)
