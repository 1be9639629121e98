"""Rendering of template fields that are structures, such as a list of steps or RunJobFlow's parameters."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

# A string with this prefix is not a Python literal, so native rendering keeps it a string.
_NO_LITERAL = "$"
# A string with this suffix is not the name of a template file.
_NO_FILE = "$"


class StructuredFields:
    """
    Render the strings inside a structure as strings; a mixin for operators.

    Airflow reads every string that ends in ".json" as the name of a template file, even inside ``steps``, where it is
    an argument such as "s3://bucket/settings.json". Here only the value of a field names a file, or an entry of a list,
    which Airflow replaces by the file's content when it parses the DAG.

    A dataclass, such as a binding, is rendered field by field; Airflow would not render it.

    :cvar text_only: the structures contain only strings. Then ``render_template_as_native_obj`` does not convert
        "20260101", "0x1F" or '{"a": 1}' to a number or a mapping; the value of a field itself may still become one.
    """

    text_only: ClassVar[bool] = False
    template_ext: Any
    template_fields: Any

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value and the values inside it."""
        render: Any = super().render_template  # type: ignore[misc]
        if is_dataclass(content) and not isinstance(content, type) and not hasattr(content, "resolve"):
            parts = {part.name: getattr(content, part.name) for part in fields(content)}
            rendered_parts = {name: self.render_template(part, context, jinja_env) for name, part in parts.items()}
            return replace(content, **rendered_parts)
        if not isinstance(content, str) or any(getattr(self, name, None) is content for name in self.template_fields):
            return render(content, context, jinja_env, seen_oids)
        before = _NO_LITERAL if self.text_only else ""
        after = _NO_FILE if content.endswith(tuple(self.template_ext)) else ""
        rendered = render(f"{before}{content}{after}", context, jinja_env, seen_oids)
        if not before and not after:
            return rendered
        return str(rendered)[len(before) : len(str(rendered)) - len(after)]
