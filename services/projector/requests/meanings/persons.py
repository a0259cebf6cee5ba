"""What is answered about a person."""

from collections.abc import Mapping

FIELDS: Mapping[str, Mapping[str, str]] = {
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
}
