"""What a table is: columns that know how their values are shown, and rows of plain values for report.json."""

import dataclasses

from reports import numbers


@dataclasses.dataclass
class Column:
    """A column: its key in report.json, its heading, and how a value is shown (None: as text)."""

    key: str
    heading: str
    show: object = None

    def text(self, value):
        if value is None or value == "":
            return numbers.NOTHING
        return self.show(value) if self.show else str(value)


@dataclasses.dataclass
class Table:
    """A table: `rows` are dicts by column key; `folded` tables are closed until asked for."""

    name: str
    title: str
    note: str
    columns: list
    rows: list
    folded: bool = False

    def texts(self):
        """All rows as shown."""
        return [[column.text(row.get(column.key)) for column in self.columns] for row in self.rows]

    def shown(self):
        """The columns in which at least one row says something."""
        kept = [c for c in self.columns if any(row.get(c.key) not in (None, "") for row in self.rows)]
        return dataclasses.replace(self, columns=kept)
