"""Officers' sheets: txt, csv and xlsx, in and out."""

from blocker.sheet.row import ParsedTarget, SheetRow

__all__ = ["ParsedTarget", "SheetRow"]
