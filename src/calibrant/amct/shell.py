"""What the shell commands ``calibration`` and ``convert`` do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calibrant.amct.arguments import names_of, path_of, save_target
from calibrant.amct.common.auto_calibration import GraphEvaluator
from calibrant.amct.conversion import write_models
from calibrant.amct.evaluated import calibrated
from calibrant.amct.evaluator_script import evaluator_of, failing_in
from calibrant.conversion import convert_records
from calibrant.graph.reading.load import load
from calibrant.options import ModelOptions
from calibrant.progress import Stopwatch
from calibrant.publish.write import scratch_folder
from calibrant.steps.files_read import files_read
from calibrant.steps.planned import plan_model


def calibrate(
    model: str, outputs: Sequence[str], save_path: str, config: Any, evaluator: str | None, data: dict[str, Any]
) -> None:
    """Calibrate a network and write its models.

    Parameters
    ----------
    model : str
        As for :func:`calibrant.amct.save_model`.
    outputs : Sequence[str]
        As for :func:`calibrant.amct.save_model`.
    save_path : str
        As for :func:`calibrant.amct.save_model`.
    config : Any
        A configuration, or the path of one.
    evaluator : str | None
        A script that defines one object with ``calibration(graph, outputs)``; or None.
    data : dict[str, Any]
        Without an evaluator, ``data_dir``, ``input_shape`` and ``data_types`` of :class:`GraphEvaluator`.

    Raises
    ------
    CalibrantError
        With every problem that was found. Nothing is written then.
    """
    path, names = path_of("model", model), names_of("outputs", outputs)
    folder, prefix = save_target(save_path, path, files_read(None, config))
    original = load(path, outputs=names)
    with scratch_folder() as temporary:
        record = temporary / "record.txt"
        if evaluator is not None:
            script = path_of("evaluator", evaluator)
            with evaluator_of(script) as loaded:
                calibrated(original, config, record, loaded, names, lambda: failing_in(script, "calibration failed"))
        else:
            batch_num = plan_model(original, config, ModelOptions(), Stopwatch()).plan.batch_num
            calibrated(original, config, record, GraphEvaluator(**data, batch_num=batch_num), names)
        recorded = convert_records(path, record, outputs=names, complete=True)
    write_models(recorded, folder, prefix, "calibration")
