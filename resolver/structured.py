"""Why a name is blocked, for programs: JSON in EXTRA-TEXT (draft-ietf-dnsop-structured-dns-error). Pure.

A client asks for it with an option of its own, without data. Fields are the draft's: `c` contacts as URIs, `j` the
justification, `o` the organisation, `l` the language of these two, `s` a sub-error, which "Censored" must not have.
"""

import json
import re
from typing import Final

OPTION_STRUCTURED: Final = 26
DNS_OPERATOR_POLICY: Final = 6  # sub-error, for "Blocked" alone
_MAIL: Final = re.compile(r"[A-Za-z0-9._+-]{1,63}@[A-Za-z0-9.-]{1,200}\Z")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ().-]{4,30}\Z")


def structured(reason: str, *, contact: str = "", organization: str = "", sub_error: int = 0) -> tuple[str, str]:
    """The whole text, and the one without `j` and `o` for where the whole does not fit ("" if nothing is left)."""
    uri = contact_uri(contact)
    fixed: dict[str, object] = {"c": [uri]} if uri else {}
    if sub_error:
        fixed["s"] = sub_error
    said = {"j": reason, "o": organization}
    told = {name: text for name, text in said.items() if text}
    if told:
        told["l"] = "en"
    return _json({**fixed, **told}), _json(fixed)


def contact_uri(contact: str) -> str:
    """`mailto:` or `tel:`, the schemes that the draft registers; "" for a text that is neither."""
    if _MAIL.match(contact):
        return "mailto:" + contact
    if _PHONE.match(contact):
        return "tel:" + re.sub(r"[^0-9+]", "-", contact)
    return ""


def _json(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) if fields else ""
