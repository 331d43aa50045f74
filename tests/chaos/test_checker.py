"""The checker finds each thing that must not be, and nothing in a history where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos.checker import PATIENCE, check, holes
from chaos.history import (
    Call,
    Edit,
    Explanation,
    History,
    Job,
    Line,
    Reading,
    Record,
    Strike,
)

S = 1_000_000
#: When a history ends, in seconds: slots up to `DUE` must have answers then.
CALM = 100.0
DUE = CALM - PATIENCE

ONCE = Job("once", first=50 * S)
STEADY = Job("steady", step=10 * S)
MOVED = Job("moved", step=10 * S, kept=False)


def ran(job: Job, slot: float, **options: Any) -> tuple[Record, Call]:
    """Return a Run that succeeded, and its call; times in seconds."""
    named = {"id": f"{job.id}-{slot:g}-{options.get('attempt', 1)}", "incarnation": "one"}
    first = options.pop("first", slot)
    took = options.pop("took", 0.5)
    record = Record(
        **{
            **named,
            "job": job.id,
            "kind": "slot",
            "state": "succeeded",
            "first": round(first * S),
            "slot": round(slot * S),
            "opened": slot,
            "ended": slot + took,
            **options,
        }
    )
    pid = 1
    call = Call(record.id, job.id, record.attempt, record.slot, pid, slot, slot + took)
    return record, call


def lost(job: Job, slot: float, **options: Any) -> tuple[Record, Call]:
    record, call = ran(job, slot, state="lost", **options)
    return record, replace(call, returned=None)


def history(*runs: tuple[Record, Call] | Record, jobs: tuple[Job, ...], **more: Any) -> History:
    records = [run if isinstance(run, Record) else run[0] for run in runs]
    calls = [run[1] for run in runs if not isinstance(run, Record)]
    return History({job.id: job for job in jobs}, calls, records, **{"calm_until": CALM, **more})


def steady(*runs: tuple[Record, Call] | Record, job: Job = STEADY, **more: Any) -> History:
    """Return a history in which slots 10, 20 ... have answers, some of them those given."""
    told = {(run if isinstance(run, Record) else run[0]).slot for run in runs}
    others = [ran(job, slot) for slot in range(10, 100, 10) if slot * S not in told]
    return history(*others, *runs, jobs=(job,), **more)


def edit(verb: str, job: Job, asked: float, **options: Any) -> Edit:
    return Edit(
        **{
            "who": "client",
            "verb": verb,
            "job": job.id,
            "asked": asked,
            "done": asked + 0.1,
            "acked": True,
            **options,
        }
    )


def rules(found: History) -> set[str]:
    return {violation.rule for violation in check(found)}


# -- all is well --------------------------------------------------------------------------------

RECOVERED = replace(STEADY, recover=True)
MISSED = replace(ran(STEADY, 40)[0], state="missed", kind="gap")
WELL = {
    "nothing": history(jobs=()),
    "a one-shot": history(ran(ONCE, 50), jobs=(ONCE,)),
    "steady": steady(),
    "coalesced": history(
        *(ran(STEADY, slot) for slot in (10, 50, 60, 70, 80, 90)),
        ran(STEADY, 40, first=20, count=3),
        jobs=(STEADY,),
    ),
    "missed": steady(MISSED, strikes=[Strike("stop server", 39, 41)]),
    "recovered": steady(
        lost(RECOVERED, 40),
        ran(RECOVERED, 40, attempt=2, kind="recovery"),
        job=RECOVERED,
    ),
    "beside its schedule": steady(ran(STEADY, 43.21, kind="manual")),
}


@pytest.mark.parametrize("name", WELL)
def test_nothing_is_found_where_all_is_well(name: str) -> None:
    assert check(WELL[name]) == []


# -- starts -------------------------------------------------------------------------------------


def test_a_run_that_is_called_twice_is_found() -> None:
    found = steady()
    call = found.calls[0]
    found.calls.append(replace(call, began=call.began + 1, returned=call.began + 2))
    assert rules(found) == {"no slot is started twice"}


def test_a_slot_with_two_runs_is_found() -> None:
    found = steady(ran(STEADY, 40), ran(STEADY, 40, id="another"))
    assert "no slot is started twice" in rules(found)


def test_a_slot_that_is_started_by_two_incarnations_is_not_one_slot() -> None:
    again = edit("resume", MOVED, 40.5, next=40 * S)
    found = history(
        ran(MOVED, 40),
        ran(MOVED, 40, id="another", incarnation="two"),
        jobs=(MOVED,),
        edits=[again],
    )
    assert "no slot is started twice" not in rules(found)


def test_a_lost_run_that_is_repeated_without_recover_is_found() -> None:
    found = steady(lost(STEADY, 40), ran(STEADY, 40, attempt=2, kind="recovery"))
    assert rules(found) == {"no slot is started twice"}


def test_a_recovery_of_what_was_not_lost_is_found() -> None:
    found = steady(
        ran(RECOVERED, 40), ran(RECOVERED, 40, attempt=2, kind="recovery"), job=RECOVERED
    )
    assert "no slot is started twice" in rules(found)


def test_a_call_that_the_store_knows_nothing_of_is_found() -> None:
    found = steady()
    found.calls.append(Call("unknown", STEADY.id, 1, 40 * S, 1, 65.0, 65.5))
    assert rules(found) == {"every call is of a run that the store knows"}


def test_a_call_for_another_slot_than_that_of_its_run_is_found() -> None:
    record, call = ran(STEADY, 40)
    found = steady((record, replace(call, slot=41 * S)))
    assert rules(found) == {"every call is of a run that the store knows"}


def test_a_call_before_its_time_is_found() -> None:
    record, call = ran(STEADY, 40)
    assert rules(steady((record, replace(call, began=38.0)))) == {"no slot is started early"}


def test_a_slot_that_is_decided_before_its_time_is_found() -> None:
    read = Reading("client", STEADY.id, 80, 80.1, {"next": 90 * S})
    assert check(steady(readings=[read])) == []
    read = replace(read, values={"next": 100 * S})
    assert rules(steady(readings=[read])) == {"no slot is decided early"}


@pytest.mark.parametrize("state", ["skipped", "missed", "cancelled", "waiting"])
def test_a_call_of_a_run_that_never_began_is_found(state: str) -> None:
    assert "the store tells what happened" in rules(steady(ran(STEADY, 40, state=state)))


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_an_end_of_what_was_not_called_or_goes_on_is_found(state: str) -> None:
    record, call = ran(STEADY, 40, state=state)
    assert "the store tells what happened" in rules(steady(record))
    assert "the store tells what happened" in rules(steady((record, replace(call, returned=None))))


# -- slots --------------------------------------------------------------------------------------


def without(slot: int) -> History:
    found = steady()
    found.records[:] = [record for record in found.records if record.slot != slot * S]
    found.calls[:] = [call for call in found.calls if call.slot != slot * S]
    return found


def test_a_slot_without_answer_between_others_is_found() -> None:
    assert rules(without(40)) == {"every slot has exactly one answer"}


def test_slots_that_are_not_answered_up_to_the_end_are_found() -> None:
    found = steady()
    found.records[:] = [record for record in found.records if record.slot < 70 * S]
    found.calls[:] = [call for call in found.calls if call.slot < 70 * S]
    assert rules(found) == {"every slot has exactly one answer"}
    found.strikes.append(Strike("kill server", 68, 99))
    assert rules(found) == set()


def test_a_job_that_was_added_and_has_no_answers_at_all_is_found() -> None:
    added = edit("add", STEADY, 1)
    found = history(jobs=(STEADY,), edits=[added])
    assert rules(found) == {"every slot has exactly one answer"}
    assert check(history(jobs=(STEADY,), edits=[replace(added, acked=False, done=None)])) == []


def test_a_one_shot_without_answer_is_found_unless_it_was_removed() -> None:
    edits = [edit("add", ONCE, 1)]
    assert rules(history(jobs=(ONCE,), edits=edits)) == {"every slot has exactly one answer"}
    edits.append(edit("remove", ONCE, 2))
    assert rules(history(jobs=(ONCE,), edits=edits)) == set()


def test_two_answers_that_share_slots_are_found() -> None:
    found = steady(ran(STEADY, 60, first=40, count=3, id="over"))
    assert "every slot has exactly one answer" in rules(found)


def test_a_run_that_does_not_stand_for_as_many_slots_as_it_says_is_found() -> None:
    assert rules(steady(ran(STEADY, 40, count=2))) == {"every slot has exactly one answer"}


def test_an_attempt_that_is_left_out_or_made_after_success_is_found() -> None:
    found = steady(ran(RECOVERED, 40, attempt=2, kind="recovery"), job=RECOVERED)
    assert rules(found) == {"every slot has exactly one answer"}
    skipped = replace(ran(RECOVERED, 40)[0], state="skipped")
    found = steady(skipped, ran(RECOVERED, 40, attempt=2, kind="recovery"), job=RECOVERED)
    assert rules(found) == {"every slot has exactly one answer"}


def test_a_second_incarnation_of_a_job_whose_schedule_nobody_sets_is_found() -> None:
    found = steady(ran(STEADY, 40, incarnation="two"))
    assert "every slot has exactly one answer" in rules(found)


def test_a_slot_that_was_missed_though_somebody_was_there_is_found() -> None:
    rule = {"no slot is missed while somebody is there"}
    assert rules(steady(MISSED)) == rule
    assert rules(steady(MISSED, strikes=[Strike("stop server", 20, 30)])) == rule
    assert rules(steady(MISSED, strikes=[Strike("kill", 39, 41, 1)])) == rule
    starts = [Line(name, 1, 45.0, 20, "Scheduler started") for name in ("client", "node")]
    assert check(steady(MISSED, lines=starts)) == []


def test_a_schedule_that_was_set_and_is_not_followed_is_found() -> None:
    moves = edit("reschedule", MOVED, 30, next=33 * S, sets={"start": 3})
    runs = [ran(MOVED, slot, incarnation="two") for slot in (33, 43, 53, 63, 73, 83, 93)]
    assert check(history(*runs, jobs=(MOVED,), edits=[moves])) == []
    rule = {"a schedule that is set is followed"}
    assert rules(history(*runs[1:], jobs=(MOVED,), edits=[moves])) == rule
    assert rules(history(*runs[:4], jobs=(MOVED,), edits=[moves])) == rule
    pauses = edit("pause", MOVED, 64)
    assert rules(history(*runs[:4], jobs=(MOVED,), edits=[moves, pauses])) == set()
    assert rules(history(*runs[:3], jobs=(MOVED,), edits=[moves, pauses])) == set()
    assert rules(history(*runs[:2], jobs=(MOVED,), edits=[moves, pauses])) == rule


def test_holes_are_the_slots_that_an_explanation_is_asked_for() -> None:
    runs = [ran(MOVED, 20), ran(MOVED, 47, incarnation="two"), ran(MOVED, 98, incarnation="three")]
    assert holes(history(*runs, jobs=(MOVED,))) == [("moved", 30 * S), ("moved", 57 * S)]


@pytest.mark.parametrize(
    ("text", "explains"),
    [
        ("it is due, and waits for the scheduler", False),
        ("that was before the job was added, or longer ago than records are kept", False),
        ("the job was paused at 2026-03-01 02:00:00 UTC", True),
    ],
)
def test_a_slot_that_is_not_explained_is_found(text: str, explains: bool) -> None:
    found = history(jobs=(), explanations=[Explanation("moved", 30 * S, text)])
    assert rules(found) == (set() if explains else {"a slot without answer is explained"})
    for whole, acked in ((True, True), (False, False)):
        found.edits[:] = [Edit("somebody", "remove", "moved", 1, None, acked, whole=whole)]
        assert check(found) == []


# -- instances, and the end ---------------------------------------------------------------------


def test_two_runs_at_once_of_a_job_that_allows_one_are_found() -> None:
    found = steady(ran(STEADY, 40, took=15))
    assert rules(found) == {"max_instances is never exceeded"}
    found = steady(ran(STEADY, 40, took=15), job=replace(STEADY, max_instances=2))
    assert check(found) == []


def test_a_run_that_was_lost_may_go_on_beside_others_but_not_before_it_was_lost() -> None:
    record, call = ran(STEADY, 40, took=15, state="lost")
    assert check(steady((replace(record, ended=49.0), call))) == []
    assert rules(steady((replace(record, ended=52.0), call))) == {
        "max_instances is never exceeded"
    }


def test_a_run_ends_with_its_process() -> None:
    call = replace(lost(STEADY, 40)[1], pid=7)
    record = replace(lost(STEADY, 40)[0], ended=None)
    assert rules(steady((record, call))) == {"max_instances is never exceeded"}
    assert check(steady((record, call), strikes=[Strike("kill", 44, 44.1, 7)])) == []


def test_a_run_that_is_still_running_at_the_end_is_found() -> None:
    record, call = ran(STEADY, 90, state="running")
    assert rules(steady((record, replace(call, returned=None)))) == {
        "nothing is running at the end"
    }


# -- edits --------------------------------------------------------------------------------------


def named(name: str, asked: float, **options: Any) -> Edit:
    return edit("rename", STEADY, asked, sets={"name": name}, **options)


def reads(name: str, asked: float = 80) -> Reading:
    return Reading("client", STEADY.id, asked, asked + 0.1, {"name": name})


LOST = {"no edit is lost"}
FAILED = {"edits succeed while the store is within reach"}


def test_an_edit_that_is_gone_is_found() -> None:
    edits = [named("a", 10), named("b", 20)]
    assert check(steady(edits=edits, final=[reads("b")])) == []
    assert rules(steady(edits=edits, final=[reads("a")])) == LOST
    assert rules(steady(edits=edits, readings=[reads("a")])) == LOST
    assert check(steady(edits=edits, readings=[reads("a", 15)])) == []


def test_a_value_that_nobody_has_written_is_found() -> None:
    assert rules(steady(edits=[named("a", 10)], final=[reads("z")])) == LOST


def test_of_edits_at_the_same_time_either_may_be_the_last() -> None:
    edits = [named("a", 10, done=12.0), named("b", 11, done=13.0)]
    assert check(steady(edits=edits, final=[reads("a")])) == []
    assert check(steady(edits=edits, final=[reads("b")])) == []


def test_an_edit_that_was_not_confirmed_may_have_been_made_or_not() -> None:
    edits = [named("a", 10), named("b", 20, acked=False, done=None)]
    assert check(steady(edits=edits, final=[reads("a")])) == []
    assert check(steady(edits=edits, final=[reads("b")])) == []


def test_only_what_3x_writes_at_the_same_time_may_undo_an_edit() -> None:
    edits = [named("a", 10), named("b", 20)]
    whole = edit("retag", STEADY, 20.05, sets={"tag": "t"}, whole=True)
    assert check(steady(edits=[*edits, whole], final=[reads("a")])) == []
    assert (
        rules(steady(edits=[*edits, replace(whole, asked=30, done=31)], final=[reads("a")]))
        == LOST
    )
    assert rules(steady(edits=[*edits, replace(whole, whole=False)], final=[reads("a")])) == LOST


def test_what_3x_writes_must_not_be_lost() -> None:
    edits = [named("a", 10, whole=True), named("b", 20, whole=True)]
    assert rules(steady(edits=edits, final=[reads("a")])) == LOST


def test_a_job_that_is_gone_without_being_removed_or_has_come_back_is_found() -> None:
    added = edit("add", ONCE, 10, sets={"exists": True})
    there = Reading("client", ONCE.id, 80, 80.1, {"name": "x"})
    gone = replace(there, values=None)
    runs = {"jobs": (ONCE,)}
    one = ran(ONCE, 50)
    assert check(history(one, edits=[added], final=[there], **runs)) == []
    assert rules(history(one, edits=[added], final=[gone], **runs)) == LOST
    unknown = replace(added, acked=False, done=None)
    assert check(history(edits=[unknown], final=[gone], **runs)) == []
    removed = edit("remove", ONCE, 20, sets={"exists": False})
    assert check(history(one, edits=[added, removed], final=[gone], **runs)) == []
    assert rules(history(one, edits=[added, removed], final=[there], **runs)) == LOST


def test_an_edit_that_fails_while_the_store_is_there_is_found() -> None:
    failed = named("a", 10, acked=False, error="OperationalError")
    assert rules(steady(edits=[failed])) == FAILED
    assert check(steady(edits=[failed], strikes=[Strike("stop server", 8, 9)])) == []
    assert rules(steady(edits=[failed], strikes=[Strike("kill", 8, 9, 1)])) == FAILED


# -- logs, and processes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "traceback", "strike", "found"),
    [
        (40, None, None, True),
        (30, "Traceback", None, True),
        (30, None, None, False),
        (40, "chaos.jobs.DeliberateError", None, False),
        (40, "Traceback", Strike("cut", 9, 9.1), False),
        (40, "Traceback", Strike("cut", 11, 11.1), True),
        (40, "Traceback", Strike("kill server", 1, 2), True),
        (40, "Traceback", Strike("freeze", 5, 9, pid=1), False),
        (40, "Traceback", Strike("freeze", 5, 9, pid=2), True),
    ],
)
def test_an_error_that_no_strike_explains_is_found(
    level: int, traceback: str | None, strike: Strike | None, found: bool
) -> None:
    line = Line("node", 1, 10.0, level, "it failed", traceback)
    told = history(jobs=(), lines=[line], strikes=[strike] if strike else [])
    assert rules(told) == ({"no error is logged without a strike"} if found else set())


def test_a_process_that_did_what_it_must_not_is_told_of() -> None:
    assert rules(history(jobs=(), faults=["node0 has ended by itself"])) == {"processes go on"}
