"""What is answered about everything at once: alignment, promises, counts of emitters, and the read models."""

from collections.abc import Mapping

FIELDS: Mapping[str, Mapping[str, str]] = {
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
}

# What a class is for, where its own docstring does not say.
CLASSES: Mapping[str, str] = {
    "HeardInMonth": "The asks that were first made in a month.",
    "DecidedInPeriod": "The decisions that were made in the period.",
    "Undetermined": "Accounts that ask and are undetermined, and what would settle them.",
    "PromiseList": "A page of promises, with totals.",
    "Reconciliation": "A page of counts.",
    "ProjectionList": "The read models, and how far they have got.",
    "ProjectionShown": "A read model: a table that a projection derives from the log, and could derive again.",
    "RebuildShown": "A read model that is being built anew.",
}
