"""Remind of a basket that was left behind: after an hour, a day and three days, until they buy."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, send_window, silence
from evergreet.conditions import has_email
from evergreet.durations import days, hours, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import CART, PURCHASED, any_of


class Options(words.Options):
    """What may be set without touching the code."""

    from_hour: int = Field(default=8, ge=0, le=12, description="No reminder before this hour, on the customer's clock.")
    until_hour: int = Field(default=22, ge=13, le=24, description="No reminder from this hour on; 24 is midnight.")


DAYTIME = send_window("mon-sun", option("from_hour"), option("until_hour"))

campaign = Campaign(
    name="abandoned-cart",
    topic="basket",
    trigger=silence(hours(1), after=CART, broken_by=PURCHASED),
    audience=has_email,
    steps=(  # each is too late before the next is due, so that after downtime no two go together
        Email("reminder", template="abandoned_cart/reminder", after=hours(1), lateness=hours(12), window=DAYTIME),
        Email("help", template="abandoned_cart/help", after=days(1), lateness=days(1), window=DAYTIME),
        Email("last-note", template="abandoned_cart/last_note", after=days(3), lateness=days(1), window=DAYTIME),
    ),
    goal=any_of(PURCHASED, within=days(7)),
    re_entry=days(3),
    holdout=10,
)


@flow(name=campaign.name, flow_run_name=run_name)
async def abandoned_cart(options: Options = Options()) -> Report:
    """Enroll who left a basket behind, send what is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
