"""Config-driven INT8 post-training quantization for TensorFlow graphs.

TensorFlow is imported when the first model is read, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from calibrant.errors import (
    CalibrantError,
    ConfigError,
    DataError,
    DependencyError,
    ModelError,
    OutputError,
    Problem,
)

if TYPE_CHECKING:
    from calibrant.config import load_config
    from calibrant.data.images import ImageOptions
    from calibrant.data.tfrecords import TFRecords
    from calibrant.distributed import merge, observe
    from calibrant.evaluation.evaluate import evaluate
    from calibrant.evaluation.tune import tune
    from calibrant.evaluation.verify import verify
    from calibrant.quantization import quantize
    from calibrant.result import Result

    __version__: str

__all__ = [
    "CalibrantError",
    "ConfigError",
    "DataError",
    "DependencyError",
    "ImageOptions",
    "ModelError",
    "OutputError",
    "Problem",
    "Result",
    "TFRecords",
    "__version__",
    "evaluate",
    "load_config",
    "merge",
    "observe",
    "quantize",
    "tune",
    "verify",
]

_LAZY = {
    "ImageOptions": "calibrant.data.images",
    "Result": "calibrant.result",
    "TFRecords": "calibrant.data.tfrecords",
    "__version__": "calibrant.version",
    "evaluate": "calibrant.evaluation.evaluate",
    "load_config": "calibrant.config",
    "merge": "calibrant.distributed",
    "observe": "calibrant.distributed",
    "quantize": "calibrant.quantization",
    "tune": "calibrant.evaluation.tune",
    "verify": "calibrant.evaluation.verify",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'calibrant' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
