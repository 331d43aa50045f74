"""The life of a Run, walked through its table line by line."""

from __future__ import annotations

import pytest

from apscheduler.runs import (
    LIVE_STATES,
    TRANSITIONS,
    RunKind,
    RunState,
    Transition,
    TransitionError,
    moved,
    replace,
    started,
    transition_table,
)
from job_kit import at, make_job, make_run

S = RunState

ENDS = (S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LOST, S.SKIPPED, S.MISSED)
LIFE = {
    S.WAITING: {S.RUNNING, S.CANCELLED, S.MISSED, S.SKIPPED},
    S.RUNNING: set(ENDS),
    **{end: set() for end in ENDS},
}


@pytest.mark.parametrize("after", RunState)
@pytest.mark.parametrize("before", RunState)
def test_a_run_goes_where_its_state_leads_and_nowhere_else(
    before: RunState, after: RunState
) -> None:
    run = make_run(state=before)
    if after in LIFE[before]:
        assert Transition(run, after).after is after
    else:
        with pytest.raises(TransitionError):
            Transition(run, after)
    assert run.state is before


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(TRANSITIONS) == set(RunState)


def test_a_state_is_live_until_nothing_follows_it() -> None:
    assert {S.WAITING, S.RUNNING} == LIVE_STATES
    assert [state for state in RunState if state.ended] == list(ENDS)


@pytest.mark.parametrize("state", RunState)
def test_a_run_has_ended_if_its_state_has(state: RunState) -> None:
    assert make_run(state=state).ended is state.ended


def test_the_table_can_be_printed() -> None:
    assert transition_table().splitlines() == [
        "waiting -> running | cancelled | skipped | missed",
        "running -> succeeded | failed | timed_out | cancelled | lost | skipped | missed",
    ]


def test_a_refused_transition_says_what_is_allowed() -> None:
    run = make_run(id="r7", job_id="backup", state=S.WAITING)
    with pytest.raises(TransitionError) as caught:
        Transition(run, S.SUCCEEDED)
    assert str(caught.value) == (
        "run r7 of job backup is waiting and cannot become succeeded; "
        "from waiting it can become: running, cancelled, skipped, missed"
    )


def test_a_transition_of_an_ended_run_says_that_it_has_ended() -> None:
    run = make_run(id="r7", job_id="backup", state=S.LOST)
    with pytest.raises(ValueError, match=r"nothing, it has ended$"):
        Transition(run, S.SUCCEEDED)


def test_a_state_and_a_kind_are_the_text_that_is_stored() -> None:
    assert RunState("timed_out") is S.TIMED_OUT
    assert f"{RunKind.RECOVERY}" == "recovery"


def test_an_end_keeps_what_the_run_is_and_says_how_it_ended() -> None:
    run = make_run(
        count=3,
        attempt=2,
        first_scheduled_at=at(-20),
        attention_at=at(5),
        definition=make_job(),
        reason="before",
    )
    transition = Transition(
        run, S.FAILED, ended_at=at(9), started_at=at(1), reason="why", error="E: e"
    )

    after = moved(run, transition)

    assert after == replace(
        run,
        state=S.FAILED,
        attention_at=None,
        started_at=at(1),
        ended_at=at(9),
        reason="why",
        error="E: e",
    )
    assert run.state is S.RUNNING


def test_an_ended_run_needs_its_definition_no_longer() -> None:
    run = make_run(definition=make_job())
    assert moved(run, Transition(run, S.SUCCEEDED, at(1))).definition is None


def test_a_run_that_goes_on_keeps_its_definition() -> None:
    job = make_job()
    run = make_run(state=S.WAITING, definition=job)
    assert moved(run, Transition(run, S.RUNNING)).definition is job


def test_a_transition_that_knows_no_start_keeps_the_one_on_record() -> None:
    run = make_run(started_at=at(1))
    assert moved(run, Transition(run, S.LOST, at(9))).started_at == at(1)


def test_a_started_run_differs_in_its_start_alone() -> None:
    job = make_job()
    run = make_run(count=2, attempt=3, reason="asked for", definition=job)

    begun = started(run, at(2))

    assert begun == replace(run, started_at=at(2))
    assert begun.definition is job
    assert run.started_at is None


def test_a_copy_can_differ_in_some_fields() -> None:
    run = make_run()
    assert replace(run, attempt=2).attempt == 2
    assert run.attempt == 1


def test_a_run_of_one_slot_stands_for_no_others() -> None:
    assert make_run().coalesced == 0
    assert make_run(count=5).coalesced == 4


def test_two_records_of_one_run_are_equal_whatever_definition_they_hold() -> None:
    run = make_run(definition=make_job())
    assert replace(run, definition=None) == run
    assert "definition" not in repr(run)


def test_a_run_takes_no_other_attributes() -> None:
    assert not hasattr(make_run(), "__dict__")
    with pytest.raises(TypeError):
        replace(make_run(), colour="red")
