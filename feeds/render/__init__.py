"""A release in the forms that other programs read; one file per form, only rules in force at `now`.

Every form obeys one sentence: it may say less than was decided, never more. What a form cannot say is left out,
counted in `Rendering.left_out`, and named in the comment lines at its head.
"""

from datetime import datetime

from feeds.errors import Rejected
from feeds.language import _
from feeds.render import csv, dnsmasq, hosts, jsonl, plain, rpz
from feeds.render.form import DEFAULT_ZONE, Accepted, Format, Rendering, View, sentences

__all__ = ["DEFAULT_ZONE", "Format", "Rendering", "formats", "render", "sentences"]

_FORMATS = (
    rpz.FULL,
    rpz.NAMES_ONLY,
    plain.FORMAT,
    hosts.FORMAT,
    dnsmasq.FORMAT,
    jsonl.FORMAT,
    csv.FORMAT,
)


def formats() -> dict[str, Format]:
    """Every form by its name."""
    return {form.name: form for form in _FORMATS}


def render(name: str, accepted: Accepted, now: datetime, *, zone: str = DEFAULT_ZONE) -> Rendering:
    """The accepted release in form `name`: an iterator over pieces of text, which knows what it leaves out.

    `zone` is the RPZ zone's name, for the forms that have one. Raises Rejected for an unknown form or a bad zone name.
    """
    form = formats().get(name)
    if form is None:
        raise Rejected(
            _("there is no format «{name}»").format(name=name),
            rule="render.format",
            then=_("choose one of: {names}").format(names=", ".join(formats())),
        )
    return form.write(View.of(accepted, now, zone))
