"""The rules applied to a configuration, whether it was read from a file or made in Python. No graph is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from calibrant.config.graph_info import BALANCED_TYPES, BALANCED_WORDS, CHANNEL_TYPES, FEW_BIT_TYPES
from calibrant.config.model import CalibrationConfig, Configuration, FMRQuantize, HFMGQuantize
from calibrant.config.rules import RULES, UNIQUE, Rule, allowed_text, default_of
from calibrant.config.schema import ROOT, Field, messages
from calibrant.config.values import UINT32_MAX
from calibrant.errors import Problem, did_you_mean

_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "uint32": int,
    "float": (int, float),
    "string": str,
    "enum": str,
}


@dataclass(frozen=True)
class Written:
    """A block of a configuration with the name of its message and its path."""

    message: str
    path: str
    value: Any


def rule_problems(configuration: Configuration) -> Iterator[Problem]:
    """Every value that breaks a rule of its field, and every pair of values that do not go together."""
    for block in blocks(configuration):
        if configuration.source is None:
            yield from _structure_problems(configuration, block)
        yield from _field_problems(configuration, block)
        yield from _unique_problems(configuration, block)
        if isinstance(block.value, FMRQuantize):
            yield from _range_problems(configuration, block)
        elif block.message == "OverrideLayerType":
            yield from _type_problems(configuration, block)
        elif block.message == "TensorQuantize":
            yield from _tensor_type_problems(configuration, block)


def blocks(configuration: Configuration) -> Iterator[Written]:
    """Every block of the configuration, the whole first."""
    waiting = [Written(ROOT, "", configuration)]
    while waiting:
        block = waiting.pop()
        yield block
        for field in messages()[block.message].fields.values():
            if field.kind == "message":
                waiting += [Written(field.type, path, value) for path, value in elements(block, field)]


def elements(block: Written, field: Field) -> list[tuple[str, Any]]:
    """The values of one field of a block, each with its path; none where it is not written."""
    value = getattr(block.value, field.name)
    path = f"{block.path}.{field.name}" if block.path else field.name
    if field.repeated:
        return [(f"{path}[{index}]", element) for index, element in enumerate(value)]
    return [] if value is None else [(path, value)]


def _structure_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    """What the parser reports for a text, for a configuration that was made in Python."""
    chosen: dict[str, str] = {}
    for field in messages()[block.message].fields.values():
        path = f"{block.path}.{field.name}" if block.path else field.name
        written = getattr(block.value, field.name) is not None
        if field.required and not written:
            yield configuration.problem(path, f"the required field {field.name!r} is missing")
        elif field.oneof and written:
            other = chosen.setdefault(field.oneof, field.name)
            if other != field.name:
                message = f"{field.name!r} and {other!r} exclude each other"
                yield configuration.problem(path, message, allowed="one of them")


def _field_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    for field in messages()[block.message].fields.values():
        rule = RULES.get((block.message, field.name))
        if rule is None:
            continue
        allowed = rule.allowed
        for path, value in elements(block, field):
            if not _has_type(value, field):
                yield configuration.problem(path, f"{str(value)[:80]!r} is not a {field.kind}", allowed=allowed)
            elif not rule.allows(value):
                yield configuration.problem(path, _found(value, rule), allowed=allowed, hint=_hint(value, rule))


def _has_type(value: Any, field: Field) -> bool:
    if isinstance(value, bool) != (field.kind == "bool") or not isinstance(value, _PYTHON_TYPES[field.kind]):
        return False
    if isinstance(value, (int, float)):
        return 0 <= value <= UINT32_MAX if field.kind == "uint32" else field.kind != "float" or value - value == 0
    return True


def _found(value: Any, rule: Rule) -> str:
    if value == "":
        return "the name is empty"
    if rule.choices:
        return f"{str(value)[:80]!r} is not a quantizable type"
    return f"{value!r} is not allowed"


def _hint(value: Any, rule: Rule) -> str | None:
    return did_you_mean(value[:80], rule.choices) if rule.choices else None


def _unique_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    for field in messages()[block.message].fields.values():
        key = UNIQUE.get((block.message, field.name), "")
        first: dict[str, str] = {}
        for path, element in elements(block, field) if key != "" else ():
            name = getattr(element, key) if key else element
            if key:
                path = f"{path}.{key}"
            if name is None:
                continue
            if name not in first:
                first[name] = path
                continue
            line = configuration.line_of(first[name])
            where = f", first in line {line}" if line else ""
            hint = _replaced(configuration, first[name].removesuffix(f".{key}"), name) if key else None
            yield configuration.problem(path, f"{name!r} occurs twice{where}", allowed="each name once", hint=hint)


def _replaced(configuration: Configuration, earlier: str, name: str) -> str:
    line = configuration.line_of(earlier)
    where = "" if line is None else f" (line {line})"
    return f"keep one entry for {name!r}: to use this one, put it in the place of {earlier}{where}"


def _range_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    """search_range_start < search_range_end, search_step <= their difference; in decimal, as they were written."""
    names = ("search_range_start", "search_range_end", "search_step")
    written = {name: getattr(block.value, name) for name in names}
    rules = {name: RULES["FMRQuantize", name] for name in names}
    for name, value in written.items():
        field = messages()["FMRQuantize"].fields[name]
        if value is not None and not (_has_type(value, field) and rules[name].allows(value)):
            return
    start, end, step = (Decimal(str(rules[n].default if written[n] is None else written[n])) for n in names)

    def shown(name: str, value: Decimal) -> str:
        return f"{name} {value}" + (" (its default)" if written[name] is None else "")

    if start >= end:
        name, other = names[:2] if written["search_range_start"] is not None else (names[1], names[0])
        own, others = (start, end) if name == "search_range_start" else (end, start)
        comparison = "not below" if name == "search_range_start" else "not above"
        message = f"{own} is {comparison} {shown(other, others)}"
    elif step > end - start:
        name = next(n for n in (names[2], *names) if written[n] is not None)
        message = f"{shown('search_step', step)} is larger than {end - start}, the width of {start} … {end}"
    else:
        return
    yield configuration.problem(f"{block.path}.{name}", message, allowed=allowed_text("FMRQuantize", name))


def _type_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    layer_type, settings = block.value.layer_type, block.value.calibration_config
    if (block.message, "layer_type") in RULES and RULES[block.message, "layer_type"].allows(layer_type) and settings:
        path = f"{block.path}.calibration_config"
        has_channels = layer_type in CHANNEL_TYPES
        yield from weight_problems(configuration, path, settings, layer_type, has_channels, layer_type)
        yield from balancer_problems(configuration, path, settings, layer_type in BALANCED_TYPES, layer_type)


def _tensor_type_problems(configuration: Configuration, block: Written) -> Iterator[Problem]:
    for name in ("ifmr_quantize", "hfmg_quantize"):
        activation = getattr(block.value, name)
        if isinstance(activation, (FMRQuantize, HFMGQuantize)) and activation.is_wide:
            message = "16 bits are for what layers with weights read, and this is an input of a MaxPool or Add"
            yield configuration.problem(f"{block.path}.{name}.dst_type", message, allowed="INT8")


def weight_problems(
    configuration: Configuration, path: str, settings: CalibrationConfig, type: str, has_channels: bool, what: str
) -> Iterator[Problem]:
    """Settings of weights that an override must not make for this type of layer.

    Parameters
    ----------
    path : str
        Path of ``settings`` in the configuration.
    settings : CalibrationConfig
        The settings of the override.
    type : str
        Operator of the overridden layers.
    has_channels : bool
        Whether the overridden layers have output channels.
    what : str
        What the message calls these layers.
    """
    weights = settings.arq_quantize
    if weights is None:
        return
    if weights.channel_wise and not has_channels:
        message = f"{what} has no channels, so its weights cannot be quantized channel-wise"
        yield configuration.problem(f"{path}.arq_quantize.channel_wise", message, allowed="false")
    if weights.quant_bits in (6, 7) and type not in FEW_BIT_TYPES:
        message = f"{weights.quant_bits} bits are for {' and '.join(FEW_BIT_TYPES)} only, and this is {what}"
        default = default_of("ARQuantize", "quant_bits")
        yield configuration.problem(f"{path}.arq_quantize.quant_bits", message, allowed=str(default))


def balancer_problems(
    configuration: Configuration, path: str, settings: CalibrationConfig, can_be_balanced: bool, what: str
) -> Iterator[Problem]:
    """A balancer in an override of layers that it does not act on; parameters as of `weight_problems`."""
    if settings.dmq_balancer is not None and not can_be_balanced:
        yield configuration.problem(
            f"{path}.dmq_balancer",
            f"the balancer does not act on {what}",
            allowed=BALANCED_WORDS,
            hint="leave dmq_balancer out of this entry",
        )
