"""The extension module of ``native``: arrays are given as addresses."""

LAYOUT: tuple[int, int, int, int]

def add(
    bits: int,
    size: int,
    start: int,
    packed: int,
    first_key: int,
    lowest_fitting: int,
    highest_fitting: int,
    found: int,
    top: int,
    bottom: int,
) -> int: ...
def filled(
    packed: int, totals: int, size: int, first_key: int, codes: int, counts: int, sums: int, means: int
) -> int: ...
def sums_outwards(
    codes: int, counts: int, means: int, size: int, negative: bool, first_key: int, start: int, table: int
) -> None: ...
def spread_below(
    codes: int,
    counts: int,
    means: int,
    size: int,
    zeros: int,
    minimum: float,
    maximum: float,
    points: int,
    points_size: int,
    below: int,
) -> None: ...
def add_rows(rows: int, count: int, columns: int, sums: int) -> None: ...
def sums_between(
    values: int, first: int, second: int, samples: int, elements: int, edges: int, count: int, sums: int
) -> None: ...
def excess(count: int, scales: int, levels: int, table: int, first_key: int, sums: int) -> None: ...
def gains(candidates: int, scales: int, levels: int, table: int, first_key: int, result: int) -> None: ...
def gains_of_uniform_bins(
    candidates: int, scales: int, levels: int, table: int, bins: int, low: float, width: float, result: int
) -> None: ...
def greedy_walk(cumulated: int, bins: int, part: float, ranges: int) -> int: ...
def limit_forms(places: int) -> int: ...
