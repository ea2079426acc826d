"""What a study may ask of its laws: forms by name or expression, sharing across dimensions, bounds."""

from __future__ import annotations

import jsonschema
import pytest

import schemas
from compiler.rules import laws

VALID = jsonschema.Draft202012Validator(schemas.load("study")["properties"]["laws"])


@pytest.mark.parametrize(
    ("form", "parameters", "alone"),
    [
        ("power", 3, True), ("rectified", 4, True), ("multiplicative", 4, False), ("A * N**-alpha * D**-beta + E", 4, False),
        ("mine: A * log(D + 1e3)**-b + E", 3, True), ("A * X**-alpha + E", 3, False),
    ],
)  # fmt: skip
def test_parameters_of_a_form_are_counted(form, parameters, alone):
    assert laws.parameters(form) == parameters and laws.alone(form) is alone


@pytest.mark.parametrize(
    ("request_", "ok"),
    [
        ({"forms": ["auto"]}, True), ({"forms": ["A * D**-beta + E", "offset"]}, True), ({"forms": ["additiv"]}, False),
        ({"shared_across": {"E": ["factor", "method"], "D0": ["task"]}}, True), ({"shared_across": {"E": ["size"]}}, False), ({"shared_across": {"E": []}}, False),
        ({"fit": {"loss": "squares", "points": "rows", "bounds": {"E": [0, 2]}}}, True), ({"fit": {"bounds": {"E": [0]}}}, False), ({"fit": {"loss": "l1"}}, False),
        ({"intervals": "profile"}, True), ({"intervals": "rows"}, True), ({"intervals": "jackknife"}, False),
    ],
)  # fmt: skip
def test_the_schema_accepts_what_the_laws_can_do(request_, ok):
    assert VALID.is_valid(request_) is ok
