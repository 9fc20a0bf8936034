"""The authority's decision: on what ground entries stand."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it was issued. `notation` names it everywhere (`123/QĐ-STTTT`).

    `sha256` is of the signed file (64 hexadecimal digits, or empty). `contact` is where to object. `court` and `ruling`
    are needed by entries of category court_order. Raises Rejected, with every fault as a problem.
    """

    notation: str
    agency: str
    number: str
    date: date
    subject: str
    legal_basis: str
    contact: str
    sha256: str = ""
    court: str = ""
    ruling: str = ""
