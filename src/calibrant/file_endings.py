"""What follows the prefix in the names of a result's files and folders."""

from __future__ import annotations

FAKEQUANT, FAKEQUANT_FOLDER = "_fakequant.pb", "_fakequant"
"""The fake-quantized model; the folder where it is too large for a file."""
EQUALIZED, EQUALIZED_FOLDER = "_equalized.pb", "_equalized"
NODE_MAP = "_quant.json"
NUQ_RECORD = "_nuq_record.txt"
BUDGET_CONFIG = "_budget.cfg"

ASCEND = "_quantized.pb"
SAVED_MODEL = "_saved_model"
TFLITE, SIMULATION, TFLITE_NODE_MAP = "_int8.tflite", "_int8_fakequant.pb", "_int8_quant.json"

QUANTIZED_GRAPHS = (FAKEQUANT, ASCEND)
"""How graphs end that were made of a model; a simulation does, too."""
