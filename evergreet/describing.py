"""A campaign in words: what starts it, for whom, what it sends when, and what ends it."""

from collections.abc import Iterator

from evergreet.campaign import (
    WEEKDAYS,
    AnniversaryTrigger,
    BroadcastTrigger,
    Campaign,
    CrmList,
    CrmNote,
    CrmTask,
    Email,
    EventTrigger,
    SendWindow,
    SilenceTrigger,
    Slack,
    Sms,
    StageTrigger,
    Step,
    Trigger,
    Webhook,
)
from evergreet.durations import number
from evergreet.wording import in_words, one_of, span_in_words


def describe(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """Yield what a campaign does as pairs of a word and a sentence; its options must have been filled in."""
    for part in campaign.trigger.parts:
        yield "starts", _start(part)
    yield "for", f"whoever {in_words(campaign.audience)}" if in_words(campaign.audience) != "everyone" else "everyone"
    if isinstance(campaign.re_entry, str):
        again = {"every": "each time", "once": "never: once for each contact"}[campaign.re_entry]
    else:
        again = f"not within {span_in_words(campaign.re_entry)}"
    yield "again", again
    for step in campaign.steps:
        yield step.key, _step(step, "the last of these" if campaign.trigger.silences else "the start")
    for pick in campaign.picks:
        for place, case in enumerate(pick.cases, start=1):
            _name, first = case.value[0] if case.value else ("", "nothing")
            yield f"{pick.name} {place}", f"{first}, where the contact {in_words(case.when)}"
    if campaign.goal is not None:
        yield "until", f"the goal is reached: {in_words(campaign.goal)}"
    yield from _limits(campaign)


def _limits(campaign: Campaign) -> Iterator[tuple[str, str]]:
    if campaign.topic:
        yield "topic", f"{campaign.topic}: marketing goes to who agreed to it"
    if campaign.holdout:
        yield "holdout", f"{campaign.holdout} percent get no marketing of it, to compare with"
    if campaign.ends_mailing:
        yield "afterwards", "who got the last step gets no marketing from any campaign until a sign of life"
    if campaign.is_broadcast:
        yield "confirmed", f"by somebody, where it goes to more than {campaign.confirm_above:,}"
    if campaign.limit_per_day is not None:
        yield "pauses", f"at more than {campaign.limit_per_day:,} messages in 24 hours"


def _start(part: Trigger) -> str:
    match part:
        case EventTrigger(name=name, key=key):
            return f"at {name}" + (f", once for each {key}" if key else "")
        case StageTrigger(stage=stage):
            return f"when the stage {stage} is entered"
        case SilenceTrigger(span=span, after=after, broken_by=broken_by, having=having):
            others = [name for name in broken_by if name not in after]
            broken = "none of these came" + (f", and no {one_of(others)}" if others else "")
            bought = f"; for whoever did {one_of(having)} before" if having else ""
            return f"when, for {span_in_words(span)} after {one_of(after)}, {broken}{bought}"
        case AnniversaryTrigger(of=of, months=months, shift=shift):
            often = "each year" if months == 12 else f"every {months} months"
            moved = f", {abs(shift)} days {'before' if shift < 0 else 'after'} it" if shift else ""
            return f"{often} on the day of the first {one_of(of)}, where the contact lives{moved}"
        case BroadcastTrigger(name=name, key=key):
            return f"at the business event {name}, for all at once" + (f", once for each {key}" if key else "")


def _step(step: Step, start: str) -> str:
    """Say what a step sends, when, and what keeps it back."""
    said = [f"{step.purpose} {_what(step)} {step.template}, {_when(step, start)}"]
    if step.window is not None:
        said.append(_window(step.window))
    if step.unless is not None:
        said.append(f"unless the contact {in_words(step.unless)}")
    said.append(f"at most {span_in_words(step.lateness)} late")
    if step.resend_after is not None:
        said.append(f"again after {span_in_words(step.resend_after)} where nobody knows whether it arrived")
    return "; ".join(said)


def _what(step: Step) -> str:
    match step:
        case Email():
            return "email"
        case Sms():
            return "SMS"
        case Webhook(to=to) | Slack(to=to):
            return f"{step.channel} to {to}"
        case CrmTask():
            return "task in the CRM"
        case CrmNote():
            return "note in the CRM"
        case CrmList(to=to, member=member):
            return f"move {'onto' if member else 'off'} the list {to} of the CRM"


def _when(step: Step, start: str) -> str:
    after = f"{span_in_words(step.after)} after" if number(step.after.amount) else "at"
    anchor = step.counted_from
    since = start if anchor is None else f"the latest {anchor.event} of the same {anchor.same}, else {start}"
    return f"{after} {since}" + (f", at {step.at.time:%H:%M} where the contact lives" if step.at else "")


def _window(window: SendWindow) -> str:
    days = window.weekdays
    if len(days) == len(WEEKDAYS):
        on = "every day"
    elif len(days) > 1 and days == tuple(range(days[0], days[-1] + 1)):
        on = f"{WEEKDAYS[days[0]]} to {WEEKDAYS[days[-1]]}"
    else:
        on = ", ".join(WEEKDAYS[day] for day in days)
    return f"{on} from {number(window.opens)} to {number(window.closes)} o'clock where the contact lives"
