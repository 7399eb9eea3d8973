"""The page as one self-contained HTML file, without scripts. Reads its template from the package."""

import jinja2

from lightragctl.bench.report import charts
from lightragctl.bench.report.page import ReportPage


def html(page: ReportPage) -> str:
    """The HTML; values of runs are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lightragctl.bench.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(page=page, paper=charts)
