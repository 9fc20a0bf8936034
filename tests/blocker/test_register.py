"""The register from the first draft to the rules that may be published."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta

import pytest

from blocker.guard import Severity
from blocker.proposal import Addition, Change, Verb
from blocker.register import Register
from blocker.workflow import EntryState, ProposalState
from feeds.errors import Refused, Rejected, Untrusted
from feeds.name import DomainName
from feeds.officers import Step
from feeds.prefix import Prefix
from feeds.rule import Action, Category, Limits, NameTarget, Scope, hours_up, moment_of
from tests.blocker.world import DAY, HOUR, NOW, FakeGuard, World, decision, key, name


def test_signed_by_one_and_approved_by_another_a_name_becomes_a_rule(world: World) -> None:
    number = world.signed(name("bet.vn"))
    assert world.rules() == {}
    world.approve(number)
    found = world.verified()
    (rule,) = found.rules
    assert str(rule.target) == "bet.vn"
    assert (rule.entry, rule.decision, rule.action) == ("so:1", "1/QD", Action.NXDOMAIN)
    assert rule.expires == hours_up(NOW + 180 * DAY)
    assert [ref.notation for ref in found.decisions] == ["1/QD"]
    assert found.decisions[0].contact == "khieunai@so.example.vn"
    assert found.problems == ()
    assert found.head == world.register.head()


def test_nobody_approves_what_they_proposed(world: World) -> None:
    number = world.signed(name("bet.vn"), by="an")
    with pytest.raises(Refused, match="four eyes"):
        world.approve(number, by="an")
    assert world.rules() == {}
    assert world.register.proposals.get(number).state is ProposalState.SIGNED


def test_a_strangers_or_wrong_key_signs_nothing(world: World) -> None:
    number, _report = world.add(name("bet.vn"))
    with pytest.raises(Refused, match="not an active officer"):
        world.register.proposals.sign(number, "dung", key(9), NOW)
    with pytest.raises(Refused, match="not the key of officer an"):
        world.register.proposals.sign(number, "an", world.keys["binh"], NOW)


def test_what_the_guard_never_allows_is_refused_and_the_rest_is_carried(world: World) -> None:
    world.guard.said = {"gov.vn": Severity.NEVER}
    number, report = world.add(name("gov.vn"), name("bet.vn"))
    assert report.added == 1
    assert [(r.target, r.problems[0].rule) for r in report.refused] == [("gov.vn", "guard.test")]
    assert world.register.proposals.get(number).items == 1


def test_the_guard_judges_again_at_approval(world: World) -> None:
    number = world.signed(name("bet.vn"))
    world.guard.said = {"bet.vn": Severity.NEVER}
    with pytest.raises(Refused, match="guard refuses") as error:
        world.approve(number)
    assert error.value.problems[0].place == "bet.vn"


def test_the_guard_judges_again_at_publish_and_the_rest_loads(world: World) -> None:
    world.listed(name("bet.vn"), name("win.vn"))
    today = FakeGuard()
    today.said = {"bet.vn": Severity.NEVER}
    found = world.verified(guard=today)
    assert [str(rule.target) for rule in found.rules] == ["win.vn"]
    assert [problem.rule for problem in found.problems] == ["guard.test"]


def test_each_target_to_confirm_needs_its_own_reason_inside_the_signed_approval(world: World) -> None:
    world.guard.said = {"pages.dev": Severity.CONFIRM, "zalo.me": Severity.CONFIRM}
    number = world.signed(name("pages.dev"), name("zalo.me"), name("bet.vn"))
    with pytest.raises(Refused, match="not confirmed") as error:
        world.approve(number, **{"pages.dev": "checked"})
    assert [problem.place for problem in error.value.problems] == ["zalo.me"]
    with pytest.raises(Rejected, match=r"does not list other\.vn"):
        world.approve(number, **{"pages.dev": "checked", "zalo.me": "checked", "other.vn": "checked"})
    world.approve(number, **{"pages.dev": "checked", "zalo.me": "hosts nothing else"})
    assert set(world.rules()) == {"pages.dev", "zalo.me", "bet.vn"}


def test_a_dropped_path_is_remembered_until_the_approval(world: World) -> None:
    number = world.signed(Addition(name("bet.vn"), Category.GAMBLING, "page", path_dropped=True))
    world.guard.asked.clear()
    world.approve(number)
    assert world.guard.asked == [("bet.vn", True, None)]


def test_the_guard_hears_under_which_decision_a_target_is_listed(world: World) -> None:
    world.listed(name("bet.vn"))
    world.register.decisions.add(decision("2/QD"), "an", NOW)
    world.guard.asked.clear()
    world.add(name("bet.vn"), decision="2/QD")
    assert world.guard.asked == [("bet.vn", False, "1/QD")]


def test_every_rule_ends_within_its_limit(world: World) -> None:
    address = Prefix.of_text("203.0.114.1/32")
    _number, report = world.add(
        Addition(name("a.vn"), Category.FRAUD, "x", expires=NOW + 366 * DAY),
        Addition(name("b.vn"), Category.FRAUD, "x", expires=NOW - DAY),
        Addition(address, Category.FRAUD, "x", expires=NOW + 31 * DAY),
        Addition(name("c.vn"), Category.FRAUD, "x", expires=NOW + 365 * DAY),
    )
    assert report.added == 1
    assert {r.target: r.problems[0].rule for r in report.refused} == dict.fromkeys(
        ("a.vn", "b.vn", str(address)), "entry.expiry"
    )
    world.listed(address)
    assert world.rules()[str(address)].expires == hours_up(NOW + 30 * DAY)


def test_an_expired_entry_leaves_without_anybodys_action(world: World) -> None:
    world.listed(Addition(name("bet.vn"), Category.GAMBLING, "x", expires=NOW + 2 * HOUR))
    assert set(world.rules()) == {"bet.vn"}
    world.later(2 * HOUR)
    assert world.rules() == {}
    assert world.register.entries.get(1, world.now).state is EntryState.EXPIRED


def test_an_entry_waits_for_its_first_hour(world: World) -> None:
    world.listed(Addition(name("bet.vn"), Category.GAMBLING, "x", valid_from=NOW + DAY))
    assert world.rules() == {}
    assert world.register.entries.get(1, world.now).state is EntryState.WAITING
    world.later(DAY)
    assert set(world.rules()) == {"bet.vn"}


def test_a_court_order_needs_its_court_and_ruling(world: World) -> None:
    addition = Addition(name("bet.vn"), Category.COURT_ORDER, "ruling")
    _number, report = world.add(addition)
    assert [r.problems[0].rule for r in report.refused] == ["entry.court-order"]
    world.register.decisions.add(decision("2/QD", court="TAND Hà Nội", ruling="12/2026"), "an", NOW)
    world.listed(addition, decision="2/QD")
    assert world.rules()["bet.vn"].category is Category.COURT_ORDER


def test_suspend_resume_extend_and_withdraw_take_effect_and_show_in_the_history(world: World) -> None:
    world.listed(name("bet.vn"), name("win.vn"))
    entry = world.entry(name("bet.vn"))
    world.changed(Verb.SUSPEND, entry)
    assert set(world.rules()) == {"win.vn"}
    world.later(HOUR)
    world.changed(Verb.RESUME, entry)
    assert set(world.rules()) == {"bet.vn", "win.vn"}
    world.later(HOUR)
    world.changed(Verb.EXTEND, entry, expires=NOW + 300 * DAY)
    assert world.rules()["bet.vn"].expires == hours_up(NOW + 300 * DAY)
    world.publish()
    world.later(HOUR)
    world.changed(Verb.WITHDRAW, entry)
    assert set(world.rules()) == {"win.vn"}
    lines = [line.what for line in world.register.entries.history(entry, world.now)]
    assert [w for w in lines if w in ("approved", "suspended", "resumed", "extended", "published", "withdrawn")] == [
        "approved",
        "suspended",
        "resumed",
        "extended",
        "published",
        "withdrawn",
    ]
    with pytest.raises(AssertionError, match="withdrawn"):
        world.change(Verb.RESUME, entry)


def test_a_change_that_no_longer_fits_is_refused_at_approval(world: World) -> None:
    world.listed(name("bet.vn"))
    waiting = world.change(Verb.SUSPEND, 1)
    world.changed(Verb.WITHDRAW, 1)
    with pytest.raises(Refused, match="so:1"):
        world.approve(waiting)
    assert world.rules() == {}


def test_the_same_list_again_adds_only_what_is_new(world: World) -> None:
    world.listed(name("bet.vn"), name("win.vn"))
    number, report = world.add(name("bet.vn"), name("win.vn"), name("new.vn"), name("new.vn"))
    assert (report.added, len(report.unchanged), report.refused) == (1, 3, ())
    plan = world.register.proposals.plan(number, NOW)
    assert ([str(rule.target) for rule in plan.added], plan.unchanged) == (["new.vn"], 3)


def test_of_two_entries_for_one_target_the_later_decision_wins(world: World) -> None:
    world.register.decisions.add(decision("0/QD", date=decision().date - DAY), "an", NOW)
    world.listed(name("bet.vn"))
    world.listed(Addition(name("bet.vn"), Category.FRAUD, "x", Action.NODATA), decision="0/QD")
    assert world.rules()["bet.vn"].decision == "1/QD"
    world.changed(Verb.WITHDRAW, 1)
    assert world.rules()["bet.vn"].decision == "0/QD"


def test_rules_carry_limits_action_and_data_as_proposed(world: World) -> None:
    prefix = Prefix.of_text("203.0.114.0/28")
    world.listed(
        Addition(prefix, Category.BOTNET, "x", Action.DROP, limits=Limits.parse("tcp/80,443")),
        Addition(name("bet.vn"), Category.GAMBLING, "x", Action.LOCAL, "192.0.2.80,2001:db8::80"),
        Addition(NameTarget(name("one.vn").name, Scope.EXACT), Category.PHISHING, "x", evidence=("cd" * 32, "ab" * 32)),
    )
    rules = world.rules()
    assert str(rules[str(prefix)].limits) == "tcp/80,443"
    assert rules["bet.vn"].data == "192.0.2.80,2001:db8::80"
    assert rules["=one.vn"].target == NameTarget(name("one.vn").name, Scope.EXACT)
    entry = world.register.entries.get(world.entry(rules["=one.vn"].target), NOW)
    assert entry.evidence == ("ab" * 32, "cd" * 32)


def test_a_rejected_proposal_lists_nothing(world: World) -> None:
    number = world.signed(name("bet.vn"))
    world.register.proposals.reject(number, "chi", world.keys["chi"], "wrong owner", NOW)
    assert world.rules() == {}
    assert world.register.proposals.get(number).reason == "wrong owner"
    assert world.register.entries.get(1, NOW).state is EntryState.REJECTED
    with pytest.raises(Refused, match="rejected"):
        world.approve(number)


def test_a_draft_can_lose_items_and_be_given_up(world: World) -> None:
    number, _report = world.add(name("bet.vn"), name("win.vn"))
    assert world.register.proposals.drop(number, ["bet.vn"], NOW) == 1
    assert [str(rule.target) for rule in world.register.proposals.plan(number, NOW).added] == ["win.vn"]
    world.register.proposals.discard(number, NOW)
    with pytest.raises(Refused, match="discarded"):
        world.register.proposals.sign(number, "an", world.keys["an"], NOW)


def test_an_empty_proposal_cannot_be_signed(world: World) -> None:
    number = world.register.proposals.new("1/QD", NOW)
    with pytest.raises(Refused) as error:
        world.register.proposals.sign(number, "an", world.keys["an"], NOW)
    assert error.value.problems[0].rule == "proposal.empty"


def test_the_plan_says_what_comes_goes_and_is_in_the_way(world: World) -> None:
    world.listed(name("bet.vn"), name("win.vn"))
    number, _report = world.add(name("new.vn"), name("pages.dev"))
    world.register.proposals.change(number, [Change(Verb.WITHDRAW, 1, "objection")], world.guard, NOW)
    world.guard.said = {"pages.dev": Severity.CONFIRM, "new.vn": Severity.WARN}
    plan = world.register.proposals.plan(number, NOW, world.guard)
    assert [str(rule.target) for rule in plan.added] == ["new.vn", "pages.dev"]
    assert [view.id for view in plan.removed] == ["so:1"]
    assert [str(one.target) for one in plan.confirm] == ["pages.dev"]
    assert [str(one.target) for one in plan.warnings] == ["new.vn"]


def test_names_are_found_without_case_and_diacritics(world: World) -> None:
    world.listed(name("xn--v-d-rma6749a.vn"), name("cobac.vn"), Prefix.of_text("203.0.114.7/32"))
    entries = world.register.entries

    def found(text: str) -> list[str]:
        return [str(view.target) for view in entries.search(text, NOW)]

    assert found("VI-DU") == found("ví-dụ") == found("xn--v-d") == ["xn--v-d-rma6749a.vn"]
    assert found("Cobac") == ["cobac.vn"]
    assert found("203.0.114") == ["203.0.114.7/32"]
    assert found("%") == found("_") == []
    assert len(entries.search("", NOW, state=EntryState.ACTIVE, category=Category.GAMBLING, decision="1/QD")) == 3
    assert entries.search("", NOW, state=EntryState.EXPIRED) == ()
    assert len(entries.search("", NOW + 181 * DAY, state=EntryState.EXPIRED)) == 3


def test_why_finds_the_target_and_what_covers_it(world: World) -> None:
    world.listed(name("bet.vn"), name("deep.bet.vn"), NameTarget(name("only.vn").name, Scope.EXACT))
    world.listed(Prefix.of_text("203.0.114.0/24"), Prefix.of_text("2606:4700:4700::/48"))

    def why(target: object) -> list[tuple[str, bool]]:
        return [(str(m.entry.target), m.covering) for m in world.register.entries.why(target, NOW)]  # type: ignore[arg-type]

    assert why(name("a.deep.bet.vn")) == [("deep.bet.vn", True), ("bet.vn", True)]
    assert why(name("bet.vn")) == [("bet.vn", False)]
    assert why(name("a.only.vn")) == why(name("vn")) == []
    assert why(Prefix.of_text("203.0.114.9/32")) == [("203.0.114.0/24", True)]
    assert why(Prefix.of_text("2606:4700:4700::1111/128")) == [("2606:4700:4700::/48", True)]
    assert why(Prefix.of_text("203.0.115.9/32")) == []


def test_decisions_are_found_and_never_changed(world: World) -> None:
    world.register.decisions.add(decision("7/QĐ-STTTT", subject="Lừa đảo trực tuyến"), "binh", NOW)
    found = world.register.decisions.search("LUA DAO")
    assert [(d.notation, d.officer, d.entries) for d in found] == [("7/QĐ-STTTT", "binh", 0)]
    assert [d.notation for d in world.register.decisions.search("qd-stttt")] == ["7/QĐ-STTTT"]
    with pytest.raises(Refused, match="already recorded"):
        world.register.decisions.add(decision("7/QĐ-STTTT", subject="Khác"), "binh", NOW)
    assert world.register.decisions.agencies() == ("Sở Thông tin và Truyền thông",)
    with pytest.raises(Rejected, match="no decision"):
        world.register.proposals.new("8/QĐ", NOW)


def test_officers_come_and_go_by_two_others(world: World) -> None:
    officers, dung = world.register.officers, key(4)
    sha = officers.propose(Step.ADD, "dung", "an", world.keys["an"], NOW, key=dung.public_hex, name="Trần Dũng")
    assert [(c.officer.id, c.by, c.name) for c in officers.pending()] == [("dung", "an", "Trần Dũng")]
    with pytest.raises(Refused, match="signed this change already"):
        officers.countersign(sha, "an", world.keys["an"], NOW)
    officers.countersign(sha, "chi", world.keys["chi"], NOW)
    assert officers.pending() == ()
    world.keys["dung"] = dung
    world.approve(world.signed(name("bet.vn"), by="dung"), by="an")
    with pytest.raises(Refused, match="their own place"):
        officers.propose(Step.DISABLE, "an", "an", world.keys["an"], NOW)
    sha = officers.propose(Step.DISABLE, "an", "dung", dung, NOW)
    with pytest.raises(Refused, match="their own place"):
        officers.countersign(sha, "an", world.keys["an"], NOW)
    officers.countersign(sha, "binh", world.keys["binh"], NOW)
    # What an approved stands; what an would do now does not.
    assert set(world.rules()) == {"bet.vn"}
    with pytest.raises(Refused, match="not an active officer"):
        world.signed(name("win.vn"), by="an")
    assert {o.id: (o.active, o.name) for o in officers.list()}["an"] == (False, "Nguyễn Văn An")


def test_a_rotated_key_takes_over_and_the_old_one_signs_nothing(world: World) -> None:
    officers, fresh = world.register.officers, key(5)
    sha = officers.propose(Step.ROTATE, "binh", "an", world.keys["an"], NOW, key=fresh.public_hex)
    officers.countersign(sha, "chi", world.keys["chi"], NOW)
    number = world.signed(name("bet.vn"))
    with pytest.raises(Refused, match="not the key of officer binh"):
        world.approve(number, by="binh")
    world.keys["binh"] = fresh
    world.approve(number, by="binh")
    assert set(world.rules()) == {"bet.vn"}


def test_a_proposal_of_an_officer_disabled_since_cannot_be_approved(world: World) -> None:
    number = world.signed(name("bet.vn"), by="an")
    officers = world.register.officers
    sha = officers.propose(Step.ADD, "dung", "an", world.keys["an"], NOW, key=key(4).public_hex)
    officers.countersign(sha, "chi", world.keys["chi"], NOW)
    sha = officers.propose(Step.DISABLE, "an", "binh", world.keys["binh"], NOW)
    officers.countersign(sha, "chi", world.keys["chi"], NOW)
    with pytest.raises(Refused, match="active officer"):
        world.approve(number)
    assert world.rules() == {}


def test_serials_only_rise_and_a_register_behind_its_feed_is_refused(world: World) -> None:
    publications = world.register.publications
    world.listed(name("bet.vn"))
    assert publications.reserve_serial(NOW) == 1
    assert publications.reserve_serial(NOW) == 2
    publications.mark_published(publications.reserve_serial(NOW), "ab" * 32, world.register.head(), NOW)
    last = publications.last()
    assert last is not None
    assert (last.serial, last.digest) == (3, "ab" * 32)
    with pytest.raises(Refused, match="behind the feed"):
        publications.reserve_serial(NOW, published_serial=4)
    with pytest.raises(Refused, match="another digest"):
        publications.mark_published(last.serial, "cd" * 32, world.register.head(), NOW)  # type: ignore[arg-type]
    assert world.verified().rules


def test_opened_again_the_register_is_the_same(world: World) -> None:
    world.listed(name("bet.vn"))
    world.register.close()
    world.register = Register.open(world.url)
    assert (world.register.authority, world.register.authority_name, world.register.training) == ("so", "Sở", False)
    assert set(world.rules()) == {"bet.vn"}


def test_a_register_is_made_once_and_only_with_enough_root_keys(world: World, tmp_path: object) -> None:
    with pytest.raises(Refused, match="already holds a register"):
        Register.create(world.url, world.genesis, world.root_keys, 2, NOW)
    with pytest.raises(Untrusted, match="root signatures"):
        Register.create(f"sqlite:///{tmp_path}/other.db", world.genesis, world.root_keys, 3, NOW)


def test_a_register_that_is_not_there_says_how_to_make_one(tmp_path: object) -> None:
    with pytest.raises(Refused, match="no register") as error:
        Register.open(f"sqlite:///{tmp_path}/none.db")
    assert "register init" in error.value.then
    with pytest.raises(Rejected, match="must be named as"):
        Register.open("mysql://x/y")


def test_break_glass_stands_alone_for_72_hours_and_only_when_admitted(world: World) -> None:
    number = world.signed(name("bet.vn"))
    world.register.proposals.break_glass(number, "an", world.keys["an"], world.guard, "attack under way", NOW)
    assert world.rules() == {}
    found = world.verified(admit=lambda emergency: emergency.proposal == number)
    (rule,) = found.rules
    assert rule.expires == hours_up(NOW + 72 * HOUR)
    assert found.emergencies[0].entries == ("so:1",)
    assert [problem.rule for problem in found.problems] == ["proposal.break-glass"]
    world.later(72 * HOUR)
    assert world.verified(admit=lambda emergency: True).rules == []
    assert world.register.entries.get(1, world.now).state is EntryState.LAPSED


def test_a_second_officer_makes_break_glass_last_or_ends_it(world: World) -> None:
    proposals = world.register.proposals
    kept, ended = world.signed(name("bet.vn")), world.signed(name("win.vn"))
    for number in (kept, ended):
        proposals.break_glass(number, "an", world.keys["an"], world.guard, "attack under way", NOW)
    with pytest.raises(Refused, match="four eyes"):
        world.approve(kept, by="an")
    world.approve(kept)
    proposals.reject(ended, "binh", world.keys["binh"], "no danger", NOW)
    rules = {str(rule.target): rule for rule in world.verified(admit=lambda emergency: True).rules}
    assert set(rules) == {"bet.vn"}
    assert rules["bet.vn"].expires == hours_up(NOW + 180 * DAY)


def test_break_glass_is_refused_for_what_must_be_confirmed_and_a_second_time(world: World) -> None:
    proposals, an = world.register.proposals, world.keys["an"]
    world.guard.said = {"pages.dev": Severity.CONFIRM}
    with pytest.raises(Refused, match="second officer must confirm"):
        proposals.break_glass(world.signed(name("pages.dev")), "an", an, world.guard, "now", NOW)
    proposals.break_glass(world.signed(name("bet.vn")), "an", an, world.guard, "now", NOW)
    world.later(100 * HOUR)
    with pytest.raises(Refused, match="cannot be repeated"):
        proposals.break_glass(world.signed(name("bet.vn")), "an", an, world.guard, "again", world.now)


def test_break_glass_can_suspend_and_the_entry_comes_back_by_itself(world: World) -> None:
    world.listed(name("bet.vn"))
    number = world.change(Verb.SUSPEND, 1)
    world.register.proposals.break_glass(number, "an", world.keys["an"], world.guard, "overblocking", NOW)
    assert world.verified(admit=lambda emergency: True).rules == []
    assert world.register.entries.get(1, NOW).state is EntryState.SUSPENDED
    world.later(72 * HOUR)
    assert set(world.rules()) == {"bet.vn"}
    world.approve(number)
    assert world.rules() == {}


def test_a_clock_ahead_of_the_reviewers_is_named(world: World) -> None:
    world.later(timedelta(minutes=5))
    number = world.signed(name("bet.vn"))
    world.now = NOW
    with pytest.raises(Refused, match="still to come"):
        world.approve(number)


def _append(url: str, count: int) -> None:
    register = Register.open(url)
    for _n in range(count):
        register.publications.reserve_serial(NOW)
    register.close()


def test_two_writers_at_once_never_break_the_chain(world: World) -> None:
    world.listed(name("bet.vn"))
    before = world.register.head().length
    world.register.close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(world.url, 25)) for _n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert world.register.head().length == before + 50
    assert [p.serial for p in world.register.publications.list()] == list(range(50, 0, -1))
    assert set(world.rules()) == {"bet.vn"}


def test_moments_are_hours_of_utc(world: World) -> None:
    world.listed(name("bet.vn"))
    entry = world.register.entries.get(1, NOW)
    assert entry.expires == moment_of(hours_up(NOW + 180 * DAY))
    assert entry.expires.tzinfo is not None


@pytest.mark.data
def test_a_whole_real_list_is_one_proposal_and_becomes_as_many_rules(
    world: World, real_list: Callable[[str], list[str]]
) -> None:
    texts = real_list("gambling-vn.domains.txt.gz")
    # A few lines of the list are addresses.
    names = {DomainName.parse(text).name for text in texts if not text.rpartition(".")[2].isdigit()}
    assert len(names) > 65_000
    world.listed(*(NameTarget(one, Scope.SUBTREE) for one in names))
    assert set(world.rules()) == {one.text for one in names}
