"""The lifecycle of a considered purchase: found, understood, bought, lived with, recommended."""

from evergreet.conditions import did, in_stage_for
from evergreet.durations import days
from evergreet.lifecycle import Lifecycle, Rule, Stage
from evergreet.presets.vocabulary import (
    ACTIVITY,
    COMPLAINED,
    DELIVERED,
    EVALUATING,
    INTEREST,
    LEARNING,
    LOYALTY,
    ONBOARDING,
    PURCHASED,
    REFERRALS,
    REVIEWS,
    TROUBLE,
    USE,
    any_of,
)

lifecycle = Lifecycle(
    name="discovery",
    stages=(
        Stage("discovery", "Discovery", "Has found us.", also=("awareness",)),
        Stage("education", "Education", "Finds out whether it fits.", also=("engagement", "evaluation")),
        Stage("purchase", "Purchase", "Has just bought."),
        Stage("post_purchase", "Post-purchase engagement", "Has it, uses it, asks about it.",
              also=("onboarding", "adoption", "retention")),
        Stage("advocacy", "Advocacy", "Speaks well of us.", also=("loyalty",)),
    ),
    rules=(
        Rule("purchase", on=PURCHASED, about="A purchase, from wherever: the loop back."),
        Rule("advocacy", on=REFERRALS, from_=("purchase", "post_purchase"), about="Brought somebody along."),
        Rule("advocacy", on=REVIEWS, from_=("purchase", "post_purchase"), when=~COMPLAINED,
             about="Wrote a review, and not one of three stars or fewer."),
        Rule("post_purchase", on=(*DELIVERED, *ONBOARDING, *USE, *TROUBLE, *LOYALTY), from_=("purchase",),
             about="The order arrived, the product is in use, or a question came up."),
        Rule("post_purchase", on=TROUBLE, from_=("advocacy",), about="Back: an advocate needs help."),
        Rule("education", on=(*INTEREST, *LEARNING, *EVALUATING), from_=("discovery",),
             about="Looked at something in earnest."),
        Rule("education", on=("page_viewed",), from_=("discovery",),
             when=did("page_viewed", at_least=3, within=days(30)), about="Came back: a third page within 30 days."),
        Rule("post_purchase", from_=("purchase",), when=in_stage_for(days(14)),
             about="Two weeks after a purchase, delivered or not said."),
        Rule("discovery", from_=("education",), when=in_stage_for(days(90)) & ~any_of(ACTIVITY, within=days(90)),
             about="Back: not seen for 90 days."),
        Rule("education", from_=("post_purchase", "advocacy"),
             when=in_stage_for(days(180)) & ~any_of(ACTIVITY, within=days(180)),
             about="Back: a customer not seen for 180 days."),
    ),
)  # fmt: skip
