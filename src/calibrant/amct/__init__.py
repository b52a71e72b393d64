"""The interface of scripts written for ``amct_tensorflow``: the same calls, parameters, files and log lines.

``import calibrant.amct as amct_tensorflow`` in a script, or ``python -m calibrant.amct SCRIPT`` without changing it.
Importing this package imports TensorFlow and lets ``tf.import_graph_def`` take graphs with the Ascend operators.
"""

from typing import TYPE_CHECKING, Any

from calibrant.amct import outside
from calibrant.amct.common.auto_calibration import AutoCalibrationEvaluatorBase, GraphEvaluator
from calibrant.amct.conversion import convert_model, convert_qat_model, save_model
from calibrant.amct.loading import accept_ascend_operators
from calibrant.amct.log import set_logging_level
from calibrant.amct.missing import missing_call
from calibrant.amct.outside import (
    accuracy_based_auto_calibration_ascend,
    add_dump_operations,
    auto_channel_prune_search,
    auto_decomposition,
    create_approximation_config,
    create_compressed_retrain_model,
    create_prune_retrain_model,
    create_quant_config_ascend,
    create_quant_retrain_config,
    create_quant_retrain_model,
    decompose_graph,
    perf_based_auto_calibration,
    quantize_model_ascend,
    restore_compressed_retrain_model,
    restore_prune_retrain_model,
    restore_quant_retrain_model,
    save_compressed_retrain_model,
    save_model_ascend,
    save_prune_retrain_model,
    save_quant_retrain_model,
)
from calibrant.amct.quantization import (
    create_quant_config,
    quantize_model,
    quantize_preprocess,
    quantized_preprocess,
)

if TYPE_CHECKING:  # the module of that name is called like its function
    from calibrant.amct.accuracy_based_auto_calibration import accuracy_based_auto_calibration
else:
    from calibrant.amct import accuracy_based_auto_calibration

accept_ascend_operators()

__all__ = [
    "AutoCalibrationEvaluatorBase",
    "GraphEvaluator",
    "accuracy_based_auto_calibration",
    "accuracy_based_auto_calibration_ascend",
    "add_dump_operations",
    "auto_channel_prune_search",
    "auto_decomposition",
    "convert_model",
    "convert_qat_model",
    "create_approximation_config",
    "create_compressed_retrain_model",
    "create_prune_retrain_model",
    "create_quant_config",
    "create_quant_config_ascend",
    "create_quant_retrain_config",
    "create_quant_retrain_model",
    "decompose_graph",
    "perf_based_auto_calibration",
    "quantize_model",
    "quantize_model_ascend",
    "quantize_preprocess",
    "quantized_preprocess",
    "restore_compressed_retrain_model",
    "restore_prune_retrain_model",
    "restore_quant_retrain_model",
    "save_compressed_retrain_model",
    "save_model",
    "save_model_ascend",
    "save_prune_retrain_model",
    "save_quant_retrain_model",
    "set_logging_level",
]


def __getattr__(name: str) -> Any:
    raise missing_call(name, [call for call in __all__ if not hasattr(outside, call)])
