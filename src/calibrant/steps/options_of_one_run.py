"""Options that need passes over all data, which calibration in parts does not have."""

from __future__ import annotations

from calibrant.errors import ConfigError, Problem
from calibrant.options import Options


def refuse_options_of_one_run(options: Options) -> None:
    """Check that nothing is asked for that only a run with all data at hand can do.

    Parameters
    ----------
    options : Options
        What was chosen for observing, or for merging.

    Raises
    ------
    ConfigError
        Lists every such option.
    """
    problems = []
    if options.calibration.equalize:
        message = "equalizing needs a pass over all data before the one that is split into parts"
        hint = "equalize with quantize first, and give the NAME_equalized.pb that it writes as the model"
        problems.append(Problem(message, allowed="equalize=False", hint=hint))
    if options.calibration.budget is not None:
        message = "a budget needs the data again after the parts are merged, and merge reads no data"
        hint = "spend it with quantize first, and give the NAME_budget.cfg that it writes as the configuration"
        problems.append(Problem(message, allowed="budget=None", hint=hint))
    if problems:
        raise ConfigError(*problems)
