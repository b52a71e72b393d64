"""What is public is complete: the types that functions name are public, and all parameters documented."""

import inspect
from typing import get_args, get_type_hints

import pytest
from numpydoc.docscrape import FunctionDoc

import calibrant
import calibrant.amct
import calibrant.on_dask
from calibrant.amct import outside
from calibrant.options import TO_QUANTIZE

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module, names in (
        (calibrant, calibrant.__all__),
        (calibrant.amct, calibrant.amct.__all__),
        (calibrant.on_dask, ["quantize"]),
    )
    for name in names
}
OUTSIDE = outside.__name__
"""Where the calls are that raise one error whatever they are given."""
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
VALUES = {name: PUBLIC[f"calibrant.{name}"] for name in ("ConfigCheck", *(kind.__name__ for kind in TO_QUANTIZE))}


def types_of(annotation):
    """The types of calibrant that an annotation consists of."""
    if isinstance(annotation, list):
        parts = annotation
    else:
        parts = get_args(annotation)
        if not parts and str(getattr(annotation, "__module__", "")).startswith("calibrant."):
            yield annotation
    for part in parts:
        yield from types_of(part)


@pytest.mark.parametrize("name", sorted(FUNCTIONS | VALUES))
def test_types_of_public_functions_are_public(name):
    named = {found for hint in get_type_hints((FUNCTIONS | VALUES)[name]).values() for found in types_of(hint)}
    assert not [found.__qualname__ for found in named if found not in PUBLIC.values()]


def test_the_types_that_are_looked_at():
    assert {"calibrant.quantize", "calibrant.on_dask.quantize", "calibrant.amct.save_model"} <= FUNCTIONS.keys()
    assert list(types_of(dict[str, list[calibrant.Problem] | None])) == [calibrant.Problem]


def test_the_reference_lists_what_is_public(repository):
    page = (repository / "docs" / "api.md").read_text(encoding="utf-8")
    modules = {name.rpartition(".")[0] for name in PUBLIC}
    assert [name for name in sorted(modules) if f".. automodule:: {name}\n" not in page] == []


@pytest.mark.parametrize("name", sorted(name for name, value in FUNCTIONS.items() if value.__module__ != OUTSIDE))
def test_parameters_are_documented_in_their_order(name):
    named = FunctionDoc(FUNCTIONS[name])
    documented = [each.strip(" *") for entry in named["Parameters"] for each in entry.name.split(",")]
    own = list(FUNCTIONS[name].__annotations__)
    assert documented == [each for each in own if each != "return"]
    returns = get_type_hints(FUNCTIONS[name])["return"]
    assert bool(named["Returns"]) == (returns is not type(None))
