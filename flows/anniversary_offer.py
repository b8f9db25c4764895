"""Thank customers each year, on the day of their first order, with an offer."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, anniversary, local
from evergreet.conditions import has_email
from evergreet.durations import days, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import PURCHASED, any_of


class Options(words.Options):
    """What may be set without touching the code."""

    discount_percent: int = Field(default=15, ge=1, le=90, description="The discount, in percent.")
    code: str = Field(default="THANKYOU15", description="The code that gives it at the till.", max_length=40)
    valid_days: int = Field(default=14, ge=1, le=365, description="Days for which the code is valid.")
    hour: int = Field(default=9, ge=0, le=23, description="Hour of the email, on the customer's own clock (0 to 23).")


campaign = Campaign(
    name="anniversary-offer",
    topic="offers",
    trigger=anniversary(*PURCHASED),
    audience=has_email,
    steps=(Email("offer", template="anniversary_offer/offer", at=local(option("hour"))),),
    goal=any_of(PURCHASED, within=days(30)),
    holdout=10,
)


@flow(name=campaign.name, flow_run_name=run_name)
async def anniversary_offer(options: Options = Options()) -> Report:
    """Enroll whose anniversary has come, send what is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
