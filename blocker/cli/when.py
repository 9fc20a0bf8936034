"""Days and moments as officers write them: `24/11/2026`, `2026-11-24`, `30d`.

A day means the whole day in Vietnam (UTC+7, no summer time): what is in force until 31/12/2026 ends when that day ends
there.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone

from feeds.errors import Rejected
from feeds.language import _

VIETNAM = timezone(timedelta(hours=7))
_SPAN = re.compile(r"(\d{1,4})\s*(d|h|days?|hours?|ngày|giờ)\Z", re.IGNORECASE)
_DAY_FIRST = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})\Z")
_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})\Z")


def read_day(text: str) -> date:
    """A day; raises Rejected."""
    text = text.strip()
    try:
        if found := _DAY_FIRST.match(text):
            day, month, year = map(int, found.groups())
            return date(year, month, day)
        if found := _ISO_DAY.match(text):
            return date(*map(int, found.groups()))
    except ValueError:
        raise Rejected(_("«{text}»: there is no such day").format(text=text), rule="date.form") from None
    raise Rejected(_("«{text}» is no date; write 24/11/2026 or 2026-11-24").format(text=text), rule="date.form")


def read_expiry(text: str, now: datetime) -> datetime:
    """The moment at which something ends: a span from now, the end of a day, or an exact ISO moment with its zone."""
    text = text.strip()
    if found := _SPAN.match(text):
        count, unit = int(found.group(1)), found.group(2).casefold()[0]
        return now + (timedelta(hours=count) if unit in "hg" else timedelta(days=count))
    if (moment := _moment(text)) is not None:
        return moment
    try:
        day = read_day(text)
    except Rejected as error:
        raise Rejected(error.what, rule=error.rule, then=_("or a span from now, such as 30d or 72h")) from None
    return datetime.combine(day + timedelta(days=1), time(), VIETNAM).astimezone(UTC)


def read_start(text: str, now: datetime) -> datetime:
    """The moment at which something begins: a span from now, the start of a day, or an exact ISO moment."""
    text = text.strip()
    if _SPAN.match(text) or _moment(text) is not None:
        return read_expiry(text, now)
    return datetime.combine(read_day(text), time(), VIETNAM).astimezone(UTC)


def _moment(text: str) -> datetime | None:
    if "T" not in text.upper():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=VIETNAM).astimezone(UTC)
