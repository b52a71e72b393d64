"""Files of related tools are recognized in one sentence."""

import pytest

from calibrant.config import load_config
from calibrant.errors import ConfigError

CASES = {
    "retraining": "skip_layers : 'a'\nretrain_weight_quant_config { arq_retrain { channel_wise : true } }\n",
    "pruning": "prune_config { filter_pruner { balanced_l2_norm_filter_prune { prune_ratio : 0.3 } } }\n",
    "distillation": "batch_num : 1\ngroup_size : 2\ndistill_group { start_layer_name : 'conv1' }\n",
    "PyTorch": "override_layer_types { layer_type : 'Linear'  calibration_config { } }\nbatch_nun : 1\n",
    "a record file": "record { key : 'conv'  value { scale_d : 1  offset_d : 0 } }\n",
}


@pytest.mark.parametrize("kind", CASES)
def test_a_file_of_another_kind_is_one_problem(kind):
    with pytest.raises(ConfigError, match=kind) as error:
        load_config(CASES[kind])
    assert len(error.value.problems) == 1 and error.value.problems[0].line


def test_such_a_word_in_a_comment_or_a_name_says_nothing():
    with pytest.raises(ConfigError, match="batch_nun"):
        load_config("# prune_config {\nbatch_nun : 1\nskip_layers : 'group_size: 2'\n")
