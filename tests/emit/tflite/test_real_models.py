"""Real networks as LiteRT files, held against their simulation and the fake-quantized model."""

from __future__ import annotations

import platform

import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.evaluation.verify import verify
from calibrant.records.mapping_file import read_mapping

KWS = "arm_kws/mfcc_w640_s320_d10.npz"
# name: model, inputs, calibration data, test data, least share within a step, and of the same top-1
CASES = {
    "resnet8": ("resnet8_cifar10/resnet8.pb", None, "resnet8_cifar10/cifar10_part.npz:x_calibration[:64]",
                "resnet8_cifar10/cifar10_part.npz:x_test", 0.99, 0.99),
    "ds_cnn": ("ds_cnn_kws/ds_cnn.pb", None, "ds_cnn_kws/mfcc.npz:x[:64]", "ds_cnn_kws/mfcc.npz:x[64:]", 0.99, 0.99),
    "DS_CNN_S": ("arm_kws/DS_CNN_S.pb", ["Mfcc:0"], f"{KWS}:x[:64]", f"{KWS}:x[64:464]", 0.99, 0.99),
    "CNN_S": ("arm_kws/CNN_S.pb", ["Mfcc:0"], f"{KWS}:x[:64]", f"{KWS}:x[64:464]", 0.99, 0.99),
    "DNN_S": ("arm_kws/DNN_S.pb", ["Mfcc:0"], "arm_kws/mfcc_w640_s640_d10.npz:x[:64]",
              "arm_kws/mfcc_w640_s640_d10.npz:x[64:464]", 0.99, 0.99),
    "kwt1": ("kwt1/kwt1.pb", None, "kwt1/features_98x40.npz:x[:64]", "kwt1/features_98x40.npz:x[64:164]", 0.99, 0.99),
}  # fmt: skip
NETWORKS_OF_CONVOLUTIONS = {"resnet8": 9, "ds_cnn": 9}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_real_networks_pass(name, shared, tmp_path):
    model, inputs, calibration, test, within, agreement = CASES[name]
    batches = 64 if model.startswith("arm_kws") else 4
    result = calibrant.quantize(
        shared / "real" / model,
        f"batch_num: {batches}",
        f"{shared / 'real' / calibration}",
        tmp_path / "out",
        inputs=inputs,
        export="tflite",
        name=name,
    )
    found = verify(tmp_path / "out", f"{shared / 'real' / test}")
    held = next(pair for pair in found.pairs if pair.passed is not None)
    assert held.share_within >= within
    assert held.agreement >= agreement
    mapping = read_mapping(tmp_path / "out" / f"{name}_int8_quant.json")
    named = [each for op in mapping.ops for each in op.original_names]
    assert all(named.count(layer.layer.name) == 1 for layer in result.network.layers)
    if platform.machine() == "x86_64":  # other processors have a softmax of their own
        assert held.share_equal == 1.0
    if name in NETWORKS_OF_CONVOLUTIONS:
        operators = list(File((tmp_path / "out" / f"{name}_int8.tflite").read_bytes()).operators())
        convolutions = [entry for entry in operators if entry.name in {"CONV_2D", "DEPTHWISE_CONV_2D"}]
        assert len(convolutions) == NETWORKS_OF_CONVOLUTIONS[name]
        assert all(entry.is_integer for entry in operators if entry.name not in {"QUANTIZE", "DEQUANTIZE"})
        assert len(result.network.layers) == NETWORKS_OF_CONVOLUTIONS[name] + 2
