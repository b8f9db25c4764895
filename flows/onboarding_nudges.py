"""Lead new customers through the checklist: after one, three and seven days, the next open milestone."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, event, local, pick, stage_entered
from evergreet.conditions import AllOf, did, did_not, has_email
from evergreet.durations import EVER, days, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.settings import settings

CHECKLIST = settings().checklist
COMPLETE = AllOf(tuple(did(milestone.event, within=EVER) for milestone in CHECKLIST))


class Options(words.Options):
    """What may be set without touching the code; the checklist itself is EVERGREET_CHECKLIST."""

    hour: int = Field(default=10, ge=0, le=23, description="Hour of the emails, on the customer's own clock (0 to 23).")


def nudge(day: int) -> Email:
    """Write about the next milestone, so many days after the beginning; never when all are reached."""
    return Email(
        f"day-{day}", template="onboarding_nudges/next_step", after=days(day), at=local(option("hour")),
        unless=COMPLETE, lateness=days(1),
    )  # fmt: skip


campaign = Campaign(
    name="onboarding-nudges",
    topic="onboarding",
    trigger=stage_entered("onboarding") | event("account_created", "signed_up"),
    audience=has_email,
    steps=(nudge(1), nudge(3), nudge(7)),
    picks=(
        pick(
            "milestone",
            *(
                (did_not(each.event), {"title": each.title, "text": each.text, "path": each.path, "event": each.event})
                for each in CHECKLIST
            ),
            ever=True,
        ),
    ),
    goal=AllOf(tuple(did(milestone.event, within=days(30)) for milestone in CHECKLIST)),
    re_entry="once",
)


@flow(name=campaign.name, flow_run_name=run_name)
async def onboarding_nudges(options: Options = Options()) -> Report:
    """Enroll new customers, send what is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
