"""Forms for routers and firewalls that read a file, a script or a paste; one file each. All pure."""

from feeds.ipfilter.routers import (
    arista,
    bird,
    exabgp,
    frr,
    gobgp,
    huawei,
    ios,
    iosxr,
    iptables,
    junos,
    nokia,
    pf,
    plain,
    routeros,
)
from feeds.ipfilter.routers.form import Form

FORMS: dict[str, Form] = {
    module.FORM.name: module.FORM
    for module in (
        iptables,
        bird,
        frr,
        exabgp,
        gobgp,
        ios,
        iosxr,
        junos,
        huawei,
        nokia,
        arista,
        routeros,
        pf,
        plain,
    )
}
