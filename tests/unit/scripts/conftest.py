"""What the interfaces of AWS accept, as botocore describes them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator

JAVA_CLASS = re.compile(r"\\p\{(\w+)\}")
SURROGATES = re.compile(r"\\uD800\\uDC00-\\uDBFF\\uDFFF")
"""What Java calls the characters that need more than 16 bits."""


def _python_class(java_class: re.Match[str]) -> str:
    """Return the characters of one of Java's classes, as near as Python comes."""
    classes = {
        **{"Z": r"\s", "S": r"\W", "P": r"\W"},
        **{"ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e"},
    }
    return classes.get(java_class[1], r"\w")


def _python_pattern(pattern: str) -> str:
    """Return one of Java's patterns, as near as Python comes."""
    pattern = SURROGATES.sub(lambda _: r"\U00010000-\U0010FFFF", pattern)
    # Beside a class that stands alone, not within brackets.
    pattern = re.sub(r"(?<!\[)\\p\{(ASCII|Print)\}", r"[\\p{\1}]", pattern)
    return JAVA_CLASS.sub(_python_class, pattern)


def problems_of(operation: str, request: Any, service: str = "sagemaker") -> list[str]:
    """Return what the interface of a service does not accept in a request."""
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        return [report.generate_report()]
    return list(violations(shape, request, operation))


def violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Yield what botocore leaves to the service: values, patterns and limits."""
    rules = shape.metadata
    measure = len(value) if isinstance(value, str | list | dict) else value
    too_small = measure < rules.get("min", measure)
    if not isinstance(value, bool) and (
        too_small or measure > rules.get("max", measure)
    ):
        yield f"{path}: {measure} is out of bounds"
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from violations(shape.members[name], item, f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from violations(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from violations(shape.key, key, f"{path} key {key}")
            yield from violations(shape.value, item, f"{path}.{key}")
    elif shape.type_name == "string":
        if rules.get("enum") and value not in rules["enum"]:
            yield f"{path}: {value} is none of {rules['enum']}"
        pattern = _python_pattern(rules.get("pattern", ".*"))
        if not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{path}: {value} does not match {pattern}"


@pytest.fixture(scope="session")
def problems() -> Callable[..., list[str]]:
    """Return the function that names what is wrong: (operation, request, service)."""
    return problems_of
