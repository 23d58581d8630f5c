"""Show the `Example` sections of docstrings as code, as the parser shows `Examples`."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Read a section called `Example` as one called `Examples`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section in the docstring of everything that is loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
