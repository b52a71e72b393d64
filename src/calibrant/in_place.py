"""Calibration of a ``tf.Graph`` in place: its owner runs it, in their sessions and with their feeds."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.calibration.in_place_run import InPlaceRun
from calibrant.errors import ConfigError, ModelError, Problem
from calibrant.fold import Folded
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import read_tensor
from calibrant.graph.running.rewire import Meaning, Rewiring, Watchers, rewire
from calibrant.graph.running.sinks import network_outputs
from calibrant.graph.tf_core import AttrValue, TensorShapeProto
from calibrant.options import ModelOptions, Options
from calibrant.progress import Stopwatch
from calibrant.publish.writable import check_writable_file
from calibrant.publish.write import write_file, write_files
from calibrant.quantized_network import QuantizedNetwork
from calibrant.records.beside_record import CalibrationNotes, notes_path, notes_text
from calibrant.records.layer_record import LayerRecord
from calibrant.records.record_file import read_records, write_records
from calibrant.steps.balancing.balance import Balanced, ChannelMaxima, balanced_by_factors, balanced_by_maxima
from calibrant.steps.files_read import files_read
from calibrant.steps.observed import observed_network
from calibrant.steps.planned import Planned, plan_model
from calibrant.steps.prepared import prepare_balanced
from calibrant.steps.recorded import Recorded
from calibrant.steps.records import layer_records

_rewirings: weakref.WeakKeyDictionary[Any, Rewiring] = weakref.WeakKeyDictionary()


class InPlaceCalibration:
    """A ``tf.Graph`` that is calibrated while its owner runs it.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``, changed in place: it computes the folded network, and running its outputs calibrates. Sessions
        that have run it before have to be opened anew.
    config : Any
        As for :func:`calibrant.quantize`.
    record_file : str | Path
        Written when ``batch_num`` batches have been run, with a file of notes beside it
        (:mod:`calibrant.records.beside_record`); an older one is removed at once. Where the configuration asks for
        balancing, it has to hold the factors (:class:`InPlaceBalancing`).
    outputs : Sequence[str] | None
        Tensors; by default every unread node downstream of a quantizable layer.

    Raises
    ------
    CalibrantError
        With every problem of the graph or the configuration; nothing has been changed then.
    """

    def __init__(self, graph: Any, config: Any, record_file: str | Path, outputs: Sequence[str] | None = None):
        self.record_file = Path(record_file)
        check_writable_file(self.record_file, files_read(None, config))
        planned = _planned(graph, config, outputs)
        balanced = _balanced(planned, self.record_file)
        self.prepared = prepare_balanced(planned, balanced, Options(), Stopwatch())
        self.network: QuantizedNetwork | None = None
        statistics = self.prepared.statistics
        self.run = InPlaceRun(planned.original.source, statistics, planned.plan.batch_num, self._write)
        self._clear_record(balanced)
        prepared = self.prepared
        observed = _as_it_stands(prepared.observed, prepared.planned_layers)
        watch(graph, planned, observed, balanced, self.run.watchers)

    def _clear_record(self, balanced: Balanced) -> None:
        if balanced.factors:
            _write_balance_factors(self.record_file, balanced)
        else:
            self.record_file.resolve().unlink(missing_ok=True)
        notes_path(self.record_file).unlink(missing_ok=True)

    def _write(self) -> None:
        plan = self.prepared.plan
        self.network = observed_network(self.prepared)
        records = layer_records(self.network, plan.unfused_layers)
        text = write_records(records)
        notes = CalibrationNotes(
            layers=list(records),
            do_fusion=plan.do_fusion,
            skip_fusion_layers=plan.skip_fusion_layers,
            force_float16_scale=plan.force_float16_scale,
            bias_corrections={
                layer.layer.name: layer.bias_correction.tolist()
                for layer in self.network.layers
                if layer.bias_correction is not None
            },
        )
        write_files({self.record_file: text.encode(), notes_path(self.record_file): notes_text(notes, text).encode()})


class InPlaceBalancing:
    """A ``tf.Graph`` in which the balancer's statistics are collected while its owner runs it.

    Parameters
    ----------
    graph : Any
        As for :class:`InPlaceCalibration`. Load the graph anew for the calibration, or use the same.
    config : Any
        As for :class:`InPlaceCalibration`.
    record_file : str | Path
        The record file to write; it holds the factors of the layers that the configuration balances.
    outputs : Sequence[str] | None
        As for :class:`InPlaceCalibration`.

    Raises
    ------
    CalibrantError
        As there; or the configuration balances no layer.
    """

    def __init__(self, graph: Any, config: Any, record_file: str | Path, outputs: Sequence[str] | None = None):
        self.record_file = Path(record_file)
        check_writable_file(self.record_file, files_read(None, config))
        self._planned = planned = _planned(graph, config, outputs)
        self._strengths = {
            entry.name: entry.migration_strength
            for entry in planned.plan.layers
            if entry.migration_strength is not None
        }
        if not self._strengths:
            message, hint = "no layer is to be balanced", "write common_config { dmq_balancer { } } or an override"
            raise ConfigError(Problem(message, file=str(config), hint=hint))
        folded = planned.folded.graph
        self._maxima = ChannelMaxima.of(folded, [planned.layers[name] for name in self._strengths])
        self.run = InPlaceRun(planned.original.source, self._maxima.statistics, planned.plan.batch_num, self._write)
        self.record_file.resolve().unlink(missing_ok=True)
        watch(graph, planned, folded, Balanced(folded, planned.layers), self.run.watchers)

    def _write(self) -> None:
        folded, layers = self._planned.folded.graph, self._planned.layers
        balanced = balanced_by_maxima(folded, layers, self._strengths, self._maxima.by_layer())
        _write_balance_factors(self.record_file, balanced)


def _planned(graph: Any, config: Any, outputs: Sequence[str] | None) -> Planned:
    if not hasattr(graph, "as_graph_def"):
        raise ModelError(Problem(f"the graph is a {type(graph).__name__}", allowed="a tf.Graph"))
    if graph.finalized:
        hint = "do this before finalize(), and before a MonitoredSession or Supervisor is opened, which finalizes it"
        raise ModelError(Problem("the graph is finalized: nothing can be added to it", hint=hint))
    _restore(graph)
    return plan_model(graph, config, ModelOptions(outputs=outputs or network_outputs(graph)), Stopwatch())


def _balanced(planned: Planned, record_file: Path) -> Balanced:
    """The network balanced with the factors of a record file, as far as the plan wants it."""
    graph, layers = planned.folded.graph, planned.layers
    wanted = [entry.name for entry in planned.plan.layers if entry.migration_strength is not None]
    if not wanted:
        return Balanced(graph, layers)
    records = read_records(record_file) if record_file.exists() else {}
    missing = [name for name in wanted if not records.get(name, LayerRecord()).tensor_balance_factor]
    if missing:
        raise ConfigError(
            Problem(
                f"dmq_balancer is set for {len(wanted)} layers, but {len(missing)} have no tensor_balance_factor",
                file=str(record_file),
                path=missing[0],
                hint="run quantize_preprocess and batch_num batches first, with the same configuration and record file",
            )
        )
    factors = {name: np.array(records[name].tensor_balance_factor, np.float32) for name in wanted}
    return balanced_by_factors(graph, layers, factors)


def _write_balance_factors(record_file: Path, balanced: Balanced) -> None:
    factors = {name: tuple(float(value) for value in values) for name, values in balanced.factors.items()}
    records = {name: LayerRecord(tensor_balance_factor=values) for name, values in factors.items()}
    write_file(record_file, write_records(records).encode())


def _as_it_stands(graph: Graph, layers: Sequence[Layer]) -> Graph:
    """The graph with weights that TensorFlow's optimizer leaves alone.

    It would multiply constants downstream of a layer into its weights; the sums would then differ in their last bits.
    """
    edit = graph.edit()
    for layer in layers:
        if layer.constant is not None and layer.weight_input is not None:
            tensor = read_tensor(graph, layer.weights_place)
            shape = AttrValue(
                shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in layer.weights_shape])
            )
            dtype = graph.dtype(tensor)
            kept = edit.add(
                "PlaceholderWithDefault", f"{layer.name}/weights_as_they_are", [tensor], dtype=dtype, shape=shape
            )
            edit.set_input(*layer.weights_place, kept)
    return edit.finish()


def watch(graph: Any, origin: Planned | Recorded, changed: Graph, balanced: Balanced, watchers: Watchers) -> None:
    """Let a ``tf.Graph`` compute a rewritten network and call the watchers; what was done to it before is taken back.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``, changed in place.
    origin : Planned | Recorded
        What was read from it and how it was folded.
    changed : Graph
        The folded and balanced network.
    balanced : Balanced
        How it was balanced.
    watchers : Watchers
        As of :func:`calibrant.graph.running.rewire.rewire`.
    """
    _restore(graph)
    meaning = _meaning(origin.original, origin.folded, changed, balanced)
    _rewirings[graph] = rewire(graph, origin.original, changed, meaning, watchers)


def _restore(graph: Any) -> None:
    if graph in _rewirings:
        _rewirings.pop(graph).undo()


def _meaning(original: Graph, folded: Folded, changed: Graph, balanced: Balanced) -> Meaning:
    """Values are others from a folded layer to the last node that it took in, and from a division to its layer."""
    last = {fusion.layer: fusion.absorbed[-1] for fusion in folded.fusions if not fusion.before_layer}
    starts = {fusion.layer for fusion in folded.fusions} | set(folded.results.values())
    divided = {name for names in balanced.absorbed.values() for name in names}
    divisions = {f"{name}/balance/divided" for name in balanced.factors} - original.nodes.keys()
    balanced_only = {name for name in balanced.factors if name not in starts}
    renewed = {*last.values(), *folded.results, *balanced_only} - divided
    return Meaning.of(changed, {*starts, *divided, *divisions} - renewed, renewed)
