"""Rendering an SMS: its one text, and what the first marketing SMS that somebody gets ends in."""

from dataclasses import asdict, dataclass
from functools import lru_cache

from evergreet.campaign import MARKETING
from evergreet.localization import Place, place_of, reading_in
from evergreet.posting import tidy
from evergreet.rendering import MessageContext, RenderError, Surroundings, catalogues_of, names_of, told_of
from evergreet.sandbox import environment
from evergreet.segments import Segments, segments_of
from evergreet.template_sources import OPT_OUT, SMS, TemplateSource


@dataclass(frozen=True, slots=True)
class RenderedSms:
    """A finished SMS."""

    text: str

    @property
    def segments(self) -> Segments:
        """The parts it is sent and paid in."""
        return segments_of(self.text)


class SmsRenderer:
    """Renders one version of an SMS; safe to use from several threads."""

    def __init__(self, source: TemplateSource, surroundings: Surroundings) -> None:
        self.source = source
        catalogues = catalogues_of(source)
        self._place = lru_cache(maxsize=4096)(lambda locale, zone: place_of(locale, zone, catalogues))
        jinja = environment(source.sources, **asdict(surroundings))
        try:
            self._text = jinja.get_template(f"{source.name}/{SMS}")
            self._opt_out = jinja.get_template(OPT_OUT)
        except Exception as error:
            raise told_of(error, source) from error

    def render(self, context: MessageContext, *, first: bool) -> RenderedSms:
        """Make the message; raises RenderError for this contact, and the next one may be fine.

        A marketing message says how to opt out where it may be the `first` to this number, unless it does so already.
        """
        place: Place = self._place(context.locale, context.timezone)
        values = names_of(context, place)
        try:
            with reading_in(place):
                text = tidy(self._text.render(values)).strip()
                opt_out = tidy(self._opt_out.render(values)).strip()
        except MemoryError:  # perhaps nobody's fault but the machine's
            raise
        except Exception as error:
            raise told_of(error, self.source) from error
        if not text:
            raise RenderError(f"{self._text.name}, line 1: the text is empty")
        if context.purpose is not MARKETING or not first or opt_out in text:
            return RenderedSms(text)
        if not opt_out:
            raise RenderError(f"{OPT_OUT}, line 1: a first marketing SMS says how to opt out, and this is empty")
        return RenderedSms(f"{text}\n{opt_out}")
