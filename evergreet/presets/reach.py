"""The lifecycle as marketing sees it: reach many, win some, make more of it, keep them, be recommended."""

from evergreet.conditions import did, in_stage_for
from evergreet.durations import days
from evergreet.lifecycle import Lifecycle, Rule, Stage
from evergreet.presets.vocabulary import (
    ACTIVITY,
    COMPLAINED,
    EVALUATING,
    INTEREST,
    LEARNING,
    LOYALTY,
    PURCHASED,
    REFERRALS,
    REVIEWS,
    TROUBLE,
    any_of,
)

lifecycle = Lifecycle(
    name="reach",
    stages=(
        Stage("reach", "Reach", "Has heard of us.", also=("awareness",)),
        Stage("acquire", "Acquire", "Shows interest, and is to become a customer.", also=("engagement", "evaluation")),
        Stage("develop", "Develop and nurture", "Has bought for the first time, and is to see what else there is.",
              also=("purchase", "onboarding", "adoption")),
        Stage("retain", "Retain", "Has come back to buy, and is to stay.", also=("retention", "loyalty")),
        Stage("advocacy", "Advocacy", "Speaks well of us."),
    ),
    rules=(
        Rule("develop", on=PURCHASED, from_=("reach", "acquire"), about="The first purchase, or one after long."),
        Rule("retain", on=PURCHASED, from_=("develop",), about="The second purchase."),
        Rule("retain", on=LOYALTY, from_=("develop",), about="Renewed, joined the club."),
        Rule("advocacy", on=REFERRALS, from_=("develop", "retain"), about="Brought somebody along."),
        Rule("advocacy", on=REVIEWS, from_=("develop", "retain"), when=~COMPLAINED,
             about="Wrote a review, and not one of three stars or fewer."),
        Rule("retain", on=TROUBLE, from_=("advocacy",), about="Back: an advocate needs help."),
        Rule("acquire", on=(*INTEREST, *LEARNING, *EVALUATING), from_=("reach",),
             about="Looked at something in earnest."),
        Rule("acquire", on=("page_viewed",), from_=("reach",),
             when=did("page_viewed", at_least=3, within=days(30)), about="Came back: a third page within 30 days."),
        Rule("reach", from_=("acquire",), when=in_stage_for(days(90)) & ~any_of(ACTIVITY, within=days(90)),
             about="Back: not seen for 90 days."),
        Rule("acquire", from_=("develop", "retain", "advocacy"),
             when=in_stage_for(days(180)) & ~any_of(ACTIVITY, within=days(180)),
             about="Back: a customer not seen for 180 days, to be won anew."),
    ),
)  # fmt: skip
