"""Calls of the original tool that are not here: each can be imported, and answers with one error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from calibrant.errors import ConfigError, Problem


def _outside(name: str, what: str, instead: str) -> Callable[..., NoReturn]:
    def call(*arguments: Any, **options: Any) -> NoReturn:
        raise ConfigError(Problem(f"{name} is not here: {what} is outside what calibrant does", hint=instead))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Raises ConfigError: {what} is outside what calibrant does; {instead}."
    return call


_TRAINED = "train with another tool that writes FakeQuantWithMinMaxVars nodes, and give its graph to convert_qat_model"
_PRUNED = "prune and retrain with another tool, and quantize the frozen graph of the pruned network"
_DECOMPOSED = "quantize the network as it is"

create_quant_retrain_config = _outside("create_quant_retrain_config", "quantization-aware training", _TRAINED)
create_quant_retrain_model = _outside("create_quant_retrain_model", "quantization-aware training", _TRAINED)
save_quant_retrain_model = _outside("save_quant_retrain_model", "quantization-aware training", _TRAINED)
restore_quant_retrain_model = _outside("restore_quant_retrain_model", "quantization-aware training", _TRAINED)
create_prune_retrain_model = _outside("create_prune_retrain_model", "pruning", _PRUNED)
save_prune_retrain_model = _outside("save_prune_retrain_model", "pruning", _PRUNED)
restore_prune_retrain_model = _outside("restore_prune_retrain_model", "pruning", _PRUNED)
auto_channel_prune_search = _outside("auto_channel_prune_search", "pruning", _PRUNED)
create_compressed_retrain_model = _outside("create_compressed_retrain_model", "pruning with training", _PRUNED)
save_compressed_retrain_model = _outside("save_compressed_retrain_model", "pruning with training", _PRUNED)
restore_compressed_retrain_model = _outside("restore_compressed_retrain_model", "pruning with training", _PRUNED)
auto_decomposition = _outside("auto_decomposition", "tensor decomposition", _DECOMPOSED)
decompose_graph = _outside("decompose_graph", "tensor decomposition", _DECOMPOSED)
perf_based_auto_calibration = _outside(
    "perf_based_auto_calibration", "measuring on a board", "accuracy_based_auto_calibration looks at the accuracy"
)
create_approximation_config = _outside(
    "create_approximation_config", "calibrated approximation", "leave its layers out; they stay in float"
)
add_dump_operations = _outside(
    "add_dump_operations", "dumping tensors of training graphs", "fetch the tensors by name in a session"
)
create_quant_config_ascend = _outside(
    "create_quant_config_ascend",
    "calibrating on the device",
    "call create_quant_config, which takes the same arguments",
)
quantize_model_ascend = _outside(
    "quantize_model_ascend",
    "calibrating on the device",
    "call quantize_model, which changes the graph in place, and run the graph's own outputs",
)
save_model_ascend = _outside(
    "save_model_ascend", "calibrating on the device", "call save_model, which takes the same arguments"
)
accuracy_based_auto_calibration_ascend = _outside(
    "accuracy_based_auto_calibration_ascend",
    "calibrating on the device",
    "call accuracy_based_auto_calibration, which takes the same arguments",
)
