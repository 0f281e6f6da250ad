"""The reference pages: one a module of `rondo.api` that defines fields, with a table for each of its models.

A model that several kinds share, such as the container block, stands on one page, to which all others point.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Final

from pydantic import BaseModel

from rondo.api.base import API_VERSION, DURATION_PATTERN, IDENTIFIER_PATTERN, NAME_PATTERN, Model, StatusModel
from rondo.api.crds import Schema, telling
from rondo.api.generate.text import MARKDOWN_HEADER
from rondo.api.kinds import KINDS, Kind

_SHARED: Final = {
    "container": ("Container", "Fields that describe containers, in every kind that runs one."),
    "release": ("Releases", "How a ModelGraph goes over to another version of itself."),
    "status": ("Conditions", "Statements about an object that every kind's status has."),
}
"""Title and first sentence of the pages that are no kind's own."""

_LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} entries",
    "pattern": "matches `{}`",
}
_NOT_EMPTY: Final = {"minLength": 1, "minItems": 1}
_TEXTS: Final = {DURATION_PATTERN: "duration", NAME_PATTERN: "DNS label", IDENTIFIER_PATTERN: "identifier"}
"""What strings of these patterns are called; the index page says what they look like."""


def reference_pages() -> Iterator[tuple[str, str]]:
    """Give each page's file name and text."""
    definitions = _definitions()
    for kind in KINDS:
        page = _Page(_page_of(kind.spec), definitions)
        yield f"{page.name}.md", MARKDOWN_HEADER + _about(kind, page) + page.sections()
    for name, (title, sentence) in _SHARED.items():
        yield f"{name}.md", f"{MARKDOWN_HEADER}# {title}\n\n{sentence}\n\n{_Page(name, definitions).sections()}"
    yield "README.md", MARKDOWN_HEADER + _index()


def _definitions() -> Mapping[str, Schema]:
    """Give the JSON Schema of everything that the kinds are made of, by name."""
    found: dict[str, Schema] = {}
    for model in [model for kind in KINDS for model in (kind.spec, kind.status)]:
        document = model.model_json_schema(by_alias=True)
        found |= {model.__name__: document} | document.pop("$defs", {})
    parents = {parent.__name__: parent for name in found if name in _MODELS for parent in _parents(_MODELS[name])}
    return {name: parent.model_json_schema(by_alias=True) for name, parent in parents.items()} | found


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("rondo.api."):
            yield model
            yield from _models(model)


_MODELS: Final = {model.__name__: model for base in (Model, StatusModel) for model in _models(base)}


def _parents(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Give the models whose fields a model has, besides its own."""
    return [parent for parent in model.__mro__[1:] if parent.__name__ in _MODELS]


def _page_of(model: type[BaseModel]) -> str:
    return model.__module__.rsplit(".", 1)[1]


def _index() -> str:
    kinds = [(kind.name, _page_of(kind.spec), kind.description) for kind in KINDS]
    shared = [(title, page, sentence) for page, (title, sentence) in _SHARED.items()]
    lines = [f"- [{title}]({page}.md): {sentence}" for title, page, sentence in (*kinds, *shared)]
    settings = "- [Settings](settings.md): environment variables of the operator."
    types = [
        "A *duration* is written as in Go: `90s`, `1h30m`, `168h`.",
        "A *DNS label* has letters a-z, digits and hyphens; at most 40 characters.",
        "An *identifier* has letters, digits and `_`, and does not begin with a digit; at most 63 characters.",
    ]
    return "\n".join(["# Reference", "", *lines, settings, "", *types, ""])


def _about(kind: Kind, page: _Page) -> str:
    """Write the head of a kind's page."""
    short = f", short {', '.join(f'`{each}`' for each in kind.short)}" if kind.short else ""
    scope = "in a namespace" if kind.namespaced else "cluster-scoped"
    names = f"`apiVersion: {API_VERSION}`, `kubectl get {kind.plural}`{short}, {scope}."
    fields = [f"| `{name}` | {page.link(model)} |" for name, model in (("spec", kind.spec), ("status", kind.status))]
    rules = [f"- {rule['message']}" for rule in kind.rules]
    table = ["| field | type |", "|---|---|", *fields, ""]
    return "\n".join(
        [f"# {kind.name}", "", kind.description, "", names, "", *table, *rules, *([""] if rules else []), ""]
    )


@dataclass(frozen=True)
class _Page:
    """A page: where links on it are relative to.

    Attributes:
        name: Name of the module whose models stand on it.
        definitions: JSON Schema of every model and enumeration.
    """

    name: str
    definitions: Mapping[str, Schema]

    def sections(self) -> str:
        """Write the models of the page."""
        names = [name for name in self.definitions if name in _MODELS and _page_of(_MODELS[name]) == self.name]
        return "\n".join(self._section(name) for name in names)

    def link(self, model: type[BaseModel]) -> str:
        """Point at a model."""
        page = _page_of(model)
        return f"[{model.__name__}]({'' if page == self.name else f'{page}.md'}#{model.__name__.lower()})"

    def _section(self, name: str) -> str:
        """Write one model: what it is, its rules, and a table of its fields."""
        model, schema = _MODELS[name], self.definitions[name]
        parents = _parents(model)
        inherited = {field for parent in parents for field in self.definitions[parent.__name__]["properties"]}
        own = {field: part for field, part in schema["properties"].items() if field not in inherited}
        lines = [f"- {rule['message']}" for rule in schema.get("x-kubernetes-validations", ())]
        lines += [f"- has also the fields of {self.link(parent)}" for parent in parents[:1]]
        rows = [self._row(field, part, required=field in schema.get("required", ())) for field, part in own.items()]
        table = ["| field | type | default | meaning |", "|---|---|---|---|", *rows]
        about = cleandoc(model.__doc__ or "")
        return "\n".join([f"## {name}", "", about, "", *lines, *([""] if lines else []), *table, ""])

    def _row(self, field: str, schema: Schema, *, required: bool) -> str:
        type_, limits = self._type(schema)
        meaning = schema.get("description") or self._description(schema)
        words = ", ".join(limits)
        words = words and f"{words[0].upper()}{words[1:]}."
        cells = (f"`{field}`", type_, "required" if required else _default(schema), f"{meaning} {words}".strip())
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _description(self, schema: Schema) -> str:
        """Find the description of what a field refers to; pydantic leaves out one that only repeats it."""
        return str(self.definitions.get(schema.get("$ref", "").rsplit("/", 1)[-1], {}).get("description", ""))

    def _type(self, schema: Schema) -> tuple[str, list[str]]:
        """Name a type and its limits; a model is a link, an enumeration its values."""
        if schema.get("x-kubernetes-int-or-string"):
            return "integer or string", []
        if "anyOf" in schema:
            (choice,) = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
            return self._type(choice)
        if "$ref" in schema:
            return self._referred(schema["$ref"].rsplit("/", 1)[1]), []
        return self._plain(schema)

    def _plain(self, schema: Schema) -> tuple[str, list[str]]:
        limits = [_limit(key, schema[key]) for key in _LIMITS if key in schema]
        if schema.get("pattern") in _TEXTS:
            return _TEXTS[schema["pattern"]], []
        if "items" in schema:
            inner, more = self._type(schema["items"])
            return f"list of {inner}", [*limits, *(f"each {words}" for words in more)]
        if isinstance(schema.get("additionalProperties"), dict):
            return f"map of {self._type(schema['additionalProperties'])[0]}", limits
        return str(schema.get("type", "any")), limits

    def _referred(self, name: str) -> str:
        if name in _MODELS:
            return self.link(_MODELS[name])
        return " or ".join(f"`{value}`" for value in self.definitions[name]["enum"])


def _limit(key: str, value: Any) -> str:
    return "not empty" if _NOT_EMPTY.get(key) == value else _LIMITS[key].format(value)


def _default(schema: Schema) -> str:
    value = telling(schema.get("default"))
    return "" if value is None else f"`{json.dumps(value)}`"
