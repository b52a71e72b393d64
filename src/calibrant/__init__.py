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
    from calibrant.config.model import Configuration
    from calibrant.config.rows import PlanRow
    from calibrant.config_check import ConfigCheck, check_config
    from calibrant.data.images import ImageOptions
    from calibrant.data.options import DataOptions
    from calibrant.data.tfrecords import TFRecords
    from calibrant.distributed import merge, observe
    from calibrant.evaluation.candidate import Mutation
    from calibrant.evaluation.evaluate import evaluate
    from calibrant.evaluation.golden import golden
    from calibrant.evaluation.score import Score
    from calibrant.evaluation.tune import Tuned, tune
    from calibrant.evaluation.verification import Limits, Verification
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
    "Configuration",
    "DataError",
    "DataOptions",
    "DependencyError",
    "ExportOptions",
    "ImageOptions",
    "Limits",
    "ModelError",
    "ModelOptions",
    "Mutation",
    "OutputError",
    "PlanRow",
    "Problem",
    "Result",
    "Score",
    "TFRecords",
    "Tuned",
    "Verification",
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
    "Configuration": "calibrant.config.model",
    "DataOptions": "calibrant.data.options",
    "ExportOptions": "calibrant.options",
    "ImageOptions": "calibrant.data.images",
    "Limits": "calibrant.evaluation.verification",
    "ModelOptions": "calibrant.options",
    "Mutation": "calibrant.evaluation.candidate",
    "PlanRow": "calibrant.config.rows",
    "Result": "calibrant.result",
    "Score": "calibrant.evaluation.score",
    "TFRecords": "calibrant.data.tfrecords",
    "Tuned": "calibrant.evaluation.tune",
    "Verification": "calibrant.evaluation.verification",
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
