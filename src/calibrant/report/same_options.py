"""The options with which a configuration gives the model of a run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibrant.report.option_words import option_words

_ABOUT_RUN = ("equalize", "round_weights", "bias_correction")
_ABOUT_DATA = ("batch_size", "shuffle", "shapes", "dtypes", "image_size", "image_options")


def same_options(options: Mapping[str, Any]) -> str:
    """The words of the command ``quantize``, beside model and data and what tells how the model is read.

    Parameters
    ----------
    options : Mapping[str, Any]
        Of the run, as ``report.json`` has them. Without ``equalize``, that was left to ``refine``. Of the exports only
        a ``.tflite`` counts, for which the weights of the whole model may be others.
    """
    run = {"refine": options.get("refine", False), **{name: options.get(name) for name in (*_ABOUT_RUN, *_ABOUT_DATA)}}
    lite = {name: value for name, value in options.items() if name.startswith("tflite_")}
    exports = {"export": "tflite", **lite} if "tflite" in options.get("export", ()) else {}
    return " ".join(filter(None, (option_words(run), option_words(exports))))
