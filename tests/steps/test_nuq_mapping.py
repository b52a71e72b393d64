"""The real mapping file of an offline model, on a network with its names."""

import numpy as np
import pytest
from slim_resnet import slim_resnet

import calibrant

UNITS = [f"block3/unit_{n}/bottleneck_v1/conv2" for n in range(1, 7)]
CHOSEN = [
    UNITS[0],
    "block3/unit_1/bottleneck_v1/shortcut",
    *UNITS[1:],
    *(f"block4/unit_{n}/bottleneck_v1/conv{k}" for n in (1, 2, 3) for k in (1, 2, 3)),
    "block4/unit_1/bottleneck_v1/shortcut",
    "logits",
]


@pytest.mark.real
def test_the_real_mapping_file_selects_its_18_layers(shared, tmp_path):
    mapping = shared / "amct" / "resnet-50_v1_quantized.json"
    data = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    result = calibrant.quantize(
        slim_resnet(),
        f'nuq_config {{ mapping_file : "{mapping}" nuq_quantize {{ num_steps : 16 }} }}',
        data={"input": data},
        out=tmp_path / "out",
        outputs=["out"],
        name="resnet",
    )
    names = sorted(f"resnet_v1_50/{layer}/Conv2D" for layer in CHOSEN)
    lines = (tmp_path / "out" / "resnet_nuq_record.txt").read_text().splitlines()
    assert len(names) == len(lines) == 18 and sorted(lines) == names
    assert sum(layer.layer.type == "Conv2D" for layer in result.network.layers) == 54
    assert result.report["warnings"] == ["2 samples calibrate; give 32 or more"]
    told = result.report["nonuniform_weights"]
    assert told["mapping_file"] == "resnet-50_v1_quantized.json" and len(told["layers"]) == 18
    for layer in result.network.layers:
        distinct = np.unique(layer.weights.values).size
        assert (distinct <= 16) == (layer.layer.name in names)
