"""A record file that the original tool made, of a MobileNetV2."""

import numpy as np
import pytest
from slim_mobilenet import mobilenet_v2
from tensorflow.core.framework.graph_pb2 import GraphDef

from calibrant import amct
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.deq_scale import unpack
from calibrant.graph.reading.load import load
from calibrant.records.record_file import read_records

OUTPUT = "MobilenetV2/Predictions/Reshape_1"


@pytest.mark.real
def test_the_saved_model_carries_exactly_the_factors_of_all_54_records(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the log file is written there
    record_file = shared / "amct" / "record_quantized.txt"
    (tmp_path / "net.pb").write_bytes(mobilenet_v2().SerializeToString())
    amct.convert_model(str(tmp_path / "net.pb"), [OUTPUT], str(record_file), str(tmp_path / "out" / "net"))
    records = read_records(record_file)
    saved = {node.name: node for node in GraphDef.FromString((tmp_path / "out" / "net_quantized.pb").read_bytes()).node}
    assert len(records) == 54
    assert sum(node.op == "AscendDequant" for node in saved.values()) == 54
    for name, record in records.items():
        quantizer = saved[nd.node_name(saved[name].input[0])]
        assert nd.attribute(quantizer, "scale") == np.float32(1) / np.float32(record.scale_d)
        assert nd.attribute(quantizer, "offset") == record.offset_d
        dequant = saved[f"{name.rpartition('/')[0]}/dequant/AscendDequant"]
        scale, shift, offset = unpack(nd.constant_value(saved[dequant.input[1]]))
        wanted = np.array(record.scale_w or [1], np.float32) * np.float32(record.scale_d)
        np.testing.assert_array_equal(scale, wanted)
        assert not shift.any() and not offset.any()
    lowered = load(tmp_path / "out" / "net_quantized.pb", outputs=[OUTPUT])
    assert lowered.shape(f"{OUTPUT}:0")[-1] == 1001
