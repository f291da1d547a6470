"""Tables for a phone: those of words stack, each row a block whose cells are labelled with their column's title.

``docs/style.css`` stacks what is marked ``data-stacked`` here; other tables, mostly of numbers, scroll. Options in code
do not break after their hyphens.
"""

from __future__ import annotations

import re
from html import escape, unescape

TABLE = re.compile(r"<table>(.*?)</table>", re.S)
ROW = re.compile(r"<tr>(.*?)</tr>", re.S)
HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.S)
CELL = re.compile(r"<td(?P<how>[^>]*)>(?P<content>.*?)</td>", re.S)
CODE = re.compile(r"(?<!<span></span>)<code>([^<]*)</code>")  # in a line, not a block of code
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
WIDEST_CODE = 14  # characters of code in the first of two columns that a phone shows in one line
WORDS = 36  # characters: a cell as long as this consists of words
COLUMNS = (2, 4)  # of a table that may stack


def for_phone(html: str) -> str:
    """The page with its tables of words marked, and with its options kept together.

    Example:
        >>> for_phone("<p><code>ccm merge --log</code></p>")
        '<p><code>ccm merge <span class="option">--log</span></code></p>'
    """
    html = TABLE.sub(lambda found: marked(found[0]), html)
    return CODE.sub(lambda found: OPTION.sub(r'<span class="option">\g<0></span>', found[0]), html)


def marked(table: str) -> str:
    """The table, marked and labelled if it is better stacked."""
    titles = [text_of(title) for title in HEAD.findall(table)]
    rows = [[cell["content"] for cell in CELL.finditer(row)] for row in ROW.findall(table)]
    rows = [row for row in rows if row]
    if not stacks(len(titles), rows):
        return table
    body = ROW.sub(lambda row: "<tr>" + labelled(row[1], titles) + "</tr>", table)
    return body.replace("<table>", f'<table data-stacked="{len(titles)}">', 1)


def stacks(columns: int, rows: list[list[str]]) -> bool:
    """Whether a table is better stacked than squeezed or scrolled."""
    if not COLUMNS[0] <= columns <= COLUMNS[1]:
        return False
    if columns == 2:
        return any(len(text_of(row[0])) > WIDEST_CODE and "<code>" in row[0] for row in rows)
    return any(len(text_of(cell)) >= WORDS for row in rows for cell in row[1:])


def labelled(row: str, titles: list[str]) -> str:
    """A row whose cells after the first have the titles of their columns; of two columns, the title says too little."""
    column = iter(range(len(titles)))

    def cell(found: re.Match[str]) -> str:
        k = next(column)
        if k == 0 or len(titles) == 2 or not titles[k]:
            return found[0]
        return f'<td{found["how"]} data-label="{escape(titles[k])}">{found["content"]}</td>'

    return CELL.sub(cell, row)


def text_of(html: str) -> str:
    """What a reader sees of a piece of HTML."""
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()
