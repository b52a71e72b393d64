"""Tables and progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PLAIN_EVERY_SECONDS = 5.0
WIDE = 240


def console() -> Console:
    """Standard output; wide where it is not a terminal, so that tables are not cut for readers that are files."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=WIDE, color_system=None)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print one table; numbers are aligned to the right."""
    rows = [[cell(value) for value in row] for row in rows]
    shown = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False, box=None)
    for position, column in enumerate(columns):
        numeric = rows and all(_is_number(row[position]) for row in rows)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold", header_style="bold")
    for row in rows:
        shown.add_row(*row)
    console().print(shown)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("[", "\\[")


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
