"""What is made of figures and claims for readers: the HTML report, and blocks in documents."""

from bnexp.report.documents import generated
from bnexp.report.page import html

__all__ = ["generated", "html"]
