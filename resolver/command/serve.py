"""`blocker dns serve`."""

import json
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import structlog
from click.core import ParameterSource

from feeds.errors import Rejected
from feeds.language import _
from feeds.store import DEFAULT_PATH
from resolver.command.addresses import AddressPort, NameOrRoot, is_loopback, label
from resolver.command.zones import foreign_zones, zone_options
from resolver.lane import AUTO, LANES, chosen
from resolver.limiting import ANSWERS_PER_SECOND
from resolver.loading import Origin
from resolver.session import Config
from resolver.upstream import Address
from resolver.zones.settings import ForeignZone

MAX_LANES = 64
DEFAULT_METRICS = "127.0.0.1:9353"
_FILE = click.Path(path_type=Path)


@click.command(
    help=_(
        "Answer queries: names and addresses of the feed are refused with the reason, all else comes from upstream. "
        "SIGHUP reads everything again; a new release is taken up by itself."
    )
)
@click.option("--state", type=_FILE, help=_("The feed's state directory; default {path}.").format(path=DEFAULT_PATH))
@click.option("--list", "plain", type=_FILE, help=_("A plain list (or .gz) instead of a feed, for trials."))
@zone_options
@click.option(
    "--zone-notify",
    type=AddressPort(),
    help=_("Where the primaries of zones may say that they have changed (NOTIFY); a port from 1024 on."),
)
@click.option(
    "--listen",
    type=AddressPort(),
    multiple=True,
    default=["127.0.0.1:53"],
    show_default=True,
    help=_("Where to answer, UDP and TCP; many."),
)
@click.option(
    "--tls", type=AddressPort(853), multiple=True, help=_("Where to answer over TLS, with --certificate; many.")
)
@click.option(
    "--https",
    type=AddressPort(443),
    multiple=True,
    help=_("Where to answer over HTTPS, at /dns-query, with --certificate; many."),
)
@click.option("--certificate", type=_FILE, help=_("Certificate chain in PEM for --tls and --https; SIGHUP reads it."))
@click.option("--private-key", type=_FILE, help=_("Its private key in PEM."))
@click.option("--upstream", type=AddressPort(), multiple=True, required=True, help=_("A recursor to ask; many."))
@click.option("--except", "exceptions", type=_FILE, help=_("Names and addresses never to block, one a line."))
@click.option("--user", help=_("Become this user once the ports are bound; started as root, default nobody."))
@click.option(
    "--metrics",
    type=AddressPort(9353, word_for_none="off"),
    default=DEFAULT_METRICS,
    show_default=True,
    help=_("Where Prometheus finds /metrics, or off."),
)
@click.option("--trial", is_flag=True, help=_("With --list: let others than this machine ask, too."))
@click.option("--open", "open_", is_flag=True, help=_("Answer, enforcing nothing, while there is no release yet."))
@click.option(
    "--lane",
    type=click.Choice(LANES),
    default=AUTO,
    envvar="BLOCKER_LANE",
    show_default=True,
    show_envvar=True,
    help=_("What answers over UDP: fast (compiled), plain (Python), or auto: fast where it was built."),
)
@click.option(
    "--lanes",
    type=click.IntRange(1, MAX_LANES),
    help=_("Processes that answer; default one for each processor it may run on."),
)
@click.option(
    "--cache-mb", type=click.IntRange(1, 65_536), default=64, show_default=True, help=_("Bound of the cache.")
)
@click.option(
    "--rate-limit",
    type=click.IntRange(0, 1_000_000),
    default=ANSWERS_PER_SECOND,
    show_default=True,
    help=_(
        "Answers a second of each kind over UDP to one client network (/24, /56), without a cookie; 0 for no limit."
    ),
)
@click.option(
    "--allow-private",
    type=NameOrRoot(),
    multiple=True,
    metavar="NAME",
    help=_("A name that, with all below it, may have private addresses (or . for all); many. Others lose them."),
)
@click.option("--trust-ad", is_flag=True, help=_("Pass on the upstreams' AD bit; only over a network you trust."))
@click.pass_context
def serve(
    ctx: click.Context,
    state: Path | None,
    plain: Path | None,
    zones: tuple[ForeignZone, ...],
    zone_policies: tuple[tuple[str, str], ...],
    zone_settings: Path | None,
    zone_state: Path,
    zone_notify: Address | None,
    listen: tuple[Address, ...],
    tls: tuple[Address, ...],
    https: tuple[Address, ...],
    certificate: Path | None,
    private_key: Path | None,
    upstream: tuple[Address, ...],
    exceptions: Path | None,
    user: str | None,
    metrics: Address | None,
    trial: bool,
    open_: bool,
    lane: str,
    lanes: int | None,
    cache_mb: int,
    rate_limit: int,
    allow_private: tuple[bytes, ...],
    trust_ad: bool,
) -> None:
    if state is not None and plain is not None:
        raise click.UsageError(_("either --state or --list, not both"))
    if plain is not None and not trial and not all(map(is_loopback, (*listen, *tls, *https))):
        raise Rejected(
            _("a plain list has no decisions behind it, so it is served to this machine alone"),
            rule="list.loopback",
            then=_("listen on 127.0.0.1 or ::1, or say --trial if this is a trial that others take part in"),
        )
    if len({bool(tls or https), certificate is not None, private_key is not None}) > 1:
        raise click.UsageError(_("--tls or --https, --certificate and --private-key go together"))
    if len({*listen, *tls, *https}) < len(set(listen)) + len(set(tls)) + len(set(https)):
        raise click.UsageError(_("--tls and --https each need a port of their own"))
    own = set(listen) & set(upstream)
    if own:
        raise click.UsageError(_("{address} would ask itself").format(address=label(own.pop())))
    _log_to_stderr()
    # Twisted and all that hangs on it load only when a server is really started.
    from resolver.serving import Settings, serve

    serve(
        Settings(
            origin=Origin(
                state or (None if plain or zones else DEFAULT_PATH),
                plain,
                exceptions,
                version("blocker"),
                foreign_zones(zones, zone_policies, zone_settings),
                zone_state,
                zone_notify,
            ),
            listen=listen,
            tls=tls,
            https=https,
            credentials=_credentials(certificate, private_key),
            upstreams=upstream,
            metrics=metrics,
            metrics_must=ctx.get_parameter_source("metrics") is not ParameterSource.DEFAULT,
            user=user,
            open=open_,
            lane=chosen(lane),
            lanes=lanes or min(len(os.sched_getaffinity(0)), MAX_LANES),
            config=Config(
                tuple(map(label, upstream)),
                cache_bytes=cache_mb << 20,
                trust_ad=trust_ad,
                rate_limit=rate_limit,
                private_names=allow_private,
            ),
            version=version("blocker"),
        )
    )


def _credentials(certificate: Path | None, private_key: Path | None) -> Any:
    """What clients over TLS and HTTPS see, read now, while root's files can still be read. Raises Rejected."""
    if certificate is None or private_key is None:
        return None
    from resolver.secure import Credentials

    return Credentials(certificate, private_key)


def readable(told: Any, **options: Any) -> str:
    """JSON in which letters are themselves, and what could write on a terminal is an escape."""
    line = json.dumps(told, ensure_ascii=False, **options)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _log_to_stderr() -> None:
    """JSON lines on stderr. No caller of the log ever gives it a client's address or the name in a query."""
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer(readable)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # One write a line: several processes share it.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
