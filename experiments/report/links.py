"""Links of a report to the documentation: to the repository where it has an address, else the names of its files."""

from __future__ import annotations

from markupsafe import Markup


def link(words: str, file: str, address: str | None) -> Markup:
    """A page of the documentation, as HTML.

    Args:
        words: to be shown.
        file: of the page, in ``docs/``.
        address: of the repository, if it is published.

    Returns:
        A link, or the words with the name of the file; ``data-page`` tells the site which page of its own is meant.
    """
    if address is None:
        named = Markup('<span data-page="{0}">{1} (<code>docs/{0}</code> in the repository)</span>')
        return named.format(file, words)
    return Markup('<a data-page="{0}" href="{2}/blob/main/docs/{0}">{1}</a>').format(file, words, address)
