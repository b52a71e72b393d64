"""What a quantization gives back, and the files it is written as."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from calibrant.algorithms.histogram import Histogram
from calibrant.config import write_config_json
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan, is_default
from calibrant.config.text_write import write_config
from calibrant.data.amount import DataUse
from calibrant.data.batches import Batches
from calibrant.emit.graph_file import graph_file
from calibrant.emit.large_model import is_too_large, large_model_writer
from calibrant.emit.node_map import node_map
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.errors import CalibrantError
from calibrant.exports import EXPORTS
from calibrant.file_endings import (
    BUDGET_CONFIG,
    EQUALIZED,
    EQUALIZED_FOLDER,
    FAKEQUANT,
    FAKEQUANT_FOLDER,
    NODE_MAP,
    NUQ_RECORD,
)
from calibrant.fold import Folded
from calibrant.graph.graph import Graph
from calibrant.publish.write import Content
from calibrant.quantized_network import ErrorGrowth, OutputSqnr, QuantizedNetwork, RangeMove, Sensitivity
from calibrant.records.mapping_file import nuq_record_text
from calibrant.records.record_file import write_records
from calibrant.report.data_check import data_check_rows
from calibrant.report.distributions import activation_rows, weight_rows
from calibrant.report.findings import findings, verdict
from calibrant.report.growth_table import growth_rows
from calibrant.report.layer_table import layer_rows
from calibrant.report.output_sqnr import file_sqnr_rows, sqnr_rows, sqnr_warnings
from calibrant.report.page.page import page
from calibrant.report.picture import picture
from calibrant.report.provenance import run_row
from calibrant.report.report import report, report_text
from calibrant.report.same_options import same_options
from calibrant.report.sensitivity_table import sensitivity_rows
from calibrant.steps.records import layer_records


@dataclass(frozen=True)
class Pictured:
    """What the page shows beside the quantization parameters.

    Parameters
    ----------
    activations, weights : list[dict[str, Any]]
        Rows of :mod:`calibrant.report.distributions`.
    growth : ErrorGrowth | None
        How the error grows with depth; None if the data could be read only once.
    moves : tuple[RangeMove, ...]
        What the second half of the data changes; empty where that was not measured.
    """

    activations: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    growth: ErrorGrowth | None
    moves: tuple[RangeMove, ...] = ()

    @classmethod
    def of(
        cls,
        network: QuantizedNetwork,
        histograms: Mapping[str, Histogram],
        growth: ErrorGrowth | None,
        moves: tuple[RangeMove, ...] = (),
    ) -> Pictured:
        """Made from what was observed and measured."""
        return cls(
            activation_rows(network, lambda entry: histograms[entry.tensor]),
            weight_rows(network),
            growth,
            moves,
        )


@dataclass(eq=False)
class Result:
    """The outcome of :func:`calibrant.quantize`.

    Parameters
    ----------
    name : str
        The prefix of the files.
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    plan : Plan
        The settings of every layer.
    network : QuantizedNetwork
        The network with its quantization parameters.
    fakequant : Graph
        The fake-quantized graph.
    seconds : dict[str, float]
        Step → wall-clock time.
    tflite : TfliteSettings
        How a ``.tflite`` file is to be made.
    exported : dict[str, Content]
        File name → content of an exported file.
    export_notes : dict[str, dict[str, Any]]
        Format → plain values for the report about parameters that the format could not hold unchanged.
    refused : dict[str, CalibrantError]
        Format → why there is no file of it; all others are there.
    lite : FloatFile | CalibrantError | None
        The network as a float LiteRT file, or why it cannot be one.
    batches : Batches | None
        The calibration data, if they can be read again.
    sensitivity : tuple[Sensitivity, ...] | None
        The error that each layer alone causes, the largest first; None if it was not requested.
    output_sqnr : OutputSqnr | None
        How far the outputs are from the float network's; None if nothing is written, or the calibration data cannot be
        read again.
    file_sqnr : OutputSqnr | None
        As ``output_sqnr``, of the ``.tflite``; None without one, or where it takes other sizes than the data have.
    pictured : Pictured | None
        What the page shows beside all this; None without a page.
    data : DataUse | None
        Amount of calibration data; None if it was observed in parts.
    options : Mapping[str, Any]
        Other options of the run, for the report.
    unrefined : str | None
        Why refining was left out where nobody asked for it; None otherwise.
    configuration : Configuration | None
        The given configuration with overrides for what a budget chose; None without a budget.
    files : tuple[Path, ...]
        Files that were written, in order; empty without an output folder.
    """

    name: str
    original: Graph
    folded: Folded
    plan: Plan
    network: QuantizedNetwork
    fakequant: Graph
    seconds: dict[str, float]
    tflite: TfliteSettings = field(default_factory=TfliteSettings)
    exported: dict[str, Content] = field(default_factory=dict)
    export_notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, CalibrantError] = field(default_factory=dict)
    lite: FloatFile | CalibrantError | None = None
    batches: Batches | None = None
    sensitivity: tuple[Sensitivity, ...] | None = None
    output_sqnr: OutputSqnr | None = None
    file_sqnr: OutputSqnr | None = None
    pictured: Pictured | None = None
    data: DataUse | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    unrefined: str | None = None
    configuration: Configuration | None = None
    files: tuple[Path, ...] = field(default=())

    def __getstate__(self) -> dict[str, Any]:
        """All but the calibration data: what reads them again, a function or an open file, cannot be pickled."""
        return {**vars(self), "batches": None}

    def __repr__(self) -> str:
        return f"<Result {self.summary}>"

    def _repr_html_(self) -> str:
        rows = [
            (row["layer"], row["type"], entry["scale"], entry["offset"], entry["signal_to_noise_db"])
            for row in layer_rows(self.network)
            for entry in row["inputs"]
        ]
        columns = ("layer", "type", "scale", "offset", "SQNR dB")
        return f"<p>{html.escape(self.summary)}</p>{_html_table(columns, rows)}"

    @property
    def summary(self) -> str:
        """One line: name, what was quantized, how much data calibrated, how many warnings there are, where it is."""
        only = f", weights only of {count}" if (count := len(self.network.weight_only)) else ""
        parts = [
            f"{self.name}: {len(self.network.layers)} layers quantized{only}, {len(self.plan.skipped)} left in float",
            "" if self.data is None else _samples(self.data),
            f"{count} warnings" if (count := len(self._report()["warnings"])) else "",
            f"in {self.files[0].parent}" if self.files else "",
        ]
        return ", ".join(filter(None, parts))

    @property
    def report(self) -> dict[str, Any]:
        """What ``report.json`` holds; the seconds and memory in ``run`` go on to the end of the run.

        Without an output folder, or a page in it, ``verdict``, ``findings``, ``data_check``, ``error_growth`` and
        ``distributions`` are not there.
        """
        return {**self._report(), "run": self.run}

    def _report(self) -> dict[str, Any]:
        """The part that is the same for the same inputs."""
        fed = None if self.data is None else self.data.fed
        found = report(self.original, self.folded, self.plan, self.network, fed)
        if self.data is not None:
            found["warnings"] = [*self.data.warnings, *found["warnings"]]
        if self.output_sqnr is not None:
            found["warnings"] = [*self._output_warnings(), *found["warnings"]]
        if self.sensitivity is not None:
            found["sensitivity"] = sensitivity_rows(self.sensitivity, self.plan, self._block_comment())
        notes = dict(self.export_notes)
        for form, error in self.refused.items():
            notes[form] = {"refused": [problem.as_dict() for problem in error.problems]}
        if notes:
            found["exports"] = notes
        if self.pictured is not None:
            found |= self._pictured_rows(self.pictured, found)
        if is_too_large(self.fakequant):  # nothing to mend, so no finding
            found["warnings"].append(
                "the model exceeds the 2 GB of a .pb file, so it is written as a SavedModel: "
                f"{self.name}{FAKEQUANT_FOLDER}"
            )
        return found

    def _output_warnings(self) -> list[str]:
        ranked = self.sensitivity is not None
        return [] if self.output_sqnr is None else sqnr_warnings(self.output_sqnr, self._is_refined, ranked)

    @property
    def _is_refined(self) -> bool:
        return bool(self.options.get("refine")) and self.unrefined is None

    def _block_comment(self) -> str:
        """With which options a block to paste, as a file of its own, is this run and its change alone."""
        if self.data is None:
            return ""
        words = f"--samples {self.data.samples} {same_options(self.options)}"
        return f"# in a file of its own, for quantize {words.rstrip()}\n"

    def _ranges_by_outputs(self) -> set[str]:
        """Nodes whose ranges were moved, or left, by the error at the outputs."""
        moved = {entry.node for entry in self.network.every_input() if entry.unrefined is not None}
        if not self._is_refined:
            return moved
        is_all = self.options["refine"] is True
        return moved | {entry.name for entry in self.plan.layers if is_all or is_default(entry)}

    def _pictured_rows(self, pictured: Pictured, found: Mapping[str, Any]) -> dict[str, Any]:
        growth = growth_rows(pictured.growth)
        about_data = self.data.warnings if self.data is not None else ()
        about_outputs = self._output_warnings()
        about_layers = [text for text in found["warnings"] if text not in (*about_data, *about_outputs)]
        repeated = self.data.repeated if self.data is not None else None
        check = data_check_rows(pictured.moves, repeated)
        moving = check["sentence"] if check is not None and not check["enough"] and repeated is None else None
        listed = findings(
            self.network,
            self.plan,
            pictured.activations,
            growth["inputs"],
            about_data,
            about_layers,
            moving,
            self._is_refined,
            self._ranges_by_outputs(),
            self._block_comment(),
        )
        return {
            "verdict": verdict(found["totals"], self.output_sqnr, len(listed)),
            "findings": listed,
            "data_check": check,
            "error_growth": growth,
            "distributions": {"activations": pictured.activations, "weights": pictured.weights},
        }

    def page(self, content: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
        """What ``report.html`` holds: ``content`` is that of ``report.json``, ``sizes`` are of the files beside it."""
        layers = [*(layer.layer.name for layer in self.network.layers), *(name for name, _, _ in self.plan.skipped)]
        return page(self.name, content, picture(self.network.graph, layers), sizes)

    @property
    def run(self) -> dict[str, Any]:
        """What ``report.json`` says about this run: it differs from one to the next."""
        row = run_row(self.original, write_config_json(self.plan), self.data, self.seconds, self.options)
        if self.unrefined is not None:
            row["refine_left_out"] = self.unrefined
        return {**row, **sqnr_rows(self.output_sqnr), **file_sqnr_rows(self.file_sqnr)}

    @property
    def absorbed(self) -> dict[str, list[str]]:
        """Layer → the original nodes that were folded into it; and the node that stands for a moved result."""
        return self.folded.absorbed

    @cached_property
    def record(self) -> str:
        """The record file."""
        return write_records(layer_records(self.network, self.plan.unfused_layers))

    @property
    def signature(self) -> dict[str, str]:
        """What tells this result from others: hashes of the resolved configuration and of the record file.

        Of the model's graph there is none, as names of its functions depend on what was traced before.
        """
        texts = {"configuration_sha256": write_config_json(self.plan), "record_sha256": self.record}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _samples(data: DataUse) -> str:
    """``64 of 200 samples``."""
    of = "" if data.available in (None, data.samples) else f" of {data.available:,}"
    return f"{data.samples:,}{of} samples"


def _html_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in cells]
    head = "".join(f"<th>{column}</th>" for column in columns)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def result_files(result: Result) -> dict[str, Content]:
    """File name → content of everything that a quantization writes."""
    content = result.report
    texts = {
        "config.json": write_config_json(result.plan),
        "record.txt": result.record,
        f"{result.name}{NODE_MAP}": node_map(result.fakequant, result.original, result.absorbed),
        **_nuq_record(result),
        **_budget(result),
        "report.json": report_text(content),
    }
    files = {
        **_model(result.name + FAKEQUANT_FOLDER, result.fakequant),
        **(_model(result.name + EQUALIZED_FOLDER, result.folded.graph) if result.options.get("equalize") else {}),
        **{name: text.encode() for name, text in texts.items()},
        **result.exported,
    }
    if result.pictured is not None:
        shown = {} if is_too_large(result.fakequant) else {"Original model": sum(map(len, result.original.chunks()))}
        shown |= {
            name: len(data)
            for name, data in files.items()
            if (name in result.exported or name.endswith(".pb")) and isinstance(data, Sized)
        }
        files["report.html"] = result.page(content, shown).encode(errors="backslashreplace")
    return files


def result_names(prefix: str, formats: Iterable[str], budget: bool) -> list[str]:
    """The names of all files and folders that a quantization to these formats may write."""
    endings = [FAKEQUANT, FAKEQUANT_FOLDER, EQUALIZED, EQUALIZED_FOLDER, NODE_MAP, NUQ_RECORD]
    endings += [ending for form in formats for ending in EXPORTS[form].endings]
    endings += [BUDGET_CONFIG] if budget else []
    return ["config.json", "record.txt", "report.json", "report.html", *(prefix + ending for ending in endings)]


def large_model_names(prefix: str) -> tuple[str, ...]:
    """The names of the folders that are written instead of files where a graph is too large for one."""
    return prefix + FAKEQUANT_FOLDER, prefix + EQUALIZED_FOLDER


def _model(name: str, graph: Graph) -> dict[str, Content]:
    """A graph as a file, or where it is too large for one, as a folder."""
    return {name: large_model_writer(graph)} if is_too_large(graph) else {f"{name}.pb": graph_file(graph)}


def _budget(result: Result) -> dict[str, str]:
    """The configuration that gives the same layers 16 bits without a budget."""
    if result.configuration is None:
        return {}
    comment = f"chosen by calibrant quantize with a budget of {100 * result.options['budget']:g} % for 16 bits"
    comment += f"; for quantize {same_options(result.options)}"
    return {f"{result.name}{BUDGET_CONFIG}": write_config(result.configuration, comment)}


def _nuq_record(result: Result) -> dict[str, str]:
    """The list of the layers with non-uniform weights, where there are any."""
    names = result.network.nonuniform_layers
    return {f"{result.name}{NUQ_RECORD}": nuq_record_text(names)} if names else {}
