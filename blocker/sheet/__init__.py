"""Officers' sheets: txt, csv and xlsx, in and out.

`read_sheet` goes to the end whatever it meets: each row says its own problems, with place and rule id, so that one
correction round suffices. `write_errors` gives the same sheet back with them in a column of their own.
"""

from blocker.sheet.give_back import write_errors
from blocker.sheet.read import read_sheet
from blocker.sheet.row import ParsedTarget, SheetRow
from blocker.sheet.target import parse_targets
from blocker.sheet.template import write_template

__all__ = ["ParsedTarget", "SheetRow", "parse_targets", "read_sheet", "write_errors", "write_template"]
