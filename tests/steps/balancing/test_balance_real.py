"""The balancer on a real transformer with outlier channels."""

import numpy as np
import pytest

import calibrant
from calibrant.graph.running.run import Runner


@pytest.mark.real
def test_a_keyword_transformer_loses_much_less(shared):
    with np.load(shared / "real" / "kwt1" / "features_98x40.npz") as file:
        data = file["x"].astype(np.float32)[file["y"] != 0]
    model, test = str(shared / "real" / "kwt1" / "kwt1.pb"), {"fingerprint": data[64:96]}
    errors, first = {}, {}
    for config in ("batch_num : 4", "batch_num : 4 common_config { dmq_balancer { migration_strength : 0.5 } }"):
        result = calibrant.quantize(model, config, data[:64])
        layer = result.network.layers[0]
        with Runner(result.original) as float_model, Runner(result.fakequant) as quantized:
            exact, found = float_model(test)[0], np.array(quantized(test)[0])
        with Runner(result.network.graph, [*result.network.graph.outputs, layer.inputs[0].tensor]) as balanced:
            outputs, values = (np.array(value) for value in balanced(test))
        assert np.abs(outputs - exact).max() <= 1e-4 * np.abs(exact).max()
        errors[config] = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        signal = values @ layer.float_weights
        noise = layer.inputs[0].quantizer.fake_quantize(values) @ layer.weights.dequantize() - signal
        first[config] = 10 * np.log10(np.square(signal).sum() / np.square(noise).sum())
    assert layer.layer.name.endswith("patch_embedding/MatMul")
    (without, with_it), (before, after) = errors.values(), first.values()
    assert with_it < 0.7 * without and after > before + 12
    # The halves of the GELUs in front of the twelve fc2 layers take the division in.
    assert sum(name.endswith("/balance/divided") for name in result.fakequant.nodes) == 62
