"""Thank a customer right after an order, and check in once it has arrived."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event, local, stage_entered
from evergreet.conditions import did, has_email, in_campaign
from evergreet.durations import days, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import PURCHASED, any_of


class Options(words.Options):
    """What may be set without touching the code."""

    check_in_days: int = Field(default=7, ge=1, le=30, description="Days from the order to the check-in.")
    check_in_hour: int = Field(
        default=10, ge=0, le=23, description="Hour of the check-in, on the customer's own clock (0 to 23)."
    )


campaign = Campaign(
    name="thank-you",
    topic="orders",
    trigger=stage_entered("purchase") | event(*PURCHASED, key="order_id"),
    audience=has_email & ~in_campaign("service-recovery"),
    steps=(
        Email("receipt", template="thank_you/receipt", purpose=TRANSACTIONAL),
        Email(
            "check-in",
            template="thank_you/check_in",
            after=days(option("check_in_days")),
            at=local(option("check_in_hour")),
            unless=did("refund_requested"),
        ),
    ),
    goal=any_of(PURCHASED, within=days(60)),
)


@flow(name=campaign.name, flow_run_name=run_name)
async def thank_you(options: Options = Options()) -> Report:
    """Enroll who placed an order, send what is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
