#!/usr/bin/python3
"""Validates values against schemas of an OpenAPI 3.1 description.

Reads {"description": ..., "cases": [{"what": ..., "schema": ..., "value": ...}]} and prints a line
for each value that its schema does not allow.
"""
import json
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend


def pattern(_validator, expression, value, _schema):
    # In the schemas' dialect (ECMA-262) `$` is the end alone; Python's also stands before a last line feed.
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", expression), value):
        yield ValidationError(f"{value!r} does not match {expression!r}")


Validator = extend(Draft202012Validator, {"pattern": pattern})

order = json.load(sys.stdin)
components = order["description"]["components"]
for case in order["cases"]:
    # References of a description begin at its root, so the components stand there in each schema.
    schema = {"allOf": [case["schema"]], "components": components}
    Validator.check_schema(case["schema"])
    validator = Validator(schema, format_checker=FormatChecker())
    for error in validator.iter_errors(case["value"]):
        place = "/".join(map(str, error.absolute_path))
        print(f"{case['what']}: at /{place}: {error.message}")
