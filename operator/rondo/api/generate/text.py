"""How generated files are written: stable YAML, and a header that says where they come from."""

from __future__ import annotations

from typing import Any, Final

import yaml

SOURCE: Final = "Generated from operator/rondo/api by `make generate`; do not edit."
YAML_HEADER: Final = f"# {SOURCE}\n"
MARKDOWN_HEADER: Final = f"<!-- {SOURCE} -->\n"


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and text of several lines as it is."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the interface of yaml
        """Write every part out."""
        return True

    def text(self, text: str) -> yaml.ScalarNode:
        """Write a string."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.text)


def yaml_of(*documents: Any) -> str:
    """Write documents as YAML, keys in their own order."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
