"""Announce a new product to those who asked for news, once per product."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, broadcast, send_window
from evergreet.conditions import consented, has_email
from evergreet.durations import days, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import PURCHASED, any_of


class Options(words.BroadcastOptions):
    """What may be set without touching the code."""

    from_hour: int = Field(default=9, ge=0, le=12, description="Not before this hour, on the customer's own clock.")
    until_hour: int = Field(default=18, ge=13, le=24, description="Not from this hour on; 24 is midnight.")


campaign = Campaign(
    name="new-product-announcement",
    topic="news",
    trigger=broadcast("product_launched", key="product_id"),
    audience=has_email & consented("news"),
    steps=(
        Email(
            "announcement",
            template="new_product_announcement/announcement",
            window=send_window("mon-fri", option("from_hour"), option("until_hour")),
            lateness=days(5),
        ),
    ),
    goal=any_of(PURCHASED, within=days(30)),
    confirm_above=1_000,
)


@flow(name=campaign.name, flow_run_name=run_name)
async def new_product_announcement(options: Options = Options()) -> Report:
    """Take up products that were launched, write to who is due now, and leave a page with the balance."""
    return await run_campaign(campaign, options)
