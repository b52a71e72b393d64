"""The deployable file of real trained models: its size, and its lowering against the simulation."""

import numpy as np
import pytest
from ascend_file import File, check_file
from tensorflow.core.framework.graph_pb2 import GraphDef

import calibrant
from calibrant.emit.ascend.model import ascend_model
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner

pytestmark = pytest.mark.real
CIFAR = ("resnet8_cifar10/cifar10_part.npz", "x_calibration", "x_test")
WIDE, NARROW = ("arm_kws/mfcc_w640_s320_d10.npz", "x", "x"), ("arm_kws/mfcc_w640_s640_d10.npz", "x", "x")
MODELS = {
    "resnet8": ("resnet8_cifar10/resnet8.pb", CIFAR, None, 0.30),
    "ds_cnn": ("ds_cnn_kws/ds_cnn.pb", ("ds_cnn_kws/mfcc.npz", "x", "x"), None, 0.45),
    "arm DS_CNN_S": ("arm_kws/DS_CNN_S.pb", WIDE, ("Mfcc",), 0.45),
    "arm CNN_S": ("arm_kws/CNN_S.pb", WIDE, ("Mfcc",), 0.30),
    "arm DNN_S": ("arm_kws/DNN_S.pb", NARROW, ("Mfcc",), 0.30),
    "kwt1": ("kwt1/kwt1.pb", ("kwt1/features_98x40.npz", "x", "x"), None, 0.40),
}
SAMPLES = 96


def quantize(shared, model, data, inputs=None, config=None):
    """The result, and test samples in batches as the model takes them."""
    file, calibration, test = data
    arrays = np.load(shared / "real" / file)
    result = calibrant.quantize(
        shared / "real" / model, config=config, data=arrays[calibration][:64].astype(np.float32), inputs=inputs
    )
    values = arrays[test][-SAMPLES:].astype(np.float32)
    size = result.original.shape(result.original.inputs[0])[0] or 32
    return result, [values[start : start + size] for start in range(0, SAMPLES, size)]


@pytest.mark.parametrize("model, data, inputs, share", MODELS.values(), ids=MODELS)
def test_lowered_is_the_simulation_and_the_file_is_small(shared, model, data, inputs, share):
    result, batches = quantize(shared, model, data, inputs)
    content = ascend_model(result.network).graph.graph_def().SerializeToString()
    whole = len(result.original.graph_def().SerializeToString())
    assert len(content) < share * whole, (len(content), whole)
    lowered = load(GraphDef.FromString(content), result.original.inputs, result.fakequant.outputs)
    with Runner(result.fakequant) as simulated, Runner(lowered) as read_back:
        for batch in batches:
            [expected] = simulated({result.fakequant.input_keys[0]: batch})
            [found] = read_back({lowered.input_keys[0]: batch})
            assert np.abs(expected - found).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("config", [None, "joint_quant : true"], ids=["plain", "joint"])
@pytest.mark.parametrize("model", ["resnet8", "ds_cnn"])
def test_every_number_name_and_attribute_in_the_written_file(shared, model, config, tmp_path):
    path, (file, calibration, _), _, _ = MODELS[model]
    values = np.load(shared / "real" / file)[calibration][:64].astype(np.float32)
    result = calibrant.quantize(shared / "real" / path, config, values, tmp_path, export="ascend", name="net")
    written = File(GraphDef.FromString((tmp_path / "net_quantized.pb").read_bytes()), tmp_path / "record.txt")
    layers = check_file(written, result.network)
    assert layers == {layer.layer.name for layer in result.network.layers} and len(layers) == 11
    assert len(written.of("AscendAntiQuant")) == len({(each.tensor, each.quantizer) for each in result.network.tensors})
