"""Tables and progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from calibrant.cli.folded import folded
from calibrant.report.short_name import middle_cut

PLAIN_EVERY_SECONDS = 5.0
WIDE = 240
LEAST_NAME = 24
LEAST_TEXT = 21
LEAST_PREFIX = 16
NAMES = ("layer", "node", "layers")
"""Columns of names: those of the first of them that a table has tell how all begin."""
SHARED = "…/"
"""Stands for what all names begin with."""
_KEPT = "\0"
"""A blank at which a line is not folded."""


def console() -> Console:
    """Standard output; wide where it is not a terminal, so that tables are not cut for readers that are files."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=WIDE, color_system=None)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], whole_names: bool = False) -> None:
    """Print one table, the most important columns first; numbers are aligned to the right.

    Where it is too wide for the terminal, names in the first column lose their middle, or are folded if ``whole_names``
    is set; then the last columns go. What all names begin with is said once.
    """
    cells = [[cell(value) for value in row] for row in rows]
    prefix = _shared_prefix(columns, cells)
    if prefix:
        cells = [[_shortened(text, prefix) for text in row] for row in cells]
    output = console()
    count, widest = _fitting([columns, *cells], output.width)
    shown = Table(show_edge=False, pad_edge=False, box=None)
    for position, column in enumerate(columns[:count]):
        numeric = cells and all(_is_number(row[position]) for row in cells)
        shown.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            header_style="bold",
            width=widest if position == 0 else None,
        )
    for row in cells:
        first = folded(row[0]) if whole_names else Text(middle_cut(row[0], widest))
        shown.add_row(first, *map(folded, row[1:count]))
    with output.capture() as captured:
        output.print(title, style="bold", markup=False)
        if prefix:
            output.print(f"{SHARED} stands for {prefix}", style="dim", markup=False, soft_wrap=True)
        output.print(shown)
    for printed in captured.get().splitlines():
        click.echo(printed.rstrip())
    if count < len(columns):
        output.print(f"({', '.join(columns[count:])}: in a wider terminal, or --json)", style="dim")


def _shared_prefix(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """What all names of a table begin with, up to a slash; empty where that is short, or there is one name."""
    column = next((at for at, title in enumerate(columns) if title in NAMES), None)
    if column is None:
        return ""
    names = {name for row in cells for name in row[column].split(", ") if name}
    common = os.path.commonprefix(list(names))
    prefix = common[: common.rfind("/") + 1]
    return prefix if len(names) > 1 and len(prefix) >= LEAST_PREFIX else ""


def _shortened(names: str, prefix: str) -> str:
    return ", ".join(
        SHARED + name.removeprefix(prefix) if name.startswith(prefix) else name for name in names.split(", ")
    )


def line(text: str) -> None:
    """Print one line; on a terminal, folded at its words, of which none is torn."""
    if sys.stdout.isatty():
        text = textwrap.fill(
            text, console().width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    click.echo(text.replace(_KEPT, " "))


def listed(head: str, parts: Iterable[str]) -> None:
    """Print ``head: part, part`` as :func:`line` does, with no fold inside of a part."""
    line(f"{head}: " + ", ".join(part.replace(" ", _KEPT) for part in parts))


def _fitting(rows: Sequence[Sequence[str]], width: int) -> tuple[int, int]:
    """How many columns fit, and the width of the first one; long text in other columns is folded."""
    natural = [max(map(len, column)) for column in zip(*rows, strict=True)]
    least = [min(natural[0], LEAST_NAME), *(min(size, LEAST_TEXT) for size in natural[1:])]
    count = len(natural)
    while count > 2 and sum(least[:count]) + 2 * (count - 1) > width:
        count -= 1
    others = sum(natural[1:count])
    if others + LEAST_NAME + 2 * (count - 1) > width:
        others = sum(min(size, LEAST_TEXT) for size in natural[1:count])
    others += 2 * (count - 1)
    return count, min(natural[0], max(LEAST_NAME, width - others))


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def decibels(value: float | None) -> str | None:
    """A ratio as tables show it."""
    return None if value is None else f"{value:.1f}"


def _is_number(text: str) -> bool:
    return text == "-" or text.lstrip("+-").replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()


def tracker(quiet: bool) -> Any:
    """A ``Track`` for this run: a bar with rate and time left on a terminal, a line now and then elsewhere."""
    if quiet:
        return _silent
    return _bar if sys.stderr.isatty() else _lines


def _silent(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
    yield from items


def _bar(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        rate,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, rate="")
        start = time.perf_counter()
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, advance=1, rate=f"{done / (time.perf_counter() - start):.2f}/s")


def _lines(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
    start = last = time.perf_counter()
    done = shown = 0
    for item in items:
        yield item
        done += 1
        now = time.perf_counter()
        if now - last >= PLAIN_EVERY_SECONDS and done != total:
            last, shown = now, done
            click.echo(_progress_line(description, done, total, now - start), err=True)
    if done != shown:
        click.echo(_progress_line(description, done, total, time.perf_counter() - start), err=True)


def _progress_line(description: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / rate:.0f} s left" if total and rate and total > done else ""
    return f"{description}: {done}{f'/{total}' if total else ''} batches, {rate:.2f}/s, {seconds:.1f} s{left}"
