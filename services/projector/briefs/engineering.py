"""The brief that engineering works from."""

from collections.abc import Mapping

from services.projector.briefs.record import (
    FITS_MAX,
    MOVED,
    RETRACTED,
    WITHDRAWN,
    OnRecord,
    common_members,
    holds_itself_on,
)
from services.projector.briefs.told import Ended, EngineeringBrief, EvidenceTold, FitTold, ReaffirmationTold
from services.projector.shapes.decision import DecidedFit
from services.projector.shapes.shown import show_role


def engineering_brief(on_record: OnRecord) -> EngineeringBrief:
    """The brief of a decision, proposed or made."""
    one = on_record.one
    assert one is not None  # Of a requirement without a decision there is nothing to work from.
    proposed, holds = one.proposed, bool(holds_itself_on(on_record))
    return EngineeringBrief(
        **common_members(on_record),
        question=None if proposed is None else proposed.question,
        proposed_by=None if proposed is None or proposed.by is None else show_role(proposed.by),
        drivers=[] if proposed is None else proposed.drivers,
        options=[] if proposed is None else proposed.options,
        option=one.option,
        rationale=one.rationale,
        instruction_then=None if holds else one.instruction,
        tell_customer_then=None if holds else one.tell_customer,
        departs=one.departs,
        deciders=[show_role(by) for by in one.deciders],
        consulted=[show_role(by) for by in one.consulted],
        informed=one.informed,
        dissent=one.dissent,
        agreement=one.agreement,
        revision=one.revision,
        cut=one.cut,
        evidence=EvidenceTold(
            lens="now" if one.position is None else "decided",
            total=sum(one.accounts.values()),
            accounts=one.accounts,
            at_stake=one.at_stake,
            fits=[_fit(each, on_record) for each in one.fits[:FITS_MAX]],
            revisions={
                name: revision
                for name, revision in one.revisions.items()
                if any(each.as_decided is not None and each.as_decided.revision == name for each in one.fits[:FITS_MAX])
            },
        ),
        assessments=[each.told for each in on_record.assessments],
        perspectives=[each.told for each in on_record.perspectives],
        marks=one.needs_review,
        acknowledged=[each.team for each in one.acknowledgements],
        reaffirmations=[
            ReaffirmationTold(
                reason=each.reason,
                by=None if each.by is None else show_role(each.by),
                position=each.position,
                time=each.time,
            )
            for each in one.reaffirmations
        ],
        supersedes=one.supersedes,
    )


def _fit(decided: DecidedFit, on_record: OnRecord) -> FitTold:
    judged = decided.as_decided
    bullets = [] if judged is None else judged.bullets

    def of(verdict: str) -> list[str]:
        return [each.bullet for each in bullets if each.verdict == verdict]

    return FitTold(
        account=decided.account,
        name=decided.name,
        requirement=decided.requirement,
        position=decided.position,
        importance=decided.importance,
        class_="undetermined" if judged is None else judged.class_,
        fit=None if judged is None else judged.fit,
        fit_if_known=None if judged is None else judged.fit_if_known,
        revision=None if judged is None else judged.revision,
        met=of("met"),
        missed=of("missed"),
        unknown=of("unknown"),
        ended=_ended(decided, on_record),
    )


_ENDS: Mapping[str, Ended] = {WITHDRAWN: "withdrawn", RETRACTED: "retracted", MOVED: "moved"}


def _ended(decided: DecidedFit, on_record: OnRecord) -> Ended | None:
    """What became since of the ask by which an account was heard, as far as the marks say so."""
    types = {each.position: each.type for each in on_record.reviewed}
    ends = [
        mark.position
        for mark in (on_record.one.needs_review if on_record.one is not None else ())
        if mark.kind == "withdrawn" and mark.from_ == decided.ask and mark.input.startswith(f"{decided.account}: ask ")
    ]
    return next((_ENDS[types[each]] for each in ends if types.get(each) in _ENDS), None)
