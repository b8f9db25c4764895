"""Why something was not sent, in words: one sentence for every reason that the ledger stores."""

REASONS = {
    "erased": "the contact was erased",
    "merged": "the contact is one with another, who has this enrollment or one near it (`evergreet contacts merges`)",
    "no_address": "the contact has no usable address for it: no email, or no phone number for an SMS",
    "suppressed": "the address may not be written to (bounce, complaint, unsubscribe or your own list)",
    "no_consent": "the contact did not agree to the topic, or took it back",
    "contact_paused": "the contact is paused until a date",
    "dormant": "a campaign that ends mailing sent its last word, and the contact gave no sign of life since",
    "global_holdout": "chosen by hash to get no marketing at all, so that the lift of all of it can be measured",
    "holdout": "chosen by hash to get no marketing of this campaign, so that its lift can be measured",
    "goal_reached": "the contact had reached the goal of the campaign already",
    "unless": "what the step names with `unless` had come true",
    "too_late": "it would have gone later than the step's `lateness` allows",
    "duplicate_address": "somebody with the same address got this message for the same cause",
    "send_window": "the step's window is closed where the contact lives",
    "quiet_hours": "it is quiet where the contact lives (EVERGREET_QUIET_FROM to EVERGREET_QUIET_UNTIL)",
    "frequency_cap": "the contact got as many marketing messages as EVERGREET_CAP allows",
    "topic_cap": "the contact got as many messages of this topic as EVERGREET_TOPIC_CAPS allows",
    "less_often": "the contact asked for at most one marketing message a week, or a month, and got one already",
    "priority": "a campaign that goes first needs the last place under a cap",
    "campaign_stopped": "the campaign was stopped before it went",
    "not_in_audience": "the contact was outside the audience when the trigger was met",
    "re_entry": "too soon after an enrollment of the same contact (`re_entry` of the campaign)",
    "counted_anew": "what the step is counted from came later than was known when it was planned",
    "provider_limit": "every provider was given as much as EVERGREET_RATES allows it on that day",
    "no_provider": "one did not take it, and the others that might cannot be asked just now",
    "held_after_restore": "it may have been sent before the restore from a backup (`evergreet hold`)",
}
"""The words that the ledger stores, with what they mean."""

BEGINNINGS = {
    "template: ": "the message could not be rendered for this contact",
    "gave up after ": "the provider did not take it in as many tries as EVERGREET_RETRIES allows",
    "poison: ": "two workers died with this message in hand",
    "the worker died ": "its worker died after the intent and before the answer was written; the provider may have it",
    "not handed over within ": "the hand-over began too late after its intent and was given back unsent",
}
"""Reasons that go on with particulars, by how they begin. Whatever else stands there are the provider's words."""


def meaning(reason: str) -> str | None:
    """Return what a stored reason means; None where it is a provider's own words."""
    return REASONS.get(reason) or next((said for start, said in BEGINNINGS.items() if reason.startswith(start)), None)


def explained(reason: str) -> str:
    """Return a stored reason with what it means."""
    said = meaning(reason)
    return f"{reason}: {said}" if said else reason
