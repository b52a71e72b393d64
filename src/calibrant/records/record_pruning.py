"""The fields of pruning in a record file, which quantization ignores: ``prune_producer`` and ``prune_consumer``."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | [\w.+-]+ | [{}<>\[\]:] | \S""", re.VERBOSE
)
_SEPARATOR = re.compile(r"\s*[,;]")
_FIELDS = ("prune_producer", "prune_consumer")


def without_pruning(text: str) -> str:
    """The text with blanks in place of these fields and their values of any kind, so that the rest keeps its place."""
    if not any(field in text for field in _FIELDS):
        return text
    kept, end, name_seen, depth = [], 0, False, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.startswith("#"):
            continue
        if not name_seen:
            if token in _FIELDS:
                kept.append(text[end : match.start()])
                end, name_seen = match.start(), True
            continue
        if token == ":" and depth == 0:
            continue
        depth += (token in "{<[") - (token in "}>]")
        if depth == 0:
            stop = (_SEPARATOR.match(text, match.end()) or match).end()
            kept.append(re.sub(r"[^\n]", " ", text[end:stop]))
            end, name_seen = stop, False
    return "".join([*kept, text[end:]])
