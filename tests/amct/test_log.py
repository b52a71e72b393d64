"""What the log says of a conversion."""

from __future__ import annotations

import calibrant
from calibrant import amct


def test_layers_in_float_are_said_to_be_skipped_or_unrecorded(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = repository / "examples" / "digits"
    skipping = 'skip_layers : "digits_1/dense_1/MatMul"'
    calibrant.quantize(digits / "digits.pb", skipping, digits / "calibration.npz", tmp_path / "out")
    amct.convert_model(str(digits / "digits.pb"), ["Identity"], str(tmp_path / "out" / "record.txt"), "again/net")
    log = (tmp_path / "amct_log" / "amct_tensorflow.log").read_text()
    assert "1 layer stays in float, skipped or without a record: digits_1/dense_1/MatMul" in log
