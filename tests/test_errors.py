"""Errors travel from a container to the caller and keep what they know."""

from __future__ import annotations

import inspect
import pickle

import pytest

from modalkit import errors

EXAMPLES = [
    errors.DeclarationError("GPUProfile('H100').count must be 1 to 8, got 9."),
    errors.PlanError(["Chat: a", "Chat: b"]),
    errors.MissingExtraError("The Transformers engine", "transformers"),
    errors.EngineExitedError("vLLM", -9, ["out of memory"]),
    errors.EngineTimeoutError("vLLM", 12.5, ["loading"]),
    errors.EngineRequestError(400, "no such parameter"),
    errors.BatchError("embed got 2 requests and returned 1."),
    errors.LocalModalError("port taken"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    """Modal pickles exceptions between containers: type, message and attributes arrive."""
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_the_tree_is_drawn_as_it_is():
    """The picture in the module's docstring names every class with its built-in base."""
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.ModalkitError)
        built_in = [base.__name__ for base in error.__mro__ if base.__module__ == "builtins"]
        line = next(
            line
            for line in inspect.getdoc(errors).splitlines()
            if f" {name} " in f" {line} " or line.endswith(name)
        )
        if built_in[0] != "Exception":
            assert f"({built_in[0]})" in line
