"""Reports: results.csv and laws.json to report.html, report.md and report.json, and single figures as SVG files."""

from reports.read import ReportError

__all__ = ["ReportError", "build", "figure_names", "write_figure"]


def build(folder, out=None):
    """Writes report.html, report.md and report.json of a results folder into `out` (default: the folder itself).

    Returns what report.json holds, with `files`: the paths written. Raises ReportError where the folder cannot be read.
    """
    from reports import page

    return page.build(folder, out)


def write_figure(folder, name, path):
    """Writes one figure of a results folder as a standalone SVG file and returns its path.

    `name` is one of `figure_names()`, or `name:task` where there are several tasks. Raises ReportError where the results have nothing to draw.
    """
    from reports import page

    return page.write_figure(folder, name, path)


def figure_names():
    """The names of all figures."""
    from reports import page

    return list(page.FIGURES)
