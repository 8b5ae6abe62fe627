"""`guidestore report`: one self-contained HTML file about runs, from stored codes, weights and predictions alone.

`sections` cuts the runs, one file per part of a section computes and draws it, `page` puts all into `template.html`.
"""

from guidestore.flows.report.page import Report, write_report

__all__ = ["Report", "write_report"]
