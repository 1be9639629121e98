"""How template fields are rendered whose value is a structure, such as a list of steps or RunJobFlow's parameters."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

# With this in front, no text is a Python literal: native rendering then leaves it a text.
_NO_LITERAL = "$"
# With this behind, no text looks like the name of a template file.
_NO_FILE = "$"


class StructuredFields:
    """
    Render the strings inside a structure as what they are; mixed into an operator.

    Airflow takes every string that ends in ".json" for the name of a file with a template, also one deep inside of
    ``steps``, where it is an argument such as "s3://bucket/settings.json". Only the value of a field itself, or an
    entry of a list that Airflow has replaced by the file's content when it read the DAG, names a file here.

    A dataclass, such as a binding, is rendered part by part; Airflow leaves it as it is.

    :cvar text_only: nothing but text belongs into the structures. Then ``render_template_as_native_obj`` does not turn
        "20260101", "0x1F" or '{"a": 1}' into a number or a mapping; the value of a field itself may still become one.
    """

    text_only: ClassVar[bool] = False
    template_ext: Any
    template_fields: Any

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value, or what is inside of it."""
        render: Any = super().render_template  # type: ignore[misc]
        if is_dataclass(content) and not isinstance(content, type) and not hasattr(content, "resolve"):
            parts = {part.name: getattr(content, part.name) for part in fields(content)}
            rendered_parts = {name: self.render_template(part, context, jinja_env) for name, part in parts.items()}
            return replace(content, **rendered_parts)
        if not isinstance(content, str) or self._is_field(content):
            return render(content, context, jinja_env, seen_oids)
        before = _NO_LITERAL if self.text_only else ""
        after = _NO_FILE if content.endswith(tuple(self.template_ext)) else ""
        rendered = render(f"{before}{content}{after}", context, jinja_env, seen_oids)
        if not before and not after:
            return rendered
        return str(rendered)[len(before) : len(str(rendered)) - len(after)]

    def _is_field(self, content: str) -> bool:
        return any(getattr(self, name, None) is content for name in self.template_fields)
