"""The customer experience lifecycle: from first sight to a bond, and back to a purchase again and again."""

from evergreet.conditions import did, in_stage_for
from evergreet.durations import days
from evergreet.lifecycle import Lifecycle, Rule, Stage
from evergreet.presets.vocabulary import (
    ACTIVITY,
    BONDED,
    DELIVERED,
    EVALUATING,
    INTEREST,
    PURCHASED,
    TROUBLE,
    USE,
    VISITS,
    any_of,
)

lifecycle = Lifecycle(
    name="experience",
    stages=(
        Stage("awareness", "Awareness", "Knows that we exist."),
        Stage("engagement", "Engagement", "Looks around, comes back."),
        Stage("evaluation", "Evaluation", "Weighs up a purchase."),
        Stage("purchase", "Purchase", "Has just bought."),
        Stage("experience", "Product and support experience", "Lives with the product and with our support.",
              also=("onboarding", "adoption")),
        Stage("bonding", "Bonding", "Stays, recommends, buys again.", also=("retention", "loyalty", "advocacy")),
    ),
    rules=(
        Rule("purchase", on=PURCHASED, about="A purchase, from wherever: the loop back."),
        Rule(
            "experience", on=(*DELIVERED, *USE, *TROUBLE), from_=("purchase",),
            about="The order arrived, the product is in use, or a question came up.",
        ),
        Rule("experience", on=TROUBLE, from_=("bonding",), about="Back: a friend needs help."),
        Rule(
            "bonding", on=BONDED, from_=("purchase", "experience"),
            about="Wrote a review, recommended us, joined the club.",
        ),
        Rule("evaluation", on=EVALUATING, from_=("awareness", "engagement"), about="A cart, a comparison, a checkout."),
        Rule("engagement", on=INTEREST, from_=("awareness",), about="Looked at something in earnest."),
        Rule(
            "engagement", on=("page_viewed",), from_=("awareness",),
            when=did("page_viewed", at_least=3, within=days(30)), about="Came back: a third page within 30 days.",
        ),
        Rule(
            "experience", from_=("purchase",), when=in_stage_for(days(14)),
            about="Two weeks after a purchase, delivered or not said.",
        ),
        Rule(
            "bonding", from_=("experience",),
            when=in_stage_for(days(30)) & ~any_of(TROUBLE, within=days(30))
            & any_of((*VISITS, *INTEREST, *EVALUATING), within=days(30)),
            about="A month later still around, and without trouble.",
        ),
        Rule(
            "engagement", from_=("evaluation",), when=in_stage_for(days(30)) & ~any_of(EVALUATING, within=days(30)),
            about="Back: a cart left alone for 30 days.",
        ),
        Rule(
            "awareness", from_=("engagement",), when=in_stage_for(days(90)) & ~any_of(ACTIVITY, within=days(90)),
            about="Back: not seen for 90 days.",
        ),
        Rule(
            "engagement", from_=("experience", "bonding"),
            when=in_stage_for(days(180)) & ~any_of(ACTIVITY, within=days(180)),
            about="Back: a customer not seen for 180 days.",
        ),
    ),
)  # fmt: skip
