"""A configuration file checked by itself, or against a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calibrant.config import PlanRow, plan_rows, read_config
from calibrant.errors import ConfigError, Problem
from calibrant.options import ModelOptions, OptionGroup, Options, takes_keywords


@dataclass(frozen=True)
class ConfigCheck:
    """What is known about a configuration.

    Parameters
    ----------
    problems : tuple[Problem, ...]
        Everything that is wrong with it, in the order of the file; empty if nothing is.
    warnings : tuple[str, ...]
        Settings that have no effect, or an unexpected one.
    plan : tuple[PlanRow, ...]
        With a model, what each layer and tensor gets; empty without one, or if there are problems.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    plan: tuple[PlanRow, ...] = ()


@takes_keywords(ModelOptions)
def check_config(config: Any, model: Any = None, *options: OptionGroup, **keywords: Any) -> ConfigCheck:
    """Check a configuration, without data.

    Parameters
    ----------
    config : Any
        As for :func:`calibrant.quantize`.
    model : Any
        As for :func:`calibrant.quantize`; None: the configuration is checked by itself.
    *options : OptionGroup
        :class:`calibrant.ModelOptions`.
    **keywords : Any
        Its fields.

    Returns
    -------
    ConfigCheck
        Problems, warnings, and the plan.

    Raises
    ------
    ConfigError
        There is no text to read.
    ModelError
        The model cannot be read.

    Examples
    --------
    >>> [(problem.path, problem.message) for problem in check_config("batch_num : 0").problems]
    [('batch_num', '0 is not allowed')]
    """
    chosen = Options.of((ModelOptions,), options, keywords)
    configuration, problems = read_config(config)
    if model is None:
        return ConfigCheck(problems.listing(), configuration.warnings)
    from calibrant.steps.plan import make_plan  # only here, as it imports TensorFlow
    from calibrant.steps.planned import folded_model, load_model

    read = folded_model(load_model(model, chosen.model), configuration)
    try:
        plan = make_plan(configuration, read.info, read.folded.graph, problems)
    except ConfigError as error:
        return ConfigCheck(error.problems)
    return ConfigCheck(warnings=plan.warnings, plan=tuple(plan_rows(plan)))
