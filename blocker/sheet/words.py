"""What headings and cells are called, in Vietnamese and English, in any case, with or without diacritics."""

import re
import unicodedata
from functools import lru_cache
from typing import TypeVar

from feeds.rule import CATEGORY_WORDS, Action, Category, Scope

Key = TypeVar("Key")

# The first Vietnamese and the first English word of each are what a template is headed with.
HEADINGS: dict[str, tuple[str, ...]] = {
    "target": (
        "đối tượng", "target", "tên miền", "tên miền vi phạm", "domain", "domain name", "domains", "fqdn", "host",
        "hostname", "địa chỉ ip", "địa chỉ", "ip", "ip address", "address", "addresses", "prefix", "url", "link",
        "liên kết", "đường dẫn", "website", "trang web", "địa chỉ website", "địa chỉ trang web", "tên miền ip",
        "tên miền địa chỉ ip", "tên miền hoặc địa chỉ ip", "domain or ip", "mục tiêu", "targets",
    ),
    "scope": ("phạm vi", "scope"),
    "category": (
        "loại", "category", "loại vi phạm", "loại hình", "nhóm", "phân loại", "hành vi", "hành vi vi phạm", "tội danh",
        "danh mục", "type", "loại hành vi",
    ),
    "reason": ("lý do", "reason", "lí do", "mô tả", "nội dung", "nội dung vi phạm", "description"),
    "evidence": ("chứng cứ", "evidence", "bằng chứng", "sha256", "sha 256"),
    "expires": (
        "hết hạn", "expiry", "ngày hết hạn", "thời hạn", "hạn", "đến ngày", "hiệu lực đến", "có hiệu lực đến",
        "expires", "expiry date", "expiration", "valid until", "until", "end date",
    ),
    "protocol": ("giao thức", "protocol"),
    "ports": ("cổng", "ports", "port", "giới hạn", "limits", "limit"),
    "action": ("hành động", "action", "biện pháp", "xử lý"),
    "errors": ("lỗi", "errors", "error", "lỗi cần sửa"),
    # Known and not read.
    "": (
        "stt", "no", "số thứ tự", "tt", "ghi chú", "note", "notes", "remark", "remarks", "number", "ngày", "date",
    ),
}  # fmt: skip

CATEGORIES: dict[Category, tuple[str, ...]] = {
    Category.PHISHING: ("giả mạo", "lừa đảo giả mạo", "mạo danh", "giả mạo lừa đảo", "đánh cắp thông tin", "phishing"),
    Category.MALWARE: ("mã độc", "phần mềm độc hại", "phát tán mã độc", "virus", "malware"),
    Category.BOTNET: ("botnet", "mạng máy tính ma", "máy chủ điều khiển", "điều khiển botnet", "c2", "c&c"),
    Category.FRAUD: ("lừa đảo", "lừa đảo chiếm đoạt tài sản", "chiếm đoạt tài sản", "gian lận", "fraud", "scam"),
    Category.CSAM: (
        "xâm hại tình dục trẻ em", "xâm hại trẻ em", "lạm dụng tình dục trẻ em", "nội dung xâm hại trẻ em", "csam",
        "child abuse",
    ),
    Category.GAMBLING: ("cờ bạc", "đánh bạc", "đánh bạc trái phép", "cá độ", "cá cược", "tổ chức đánh bạc", "gambling"),
    Category.ILLEGAL_TRADE: (
        "buôn bán trái phép", "mua bán trái phép", "buôn bán hàng cấm", "hàng cấm", "kinh doanh trái phép",
        "illegal trade",
    ),
    Category.SPAM: ("thư rác", "tin nhắn rác", "quảng cáo rác", "trang đích thư rác", "spam"),
    Category.COURT_ORDER: (
        "bản án", "phán quyết của tòa án", "quyết định của tòa án", "lệnh của tòa án", "court order",
    ),
}  # fmt: skip
# What a template shows and its list offers, in Vietnamese.
CATEGORY_VI = {category: words[0] for category, words in CATEGORIES.items()}

SCOPES: dict[Scope, tuple[str, ...]] = {
    Scope.EXACT: ("chỉ tên này", "chính xác", "exact", "chỉ tên miền này", "chính tên này"),
    Scope.SUBTREE: ("cả tên miền con", "subtree", "toàn bộ", "bao gồm tên miền con", "gồm tên miền con", "tất cả"),
}
ACTIONS: dict[Action, tuple[str, ...]] = {
    Action.NXDOMAIN: ("chặn", "chặn truy cập", "ngăn chặn", "block", "nxdomain"),
    Action.NODATA: ("không dữ liệu", "nodata"),
    Action.PASSTHRU: ("cho qua", "passthru"),
    Action.DROP: ("bỏ", "loại bỏ", "drop"),
    Action.TCP_ONLY: ("chỉ tcp", "tcp_only"),
    Action.LOCAL: ("trang thông báo", "chuyển hướng", "notice page", "local"),
}


@lru_cache(4096)
def folded(text: str) -> str:
    """Lower case, no diacritics, one space between words, no punctuation: `Tên  miền:` is `ten mien`."""
    low = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    bare = "".join(c for c in low if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9&]+", " ", bare).strip()


def _by_fold(words: dict[Key, tuple[str, ...]]) -> dict[str, Key]:
    return {folded(word): key for key, many in words.items() for word in (str(key), *many) if folded(word)}


_HEADINGS = {folded(word): key for key, many in HEADINGS.items() for word in many}
_CATEGORIES = _by_fold(CATEGORIES) | {folded(word): category for category, word in CATEGORY_WORDS.items()}
_SCOPES, _ACTIONS = _by_fold(SCOPES), _by_fold(ACTIONS)


def heading(text: str) -> str | None:
    """Which column a heading names; `""` for one that is known and not read; None for an unknown one."""
    return _HEADINGS.get(folded(text))


def category(text: str) -> Category | None:
    return _CATEGORIES.get(folded(text))


def scope(text: str) -> Scope | None:
    return _SCOPES.get(folded(text))


def action(text: str) -> Action | None:
    return _ACTIONS.get(folded(text))
