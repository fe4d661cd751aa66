"""Reports: what a run cost."""

import json
import os

from . import _native


class Report:
    """What a run cost, summed over its samples; ``Program.run`` and ``read_reports`` make it."""

    def __init__(self):
        raise TypeError("Program.run and scnnc.read_reports make reports")

    @classmethod
    def _of(cls, native):
        report = cls.__new__(cls)
        report._native = native
        return report

    @property
    def layers(self):
        """The layers in the columns of ``scnnc report --csv``: a DataFrame, or a list of dictionaries without pandas.

        A column's name ends in its unit: ``total_cycles``, ``total_energy_pj``, ``weight_density_ratio``.
        """
        return _frame(self._native.layers())

    @property
    def totals(self):
        """The sums over the layers: a DataFrame of one row, or a list of one dictionary without pandas."""
        return _frame([self._native.totals()])

    def to_dict(self):
        """The report as ``scnnc run --report`` writes it, whose schema ``scnnc report --schema`` prints."""
        return json.loads(self.to_json())

    def to_json(self):
        """The text that ``scnnc run --report`` writes."""
        return self._native.json()

    def page(self, path):
        """Writes the page of ``scnnc report -o``: one file of HTML that needs no network."""
        with open(os.fspath(path), "w", encoding="utf-8", newline="\n") as file:
            file.write(self._native.page())

    def figures(self):
        """The figures of ``scnnc report --svg`` as SVG text by name: cycles, energy, speedup."""
        return dict(self._native.figures())

    def __str__(self):
        return self._native.table()

    def __repr__(self):
        totals = self._native.totals()
        return f"<scnnc.Report {totals['total_cycles']} cycles, {len(self._native.layers())} layers>"

    def _repr_html_(self):
        """The table of the layers and the figures, for notebooks."""
        import html

        figures = "".join(f"<div>{svg}</div>" for _, svg in self._native.figures())
        return f"<pre>{html.escape(str(self))}</pre>{figures}"


def read_reports(path):
    """The reports in a file that ``scnnc run --report`` or ``scnnc compare --report`` wrote: a list of Reports.

    Raises RefusedError for a file that holds none.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        data = file.read()
    return [Report._of(native) for native in _native.read_reports(path, data)]


def _frame(rows):
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)
