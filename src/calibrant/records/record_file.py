"""The record file: protobuf text with the quantization parameters of every layer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import Message

from calibrant.errors import ConfigError, Problem, did_you_mean, first_problems, shortened
from calibrant.records.layer_record import LayerRecord
from calibrant.records.record_places import EntryPlaces, entry_places
from calibrant.records.record_pruning import without_pruning
from calibrant.records.record_rules import Finding, entry_findings
from calibrant.records.record_schema import record_message
from calibrant.text_source import Source, read_source

SIZE_LIMIT = 32 << 20
_MOST_PROBLEMS = 100
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')


def read_records(path: str | os.PathLike[str]) -> dict[str, LayerRecord]:
    """Read a record file.

    Returns
    -------
    dict[str, LayerRecord]
        The records by layer name (``layer:input_index`` for tensor_quantize), in the order of the file. Whether
        a graph has these layers is not checked.

    Raises
    ------
    ConfigError
        The file cannot be read, does not parse (the first place), has no entry, has a layer twice, or has values that
        are not allowed (every such place).
    """
    file = read_source(path, "record file", SIZE_LIMIT)
    entries = _parse(file).record
    if not entries:
        raise ConfigError(file.problem("the record file has no record", allowed="record { key: … value { … } }"))
    findings = list(_findings(entries))
    if findings:
        raise ConfigError(*_problems(file, findings))
    return {entry.key: _layer_record(entry.value) for entry in entries}


def write_records(records: Mapping[str, LayerRecord]) -> str:
    """The text of a record file, entries in the order of the mapping.

    A float is written as the shortest decimal that reads back as the same float32. Fields with their default value are
    left out, except offset_d next to a scale_d and offset_w next to each scale_w.

    Examples
    --------
    >>> print(write_records({"fc": LayerRecord(scale_d=0.1, offset_d=-128, scale_w=(0.02,))}))
    record {
      key: "fc"
      value {
        scale_d: 0.1
        offset_d: -128
        scale_w: 0.02
        offset_w: 0
      }
    }
    <BLANKLINE>
    """
    lines: list[str] = []
    for name, record in records.items():
        lines += ["record {", f"  key: {_quoted(name)}", "  value {"]
        lines += [f"    {field}: {value}" for field, value in _written_fields(record)]
        lines += ["  }", "}"]
    return "\n".join(lines) + "\n" if lines else ""


def _written_fields(record: LayerRecord) -> Iterator[tuple[str, str | int]]:
    default = LayerRecord()
    if record.scale_d is not None:
        yield "scale_d", _decimal(record.scale_d)
        yield "offset_d", int(record.offset_d)
    yield from (("scale_w", _decimal(value)) for value in record.scale_w)
    yield from (("offset_w", 0) for _ in record.scale_w)
    yield from (("shift_bit", int(value)) for value in record.shift_bit)
    yield from (("cluster", int(value)) for value in record.cluster)
    if record.skip_fusion:
        yield "skip_fusion", "true"
    if record.dst_type != default.dst_type:
        yield "dst_type", _quoted(record.dst_type)
    yield from (("tensor_balance_factor", _decimal(value)) for value in record.tensor_balance_factor)
    for field in ("act_type", "wts_type"):
        if getattr(record, field) != getattr(default, field):
            yield field, _quoted(getattr(record, field))


def _decimal(value: float) -> str:
    return str(np.float32(value))


def _quoted(text: str) -> str:
    """A string literal; quotes and backslashes are escaped, unprintable characters written in octal."""
    escaped = "".join(
        "\\" + character if character in '"\\' else character if character.isprintable() else _octal(character)
        for character in text
    )
    return f'"{escaped}"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8"))


def _parse(file: Source) -> Message:
    try:
        return text_format.Parse(without_pruning(file.text), record_message()())
    except text_format.ParseError as error:
        raise ConfigError(_syntax_problem(file, error)) from None


def _syntax_problem(file: Source, error: text_format.ParseError) -> Problem:
    place = (error.GetLine() or 1, error.GetColumn() or 1)
    # Remove the start, which a Problem shows itself: "line:column : 'text of the line': ".
    message = shortened(re.sub(r"^\d+:\d+ : ('.*': (?=[A-Z]))?", "", str(error), flags=re.DOTALL), 300)
    unknown = _UNKNOWN_FIELD.search(message)
    if not unknown:
        return file.problem(message, *place)
    message_name, field = unknown.groups()
    descriptor = record_message().DESCRIPTOR.file.pool.FindMessageTypeByName(message_name)
    names = [each.name for each in descriptor.fields]
    return file.problem(f"unknown field {field!r}", *place, allowed=", ".join(names), hint=did_you_mean(field, names))


def _findings(entries: list[Message]) -> Iterator[tuple[int, Finding]]:
    first_of: dict[str, int] = {}
    for number, entry in enumerate(entries):
        for finding in entry_findings(entry):
            yield number, finding
        if entry.key and first_of.setdefault(entry.key, number) != number:
            yield number, Finding("key", f"a second record of {entry.key!r}", "one record a layer")


def _problems(file: Source, findings: list[tuple[int, Finding]]) -> tuple[Problem, ...]:
    places: list[EntryPlaces] = entry_places(file.text)
    problems = [
        file.problem(
            finding.message,
            *(places[number].of(finding.field, finding.index or 0, finding.count) or ()),
            path=f"record[{number}].{finding.path}",
            allowed=finding.allowed,
        )
        for number, finding in findings[:_MOST_PROBLEMS]
    ]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    return first_problems(problems, _MOST_PROBLEMS, len(findings))


def _layer_record(value: Message) -> LayerRecord:
    return LayerRecord(
        scale_d=value.scale_d if value.HasField("scale_d") else None,
        offset_d=value.offset_d,
        scale_w=tuple(value.scale_w),
        shift_bit=tuple(value.shift_bit),
        cluster=tuple(sorted(value.cluster)),
        skip_fusion=value.skip_fusion,
        dst_type=value.dst_type,
        tensor_balance_factor=tuple(value.tensor_balance_factor),
        act_type=value.act_type,
        wts_type=value.wts_type,
    )
