"""Config-driven INT8 post-training quantization for TensorFlow graphs.

TensorFlow is imported when the first model is read, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import calibrant.forks  # noqa: F401 - looks before each fork whether TensorFlow runs
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
    from calibrant.config_check import ConfigCheck, check_config
    from calibrant.data.images import ImageOptions
    from calibrant.data.options import DataOptions
    from calibrant.data.tfrecords import TFRecords
    from calibrant.distributed import merge, observe
    from calibrant.evaluation.evaluate import evaluate
    from calibrant.evaluation.golden import golden
    from calibrant.evaluation.tune import tune
    from calibrant.evaluation.verify import verify
    from calibrant.options import CalibrationOptions, ExportOptions, ModelOptions
    from calibrant.quantization import quantize
    from calibrant.result import Result

    __version__: str

__all__ = [
    "CalibrantError",
    "CalibrationOptions",
    "ConfigCheck",
    "ConfigError",
    "DataError",
    "DataOptions",
    "DependencyError",
    "ExportOptions",
    "ImageOptions",
    "ModelError",
    "ModelOptions",
    "OutputError",
    "Problem",
    "Result",
    "TFRecords",
    "__version__",
    "check_config",
    "evaluate",
    "golden",
    "load_config",
    "merge",
    "observe",
    "quantize",
    "tune",
    "verify",
]

_LAZY = {
    "CalibrationOptions": "calibrant.options",
    "ConfigCheck": "calibrant.config_check",
    "DataOptions": "calibrant.data.options",
    "ExportOptions": "calibrant.options",
    "ImageOptions": "calibrant.data.images",
    "ModelOptions": "calibrant.options",
    "Result": "calibrant.result",
    "TFRecords": "calibrant.data.tfrecords",
    "__version__": "calibrant.version",
    "check_config": "calibrant.config_check",
    "evaluate": "calibrant.evaluation.evaluate",
    "golden": "calibrant.evaluation.golden",
    "load_config": "calibrant.config",
    "merge": "calibrant.distributed",
    "observe": "calibrant.distributed",
    "quantize": "calibrant.quantization",
    "tune": "calibrant.evaluation.tune",
    "verify": "calibrant.evaluation.verify",
}


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'calibrant' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
