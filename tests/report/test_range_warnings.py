"""What is advised for a tensor that is mostly rounded to zero: only what its layer can take."""

from types import SimpleNamespace

import pytest

from calibrant.config.plan import ActivationPlan, LayerPlan
from calibrant.report.range_warnings import range_warnings

USE = SimpleNamespace(is_constant=False, is_poor=False, zeroed=0.8, minimum=0.0, maximum=1.0)
QUANTIZER = SimpleNamespace(range=(-1.0, 1.0), bits=8)
READ = SimpleNamespace(node="scores", tensor="softmax:0", quantizer=QUANTIZER, search=SimpleNamespace(use=USE))
NETWORK = SimpleNamespace(every_input=lambda: (READ,))


@pytest.mark.parametrize(("can", "strength", "said"), [(True, None, True), (True, 0.5, False), (False, None, False)])
def test_a_balancer_is_proposed_where_there_can_be_one(can, strength, said):
    layer = LayerPlan("scores", "BatchMatMulV2", None, ActivationPlan(), strength, can_be_balanced=can)
    [text] = range_warnings(NETWORK, SimpleNamespace(layers=[layer]))
    assert ("dmq_balancer" in text) == said and text.endswith("skip_layers, or calibrant tune")


def test_a_tensor_of_no_layer_cannot_be_skipped():
    [text] = range_warnings(NETWORK, SimpleNamespace(layers=[]))
    assert text.endswith("; try calibrant tune")
