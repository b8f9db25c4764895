"""The names of events that the lifecycles and campaigns that come along know, in groups by what they say.

Segment's names in snake_case where there is one, with short names of many shops beside them; docs/vocabulary.md
describes each name and its properties. A lifecycle of your own may use these groups, or any other name.
"""

from difflib import get_close_matches

from evergreet.conditions import AnyOf, Where, did, prop
from evergreet.durations import Duration

VISITS = (
    "page_viewed", "signed_in", "login", "application_opened", "app_opened", "promotion_viewed", "email_link_clicked",
)  # fmt: skip
"""Signs of life that say nothing about what somebody wants."""

INTEREST = (
    "product_viewed", "product_view", "product_clicked", "product_list_viewed", "catalog", "products_searched",
    "search", "product_list_filtered", "filter_results", "promotion_clicked", "account_created", "signed_up",
    "newsletter_subscribed",
)  # fmt: skip
"""Looking around in earnest."""

LEARNING = ("guide_viewed", "video_watched", "webinar_attended", "demo_requested")
"""Finding out what a product does before buying it."""

CART = (
    "product_added", "add_to_cart", "wishlist_product_added_to_cart", "cart_viewed", "cart", "checkout_started",
    "shipping_details", "payment_info_entered", "payment_details",
)  # fmt: skip
"""Filling a basket, and going to pay for it. Not the steps of a checkout: a shop may tell the last after the order."""

EVALUATING = (
    *CART, "product_removed", "checkout_step_viewed", "checkout_step_completed", "coupon_entered", "coupon_applied",
    "coupon_denied", "coupon_removed", "product_added_to_wishlist", "wishlist_add", "product_removed_from_wishlist",
    "product_compared", "compare", "quote_requested", "trial_started",
)  # fmt: skip
"""Weighing up a purchase."""

PURCHASED = ("order_placed", "order_completed", "purchase")
"""A purchase."""

DELIVERED = ("order_delivered",)
"""What was bought has arrived."""

ONBOARDING = ("profile_completed", "setup_completed", "onboarding_completed")
"""First steps of a new customer."""

USE = ("product_activated", "product_used")
"""Living with the product."""

TROUBLE = ("support_ticket_opened", "support_chat", "return_requested", "refund_requested")
"""Asking for help."""

SOLVED = ("support_ticket_solved",)
"""The end of that trouble."""

REVIEWS = ("review_submitted", "product_reviewed")
"""Saying in public what one thinks; `rating` says what."""

REFERRALS = ("referral_sent", "product_shared", "cart_shared", "invite_sent")
"""Bringing others along."""

LOYALTY = ("loyalty_joined", "subscription_renewed")
"""Staying on purpose."""

EXPANSION = ("plan_upgraded", "account_added_user", "seats_added", "addon_purchased")
"""More of what somebody has already."""

BONDED = (*REVIEWS, *REFERRALS, *LOYALTY)
"""What people do for companies they like."""

ACTIVITY = (
    *VISITS, *INTEREST, *LEARNING, *EVALUATING, *PURCHASED, *ONBOARDING, *USE, *TROUBLE, *BONDED, *EXPANSION,
)  # fmt: skip
"""Any sign of life: what people do themselves, and not what is done for them."""

BILLING = (
    "order_updated", "order_cancelled", "order_shipped", "order_refunded", "subscription_cancel_requested",
    "subscription_cancelled", "invoice_paid",
)  # fmt: skip
"""What a shop tells of orders, money and contracts; it moves nobody."""

MAIL = (
    "email_delivered", "email_opened", "email_opened_by_machine", "email_link_clicked_by_machine", "email_replied",
    "email_bounced", "email_marked_as_spam", "unsubscribed",
)  # fmt: skip
"""What became of a message, as its provider tells; a click on a link is a visit."""

TEXTS = ("sms_delivered", "sms_failed", "sms_replied")
"""The same of an SMS."""

BUSINESS = ("product_launched",)
"""Facts about the business, without a contact: campaigns start from them, nobody moves."""

KNOWN = frozenset((*ACTIVITY, *DELIVERED, *SOLVED, *BILLING, *MAIL, *TEXTS, *BUSINESS))
"""All of them."""

COMPLAINED = AnyOf(tuple(did(name, where=prop("rating") <= 3) for name in REVIEWS))
"""Wrote a review of three stars or fewer: no recommendation."""


def meant(name: str) -> str | None:
    """Return the name that looks like this one, where this one is not known."""
    close = get_close_matches(name.strip().lower().replace(" ", "_"), KNOWN, 1, 0.8)
    return close[0] if close and name not in KNOWN else None


def any_of(
    names: tuple[str, ...], *, where: Where | tuple[Where, ...] = (), within: Duration | None = None, at_least: int = 1
) -> AnyOf:
    """Hold when the contact did one of these events `at_least` so many times, with the other words of `did`."""
    return AnyOf(tuple(did(name, where=where, within=within, at_least=at_least) for name in names))
