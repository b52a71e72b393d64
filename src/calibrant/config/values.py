"""One written value of a text-format file turned into a Python value, by the type of its field."""

from __future__ import annotations

import re

import numpy as np

from calibrant.config.lexer import Token
from calibrant.config.schema import Field

UINT32_MAX = 2**32 - 1

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?")
_NOT_FINITE = re.compile(r"[-+]?(?:inf|infinity|nan)", re.IGNORECASE)
_BOOLS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_DIGITS_SHOWN = 40
_DIGITS_READ = 1000

_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\'\"?])|(.))", re.DOTALL
)
_NAMED_ESCAPES = dict(zip("abfnrtv\\'\"?", "\a\b\f\n\r\t\v\\'\"?", strict=True))


class BadValueError(ValueError):
    """The written value does not fit its field; the message says what was found."""


def scalar(field: Field, written: Token) -> bool | int | float | str:
    """The value of a bool, uint32, float or enum field.

    Raises
    ------
    BadValueError
        The text is not a value of that type, or outside what the type can hold.
    """
    read = {"bool": _boolean, "uint32": _uint32, "float": _float}.get(field.kind)
    return read(written) if read else _enum(field, written)


def is_octal(written: Token) -> bool:
    """Whether it is a whole number with a leading zero, which the text format takes as octal."""
    return re.fullmatch(r"[-+]?0[0-7]+", written.text) is not None


def allowed_by_type(field: Field) -> str:
    """What a field of this type accepts, before any rule of its own."""
    if field.kind == "enum":
        return " or ".join(name for name, _ in field.members)
    return {
        "bool": "true or false",
        "uint32": f"a whole number from 0 to {UINT32_MAX}",
        "float": "a decimal number",
        "string": "text in quotes",
        "message": "a block in braces { … }",
    }[field.kind]


def format_token(token: Token) -> str:
    """The token as a message shows it: quoted, printable, never long."""
    if token.kind == "end":
        return "the end of the file"
    text = token.text if len(token.text) <= _DIGITS_SHOWN else token.text[:_DIGITS_SHOWN] + "…"
    if token.kind in ("string", "open_string"):
        return "".join(char if char.isprintable() else "\ufffd" for char in text)
    return repr(text)


def escaped_bytes(token: Token) -> bytes:
    """The bytes of one quoted string: C escapes stand for bytes, so adjacent strings are joined before decoding.

    Raises
    ------
    BadValueError
        The string is not closed or holds an unknown escape.
    """
    if token.kind == "open_string":
        raise BadValueError(f"the string {format_token(token)} has no closing quote")
    pieces, end, body = [], 0, token.text[1:-1]
    for match in _ESCAPE.finditer(body):
        pieces += [body[end : match.start()].encode("utf-8"), _escape(match)]
        end = match.end()
    return b"".join([*pieces, body[end:].encode("utf-8")])


def decode(data: bytes) -> str:
    """The text of a string field's bytes.

    Raises
    ------
    BadValueError
        The bytes are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadValueError("the escapes in this string are not UTF-8") from None


def _escape(match: re.Match[str]) -> bytes:
    octal, hexadecimal, short, long, named, unknown = match.groups()
    if unknown is not None:
        raise BadValueError(f"unknown escape {match.group()!r} in this string")
    if named is not None:
        return _NAMED_ESCAPES[named].encode()
    if octal is not None or hexadecimal is not None:
        value = int(octal, 8) if octal is not None else int(hexadecimal, 16)
        if value > 255:
            raise BadValueError(f"escape {match.group()!r} does not fit a byte")
        return bytes([value])
    try:
        return chr(int(short or long, 16)).encode("utf-8")
    except (ValueError, OverflowError):
        raise BadValueError(f"escape {match.group()!r} is no character") from None


def _boolean(written: Token) -> bool:
    if written.text in _BOOLS:
        return _BOOLS[written.text]
    if written.kind == "number" and (value := _integer(written.text)) in (0, 1) and written.text[0] not in "+-":
        return bool(value)
    raise BadValueError(f"{format_token(written)} is neither true nor false")


def _uint32(written: Token) -> int:
    value = _integer(written.text)
    if value is None:
        if written.kind == "number" and _DECIMAL.fullmatch(written.text):
            raise BadValueError(f"{format_token(written)} is not a whole number")
        raise BadValueError(f"{format_token(written)} is not a number")
    if not 0 <= value <= UINT32_MAX:
        raise BadValueError(f"{format_token(written)} is out of range, 0 to {UINT32_MAX}")
    return value


def _integer(text: str) -> int | None:
    """Decimal, hexadecimal (0x1f) or octal (017); a digit string too long to matter counts as a huge number."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip("+-")
    if digits[:2] in ("0x", "0X"):
        base, digits = 16, digits[2:]
    else:
        base = 8 if len(digits) > 1 and digits[0] == "0" else 10
    digits = digits.lstrip("0") or "0"
    if base == 8 and not set(digits) <= set("01234567"):
        return None
    value = int(digits, base) if len(digits) <= _DIGITS_SHOWN else 1 << 64
    return -value if text[0] == "-" else value


def _float(written: Token) -> float:
    """The shortest decimal that a 32-bit float keeps: 0.01 as it was written, not 0.009999999776…."""
    text = written.text
    if _NOT_FINITE.fullmatch(text):
        raise BadValueError(f"{format_token(written)} is not a finite number")
    if len(text) > _DIGITS_READ or not _DECIMAL.fullmatch(text):
        raise BadValueError(f"{format_token(written)} is not a decimal number")
    if re.match(r"[-+]?0[0-9]+$", text):
        raise BadValueError(f"{format_token(written)} could be meant as octal")
    with np.errstate(over="ignore", under="ignore"):
        value = np.float32(text.rstrip("fF"))
    if not np.isfinite(value):
        raise BadValueError(f"{format_token(written)} is out of range")
    return float(str(value))


def _enum(field: Field, written: Token) -> str:
    by_number: dict[int | None, str] = {number: name for name, number in field.members}
    if written.kind == "word" and written.text in by_number.values():
        return written.text
    if written.kind == "number" and (name := by_number.get(_integer(written.text))):
        return name
    raise BadValueError(f"{format_token(written)} is not a value of {field.type}")
