"""The lifecycle of a shop: from the first visit over the first order to a customer who stays."""

from evergreet.conditions import did, in_stage_for
from evergreet.durations import days
from evergreet.lifecycle import Lifecycle, Rule, Stage
from evergreet.presets.vocabulary import (
    ACTIVITY,
    DELIVERED,
    EVALUATING,
    INTEREST,
    LEARNING,
    LOYALTY,
    ONBOARDING,
    PURCHASED,
    REFERRALS,
    TROUBLE,
    USE,
    any_of,
)

lifecycle = Lifecycle(
    name="loyalty",
    stages=(
        Stage("awareness", "Awareness", "Knows that we exist."),
        Stage("engagement", "Engagement", "Looks around, compares, fills a cart.", also=("evaluation",)),
        Stage("conversion", "Conversion", "Has just bought.", also=("purchase",)),
        Stage("retention", "Retention", "Is a customer, and is to stay one.", also=("onboarding", "adoption")),
        Stage("loyalty", "Loyalty", "Buys again and again, recommends us.", also=("advocacy",)),
    ),
    rules=(
        Rule("loyalty", on=PURCHASED, from_=("conversion", "retention"),
             when=any_of(PURCHASED, within=days(365), at_least=3), about="A third order within a year."),
        Rule("conversion", on=PURCHASED, from_=("awareness", "engagement", "retention"),
             about="A purchase: the first, or one after a while."),
        Rule("loyalty", on=(*REFERRALS, *LOYALTY), from_=("conversion", "retention"),
             about="Recommended us, joined the club, renewed."),
        Rule("retention", on=(*DELIVERED, *ONBOARDING, *USE, *TROUBLE), from_=("conversion",),
             about="The order arrived, the product is in use, or a question came up."),
        Rule("retention", on=TROUBLE, from_=("loyalty",), about="Back: a loyal customer needs help."),
        Rule("engagement", on=(*INTEREST, *LEARNING, *EVALUATING), from_=("awareness",),
             about="Looked at something in earnest."),
        Rule("engagement", on=("page_viewed",), from_=("awareness",),
             when=did("page_viewed", at_least=3, within=days(30)), about="Came back: a third page within 30 days."),
        Rule("retention", from_=("conversion",), when=in_stage_for(days(14)),
             about="Two weeks after a purchase, delivered or not said."),
        Rule("retention", from_=("loyalty",), when=in_stage_for(days(120)) & ~any_of(ACTIVITY, within=days(120)),
             about="Back: a loyal customer not seen for 120 days."),
        Rule("engagement", from_=("retention",), when=in_stage_for(days(180)) & ~any_of(ACTIVITY, within=days(180)),
             about="Back: a customer not seen for 180 days."),
        Rule("awareness", from_=("engagement",), when=in_stage_for(days(90)) & ~any_of(ACTIVITY, within=days(90)),
             about="Back: not seen for 90 days."),
    ),
)  # fmt: skip
