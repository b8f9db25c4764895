"""Write twice to customers who fell silent, and then no more until they come back."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, send_window, silence
from evergreet.conditions import has_email
from evergreet.durations import days
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import ACTIVITY, PURCHASED, any_of


class Options(words.Options):
    """What may be set without touching the code."""

    discount_percent: int = Field(default=20, ge=1, le=90, description="The discount, in percent.")
    code: str = Field(default="WELCOMEBACK", description="The code that gives it at the till.", max_length=40)


QUIET, PAUSE = 60, 14
"""Days of silence before we write, and days between the two emails."""

LATE = days(7)
"""After downtime both letters still go, a week apart at least: a silence is as true a few days later."""

BACK = any_of(ACTIVITY)
DAYTIME = send_window("mon-sun", 9, 20)


def letter(key: str, day: int) -> Email:
    """Write so many days after the last sign of life; never to who came back."""
    template = f"win_back/{key.replace('-', '_')}"
    return Email(key, template=template, after=days(day), unless=BACK, lateness=LATE, window=DAYTIME)


campaign = Campaign(
    name="win-back",
    topic="offers",
    trigger=silence(days(QUIET), after=ACTIVITY, having=PURCHASED),
    audience=has_email,
    steps=(letter("we-miss-you", QUIET), letter("last-word", QUIET + PAUSE)),
    goal=any_of(PURCHASED, within=days(QUIET + 30)),
    ends_mailing=True,
    holdout=10,
)


@flow(name=campaign.name, flow_run_name=run_name)
async def win_back(options: Options = Options()) -> Report:
    """Enroll who fell silent, send what is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
