"""Holds a Grafana dashboard to Grafana's own schema, as its SDK has it: names, types and enumerations.

    grafana_schema.py DASHBOARD
"""

import enum
import json
import sys
import typing

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard

plugins.register_default_plugins()
breaches = []


def is_of(value, hint):
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or isinstance(hint, typing.TypeVar):
        return True
    if origin is typing.Union:
        return any(is_of(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(is_of(item, parts[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_of(item, parts[1]) for item in value.values())
    if hint is type(None) or value is None:
        return hint is type(None) and value is None
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def types(value, place):
    """A value that the SDK has read, its fields held to their declared types."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            types(item, f"{place}[{index}]")
    elif hasattr(value, "__dict__") and not isinstance(value, enum.Enum):
        for name, hint in typing.get_type_hints(type(value)).items():
            field = getattr(value, name, None)
            if not is_of(field, hint):
                breaches.append(f"{place}.{name}: {field!r} is no {hint}")
            types(field, f"{place}.{name}")


def names(given, known, place):
    """What was given and the SDK has not read is in no schema."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name in known:
                names(value, known[name], f"{place}.{name}")
            else:
                breaches.append(f"{place}.{name}: not in the schema")
    elif isinstance(given, list) and isinstance(known, list):
        for index, (one, other) in enumerate(zip(given, known)):
            names(one, other, f"{place}[{index}]")
    elif given != known:
        breaches.append(f"{place}: {given!r} was read as {known!r}")


with open(sys.argv[1]) as file:
    given = json.load(file)
read = dashboard.Dashboard.from_json(given)
types(read, "dashboard")
names(given, json.loads(json.dumps(read, cls=encoder.JSONEncoder)), "dashboard")
for panel in read.panels:
    for target in getattr(panel, "targets", None) or []:
        if type(target).__name__ == "UnknownDataquery":
            breaches.append(f"{panel.title}: a query of an unknown kind")
sys.exit("\n".join(breaches) or 0)
