"""The table of a plan."""

import json

from config_samples import GRAPH

from calibrant.config import load_config, plan_rows, resolve


def test_one_row_for_every_layer_tensor_and_node_left_out():
    text = """
    skip_layers: 'deconv'
    common_config { arq_quantize { quant_bits: 7 } hfmg_quantize { asymmetric: false } dmq_balancer {} }
    tensor_quantize { layer_name: 'block/add' input_index: 1 }
    """
    rows = {row.layer: row for row in plan_rows(resolve(load_config(text), GRAPH))}
    assert set(rows) == {layer.name for layer in GRAPH.layers} | {"block/add:1", "training/Conv2D"}
    conv, pool, tensor, skipped = (rows[name] for name in ("conv1/Conv2D", "pool", "block/add:1", "deconv"))
    assert (conv.weight_bits, conv.weight_algorithm, conv.channel_wise) == (7, "arq", True)
    assert (conv.activation_algorithm, conv.symmetric, conv.migration_strength) == ("hfmg", True, 0.5)
    assert conv.as_dict()["sources"] == {
        "weights": "common_config",
        "activation": "common_config",
        "asymmetric": "common_config",
        "balancer": "common_config",
    }
    assert (pool.weight_bits, pool.weight_algorithm, pool.channel_wise) == (None, None, None)
    assert (tensor.type, tensor.symmetric, tensor.activation_algorithm) == ("tensor", True, "ifmr")
    assert (skipped.quantized, skipped.reason) == (False, "listed in skip_layers")
    assert rows["training/Conv2D"].reason == "its weights are not constant"
    assert json.loads(json.dumps([row.as_dict() for row in rows.values()]))
