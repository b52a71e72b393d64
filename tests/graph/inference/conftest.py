"""What several tests of inference need."""

from __future__ import annotations

import pytest

from graphs import tf

v1 = tf.compat.v1


@pytest.fixture(params=["Switch and Merge", "If"])
def control_flow(request):
    """Both forms in which TensorFlow writes a conditional."""
    enabled = v1.control_flow_v2_enabled()
    (v1.disable_control_flow_v2 if request.param == "Switch and Merge" else v1.enable_control_flow_v2)()
    yield request.param
    (v1.enable_control_flow_v2 if enabled else v1.disable_control_flow_v2)()
