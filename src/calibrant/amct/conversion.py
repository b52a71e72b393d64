"""From factors to models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from calibrant.amct.arguments import file_to_write, names_of, path_of, save_target
from calibrant.amct.log import LOGGER
from calibrant.amct.quantization import check_all_batches_were_run
from calibrant.conversion import ConvertedModels, convert_records, convert_trained
from calibrant.data.batches import plural
from calibrant.publish.kept import Kept
from calibrant.publish.write import Content
from calibrant.records.mapping_file import nuq_record_text
from calibrant.steps.files_read import files_read
from calibrant.steps.recorded import Recorded

NUQ_RECORD = "amct_tensorflow_nuq_record.txt"


def save_model(pb_model: str, outputs: Sequence[str], record_file: str, save_path: str) -> None:
    """Write the models of a network that was calibrated.

    Parameters
    ----------
    pb_model : str
        The original .pb.
    outputs : Sequence[str]
        Names of its outputs.
    record_file : str
        What the calibration has written.
    save_path : str
        Prefix with its folder: ``results/net`` gives ``results/net_quantized.pb``, ``net_quant.json`` and
        ``net_fakequant.pb``; with non-uniform weights also ``amct_tensorflow_nuq_record.txt``.

    Raises
    ------
    CalibrantError
        With every problem of the model and the record file; batches that are still to be run, layers that were
        calibrated and have no record. Nothing is written then.
    """
    record = path_of("record_file", record_file)
    check_all_batches_were_run(record)
    _convert(pb_model, outputs, record, save_path, "save_model", complete=True)


def convert_model(pb_model: str, outputs: Sequence[str], record_file: str, save_path: str) -> None:
    """Write the models of a network from factors that the caller brings.

    Parameters
    ----------
    pb_model : str
        As for :func:`save_model`.
    outputs : Sequence[str]
        As for :func:`save_model`.
    record_file : str
        Layers without a record stay in float.
    save_path : str
        As for :func:`save_model`.

    Raises
    ------
    CalibrantError
        With every problem of the model and the record file. Nothing is written then.
    """
    _convert(pb_model, outputs, path_of("record_file", record_file), save_path, "convert_model", complete=False)


def convert_qat_model(pb_model: str, outputs: Sequence[str], save_path: str, record_file: str | None = None) -> None:
    """Write the models of a network that was trained with FakeQuant nodes.

    Parameters
    ----------
    pb_model : str
        Frozen for inference, with FakeQuantWithMinMaxVars or FakeQuantWithMinMaxVarsPerChannel of 8 bits on weights and
        activations. Layers that lack them stay in float.
    outputs : Sequence[str]
        As for :func:`save_model`.
    save_path : str
        As for :func:`save_model`.
    record_file : str | None
        Where to write the factors of the layers; nowhere by default.

    Raises
    ------
    CalibrantError
        With every problem of the model; FakeQuant nodes of other widths. Nothing is written then.
    """
    model, names = path_of("pb_model", pb_model), names_of("outputs", outputs)
    record = None if record_file is None else file_to_write("record_file", record_file, files_read(model))
    folder, prefix = save_target(save_path, model)
    recorded, text = convert_trained(model, outputs=names)
    beside: dict[Path, Content] = {} if record is None else {record: text.encode()}
    write_models(recorded, folder, prefix, "convert_qat_model", beside=beside)


def _convert(pb_model: str, outputs: Sequence[str], record: Path, save_path: str, called: str, complete: bool) -> None:
    model, names = path_of("pb_model", pb_model), names_of("outputs", outputs)
    folder, prefix = save_target(save_path, model, [Kept(record)])
    recorded = convert_records(model, record, outputs=names, complete=complete)
    write_models(recorded, folder, prefix, called)


def write_models(
    recorded: Recorded,
    folder: Path,
    prefix: str,
    called: str,
    more: Mapping[str, Content] | None = None,
    beside: Mapping[Path, Content] | None = None,
) -> None:
    """Write the models of a network, ``more`` files with them and others ``beside``, and say so in the log."""
    models = ConvertedModels(recorded, prefix)
    files = dict(more or {})
    if recorded.network.nonuniform_layers:
        files[NUQ_RECORD] = nuq_record_text(recorded.network.nonuniform_layers).encode()
    models.write(folder, files, beside)
    for warning in recorded.warnings:
        LOGGER.logw(warning, called)
    if recorded.in_float:
        names = ", ".join(recorded.in_float)
        many = plural(len(recorded.in_float), "layer stays", "layers stay")
        LOGGER.logi(f"{many} in float, skipped or without a record: {names}", called)
    LOGGER.logi(f"The model is saved in {folder / prefix}_quantized.pb", called)
