"""Whether the calibration data are enough, as plain values and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calibrant.quantized_network import RangeMove

MUCH_DB = 1.0
"""Loss of a tensor from which more data would have helped."""
FEW_TENSORS_SHARE = 0.02
"""Share of the tensors that may lose more without a word, of SOME or more one in any case if it loses no GREAT_DB."""
SOME = 4
GREAT_DB = 6.0


def data_check_rows(moves: Sequence[RangeMove] | None, repeated: str | None = None) -> dict[str, Any] | None:
    """Verdict, sentence and a row per quantized input, the largest loss first; None where it was not measured.

    Parameters
    ----------
    moves : Sequence[RangeMove] | None
        How far each range moved.
    repeated : str | None
        That most samples are copies, in words: then the data are not enough, though half of them give the same ranges.
    """
    if not moves:
        return None
    losing = [row for row in moves if row.loss_db >= MUCH_DB]
    one_may = len(moves) >= SOME and all(row.loss_db < GREAT_DB for row in losing)
    enough = repeated is None and len(losing) <= max(1 if one_may else 0, FEW_TENSORS_SHARE * len(moves))
    worst = max(row.moved for row in moves)
    verdict = "Enough data" if enough else "More data would help"
    copies = f"{repeated}, and " if repeated is not None else ""
    sentence = f"{verdict}: {copies}with half of them {len(losing)} of {len(moves)} ranges would be worse"
    sentence = f"{sentence} by {MUCH_DB:g} dB; the largest move is {100 * worst:.1f} % of a range."
    if repeated is not None and not losing:
        sentence = f"{verdict}: {repeated}, so that it says nothing that half of them give nearly the same ranges."
    return {
        "enough": enough,
        "sentence": sentence,
        "rows": [
            {"layer": row.node, "index": row.index, "moved": round(row.moved, 5), "loss_db": round(row.loss_db, 3)}
            for row in moves
        ],
    }
