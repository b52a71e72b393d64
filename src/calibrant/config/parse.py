"""Text format to a tree of values with positions. It goes on after every mistake, so that all are found at once."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from calibrant.config.lexer import Token
from calibrant.config.problems import ProblemList, TooManyProblemsError
from calibrant.config.rules import allowed_text
from calibrant.config.schema import ROOT, Field, Message, messages
from calibrant.config.stream import CLOSERS, TokenStream
from calibrant.config.tree import ParsedMessage, ParsedValue
from calibrant.config.values import (
    BadValueError,
    allowed_by_type,
    decode,
    escaped_bytes,
    format_token,
    is_octal,
    scalar,
)
from calibrant.errors import did_you_mean
from calibrant.text_source import Source

DEPRECATED = {
    "weight_offset": "weights never have an offset: leave this field out",
    "conv_calibration_config": "write common_config { … }, or override_layer_types { layer_type : "
    '"Conv2D"  calibration_config { … } } for each type of convolution',
    "fc_calibration_config": 'write override_layer_types { layer_type : "MatMul"  calibration_config { … } }',
}
"""Fields of older versions, and what to write instead."""

_PLAIN_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"})


class Parsed(NamedTuple):
    """What was read from a text: its tree, everything that is wrong with it, and what is only odd."""

    root: ParsedMessage
    problems: ProblemList
    warnings: tuple[str, ...]


def parse(source: Source) -> Parsed:
    """The ``AMCTConfig`` that the text describes, as far as it can be read, and everything that is wrong with it.

    As in protobuf's own reader, of a scalar or a oneof that is written twice the last one counts, and a block that is
    written twice is merged; there is a warning for each.

    The time is linear in the length of the text, and the depth of nesting is bounded by the schema: blocks that do not
    belong to it are skipped without recursion.
    """
    parser = _Parser(source)
    root = ParsedMessage(ROOT, 1, 1)
    with contextlib.suppress(TooManyProblemsError):
        if parser.stream.peek().kind == "end":
            what = "is empty" if not source.text.strip() else "holds nothing but comments"
            kind = "configuration" if source.name is None else "file"
            parser.warnings.append(f"{source.at()}the {kind} {what}, so every default applies")
        else:
            parser.message(root, messages()[ROOT], "", None)
            parser.report_missing(root, "")
    return Parsed(root, parser.problems, tuple(parser.warnings))


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, source: Source):
        self.source = source
        self.problems = ProblemList()
        self.stream = TokenStream(source.text)
        self.unclosed = self.stream.unclosed
        self.around: list[Message] = []
        self.warnings: list[str] = []

    def report(self, at: Token | ParsedMessage, path: str, message: str, **rest: str | None) -> None:
        full = self.problems.full
        self.problems.add(None if full else self.source.problem(message, at.line, at.column, path=path or None, **rest))

    def message(self, parsed: ParsedMessage, schema: Message, path: str, opener: Token | None) -> None:
        """Read fields until the block's closing brace (the end of the text where ``opener`` is None)."""
        self.around.append(schema)
        while not self.at_end_of_block(schema, path, opener):
            token = self.stream.next()
            if token.kind == "word":
                self.field(token, parsed, schema, path)
                _ = self.stream.take(",") or self.stream.take(";")
            elif token.text == "[":
                self.report(token, path, "extensions and Any are not part of a configuration file")
                self.skip(token if self.stream.skip_block() else None)
                self.skip_after_name()
            else:
                self.not_a_field(token, schema, path)
        self.around.pop()

    def report_missing(self, parsed: ParsedMessage, path: str) -> None:
        """Report required fields that are not there, in a block and in those inside."""
        for known in messages()[parsed.type].fields.values():
            written = parsed.fields.get(known.name)
            inner = f"{path}.{known.name}" if path else known.name
            if known.required and written is None:
                message = f"the required field {known.name!r} is missing"
                self.report(parsed, path, message, allowed=_allowed(parsed, known))
            for index, value in enumerate(written or ()):
                if isinstance(value, ParsedMessage):
                    self.report_missing(value, f"{inner}[{index}]" if known.repeated else inner)

    def at_end_of_block(self, schema: Message, path: str, opener: Token | None) -> bool:
        token = self.stream.peek()
        if token.kind == "end":
            self.skip(opener, path)
            return True
        if opener is None:
            return False
        closer = CLOSERS[opener.text]
        if token.kind == "mark" and token.text in "}>":
            if token.text != closer:
                message = f"{token.text!r} closes the {opener.text!r} of line {opener.line}"
                self.report(token, path, message, allowed=repr(closer))
            self.stream.next()
            return True
        elsewhere = token.kind == "word" and token.text not in schema.fields
        if self.unclosed > 0 and elsewhere and any(token.text in outer.fields for outer in self.around[:-1]):
            self.unclosed -= 1
            message = f"this {opener.text!r} is not closed before {token.text!r} in line {token.line}"
            self.report(opener, path, message, allowed=repr(closer))
            return True
        return False

    def not_a_field(self, token: Token, schema: Message, path: str) -> None:
        message = f"a field's name is expected here, not {format_token(token)}"
        if token.kind == "open_string":
            message = f"the string {format_token(token)} has no closing quote"
        elif token.kind == "mark" and token.text in "}>]":
            message = f"{token.text!r} closes nothing"
        elif token.kind == "mark" and token.text in ",;":
            message = f"{token.text!r} follows no value"
        self.report(token, path, message, allowed=f"a field of {schema.name}", hint=_quotes_hint(token))
        if token.text in ("{", "<"):
            self.skip(token if self.stream.skip_block() else None)
        elif token.kind != "mark" or token.text == ":":
            self.stream.skip_to_field()

    def field(self, name: Token, parsed: ParsedMessage, schema: Message, path: str) -> None:
        known = schema.fields.get(name.text)
        inner = f"{path}.{name.text[:80]}" if path else name.text[:80]
        if known is None:
            self.unknown_field(name, schema, inner)
            self.skip_after_name()
        elif known.repeated:
            self.elements(name, known, parsed, inner)
        else:
            self.colon(name, known, inner)
            self.replace_earlier(name, known, parsed, schema)
            self.value(known, parsed, inner, name)

    def unknown_field(self, name: Token, schema: Message, path: str) -> None:
        message, hint = f"{schema.name} has no field {format_token(name)}", None
        if not self.problems.full:
            owners = [owner.name for owner in messages().values() if name.text in owner.fields]
            hint = f"it is a field of {' and '.join(owners)}" if owners else did_you_mean(name.text, schema.fields)
            hint = DEPRECATED.get(name.text, hint)
        self.report(name, path, message, allowed=", ".join(schema.fields), hint=hint)

    def replace_earlier(self, name: Token, known: Field, parsed: ParsedMessage, schema: Message) -> None:
        """Warn of a field, or another of its oneof, that was written before; a scalar and the other one are dropped."""
        for other in schema.fields.values():
            same = other.name == known.name
            if not (same or (known.oneof and other.oneof == known.oneof)) or not parsed.fields.get(other.name):
                continue
            earlier = parsed.fields[other.name][0]
            what = f"{name.text!r} is written twice" if same else f"{name.text!r} and {other.name!r} exclude each other"
            effect = "both are merged" if same and known.kind == "message" else "the last one counts"
            here = self.source.at(name.line, name.column)
            self.warnings.append(f"{here}{what}, first in line {earlier.line}, column {earlier.column}: {effect}")
            if not (same and known.kind == "message"):
                del parsed.fields[other.name]

    def elements(self, name: Token, known: Field, parsed: ParsedMessage, path: str) -> None:
        """One element of a repeated field, or a list of them in square brackets."""
        values = parsed.fields.setdefault(known.name, [])
        self.colon(name, known, path)
        opener = self.stream.peek()
        if not self.stream.take("["):
            self.value(known, parsed, f"{path}[{len(values)}]", name)
            return
        if self.stream.take("]"):
            return
        while self.value(known, parsed, f"{path}[{len(values)}]", None):
            token = self.stream.peek()
            if self.stream.take("]"):
                return
            if self.stream.take(","):
                continue
            if self.stream.at_end_of_value() or self.stream.at_field():
                break
            self.report(
                token,
                path,
                f"a comma is missing between two elements, found {format_token(token)}",
                allowed="',' or ']'",
            )
        if not self.stream.take("]"):
            self.report(opener, path, "this '[' is never closed", allowed="']'")

    def colon(self, name: Token, known: Field, path: str) -> None:
        token = self.stream.peek()
        if self.stream.take(":"):
            return
        if self.stream.take("="):
            self.report(token, path, f"'=' after {name.text!r}", allowed="':'")
        elif known.kind != "message" and token.text not in CLOSERS:
            self.report(token, path, f"a colon is missing after {name.text!r}", allowed="':'")

    def value(self, known: Field, parsed: ParsedMessage, path: str, name: Token | None) -> bool:
        """Read one value into the tree; False where there is none. ``name`` is None inside a list."""
        values = parsed.fields.setdefault(known.name, [])
        token = self.stream.peek()
        allowed = _allowed(parsed, known)
        if self.stream.at_end_of_value() or self.stream.at_field():
            self.report(name or token, path, f"the value of {known.name!r} is missing", allowed=allowed)
            return False
        block = token.text in ("{", "<")
        if known.kind == "message" and block:
            first = values[0] if values and not known.repeated else None
            inner = first if isinstance(first, ParsedMessage) else ParsedMessage(known.type, token.line, token.column)
            values += [] if inner is first else [inner]
            self.message(inner, messages()[known.type], path, self.stream.next())
        elif known.kind == "message" or block or token.text == "[":
            expected = "is a block" if known.kind == "message" else "takes one value"
            given = {"[": "a list", "{": "a block", "<": "a block"}.get(token.text) or format_token(token)
            self.report(token, path, f"{known.name!r} {expected}, found {given}", allowed=allowed)
            self.skip(self.stream.skip_value())
        else:
            try:
                value = self.string() if known.kind == "string" else self.scalar(known)
                values.append(ParsedValue(value, token.line, token.column))
                if isinstance(value, int) and value > 7 and is_octal(token):
                    here = self.source.at(token.line, token.column)
                    self.warnings.append(f"{here}{format_token(token)} begins with 0 and is octal: {value}")
            except BadValueError as error:
                hint = _quotes_hint(token)
                if known.kind == "enum":
                    hint = did_you_mean(token.text.strip("\"'")[:40], [name for name, _ in known.members])
                self.report(token, path, str(error), allowed=allowed, hint=hint)
        return True

    def scalar(self, known: Field) -> bool | int | float | str:
        token = self.stream.peek()
        self.skip(self.stream.skip_value())
        if token.kind == "open_string":
            raise BadValueError(f"the string {format_token(token)} has no closing quote")
        if token.kind not in ("word", "number"):
            raise BadValueError(f"{format_token(token)} is not {allowed_by_type(known)}")
        return scalar(known, token)

    def string(self) -> str:
        """One string, or adjacent ones joined."""
        token = self.stream.peek()
        if token.kind not in ("string", "open_string"):
            line = token.line
            while self.stream.peek().line == line and not (self.stream.at_end_of_value() or self.stream.at_field()):
                self.stream.next()
            raise BadValueError(f"{format_token(token)} is not in quotes")
        pieces, wrong = [], None
        while self.stream.peek().kind in ("string", "open_string"):
            token = self.stream.next()
            try:
                pieces.append(escaped_bytes(token))
            except BadValueError as error:
                wrong = wrong or error
            if token.kind == "open_string":
                break
        if wrong:
            raise wrong
        return decode(b"".join(pieces))

    def skip_after_name(self) -> None:
        """Skip what follows the name of a field that is not known."""
        _ = self.stream.take(":") or self.stream.take("=")
        if not (self.stream.at_end_of_value() or self.stream.at_field()):
            self.skip(self.stream.skip_value())

    def skip(self, unclosed: Token | None, path: str = "") -> None:
        """Report a bracket that is never closed, if there is one."""
        if unclosed:
            self.report(unclosed, path, f"this {unclosed.text!r} is never closed", allowed=repr(CLOSERS[unclosed.text]))


def _allowed(parsed: ParsedMessage, known: Field) -> str:
    return allowed_text(parsed.type, known.name) or allowed_by_type(known)


def _quotes_hint(token: Token) -> str | None:
    if token.text.translate(_PLAIN_QUOTES) != token.text:
        return "use the plain quotes \" or '"
    return None
