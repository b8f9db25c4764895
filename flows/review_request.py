"""Ask every buyer alike for an honest review, two weeks after the delivery."""

from prefect import flow
from pydantic import Field

from evergreet import campaign as words
from evergreet.balance import Report
from evergreet.campaign import Campaign, Email, event, latest, local
from evergreet.conditions import did, has_email, same
from evergreet.durations import days, option
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.presets.vocabulary import PURCHASED, REVIEWS, any_of
from evergreet.settings import settings


class Options(words.Options):
    """What may be set without touching the code."""

    days_after: int = Field(
        default=14, ge=1, le=60, description="Days after the delivery, or after the order where no delivery is known."
    )
    hour: int = Field(default=10, ge=0, le=23, description="Hour of the email, on the customer's own clock (0 to 23).")
    review_url: str = Field(
        default_factory=lambda: f"{settings().site_url}/reviews/new",
        description="Where the review is written (https). Sites that forbid asking are refused.",
        max_length=500,
    )


SAME_ORDER = same("order_id")

campaign = Campaign(
    name="review-request",
    topic="reviews",
    trigger=event(*PURCHASED, key="order_id"),
    audience=has_email,
    steps=(
        Email(
            "request",
            template="review_request/request",
            after=days(option("days_after")),
            at=local(option("hour")),
            counted_from=latest("order_delivered", same="order_id"),
            unless=any_of(REVIEWS, where=SAME_ORDER) | did("order_cancelled", where=SAME_ORDER),
            review_site=option("review_url"),
        ),
    ),
    goal=any_of(REVIEWS, where=SAME_ORDER, within=days(60)),
)


@flow(name=campaign.name, flow_run_name=run_name)
async def review_request(options: Options = Options()) -> Report:
    """Enroll who placed an order, ask those whose time has come, and leave a page with the balance."""
    return await run_campaign(campaign, options)
