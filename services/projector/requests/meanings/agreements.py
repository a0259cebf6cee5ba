"""What is answered about agreements, and about what a revision would change."""

from collections.abc import Mapping

FIELDS: Mapping[str, Mapping[str, str]] = {
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
}

# What a class is for, where its own docstring does not say.
CLASSES: Mapping[str, str] = {
    "BulletShown": "One terse line of an agreement.",
    "AgreementList": "A page of agreements.",
    "AgreementRow": "An agreement in a list.",
    "OneAgreement": "An agreement with its revisions.",
    "RevisionOfAgreement": "A revision of an agreement, with who signed it.",
    "OneRevision": "A revision of an agreement, with who signed it.",
    "ChangedBullet": "A bullet that two revisions have in different forms.",
    "Change": "What a field was, and what it is.",
}
