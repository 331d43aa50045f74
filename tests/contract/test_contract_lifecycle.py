"""Start, pause, resume, shut down, start again."""

from __future__ import annotations

import pickle
import sys
import types

import pytest
from contract_kit import FAR, DictJobStore, HeldExecutor, TurnScheduler, ids, noop

from apscheduler.events import (
    EVENT_EXECUTOR_ADDED,
    EVENT_JOB_ADDED,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_REMOVED,
    EVENT_JOBSTORE_ADDED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers.base import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    BaseScheduler,
)


def test_the_three_states_have_the_numbers_0_1_2():
    assert (STATE_STOPPED, STATE_RUNNING, STATE_PAUSED) == (0, 1, 2)


def test_running_is_true_unless_stopped(turns):
    assert (turns.state, turns.running) == (STATE_STOPPED, False)
    turns.start()
    assert (turns.state, turns.running) == (STATE_RUNNING, True)
    turns.pause()
    assert (turns.state, turns.running) == (STATE_PAUSED, True)
    turns.resume()
    assert (turns.state, turns.running) == (STATE_RUNNING, True)
    turns.shutdown()
    assert (turns.state, turns.running) == (STATE_STOPPED, False)


def test_state_errors_are_plain_exceptions_with_a_text_of_their_own():
    assert SchedulerAlreadyRunningError.__bases__ == (Exception,)
    assert SchedulerNotRunningError.__bases__ == (Exception,)
    assert str(SchedulerAlreadyRunningError()) == "Scheduler is already running"
    assert str(SchedulerNotRunningError()) == "Scheduler is not running"


def test_the_base_scheduler_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        BaseScheduler()


def test_start_announces_executors_then_stores_then_jobs_then_itself(turns, heard):
    events = heard(turns)
    turns.add_job(noop, "date", run_date=FAR, id="a")
    turns.add_job(noop, "date", run_date=FAR, id="b")
    turns.start()
    assert [
        (event.code, event.alias, getattr(event, "job_id", None)) for event in events.events
    ] == [
        (EVENT_EXECUTOR_ADDED, "default", None),
        (EVENT_JOBSTORE_ADDED, "default", None),
        (EVENT_JOB_ADDED, None, "a"),
        (EVENT_JOB_ADDED, None, "b"),
        (EVENT_SCHEDULER_STARTED, None, None),
    ]


def test_start_adds_no_default_where_there_is_one(turns, heard):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor)
    turns.add_jobstore(store)
    events = heard(turns)
    turns.start()
    assert events.codes == [EVENT_SCHEDULER_STARTED]
    assert executor._scheduler is turns
    assert (store._scheduler, store._alias) == (turns, "default")


def test_a_default_is_added_beside_executors_and_stores_of_other_names(turns, heard):
    turns.add_executor(HeldExecutor(), "other")
    turns.add_jobstore(DictJobStore(), "other")
    turns.start()
    assert list(turns._executors) == ["other", "default"]
    assert list(turns._jobstores) == ["other", "default"]


def test_the_scheduler_does_not_run_yet_while_start_announces_its_parts(turns, heard):
    seen = {}
    turns.add_listener(lambda event: seen.setdefault(event.code, turns.running))
    turns.add_job(noop, "date", run_date=FAR)
    turns.start()
    assert seen == {
        EVENT_EXECUTOR_ADDED: False,
        EVENT_JOBSTORE_ADDED: False,
        EVENT_JOB_ADDED: False,
        EVENT_SCHEDULER_STARTED: True,
    }


def test_start_wakes_the_loop_unless_paused(make):
    started, paused = make(TurnScheduler), make(TurnScheduler)
    started.start()
    paused.start(paused=True)
    assert (started.state, started.wakeups) == (STATE_RUNNING, 1)
    assert (paused.state, paused.wakeups) == (STATE_PAUSED, 0)


def test_a_scheduler_is_started_once(turns):
    turns.start()
    with pytest.raises(SchedulerAlreadyRunningError):
        turns.start()
    turns.pause()
    with pytest.raises(SchedulerAlreadyRunningError):
        turns.start()


@pytest.mark.parametrize("method", ["pause", "resume", "shutdown"])
def test_a_stopped_scheduler_refuses(turns, method):
    with pytest.raises(SchedulerNotRunningError):
        getattr(turns, method)()
    turns.start()
    turns.shutdown()
    with pytest.raises(SchedulerNotRunningError):
        getattr(turns, method)()


def test_pause_and_resume_announce_a_change_only(turns, heard):
    turns.start()
    events = heard(turns)
    before = turns.wakeups
    turns.resume()
    turns.pause()
    turns.pause()
    assert (events.codes, turns.wakeups) == ([EVENT_SCHEDULER_PAUSED], before)
    turns.resume()
    turns.resume()
    assert events.codes == [EVENT_SCHEDULER_PAUSED, EVENT_SCHEDULER_RESUMED]
    assert turns.wakeups == before + 1


def test_a_paused_scheduler_runs_nothing_until_it_is_resumed(turns, heard):
    turns.start(paused=True)
    events = heard(turns)
    turns.add_job(noop, id="due", misfire_grace_time=None)
    assert turns._process_jobs() is None
    assert events.codes == [EVENT_JOB_ADDED]
    turns.resume()
    turns._process_jobs()
    assert EVENT_JOB_EXECUTED in events.codes


def test_shutdown_shuts_executors_then_stores_then_announces_itself(turns):
    calls = []

    class Executor(HeldExecutor):
        def shutdown(self, wait=True):
            calls.append((self.note, wait, turns.running))

    class Store(DictJobStore):
        def shutdown(self):
            calls.append((self.note, turns.running))

    turns.add_executor(Executor(note="first executor"), "x")
    turns.add_executor(Executor(note="second executor"), "default")
    turns.add_jobstore(Store("first store"), "y")
    turns.add_jobstore(Store("second store"), "default")
    turns.start()
    turns.add_listener(lambda event: calls.append(event.code), EVENT_SCHEDULER_SHUTDOWN)
    turns.shutdown()
    assert calls == [
        ("first executor", True, False),
        ("second executor", True, False),
        ("first store", False),
        ("second store", False),
        EVENT_SCHEDULER_SHUTDOWN,
    ]


def test_a_paused_scheduler_can_be_shut_down(turns, heard):
    turns.start(paused=True)
    events = heard(turns)
    turns.shutdown()
    assert (turns.state, events.codes) == (STATE_STOPPED, [EVENT_SCHEDULER_SHUTDOWN])


def test_shutdown_hands_wait_to_the_executors(turns):
    executor = HeldExecutor()
    turns.add_executor(executor)
    turns.start()
    turns.shutdown(wait=False)
    assert executor.shut_down_with == [False]


def test_a_restart_keeps_executors_stores_and_listeners(turns, heard):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor)
    turns.add_jobstore(store)
    events = heard(turns)
    turns.start()
    turns.add_job(noop, "date", run_date=FAR, id="kept")
    turns.shutdown()
    assert turns.get_jobs() == []
    turns.start()
    assert turns._executors == {"default": executor}
    assert turns._jobstores == {"default": store}
    assert ids(turns.get_jobs()) == ["kept"]
    assert events.codes == [
        EVENT_SCHEDULER_STARTED,
        EVENT_JOB_ADDED,
        EVENT_SCHEDULER_SHUTDOWN,
        EVENT_SCHEDULER_STARTED,
    ]


def test_a_memory_store_is_empty_after_a_restart(turns):
    turns.start()
    turns.add_job(noop, "date", run_date=FAR)
    turns.shutdown()
    turns.start()
    assert turns.get_jobs() == []


@pytest.mark.differs("a pool that was shut down is made anew by the next start")
def test_a_thread_pool_works_again_after_a_restart(background, heard):
    background.start()
    background.shutdown()
    background.start()
    events = heard(background)
    background.add_job(noop, id="again", misfire_grace_time=None)
    events.wait_for(EVENT_JOB_REMOVED)
    background.shutdown()
    assert [event.job_id for event in events.of(EVENT_JOB_EXECUTED)] == ["again"]


def test_jobs_that_collide_while_starting_make_start_fail_and_stay_pending(turns):
    turns.add_job(noop, "date", run_date=FAR, id="same")
    turns.add_job(noop, "date", run_date=FAR, id="same")
    with pytest.raises(ConflictingIdError):
        turns.start()
    assert turns.state == STATE_STOPPED
    assert ids(turns.get_jobs()) == ["same", "same"]


def test_a_pending_job_for_an_unknown_store_makes_start_fail(turns):
    turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="nowhere")
    with pytest.raises(KeyError, match="No such job store: nowhere"):
        turns.start()
    assert not turns.running
    assert ids(turns.get_jobs()) == ["a"]


@pytest.mark.differs("a start that fails leaves nothing started")
def test_a_start_that_fails_shuts_down_what_it_started(turns):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor)
    turns.add_jobstore(store)
    turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="nowhere")
    with pytest.raises(KeyError):
        turns.start()
    assert (len(executor.shut_down_with), store.shutdowns) == (1, 1)


@pytest.mark.differs("a start that failed can be tried again once its cause is gone")
def test_a_start_that_failed_succeeds_when_its_cause_is_gone(turns):
    turns.add_job(noop, "date", run_date=FAR, id="a")
    turns.add_job(noop, "date", run_date=FAR, id="b", jobstore="later")
    with pytest.raises(KeyError):
        turns.start()
    turns.add_jobstore(MemoryJobStore(), "later")
    turns.start()
    assert sorted(ids(turns.get_jobs())) == ["a", "b"]


def test_an_error_of_a_store_comes_out_of_start(turns):
    class Broken(MemoryJobStore):
        def start(self, scheduler, alias):
            raise ConnectionError("store is down")

    turns.add_jobstore(Broken())
    with pytest.raises(ConnectionError, match="store is down"):
        turns.start()
    assert turns.state == STATE_STOPPED


def test_uwsgi_without_threads_is_refused(turns, monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(has_threads=False))
    with pytest.raises(RuntimeError, match="--enable-threads"):
        turns.start()
    assert not turns.running


def test_uwsgi_with_threads_is_accepted(turns, monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(has_threads=True))
    turns.start()
    assert turns.running


def test_a_scheduler_cannot_be_pickled(turns):
    with pytest.raises(TypeError, match=r"^Schedulers cannot be serialized"):
        pickle.dumps(turns)


def test_a_scheduler_starts_from_a_listener_of_its_shutdown(turns):
    def start_again(event):
        turns.remove_listener(start_again)
        turns.start()

    turns.add_listener(start_again, EVENT_SCHEDULER_SHUTDOWN)
    turns.start()
    turns.shutdown()
    assert turns.running


def test_an_executor_added_to_a_running_scheduler_is_started_at_once(turns):
    turns.start()
    executor = ThreadPoolExecutor(1)
    turns.add_executor(executor, "more")
    assert executor._scheduler is turns


def test_a_store_added_to_a_running_scheduler_is_started_and_wakes_the_loop(turns):
    turns.start(paused=True)
    store = DictJobStore()
    turns.add_jobstore(store, "more")
    assert (store._scheduler, store._alias, turns.wakeups) == (turns, "more", 1)


def test_nothing_is_started_or_woken_before_start(turns):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor)
    turns.add_jobstore(store)
    assert (executor._scheduler, store._scheduler, turns.wakeups) == (None, None, 0)
