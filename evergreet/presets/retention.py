"""Retention in detail: what happens once somebody is a customer, for products that people use for long.

Contacts are taken for customers from the start: whoever is known begins in Onboarding. So the first purchase
leads to Adoption and any later one to Expansion, and only the latter stands for `purchase`; a campaign that is to
follow each order starts from the event as well (`stage_entered("purchase") | event(*PURCHASED, …)`).
"""

from evergreet.conditions import in_stage_for
from evergreet.durations import days
from evergreet.lifecycle import Lifecycle, Rule, Stage
from evergreet.presets.vocabulary import (
    ACTIVITY,
    BONDED,
    DELIVERED,
    EXPANSION,
    INTEREST,
    PURCHASED,
    SOLVED,
    TROUBLE,
    USE,
    VISITS,
    any_of,
)

REGULARLY = any_of((*VISITS, *INTEREST, *USE), within=days(30), at_least=3)
"""The same sign of life three times within 30 days."""

lifecycle = Lifecycle(
    name="retention",
    stages=(
        Stage("onboarding", "Onboarding", "Is new here and takes the first steps."),
        Stage("support", "Support", "Needs help."),
        Stage("adoption", "Adoption", "Has begun to use it."),
        Stage("engagement", "Engagement", "Uses it all the time.", also=("retention", "loyalty")),
        Stage("expansion", "Expansion", "Buys more.", also=("purchase",)),
    ),
    rules=(
        Rule("support", on=TROUBLE, about="A question, a return, a refund."),
        Rule("expansion", on=(*PURCHASED, *EXPANSION), from_=("adoption", "engagement"),
             about="Bought again, upgraded, added seats."),
        Rule("adoption", on=(*PURCHASED, *DELIVERED, *USE, "onboarding_completed"), from_=("onboarding",),
             about="First used it, or bought for the first time."),
        Rule("adoption", on=(*SOLVED, *PURCHASED), from_=("support",), about="The question is answered."),
        Rule("engagement", on=BONDED, from_=("adoption",), about="Wrote a review, recommended us, renewed."),
        Rule("engagement", on=(*VISITS, *INTEREST, *USE), from_=("adoption",), when=in_stage_for(days(7)) & REGULARLY,
             about="After a week the same sign of life for the third time within 30 days."),
        Rule("adoption", from_=("support",), when=in_stage_for(days(14)) & ~any_of(TROUBLE, within=days(14)),
             about="Two weeks without another question."),
        Rule("engagement", from_=("expansion",), when=in_stage_for(days(30)), about="A month after buying more."),
        Rule("adoption", from_=("engagement",), when=in_stage_for(days(60)) & ~any_of(ACTIVITY, within=days(60)),
             about="Back: not seen for 60 days."),
        Rule("onboarding", from_=("adoption",), when=in_stage_for(days(120)) & ~any_of(ACTIVITY, within=days(120)),
             about="Back: not seen for 120 days; to be won anew."),
    ),
)  # fmt: skip
