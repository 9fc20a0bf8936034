"""The targets by name, and how a plan is carried out on any of them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from feeds.errors import Held, Unavailable
from feeds.ipfilter import ipset, iptables, nftables
from feeds.ipfilter.filter import BITS, Filter
from feeds.ipfilter.kernel import InKernel, Run
from feeds.ipfilter.lifetime import Lasting
from feeds.ipfilter.plan import Plan, prefix_count
from feeds.language import _


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of filter. `load` reads a script on stdin; `tidy` removes what a failed `load` may leave behind.

    `change` carries a small plan out without a script, and says whether it did. `script` is given what shall be
    dropped, the hooks, a heading and the lives of the entries.
    """

    name: str
    sayable: Callable[[Filter], Filter]
    uses: Callable[[Sequence[str]], tuple[str, ...]]
    script: Callable[[Filter, Sequence[str], Sequence[str], Lasting], str]
    read: Callable[[Run], InKernel]
    load: tuple[str, ...]
    tidy: tuple[tuple[str, ...], ...] = ()
    most_elements: int | None = None
    change: Callable[[Plan], bool] = lambda plan: False

    def plan(
        self,
        serial: int,
        filter_: Filter,
        hooks: Sequence[str],
        run: Run,
        lifetime_seconds: int | None = None,
        lasting: Lasting = (),
    ) -> Plan:
        """Compare with what the kernel holds now; raises Unavailable where it cannot be read, Held if too large."""
        wanted = self.sayable(filter_)
        largest = max(prefix_count(wanted, version) for version in BITS)
        if self.most_elements is not None and largest > self.most_elements:
            raise Held(
                _("{count} prefixes are more than the {most} that {target} holds").format(
                    count=largest, most=self.most_elements, target=self.name
                ),
                kept=_("the filter is as it was"),
                then=_("use nftables, or a router"),
            )
        return Plan(self.name, serial, self.read(run), wanted, self.uses(hooks), lifetime_seconds, lasting)

    def apply(self, plan: Plan, hooks: Sequence[str], heading: Sequence[str], run: Run) -> InKernel:
        """Carry a plan out, read back and compare; returns what the kernel holds then.

        Raises Unavailable. The old filter stays where loading fails; where the comparison fails, somebody else
        writes to the same sets.
        """
        if plan.empty:
            return plan.held
        self.carry(plan, hooks, heading, run)
        after = self.read(run)
        if (after.filter, after.uses) != (plan.wanted, plan.uses):
            raise Unavailable(
                _("{target} holds something else than it was just given").format(target=self.name),
                kept=_("whatever it holds now; nothing more was changed"),
                then=_("find out what else writes to these sets, then look at `blocker ip plan {target}`").format(
                    target=self.name
                ),
            )
        return after

    def carry(self, plan: Plan, hooks: Sequence[str], heading: Sequence[str], run: Run) -> None:
        """Change what the target holds, without a look at what came of it. Raises Unavailable."""
        if not self._changed(plan):
            self._load(self.script(plan.wanted, hooks, heading, plan.lasting), run)

    def _changed(self, plan: Plan) -> bool:
        """Did the short way work? Where it does not, because somebody else was quicker, the long one remains."""
        try:
            return self.change(plan)
        except Unavailable:
            return False

    def _load(self, script: str, run: Run) -> None:
        try:
            run(self.load, script)
        except Unavailable:
            for command in self.tidy:
                with suppress(Unavailable):
                    run(command, "")
            raise


TARGETS = {
    nftables.NAME: Target(
        nftables.NAME,
        lambda filter_: filter_,
        nftables.uses,
        nftables.script,
        nftables.read,
        ("nft", "-f", "-"),
        change=nftables.change,
    ),
    ipset.NAME: Target(
        ipset.NAME,
        ipset.sayable,
        lambda hooks: (),
        lambda filter_, hooks, heading, lasting: ipset.script(filter_, heading, lasting),
        ipset.read,
        ("ipset", "restore"),
        tuple(("ipset", "destroy", f"blocked{version}_new") for version in BITS),
        ipset.MAX_ELEMENTS,
    ),
    iptables.NAME: Target(
        iptables.NAME,
        Filter.joined,
        lambda hooks: (),
        lambda filter_, hooks, heading, lasting: iptables.script(filter_, heading),
        iptables.read,
        iptables.LOAD,
    ),
}
