"""Models from scales that are known already: of a record file, or of the FakeQuant nodes of a trained network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.emit.ascend.export import ascend_export
from calibrant.emit.ascend.scale_limits import refuse_scales
from calibrant.emit.exportable import Exportable
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.graph_file import graph_file
from calibrant.errors import ConfigError, Problem
from calibrant.exports import EXPORTS
from calibrant.file_endings import FAKEQUANT
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.reading.load import load
from calibrant.publish.write import Content, write_files, write_folder
from calibrant.records.beside_record import CalibrationNotes, notes_path, notes_text, read_notes
from calibrant.records.layer_record import LayerRecord
from calibrant.records.record_file import read_records, write_records
from calibrant.steps.recorded import BesideRecord, Recorded, recorded_network
from calibrant.steps.trained import trained_network
from calibrant.steps.trained_tensors import with_trained_tensors
from calibrant.steps.weights.clipped_weights import clipped_weights


def convert_records(
    model: Any,
    record_file: str | Path,
    *,
    outputs: Sequence[str] | None = None,
    complete: bool = False,
) -> Recorded:
    """Quantize a float model with the factors of a record file.

    What lies beside the record file of an in-place calibration (corrections of biases, see
    :mod:`calibrant.records.beside_record`) is used as long as the record file is unchanged.

    Parameters
    ----------
    model : Any
        As for :func:`calibrant.quantize`.
    record_file : str | Path
        Layers without a record stay in float.
    outputs : Sequence[str] | None
        As for :func:`calibrant.quantize`.
    complete : bool
        The record file is of a calibration: a layer that was calibrated and has no record any more is an error, and
        a warning says where nothing lies beside the record file.

    Raises
    ------
    CalibrantError
        With every problem of the model or the record file.
    """
    path = Path(record_file)
    records = read_records(path)
    notes, unchanged = read_notes(path)
    if complete and notes is not None:
        _check_complete(records, notes, path)
    original = load(model, outputs=outputs)
    recorded = recorded_network(
        original, records, str(record_file), _beside(notes) if notes is not None and unchanged else None
    )
    refuse_scales(recorded.network, str(record_file))
    recorded = replace(recorded, warnings=(*recorded.warnings, *clipped_weights(recorded.network)))
    if unchanged or (notes is None and not complete):
        return recorded
    return replace(recorded, warnings=(*recorded.warnings, _without_notes(path, notes)))


def convert_trained(model: Any, *, outputs: Sequence[str] | None = None) -> tuple[Recorded, str]:
    """Quantize a model that was trained with FakeQuant nodes of 8 bits, with the scales that they hold.

    Parameters
    ----------
    model : Any
        As for :func:`calibrant.quantize`.
    outputs : Sequence[str] | None
        As for :func:`calibrant.quantize`.

    Returns
    -------
    tuple[Recorded, str]
        The network, and the text of a record file with its parameters.

    Raises
    ------
    CalibrantError
        With every problem of the model; nodes of other widths, ranges that are not constant.
    """
    original = load(model, outputs=outputs)
    trained = trained_network(original)
    recorded = recorded_network(trained.graph, trained.records, original.source)
    network = with_trained_tensors(recorded.network, trained.activations)
    warnings = (*trained.warnings, *recorded.warnings)
    return (
        replace(recorded, original=original, network=network, warnings=warnings, in_float=()),
        write_records(trained.records),
    )


def _check_complete(records: dict[str, LayerRecord], notes: CalibrationNotes, path: Path) -> None:
    missing = [name for name in notes.layers if name not in records]
    if missing:
        raise ConfigError(
            *(
                Problem(
                    "was calibrated, but has no record",
                    file=str(path),
                    path=name,
                    hint="calibrate again; to leave it in float, set its quant_enable to false in the config.json",
                )
                for name in missing[:20]
            )
        )


def _without_notes(path: Path, notes: CalibrationNotes | None) -> str:
    name = notes_path(path).name
    why = f"{path} is not as it was when {name} was written"
    if notes is None:
        why = f"there is no {name} beside {path}, or none that can be read"
    return f"{why}: biases are not corrected, and do_fusion and fakequant_precision_mode have their defaults"


def _beside(notes: CalibrationNotes) -> BesideRecord:
    corrections = notes.bias_corrections
    return BesideRecord(
        do_fusion=notes.do_fusion,
        skip_fusion_layers=notes.skip_fusion_layers,
        force_float16_scale=notes.force_float16_scale,
        bias_corrections=None
        if corrections is None
        else {name: np.array(values, np.float64) for name, values in corrections.items()},
    )


@dataclass(frozen=True)
class FewerRecords:
    """A record file without the records of some layers.

    Parameters
    ----------
    recorded : Recorded
        The network that it gives.
    files : Mapping[Path, Content]
        The record file and its notes as they are to be written.
    """

    recorded: Recorded
    files: Mapping[Path, Content]


def without_layers(model: Any, record_file: Path, in_float: Collection[str], outputs: Sequence[str]) -> FewerRecords:
    """Take the records of some layers, those of their second inputs too, out of a record file and its notes.

    Parameters
    ----------
    model : Any
        As for :func:`convert_records`.
    record_file : Path
        It is read, not written.
    in_float : Collection[str]
        Names of the layers.
    outputs : Sequence[str]
        As for :func:`convert_records`.
    """
    records = read_records(record_file)
    notes, unchanged = read_notes(record_file)
    kept = {
        key: record
        for key, record in records.items()
        if key not in in_float and nd.split_tensor(key)[0] not in in_float
    }
    text = write_records(kept)
    files: dict[Path, Content] = {record_file: text.encode()}
    beside = None
    if notes is not None and unchanged:
        files[notes_path(record_file)] = notes_text(replace(notes, layers=list(kept)), text).encode()
        beside = _beside(notes)
    return FewerRecords(recorded_network(load(model, None, outputs), kept, str(record_file), beside), files)


def converted_names(prefix: str) -> list[str]:
    """The names of the files that :class:`ConvertedModels` are written as."""
    return [prefix + ending for ending in (*EXPORTS["ascend"].endings, FAKEQUANT)]


class ConvertedModels:
    """The files that a network with known scales is written as.

    Parameters
    ----------
    recorded : Recorded
        The network.
    name : str
        Prefix of the files.
    """

    def __init__(self, recorded: Recorded, name: str):
        self.name = name
        self.fakequant: Graph = fake_quantized(recorded.network)
        self._source = Exportable(name, recorded.original, recorded.network, recorded.folded.absorbed, self.fakequant)

    def files(self) -> dict[str, Content]:
        """File name → content: the deployable model, its node map, and the fake-quantized model."""
        return {**ascend_export(self._source).files, f"{self.name}{FAKEQUANT}": graph_file(self.fakequant)}

    def write(
        self, folder: Path, more: Mapping[str, Content] | None = None, beside: Mapping[Path, Content] | None = None
    ) -> None:
        """Write them all, ``more`` in the same folder and others ``beside``, or none."""
        files = {**self.files(), **(more or {})}
        if beside:
            write_files({**{folder / name: content for name, content in files.items()}, **beside})
        else:
            write_folder(folder, files)
