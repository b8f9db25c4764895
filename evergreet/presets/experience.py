"""The customer experience lifecycle: from first sight to a bond, and back to a purchase again and again.

The vocabulary of events is described in docs/lifecycle.md: Segment's e-commerce names in snake_case, with the
short names that many shops use beside them.
"""

from evergreet.conditions import AnyOf, did, in_stage_for
from evergreet.durations import Duration, days
from evergreet.lifecycle import Lifecycle, Rule, Stage

VISITS = ("page_viewed", "login", "app_opened", "email_link_clicked")
"""Signs of life that say nothing about what somebody wants."""

INTEREST = (
    "product_viewed", "product_view", "product_list_viewed", "catalog", "products_searched", "search",
    "product_list_filtered", "filter_results", "promotion_clicked", "account_created", "newsletter_subscribed",
)  # fmt: skip
"""Looking around in earnest."""

EVALUATING = (
    "product_added", "add_to_cart", "cart_viewed", "cart", "product_added_to_wishlist", "wishlist_add",
    "product_compared", "compare", "checkout_started", "shipping_details", "payment_details", "quote_requested",
)  # fmt: skip
"""Weighing up a purchase."""

PURCHASED = ("order_placed", "order_completed", "purchase")
"""A purchase."""

EXPERIENCE = (
    "order_delivered", "product_activated", "product_used", "support_ticket_opened", "support_chat",
    "return_requested", "refund_requested",
)  # fmt: skip
"""Living with the product, and with our support."""

TROUBLE = ("support_ticket_opened", "support_chat", "return_requested", "refund_requested")
"""The part of it that asks for help."""

BONDED = ("review_submitted", "product_reviewed", "referral_sent", "loyalty_joined", "subscription_renewed")
"""What people do for companies they like."""

ACTIVITY = (*VISITS, *INTEREST, *EVALUATING, *PURCHASED, *EXPERIENCE, *BONDED)


def _any(names: tuple[str, ...], within: Duration) -> AnyOf:
    return AnyOf(tuple(did(name, within=within) for name in names))


lifecycle = Lifecycle(
    name="experience",
    stages=(
        Stage("awareness", "Awareness", "Knows that we exist."),
        Stage("engagement", "Engagement", "Looks around, comes back."),
        Stage("evaluation", "Evaluation", "Weighs up a purchase."),
        Stage("purchase", "Purchase", "Has just bought."),
        Stage("experience", "Product and support experience", "Lives with the product and with our support."),
        Stage("bonding", "Bonding", "Stays, recommends, buys again."),
    ),
    rules=(
        Rule("purchase", on=PURCHASED, about="A purchase, from wherever: the loop back."),
        Rule(
            "experience", on=EXPERIENCE, from_=("purchase",),
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
            when=in_stage_for(days(30)) & ~_any(TROUBLE, days(30)) & _any((*VISITS, *INTEREST, *EVALUATING), days(30)),
            about="A month later still around, and without trouble.",
        ),
        Rule(
            "engagement", from_=("evaluation",), when=in_stage_for(days(30)) & ~_any(EVALUATING, days(30)),
            about="Back: a cart left alone for 30 days.",
        ),
        Rule(
            "awareness", from_=("engagement",), when=in_stage_for(days(90)) & ~_any(ACTIVITY, days(90)),
            about="Back: not seen for 90 days.",
        ),
        Rule(
            "engagement", from_=("experience", "bonding"), when=in_stage_for(days(180)) & ~_any(ACTIVITY, days(180)),
            about="Back: a customer not seen for 180 days.",
        ),
    ),
)  # fmt: skip
