r"""What docstrings say in the words of Sphinx, said in Markdown: formulas, roles and tables.

`.. math::` blocks become `$$ ... $$`, :math:`x` becomes $x$, :func:`f` becomes `f`, double backticks single ones, a
simple table a Markdown table, and an example at the prompt a block of code.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object

_BLOCK = re.compile(r"^( *)\.\. math::[ ]*(.*)\n((?:\1[ ]+.*\n|[ ]*\n)*)", re.MULTILINE)
_EXAMPLE = re.compile(r"^( *)>>> .*\n(?:\1.*\S.*\n)*", re.MULTILINE)
_RULE = re.compile(r"^ *=+(?:  =+)+ *$")


def markdown(text: str) -> str:
    """A docstring's text in Markdown."""
    text = _BLOCK.sub(_formula, text + "\n")
    text = re.sub(r":math:`([^`]+)`", r"\\(\1\\)", text)
    text = re.sub(r":(?:func|class|meth|mod|attr|data|exc):`~?([^`]+)`", r"`\1`", text)
    return _EXAMPLE.sub(_example, _tables(text.replace("``", "`"))).rstrip("\n")


def _example(found: re.Match[str]) -> str:
    indent = found.group(1)
    return f"{indent}```pycon\n{found.group()}{indent}```\n"


def _formula(found: re.Match[str]) -> str:
    indent, first, rest = found.groups()
    body = "\n".join(filter(None, [first.strip(), textwrap.dedent(rest).strip()]))
    if "&" in body or r"\\" in body:
        body = rf"\begin{{aligned}}{body}\end{{aligned}}"
    return f"\n{indent}$$\n" + textwrap.indent(body, indent) + f"\n{indent}$$\n\n"


def _tables(text: str) -> str:
    lines, out = text.split("\n"), []
    k = 0
    while k < len(lines):
        if not _RULE.match(lines[k]):
            out.append(lines[k])
            k += 1
            continue
        end = max(j for j in range(k, len(lines)) if _RULE.match(lines[j]))
        starts = [found.start() for found in re.finditer("=+", lines[k])]
        rows = [line for line in lines[k : end + 1] if not _RULE.match(line)]
        cells = [
            [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
            for line in rows
            if line.strip()
        ]
        out += ["| " + " | ".join(row) + " |" for row in (cells[0], ["---"] * len(starts), *cells[1:])]
        k = end + 1
    return "\n".join(out)


class Roles(Extension):
    """Applied by mkdocstrings to each docstring that it reads."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
