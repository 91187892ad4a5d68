"""Whether a document is OpenAPI 3.1, and each of its examples fits its schema: python document.py openapi.json"""

import json
import sys

import jsonschema_rs
from openapi_spec_validator import OpenAPIV31SpecValidator

with open(sys.argv[1]) as file:
    document = json.load(file)


def resolved(value):
    while "$ref" in value:
        target = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def examples(place, value):
    """Each (place, schema, example) below a value of the document."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from examples(f"{place}/{index}", item)
    if not isinstance(value, dict):
        return
    if "schema" in value and "example" in value:
        yield place, value["schema"], value["example"]
    if "schema" in value and isinstance(value.get("examples"), dict):
        for name, example in value["examples"].items():
            yield f"{place}/{name}", value["schema"], resolved(example)["value"]
    if "type" in value and isinstance(value.get("examples"), list):
        for example in value["examples"]:
            yield place, value, example
    for name, member in value.items():
        if name not in ("example", "examples"):
            yield from examples(f"{place}/{name}", member)


checked = 0
wrong = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
for place, schema, example in examples("", document):
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"], "allOf": [schema]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    checked += 1
    wrong += [f"{place}: {error.message}" for error in validator.iter_errors(example)]
print("\n".join(wrong) if wrong else f"{checked} examples fit their schemas")
sys.exit(bool(wrong))
