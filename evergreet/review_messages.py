"""The rules of asking for reviews, held against what the messages say: their links, their words, whom they look at."""

from collections.abc import Iterator, Mapping

from jinja2 import nodes

from evergreet.campaign import Campaign
from evergreet.channels import writes_to_contacts
from evergreet.errors import DefinitionError
from evergreet.reviews import forbids_asking, incentive_written, links_in
from evergreet.sandbox import environment
from evergreet.template_sources import OF_EVERY_MESSAGE, TemplateSource

ALIKE = frozenset({"id", "first_name", "last_name", "email", "phone", "locale", "timezone", "country"})
"""What a request for a review may know of a contact: whom it writes to, and in which language."""


def check_review_messages(campaign: Campaign, sources: Mapping[str, TemplateSource]) -> None:
    """Refuse messages of a campaign that asks for reviews where one is not fair; `sources` are by template.

    Every message of it counts: what the next one offers is given for the review as well.
    """
    if not campaign.asks_for_reviews:
        return
    for step in campaign.steps:
        if not writes_to_contacts(step.channel):
            continue
        for file, text in sources[step.template].sources.items():
            where = f"campaign {campaign.name!r}, step {step.key!r}: {file}"
            for link in links_in(text):
                if rule := forbids_asking(link):
                    raise DefinitionError(f"{where} links to {link}: {rule}. Link to your own site instead.")
            if file.startswith(OF_EVERY_MESSAGE) or file.endswith(".po"):
                continue  # parts, of which this message may use others
            if gift := incentive_written(text):
                raise DefinitionError(
                    f"{where} says {gift!r}: nothing is given for a review; take it out, or send the offer in a "
                    "campaign of its own."
                )
            if odd := next(_looked_at(environment({}).parse(text)), None):
                raise DefinitionError(
                    f"{where}, line {odd.lineno}: a request for a review is the same for everyone, so of a contact it "
                    f"reads only {', '.join(sorted(ALIKE))}."
                )


def _looked_at(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Yield where a file reads more of a contact; handing it on to a part of every message reads a name."""
    parts = {
        name if isinstance(name, str) else name[1]
        for imported in tree.find_all(nodes.FromImport)
        if isinstance(imported.template, nodes.Const) and str(imported.template.value).startswith(OF_EVERY_MESSAGE)
        for name in imported.names
    }
    fine = {id(node.node) for node in tree.find_all(nodes.Getattr) if node.attr in ALIKE}
    fine |= {
        id(node.node)
        for node in tree.find_all(nodes.Getitem)
        if isinstance(node.arg, nodes.Const) and node.arg.value in ALIKE
    }
    fine |= {
        id(given)
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name in parts
        for given in call.args
    }
    yield from (name for name in tree.find_all(nodes.Name) if name.name == "contact" and id(name) not in fine)
