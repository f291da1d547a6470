"""Docstrings and signatures as mkdocstrings shows them: a role of Sphinx becomes a link, an example a block of code,
and a constant that is a default, such as ``reach = REACH``, its value. Attributes show their defaults.

mkdocs.yml names :class:`Roles` as an extension of griffe, which reads the sources for mkdocstrings.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr):`(?P<short>~)?(?P<name>[\w.]+)`")
PAPER = re.compile(r"(?<!\[)\barXiv[ :](?P<number>\d{4}\.\d{5})")
# An attribute in a docstring's list: its name, and its text up to the next one.
ATTRIBUTE = re.compile(r"(?m)^(?P<indent> {4,8})(?P<name>\w+): (?P<text>.*(?:\n(?P=indent) +\S.*)*)")
EMPTY: tuple[Any, ...] = (None, (), [], {})  # defaults that need no mention
# An example in a docstring: its first prompt and all lines up to an empty or a less indented one.
IMPORTS = {"jax": "import jax", "jnp": "import jax.numpy as jnp", "np": "import numpy as np"}  # of most modules
DOCTEST = re.compile(r"(?m)^(?P<indent> +)>>> .*\n?(?:(?P=indent).*\S.*\n?)*")


class Roles(griffe.Extension):
    """Rewrites the roles and examples in every docstring that is loaded, and defaults in signatures."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called when a package is loaded as a whole, so that names can be looked up."""
        _rewrite(pkg, set())


def _rewrite(at: Any, seen: set[str]) -> None:
    if at.is_alias or at.path in seen:
        return
    seen.add(at.path)
    if at.docstring is not None:
        if at.is_class:
            at.docstring.value = with_defaults(at, at.docstring.value)
        text = PAPER.sub(r"[arXiv \g<number>](https://arxiv.org/abs/\g<number>)", at.docstring.value)
        at.docstring.value = fenced(ROLE.sub(lambda found: link(at, found), text))
    if at.is_function:
        for parameter in at.parameters:
            parameter.default = value_of(at, parameter.default)
    for member in at.members.values():
        _rewrite(member, seen)


def value_of(at: Any, default: Any) -> Any:
    """The value of a constant of the package, written as in its definition; any other default as it is."""
    if not re.fullmatch(r"[A-Z][A-Z_0-9]*", str(default)):
        return default
    try:
        there = at.modules_collection[at.parent.resolve(str(default))]
        there = there.final_target if there.is_alias else there
    except (KeyError, griffe.NameResolutionError, griffe.AliasResolutionError):
        return default
    return there.value if there.is_attribute and there.value is not None else default


def with_defaults(at: Any, text: str) -> str:
    """The docstring of a class, each attribute with its default, which mkdocstrings shows of parameters only."""
    before, title, after = text.partition("Attributes:\n")

    def attribute(found: re.Match[str]) -> str:
        member = at.members.get(found["name"])
        value = str(value_of(at, member.value)) if member is not None and member.is_attribute else ""
        try:
            said = ast.literal_eval(value) in EMPTY or "default" in found["text"]
        except (ValueError, SyntaxError):  # none, or a call or a function, which says little
            said = True
        return found[0] if said else f"{found[0].rstrip('.')}; default: `{value}`."

    return before + title + ATTRIBUTE.sub(attribute, after)


def fenced(text: str) -> str:
    """The text with its examples as fenced code, without which Markdown takes their prompts for quotations.

    An example begins with the imports of its module that it uses, so that it runs where it is copied to.

    Example:
        >>> fenced("Example:\\n    >>> jnp.ones(1)").splitlines()
        ['Example:', '    ```pycon', '    >>> import jax.numpy as jnp', '    >>> jnp.ones(1)', '    ```']
    """

    def block(found: re.Match[str]) -> str:
        indent, code = found["indent"], re.sub(r" *# doctest: .*", "", found[0].rstrip("\n"))
        needed = [line for name, line in IMPORTS.items() if re.search(rf"\b{name}\.", code) and line not in code]
        code = "".join(f"{indent}>>> {line}\n" for line in needed) + code
        return f"{indent}```pycon\n{code}\n{indent}```" + "\n" * found[0].endswith("\n")

    return DOCTEST.sub(block, text)


def link(at: Any, found: re.Match[str]) -> str:
    """A link of mkdocs-autorefs, which stays plain code where the target has no page."""
    name = found["name"]
    shown = name.rsplit(".", 1)[-1] if found["short"] else name
    return f'<autoref optional identifier="{target(at, name)}"><code>{shown}</code></autoref>'


def target(at: Any, name: str) -> str:
    """The path at which an object is documented: where it is defined, not where it is imported to."""
    scope = at if at.is_module or at.is_class else at.parent
    for path in (name, None):
        try:
            full = path if path and path.split(".")[0] == at.package.name else scope.resolve(name)
            there = at.modules_collection[full]
            return there.final_target.path if there.is_alias else there.path
        except (KeyError, griffe.NameResolutionError, griffe.AliasResolutionError, ValueError):
            continue
    return name
