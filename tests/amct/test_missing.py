"""Names of other tools and versions."""

import subprocess
import sys

import pytest

import calibrant.amct as amct
from calibrant.errors import CalibrantError


def test_a_name_that_is_not_there_is_an_error_that_lists_what_is():
    with pytest.raises(CalibrantError, match="amct_tensorflow.create_distill_config is not here") as caught:
        amct.create_distill_config("model.pb")
    [problem] = caught.value.problems
    assert "convert_model, convert_qat_model, create_quant_config" in problem.hint
    assert "create_quant_retrain_config" not in problem.hint
    assert not hasattr(amct, "auto_mixed_precision_search") and not hasattr(amct, "__path_of_nothing__")


def test_a_script_ends_with_that_error(tmp_path):
    script = tmp_path / "search.py"
    script.write_text("import amct_tensorflow as amct\namct.auto_mixed_precision_search('a', 'b')\n")
    ended = subprocess.run([sys.executable, "-m", "calibrant.amct", script], capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "error: amct_tensorflow.auto_mixed_precision_search is not here" in ended.stderr


def test_types_know_the_call_that_has_a_module_of_its_name(tmp_path):
    api = pytest.importorskip("mypy.api")
    user = tmp_path / "user.py"
    user.write_text(
        "import calibrant.amct as amct\n"
        "amct.accuracy_based_auto_calibration(\n"
        "    'm.pb', ['a'], 'r', 'c', 's', amct.GraphEvaluator('d', 'x:1', 'float32')\n"
        ")\n"
    )
    said, _, code = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(user)])
    assert code == 0, said
