"""The words a lifecycle is written in: stages and the rules that move contacts between them.

A rule with `on` is asked at each event of these names, as of the event's time; the first rule that holds
moves the contact. A rule without `on` depends on time (or on attributes) alone and is asked in each
evaluation, as of then. Inside a rule, event conditions without `within` count only what happened after the
contact came into its present stage; the event at hand counts in any case. `evergreet.stages` evaluates them.
"""

from dataclasses import dataclass

from evergreet.conditions import Attribute, Condition, Consented, Did, HasEmail, Nth, StageIs, everyone, leaves
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.loading import load

PRESETS = {
    name: f"evergreet.presets.{name}:lifecycle" for name in ("discovery", "experience", "loyalty", "reach", "retention")
}
"""The lifecycles that come along, by name."""

LIFE_STAGES = (
    "awareness", "engagement", "evaluation", "purchase", "onboarding", "adoption", "retention", "expansion",
    "loyalty", "advocacy",
)  # fmt: skip
"""What the stages of any model stand for: campaigns that name these work under every lifecycle that has them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A phase in the life of a contact with the company. `name` is what conditions and triggers say.

    `also` names the life stages (`LIFE_STAGES`) that it stands for, so that a campaign which starts from
    `stage_entered("purchase")` starts from it whatever it is called here.
    """

    name: str
    title: str
    about: str = ""
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that could not stand in an event's resource or on a command line."""
        if not self.name.replace("_", "").replace("-", "").isalnum() or self.name != self.name.lower():
            raise DefinitionError(f"stage {self.name!r}: write small letters, digits, - and _, e.g. 'purchase'.")
        if len(self.name) > 100:
            raise DefinitionError(f"stage {self.name!r}: longer than 100 characters.")
        if isinstance(self.also, str):
            raise DefinitionError(f"stage {self.name!r}: write also as a tuple, e.g. also=({self.also!r},).")
        if unknown := sorted(set(self.also) - set(LIFE_STAGES)):
            raise DefinitionError(
                f"stage {self.name!r}: it cannot stand for {unknown[0]!r}; the life stages are: "
                f"{', '.join(LIFE_STAGES)}."
            )


@dataclass(frozen=True, slots=True)
class Rule:
    """Moves a contact to the stage `to` when an event named in `on` happens and `when` holds.

    `from_` names the stages it moves out of; None means any other stage than `to`. A rule that names `to`
    itself enters the stage anew. Without `on`, `when` alone decides, at the time of the evaluation.
    """

    to: str
    on: tuple[str, ...] = ()
    when: Condition = everyone
    from_: tuple[str, ...] | None = None
    about: str = ""

    @property
    def event_names(self) -> frozenset[str]:
        """The names of the events it asks about, in `on` and in `when`."""
        return frozenset(self.on) | {part.event for part in leaves(self.when) if isinstance(part, (Did, Nth))}

    @property
    def asks_contact(self) -> bool:
        """Whether it asks about the contact's own data, so that a change of these may make it hold."""
        return any(isinstance(part, (Attribute, HasEmail, Consented)) for part in leaves(self.when))


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """An ordered set of stages with the rules for moving between them; contacts begin in the first stage.

    Rules are asked in their order; the first that holds wins.
    """

    name: str
    stages: tuple[Stage, ...]
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        where = f"lifecycle {self.name!r}"
        names = [stage.name for stage in self.stages]
        if not names:
            raise DefinitionError(f"{where}: it has no stages.")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise DefinitionError(f"{where}: the stage {doubled[0]!r} stands twice.")
        for number, rule in enumerate(self.rules, start=1):
            _check_rule(f"{where}, rule {number} (to {rule.to!r})", rule, names)

    @property
    def first(self) -> Stage:
        """The stage in which contacts begin."""
        return self.stages[0]

    @property
    def event_rules(self) -> tuple[Rule, ...]:
        """The rules asked at events, in order."""
        return tuple(rule for rule in self.rules if rule.on)

    @property
    def time_rules(self) -> tuple[Rule, ...]:
        """The rules asked in every evaluation, in order."""
        return tuple(rule for rule in self.rules if not rule.on)

    def stage(self, name: str) -> Stage:
        """Return the stage with that name; a wrong one is answered with the names there are."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise DefinitionError(
            f"lifecycle {self.name!r} has no stage {name!r}; it has: {', '.join(s.name for s in self.stages)}."
        )

    def meaning(self, name: str) -> tuple[str, ...]:
        """Return the stages that `name` means here, in order: the one of that name and those that stand for it.

        Raises DefinitionError with the names there are where it means none.
        """
        found = tuple(stage.name for stage in self.stages if name == stage.name or name in stage.also)
        if not found:
            own = [stage.name for stage in self.stages]
            known = dict.fromkeys((*own, *(each for each in LIFE_STAGES if any(each in s.also for s in self.stages))))
            raise DefinitionError(
                f"lifecycle {self.name!r} has no stage {name!r} and none that stands for it (also=…); "
                f"it knows: {', '.join(known)}."
            )
        return found

    @property
    def counted_as(self) -> dict[str, str]:
        """The stage that each name counts as: its own, and for a life stage the first that stands for it.

        A stage of a model that comes along counts as the first life stage it stands for there. So contacts whom
        another lifecycle left in `purchase` or `conversion` go on from where that is here.
        """
        own = {stage.name: stage.name for stage in self.stages}
        known = {also: stage.name for stage in reversed(self.stages) for also in stage.also} | own
        models = [stage for name in PRESETS for stage in lifecycle(name).stages]
        return {stage.name: known[one] for stage in models for one in reversed(stage.also) if one in known} | known

    def counts_as(self, name: str) -> str:
        """Return the stage that a name counts as, whatever lifecycle left it behind; the first for one unheard of."""
        return self.counted_as.get(name, self.first.name)

    def sources(self, rule: Rule) -> tuple[str, ...]:
        """Return the stages a rule moves out of."""
        return rule.from_ or tuple(stage.name for stage in self.stages if stage.name != rule.to)


def lifecycle(name: str) -> Lifecycle:
    """Return the lifecycle of that name: a preset, or `package.module:variable` of your own."""
    place = PRESETS.get(name, name)
    module, colon, variable = place.partition(":")
    if not (module and colon and variable):
        raise ConfigurationError(
            f"EVERGREET_LIFECYCLE={name}: there is no such preset ({', '.join(sorted(PRESETS))}); "
            "write one of these, or package.module:variable for a lifecycle of your own."
        )
    try:
        found = getattr(load(module), variable)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"EVERGREET_LIFECYCLE={name} cannot be imported: {error}.") from error
    if not isinstance(found, Lifecycle):
        raise ConfigurationError(f"EVERGREET_LIFECYCLE={name}: {place} is not a Lifecycle(…).")
    return found


def _check_rule(where: str, rule: Rule, names: list[str]) -> None:
    if isinstance(rule.on, str) or isinstance(rule.from_, str):
        raise DefinitionError(f"{where}: write on and from_ as tuples, e.g. ('order_placed',).")
    asked = [stage for part in leaves(rule.when) if isinstance(part, StageIs) for stage in part.stages]
    for name in (rule.to, *(rule.from_ or ()), *asked):
        if name not in names:
            raise DefinitionError(f"{where}: there is no stage {name!r}; there are: {', '.join(names)}.")
    if rule.from_ == ():
        raise DefinitionError(f"{where}: from_=() matches no stage; leave it out for any other stage.")
    if rule.on:
        return
    if rule.when == everyone:
        raise DefinitionError(f"{where}: it has neither on= nor when=, so it would always move everybody.")
    if rule.to in (rule.from_ or ()):
        raise DefinitionError(f"{where}: a rule without on= that moves a stage to itself would never end.")
