"""Which encoding a file has. UTF-8 and files with a byte order mark are read; anything else must be named."""

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

from evergreet.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMON = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "iso8859-15", "cp932", "gb18030", "euc_kr", "big5")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f"))


def checked_encoding(name: str) -> str:
    """Return the name of a text encoding as Python knows it."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except LookupError:
        raise DataError(
            f"--encoding {name}: there is no such text encoding; write one such as cp1252 or utf-16."
        ) from None
    return "utf-8-sig" if info.name == "utf-8" else info.name


def detect_encoding(sample: bytes, path: Path) -> str:
    """Return the encoding of a file from its beginning, or say what it may be and ask.

    A file in one of the old 8-bit encodings is refused with the likely names and how a line of it would
    read: guessing between cp1252 and cp1250 turns Peña into Peńa, and nobody would notice.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if sample.startswith(b"PK\x03\x04"):
        raise DataError(f"{path} is a zip archive or an Excel workbook; save the table as CSV (UTF-8) and import that.")
    if len(sample.translate(None, _CONTROLS)) < len(sample) * 0.95:
        raise DataError(f"{path} is not a text file (or UTF-16 without its mark: then say --encoding utf-16-le).")
    if _mostly_utf8(sample):
        return "utf-8"
    raise DataError(f"{path} is not UTF-8, and its encoding cannot be told for certain. {_advice(sample)}")


def _mostly_utf8(sample: bytes) -> bool:
    """Allow single broken bytes: their rows are rejected one by one."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)
    broken = sum("\udc80" <= letter <= "\udcff" for letter in text)
    return broken == 0 or broken * 10 < sum(letter > "\x7f" for letter in text) - broken


def _advice(sample: bytes) -> str:
    line = next((line for line in sample.splitlines() if not line.isascii()), b"")[:80]
    found = from_bytes(sample)
    likely = [*dict.fromkeys([*(match.encoding for match in found), *_COMMON])] if found.best() else [*_COMMON]
    readings: dict[str, str] = {}
    for name in [name for name in (likely[0], *_COMMON) if name in likely]:
        try:
            reading = line.decode(name)
        except UnicodeDecodeError:
            continue
        if reading not in readings.values() and reading.isprintable():
            readings[name] = reading
    if not readings:
        return "Save it as UTF-8, or say --encoding NAME."
    shown = "; ".join(f"--encoding {name} reads {reading!r}" for name, reading in list(readings.items())[:4])
    return f"Choose the one that reads right: {shown}."
