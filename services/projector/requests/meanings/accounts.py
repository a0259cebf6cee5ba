"""What is answered about accounts, their attributes, and feedback."""

from collections.abc import Mapping

_AS_NOW = "how on-target the account is now: by the agreement in force, and by what is known of it"

FIELDS: Mapping[str, Mapping[str, str]] = {
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
}

# What a class is for, where its own docstring does not say.
CLASSES: Mapping[str, str] = {
    "AccountList": "A page of accounts, with totals.",
    "TopValue": "A frequent value of an attribute.",
}
