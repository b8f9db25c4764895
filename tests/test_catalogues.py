"""Catalogues that cannot be used are told with file and line before anyone is written to in their language."""

from pathlib import Path

import pytest

from evergreet.catalogues import catalogues_at, read_catalogue, translations
from evergreet.errors import DefinitionError
from evergreet.sandbox import environment

WORDS = environment({}).parse("{{ _('You bought from %(company)s.', company=company) }}{{ _('Hi') }}")
WHY = 'msgid "You bought from %(company)s."\nmsgstr '


def write(root: Path, text: str, language: str = "de") -> Path:
    path = root / "locales" / language / "LC_MESSAGES" / "evergreet.po"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHY + '"Gekauft bei %(firma)s."', ", line 1: the message has no %(firma)s; it has %(company)s."),
        ('\nmsgid "Hi"\nmsgstr "Hallo %(name)s"', ", line 2: the message has no %(name)s; it has none such."),
        (WHY + '"Zu 100% bei %(company)s."', ", line 1: write %% for a percent sign in 'Zu 100% bei %(company)s.'."),
        ('msgid "Hi"\nmsgstr "Hallo', ', line 2: this is no line of a catalogue: msgstr "Hallo'),
        ('msgid "Hi"\n\nHallo', ", line 3: this is no line of a catalogue: Hallo"),
        ('msgid "Hi"', ", line 1: missing msgstr for msgid 'Hi'."),
        ('msgid "Hi"\nmsgstr "Gr\u00fc\u00dfe"', ": this file is not UTF-8; save it as UTF-8."),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_told(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DefinitionError) as error:
        translations([WORDS], tmp_path)
    assert str(error.value) == f"{path}{says}"


def test_a_slip_in_words_of_others_stops_no_message(tmp_path: Path) -> None:
    write(tmp_path, WHY + '"Bei %(firma)s."\n\nmsgid "Hi"\nmsgstr "Hallo"\n')
    assert 'msgstr "Hallo"' in translations([environment({}).parse("{{ _('Hi') }}")], tmp_path)["locales/de.po"]


@pytest.mark.parametrize(
    ("language", "says"), [("german", "such as de, pt_BR or zh_Hant."), ("pt-br", "name the folder pt_BR.")]
)
def test_a_folder_that_no_contact_reads_is_told(tmp_path: Path, language: str, says: str) -> None:
    path = write(tmp_path, 'msgid "Hi"\nmsgstr "Hallo"', language)
    with pytest.raises(DefinitionError, match=f"no contact reads '{language}'; .*{says}"):
        read_catalogue(path, path.read_bytes())


def test_what_is_right_is_read_and_a_slip_in_another_language_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 'msgid "Hi"\nmsgstr "Salut', "fr")
    write(tmp_path, WHY + '"Da %(ditta)s."\n\nmsgid "Hi"\nmsgstr "Ciao"\n', "it")
    write(
        tmp_path,
        '# comment\n#, python-format\nmsgid ""\n"One %(what)s"\nmsgid_plural "%(num)s %(what)ss"\n'
        'msgstr[0] "Ein %(what)s, 100 %%"\nmsgstr[1] "%(num)s %(what)s"\n\nmsgid "50% club"\nmsgstr "50%-Klub"\n\n'
        'msgid "Not yet"\nmsgstr ""\n#~ msgid "Old"\n#~ msgstr "Alt"\n',
    )
    found = catalogues_at(tmp_path)
    assert set(found) == {"de", "it"}
    assert [found["it"].gettext(text) for text in ("Hi", "You bought from %(company)s.")] == [
        "Ciao",
        "You bought from %(company)s.",
    ]
    assert "it/LC_MESSAGES/evergreet.po, line 1: the message has no %(ditta)s" in caplog.text
    assert "fr/LC_MESSAGES/evergreet.po, line 2: this is no line of a catalogue" in caplog.text
    german = found["de"]
    assert [german.gettext(text) for text in ("50% club", "Not yet")] == ["50%-Klub", "Not yet"]
    assert german.ngettext("One %(what)s", "%(num)s %(what)ss", 1) == "Ein %(what)s, 100 %%"
