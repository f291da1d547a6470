"""Links of a report to the documentation, which differ by where the report lies.

They lead to the repository, or name the file where the repository has no address, so that a report also works where it
is downloaded to. In the built site, those of the sample lead to its pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from markupsafe import Markup

NAMED = re.compile(r'<span data-page="([\w/-]+\.md)">(.*?) \(<code>.*?</code>[^)]*\)</span>', re.S)
LINK = re.compile(r'(<a data-page="([\w/-]+\.md)" href=")[^"]*')


def link(words: str, file: str, address: str | None) -> Markup:
    """A page of the documentation, as HTML.

    Args:
        words: to be shown.
        file: of the page, in ``docs/``.
        address: of the repository, if it is published.

    Returns:
        A link, or the words with the name of the file; ``data-page`` names the page for ``for_site``.
    """
    if address is None:
        named = Markup('<span data-page="{0}">{1} (<code>docs/{0}</code> in the repository)</span>')
        return named.format(file, words)
    return Markup('<a data-page="{0}" href="{2}/blob/main/docs/{0}">{1}</a>').format(file, words, address)


def for_site(report: str, page_of: Callable[[str], str]) -> str:
    """The report of ``docs/`` in the built site.

    Args:
        report: as HTML.
        page_of: from the name of a file in ``docs/`` to its page, relative to the report.

    Returns:
        HTML whose links, and pages that were only named, lead to pages of the site.

    Example:
        >>> for_site(str(link("Limits", "limits.md", None)), lambda file: "limits/index.html")
        '<a data-page="limits.md" href="limits/index.html">Limits</a>'
    """
    report = NAMED.sub(r'<a data-page="\1" href="">\2</a>', report)
    return LINK.sub(lambda found: found[1] + page_of(found[2]), report)
