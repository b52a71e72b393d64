"""Line and column of a record file's entries and fields, for problems.

``google.protobuf.text_format`` keeps no positions. The text has already been parsed without an error, so it is enough
to look at words and brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | (?P<token>[\w.+-]+|[{}<>:]) | (?P<end>\n)""", re.VERBOSE
)
_Place = tuple[int, int]


@dataclass
class EntryPlaces:
    """Places (line, column), counted from 1, of one entry and of its fields' names."""

    start: _Place
    fields: dict[str, list[_Place]] = field(default_factory=dict)

    def of(self, name: str, index: int = 0, count: int = 1) -> _Place:
        """The place of value ``index`` of the ``count`` values of a field; of the first value for a bracketed list, and
        of the entry for a field that is not written.
        """
        places = self.fields.get(name)
        if not places:
            return self.start
        return places[index] if len(places) == count else places[0]


def entry_places(text: str) -> list[EntryPlaces]:
    """The places of every entry, in the order of the text."""
    entries: list[EntryPlaces] = []
    line, line_start, depth, previous, name_place = 1, 0, 0, "", (1, 1)
    for match in _TOKEN.finditer(text):
        if match["end"]:
            line, line_start = line + 1, match.end()
            continue
        token, place = match["token"], (line, match.start() - line_start + 1)
        if token is None:
            previous = previous if match[0].startswith("#") else "string"
            continue
        if token in ("{", "<"):
            if depth == 0:
                entries.append(EntryPlaces(name_place if previous in ("record", ":") else place))
            depth += 1
        elif token in ("}", ">"):
            depth -= 1
        elif token != ":" and depth == 0:
            name_place = place
        elif token != ":" and previous != ":" and (token[0].isalpha() or token[0] == "_"):
            entries[-1].fields.setdefault(token, []).append(place)
        previous = token
    return entries
