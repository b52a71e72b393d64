"""The options with which a configuration gives the model of a run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibrant.report.option_words import option_words

_ABOUT_DATA = ("batch_size", "shuffle", "shapes", "dtypes", "image_size", "image_options")


def same_options(options: Mapping[str, Any]) -> list[str]:
    """The words of the command ``quantize``, beside model and data and what tells how the model is read.

    Parameters
    ----------
    options : Mapping[str, Any]
        Of the run, as ``report.json`` has them. Without ``equalize``, that was left to ``refine``.
    """
    refine = {True: ["--refine"], False: ["--no-refine"]}.get(options.get("refine", False), [])
    equalize = {True: ["--equalize"], False: ["--no-equalize"]}.get(options.get("equalize", ""), [])
    data = option_words({name: options.get(name) for name in _ABOUT_DATA})
    return [
        *refine,
        *equalize,
        *(["--round-weights"] if options.get("round_weights") else []),
        *([] if options.get("bias_correction", True) else ["--no-bias-correction"]),
        *([data] if data else []),
    ]
