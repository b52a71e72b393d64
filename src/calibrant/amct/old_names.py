"""Names that TensorFlow 2 and NumPy no longer have and scripts of the time of TensorFlow 1 use.

They are given on demand: a module is asked for a name only when it lacks it. So what a script can find by itself stays
what it is, and it is known in the end which names were given.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from calibrant.graph.tensorflow import tensorflow

NUMPY = {
    "float": float,
    "int": int,
    "bool": bool,
    "object": object,
    "str": str,
    "complex": complex,
    "long": int,
    "unicode": str,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "string_": np.bytes_,
    "Inf": np.inf,
    "Infinity": np.inf,
    "infty": np.inf,
    "NaN": np.nan,
    "product": np.prod,
    "cumproduct": np.cumprod,
    "alltrue": np.all,
    "sometrue": np.any,
}
_ITERATORS = ("make_one_shot_iterator", "make_initializable_iterator")
_HAVE_NO_OLD_NAMES = frozenset({"keras", "compat", "lite", "estimator"})


@contextmanager
def old_names() -> Iterator[set[str]]:
    """Give the old names for as long as the block lasts; the set holds those that were asked for: ``tf.Session`` …."""
    tf = tensorflow()
    given: set[str] = set()
    modules: dict[str, tuple[Any, Callable[[str], Any]]] = {
        "tf": (tf, _attribute_of(tf.compat.v1)),
        "np": (np, NUMPY.__getitem__),
    }
    for name, module in vars(tf).items():
        old = vars(tf.compat.v1).get(name)
        known = isinstance(module, types.ModuleType) and isinstance(old, types.ModuleType)
        if known and not name.startswith("_") and name not in _HAVE_NO_OLD_NAMES:
            modules[f"tf.{name}"] = (module, _attribute_of(old))
    before = {name: vars(module).get("__getattr__") for name, (module, _) in modules.items()}
    for name, (module, source) in modules.items():
        module.__getattr__ = _giving(name, source, before[name], given)
    dataset = tf.data.Dataset
    for name in _ITERATORS:
        setattr(dataset, name, getattr(tf.compat.v1.data, name))
    try:
        yield given
    finally:
        for name in _ITERATORS:
            delattr(dataset, name)
        for name, (module, _) in modules.items():
            if before[name] is None:
                del module.__getattr__
            else:
                module.__getattr__ = before[name]


def _attribute_of(module: Any) -> Callable[[str], Any]:
    return lambda name: getattr(module, name)


def _giving(
    module: str, source: Callable[[str], Any], before: Callable[[str], Any] | None, given: set[str]
) -> Callable[[str], Any]:
    def give(name: str) -> Any:
        if not name.startswith("__"):
            try:
                value = source(name)
            except (AttributeError, KeyError):
                pass
            else:
                given.add(f"{module}.{name}")
                return value
        if before is not None:
            return before(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return give


@contextmanager
def under_the_original_name() -> Iterator[None]:
    """Let ``import amct_tensorflow``, and of its submodules, find this package for as long as the block lasts."""
    import importlib
    import pkgutil
    import sys

    import calibrant.amct as package

    aliases = {"amct_tensorflow": package}
    for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not entry.name.endswith("__main__"):
            aliases[entry.name.replace(package.__name__, "amct_tensorflow", 1)] = importlib.import_module(entry.name)
    before = {name: sys.modules.get(name) for name in aliases}
    sys.modules.update(aliases)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@contextmanager
def scripts_environment() -> Iterator[None]:
    """What an unmodified script expects: the package's original name, graphs instead of eager execution, old names.

    Eager execution stays off for the rest of the process.
    """
    from calibrant.amct.log import LOGGER

    tensorflow().compat.v1.disable_eager_execution()
    with under_the_original_name(), old_names() as given:
        try:
            yield
        finally:
            if given:
                LOGGER.logi(f"Names that are no longer there were given: {', '.join(sorted(given))}", "runner")
