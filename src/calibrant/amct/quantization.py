"""From a ``tf.Graph`` to the factors of its layers: configuration, balancing, calibration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from calibrant.amct.arguments import file_to_write, graph_of, names_of, path_of
from calibrant.amct.log import LOGGER
from calibrant.calibration.in_place_run import InPlaceRun
from calibrant.config import Configuration, write_config_json
from calibrant.config.plan import Plan
from calibrant.data.option_types import plain_number
from calibrant.errors import ConfigError, DataError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.running.sinks import network_outputs
from calibrant.in_place import InPlaceBalancing, InPlaceCalibration
from calibrant.options import ModelOptions
from calibrant.progress import Stopwatch
from calibrant.publish.write import write_file
from calibrant.steps.files_read import files_read
from calibrant.steps.planned import plan_model

_runs: dict[Path, InPlaceRun] = {}


def create_quant_config(
    config_file: str,
    graph: Any,
    skip_layers: Sequence[str] | None = None,
    batch_num: int = 1,
    activation_offset: bool = True,
    config_defination: str | None = None,
) -> None:
    """Write the resolved configuration of a graph as config.json, for :func:`quantize_model` and for editing.

    Parameters
    ----------
    config_file : str
        The file to write.
    graph : Any
        ``tf.Graph``.
    skip_layers : Sequence[str] | None
        Names of layers that stay in float.
    batch_num : int
        Batches of the calibration, > 0.
    activation_offset : bool
        Whether activations have an offset.
    config_defination : str | None
        A configuration file, which then decides alone.

    Raises
    ------
    CalibrantError
        With every problem of the arguments, the graph or the configuration file.
    """
    if config_defination is not None:
        configuration: Any = path_of("config_defination", config_defination)
    else:
        configuration = _configuration(skip_layers, batch_num, activation_offset)
    path, graph = file_to_write("config_file", config_file, files_read(None, configuration)), graph_of(graph)
    options = ModelOptions(outputs=network_outputs(graph))
    plan = plan_model(graph, configuration, options, Stopwatch()).joint_plan
    write_file(path, write_config_json(plan).encode())
    _warn(plan)
    LOGGER.logi(f"The configuration of {len(plan.layers)} layers is saved in {config_file}", "create_quant_config")


def _configuration(skip_layers: Sequence[str] | None, batch_num: int, activation_offset: bool) -> Configuration:
    batch_num, activation_offset = plain_number(batch_num), plain_number(activation_offset)
    if not isinstance(batch_num, int) or isinstance(batch_num, bool) or batch_num < 1:
        raise ConfigError(Problem(f"batch_num is {batch_num!r}", allowed="a whole number > 0"))
    if not isinstance(activation_offset, bool):
        raise ConfigError(Problem(f"activation_offset is {activation_offset!r}", allowed="True or False"))
    are_none = skip_layers is None or (isinstance(skip_layers, Collection) and not len(skip_layers))
    skipped = () if are_none else names_of("skip_layers", skip_layers)
    return Configuration(batch_num=batch_num, activation_offset=activation_offset, skip_layers=tuple(skipped))


def quantize_preprocess(graph: Any, config_file: str, record_file: str, outputs: Sequence[str] | None = None) -> list:
    """Collect the balancer's statistics while the caller runs the graph.

    After ``batch_num`` runs of an output ``record_file`` holds the ``tensor_balance_factor`` of every layer that the
    configuration balances. :func:`quantize_model` reads them there.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``, changed in place.
    config_file : str
        ``config.json`` or a configuration file.
    record_file : str
        The file to write.
    outputs : Sequence[str] | None
        Names of the network's outputs; all its ends by default.

    Returns
    -------
    list
        [], as there are no variables that a Saver must leave out.

    Raises
    ------
    CalibrantError
        With every problem that was found; the graph is unchanged then.
    """
    return _observed(InPlaceBalancing, graph, config_file, record_file, outputs, "quantize_preprocess")


quantized_preprocess = quantize_preprocess


def quantize_model(graph: Any, config_file: str, record_file: str, calib_outputs: Sequence[str] | None = None) -> list:
    """Fold a graph in place and observe its activations while the caller runs it.

    After ``batch_num`` runs of an output ``record_file`` holds the factors of every layer. Any sessions may run the
    graph, also at once; those that ran it before have to be opened anew.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``, changed in place.
    config_file : str
        ``config.json`` or a configuration file.
    record_file : str
        The file to write; an older one is removed, except for the factors of :func:`quantize_preprocess`.
    calib_outputs : Sequence[str] | None
        Names of the outputs that are run; all ends of the network by default.

    Returns
    -------
    list
        [], as there are no variables that a Saver must leave out.

    Raises
    ------
    CalibrantError
        With every problem that was found; the graph is unchanged then.
    """
    return _observed(InPlaceCalibration, graph, config_file, record_file, calib_outputs, "quantize_model")


def _observed(
    kind: type[InPlaceCalibration | InPlaceBalancing],
    graph: Any,
    config_file: str,
    record_file: str,
    outputs: Sequence[str] | None,
    called: str,
) -> list:
    config, record = path_of("config_file", config_file), file_to_write("record_file", record_file)
    names = None if outputs is None else names_of("outputs", outputs)
    run = kind(graph_of(graph), config, record, names).run
    _runs[record.resolve()] = run
    LOGGER.logi(f"Run {run.batch_num} batches to complete {record_file}", called)
    return []


def check_all_batches_were_run(record_file: Path) -> None:
    """Raises DataError where this process observes a graph for a record file and has not seen all batches yet."""
    run = _runs.get(record_file.resolve())
    if run is None:
        return
    if run.missing:
        problem = f"{run.missing} of {run.batch_num} batches are still to be run before the factors are known"
        hint = (
            "run an output of the graph once per batch, in a session opened after quantize_model; or lower batch_num "
            "in the config.json"
        )
        if run.never_run:
            first = nd.input_reference(run.never_run[0])
            hint = f"run an output as well that needs the inputs of {first!r}"
        raise DataError(Problem(problem, file=str(record_file), hint=hint))
    del _runs[record_file.resolve()]


def _warn(plan: Plan) -> None:
    for warning in plan.warnings:
        LOGGER.logw(warning, "Configuration")
