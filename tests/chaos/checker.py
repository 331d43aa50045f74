"""What must hold of every history, and what of it does not: pure functions.

Nothing here asks the library: slots are reckoned from the steps of the jobs alone, and calls are
known from what the jobs themselves wrote.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from chaos import registers
from chaos.history import FOREVER, OUTAGES, Edit, History, Job, Record

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

#: Seconds within which a due slot is answered while the store is within reach: the longest time
#: for which somebody who is struck can keep a row locked, and some for a busy machine.
PATIENCE = 10.0
#: Seconds after the end of an outage until all have noticed.
RECOVERY = 5.0
#: Seconds by which a call may seem to be too early: clocks are corrected only so far.
EARLY = 1.0
#: By how many seconds the jobs may be late that nobody was there to start.
GRACE = 1.0
#: Seconds that a store's and a job's opinion about the end of a lost Run may differ by.
BLUR = 0.5
MICRO = 1_000_000

#: What explains nothing of a slot that has passed; and what is true only of what is long past.
NO_EXPLANATIONS = ("is due, and waits", "still to come", "that old is on record")
TOO_OLD = "than records are kept"
#: How many changes of a job are kept.
CHANGES = 100
#: How edits are called that add jobs, and that set schedules.
ADDITIONS = frozenset({"add", "add_jobs"})
SETTINGS = frozenset({"add", "pause", "resume", "reschedule"})
#: The level of logging from which a line has to be explained by a strike.
ERROR = 40


@dataclass(frozen=True)
class Violation:
    """Something that must not be."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def check(history: History) -> list[Violation]:
    """Return all that must not be in a history."""
    rules = {
        "no slot is started twice": started_twice,
        "every call is of a run that the store knows": unknown_calls,
        "no slot is started early": started_early,
        "no slot is decided early": decided_early,
        "the store tells what happened": untrue_records,
        "every slot has exactly one answer": answered_wrongly,
        "no slot is missed while somebody is there": missed,
        "a schedule that is set is followed": not_followed,
        "a slot without answer is explained": unexplained,
        "max_instances is never exceeded": too_many_at_once,
        "nothing is running at the end": still_running,
        "no edit is lost": registers.lost_edits,
        "edits succeed while the store is within reach": failed_edits,
        "no error is logged without a strike": logged_errors,
    }
    found = [Violation(rule, text) for rule, broken in rules.items() for text in broken(history)]
    return found + [Violation("processes go on", fault) for fault in history.faults]


# -- starts -------------------------------------------------------------------------------------


def started_twice(history: History) -> Iterator[str]:
    records = {record.id: record for record in history.records}
    by_run = _by(history.calls, lambda call: call.run)
    for run, calls in by_run.items():
        if len(calls) > 1:
            yield f"run {run} of job {calls[0].job} was called {len(calls)} times: {calls}"
    by_slot = _by(
        (calls[0] for calls in by_run.values() if calls[0].run in records),
        lambda call: _slot_key(records[call.run]),
    )
    for calls in by_slot.values():
        first = records[calls[0].run]
        if len(calls) == 1 or not first.of_schedule:
            continue
        told = [records[call.run] for call in sorted(calls, key=lambda call: call.began)]
        if not history.jobs[first.job].recover:
            yield f"slot {first.slot} of job {first.job} was started {len(calls)} times: {told}"
        for before in told[:-1]:
            if before.state != "lost":
                yield (
                    f"slot {before.slot} of job {before.job} was started again, although run "
                    f"{before.id} is {before.state} and not lost: {told}"
                )
        for before, after in pairwise(told):
            if after.attempt <= before.attempt:
                yield f"runs {before.id} and {after.id} of one slot are the same attempt"


def unknown_calls(history: History) -> Iterator[str]:
    records = {record.id: record for record in history.records}
    for call in history.calls:
        record = records.get(call.run)
        if record is None:
            yield f"{call}"
        elif (record.job, record.slot, record.attempt) != (call.job, call.slot, call.attempt):
            yield f"{call} is {record} in the store"


def started_early(history: History) -> Iterator[str]:
    for call in history.calls:
        early = call.slot / MICRO - call.began
        if early > EARLY:
            yield f"{call.job} by {early:.3f} s: {call}"


def decided_early(history: History) -> Iterator[str]:
    """Tell of jobs whose next slot was too far ahead: the one before it had been decided about."""
    for reading in (*history.readings, *history.final):
        job, following = history.jobs[reading.job], (reading.values or {}).get("next")
        if job.step is None or following is None:
            continue
        early = (following - job.step) / MICRO - reading.done
        if early > EARLY:
            yield f"that before the next of {job.id} by {early:.3f} s: {reading}"


def untrue_records(history: History) -> Iterator[str]:
    calls = {call.run: call for call in history.calls}
    for record in history.records:
        call = calls.get(record.id)
        if record.state in ("succeeded", "failed"):
            if call is None:
                yield f"{record} was never called"
            elif call.returned is None:
                yield f"{record} has not returned: {call}"
        elif record.state in ("skipped", "missed", "waiting") and call is not None:
            yield f"{record} was called: {call}"
        elif record.state == "cancelled" and call is not None:
            yield f"{record} was cancelled, and called: {call}"


# -- slots --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The one answer to some slots of an incarnation: its last attempt says which."""

    first: int
    last: int
    attempts: tuple[Record, ...]


def answers(records: Iterable[Record]) -> list[Answer]:
    """Return the answers of one incarnation of one job, earliest first."""
    spans = _by(records, lambda record: (record.first, record.slot))
    return [
        Answer(*span, tuple(sorted(spans[span], key=lambda record: record.attempt)))
        for span in sorted(spans)
    ]


def lives(history: History) -> dict[tuple[str, str], list[Answer]]:
    """Return the answers by job and incarnation."""
    scheduled = [record for record in history.records if record.of_schedule]
    grouped = _by(scheduled, lambda record: (record.job, record.incarnation))
    return {life: answers(records) for life, records in grouped.items()}


def answered_wrongly(history: History) -> Iterator[str]:
    incarnations = defaultdict(set)
    for (job_id, incarnation), found in lives(history).items():
        job = history.jobs[job_id]
        incarnations[job_id].add(incarnation)
        for answer in found:
            yield from _wrong_attempts(answer)
        if job.step is None:
            if len(found) > 1:
                yield f"the only slot of {job_id} has {len(found)} answers: {found}"
            continue
        for before, after in pairwise(found):
            if after.first <= before.last:
                yield f"slots of {job_id} have two answers: {before} and {after}"
        if job.contiguous:
            yield from _wrong_steps(job, job.step, found)
    for job_id, of_job in incarnations.items():
        if history.jobs[job_id].kept and len(of_job) > 1:
            yield f"{job_id} has begun anew, though nobody has set its schedule: {of_job}"
    yield from _unanswered(history)


def _wrong_attempts(answer: Answer) -> Iterator[str]:
    attempts = answer.attempts
    if [record.attempt for record in attempts] != list(range(1, len(attempts) + 1)):
        yield f"attempts are not numbered one by one: {attempts}"
    for record in attempts[:-1]:
        if record.state not in ("lost", "cancelled"):
            yield f"{record} was tried again: {attempts}"


def _wrong_steps(job: Job, step: int, found: Sequence[Answer]) -> Iterator[str]:
    for number, answer in enumerate(found):
        # What resumes while another sets the schedule may leave one slot beside the new steps.
        slack = step - 1 if number == 0 and not job.kept else 0
        count = answer.attempts[0].count
        if not (count - 1) * step - slack <= answer.last - answer.first <= (count - 1) * step:
            yield f"{job.id}: {answer} does not stand for {count} slots"
    for number, (before, after) in enumerate(pairwise(found)):
        slack = step - 1 if number == 0 and not job.kept else 0
        if not step - slack <= after.first - before.last <= step:
            yield f"{job.id} has no answer between {before.last} and {after.first}"


def _unanswered(history: History) -> Iterator[str]:
    """Tell of slots of jobs with one incarnation, whose answers end too early or never began."""
    removed = {edit.job for edit in history.edits if edit.verb == "remove"}
    added = {edit.job for edit in history.edits if edit.verb in ADDITIONS and edit.acked}
    last = defaultdict(list)
    for (job_id, _), found in lives(history).items():
        last[job_id] += [answer.last for answer in found]
    until = in_reach(history, history.calm_until)
    for job in history.jobs.values():
        if job.id in removed or not job.kept or not (job.id in added or last[job.id]):
            continue
        if job.step is None:
            if job.first is not None and job.first / MICRO < until and not last[job.id]:
                yield f"the only slot of {job.id}, {job.first}, has no answer"
        elif not last[job.id]:
            yield f"{job.id} has no answers at all"
        elif max(last[job.id]) + job.step < until * MICRO:
            yield f"{job.id} has no answer since {max(last[job.id])}, until {until:.3f}"


def missed(history: History) -> Iterator[str]:
    """Tell of slots that were missed, though there was a node that could have started them."""
    # Before the first node was there, and after the last one was told to end, nobody was.
    nodes = [line.at for line in history.lines if "Scheduler started" in line.text]
    begin = sorted(nodes)[1:2] or [0.0]
    for record in history.records:
        first, last = record.first / MICRO, record.slot / MICRO
        if record.state != "missed" or last < begin[0] + EARLY or last > history.calm_until:
            continue
        # Who comes back from a freeze takes what is due by then for missed.
        if not any(
            strike.began - GRACE <= last and first <= strike.ended + RECOVERY
            for strike in history.strikes
            if strike.kind in OUTAGES or strike.kind in ("cut", "freeze")
        ):
            yield f"{record}"


def not_followed(history: History) -> Iterator[str]:
    """Tell of schedules that were set, and were not followed from their first slot on."""
    by_job = _by(lives(history).items(), lambda life: life[0][0])
    settings = _by(
        (edit for edit in history.edits if edit.verb in SETTINGS),
        lambda edit: edit.job,
    )
    removals = {edit.job: edit for edit in history.edits if edit.verb == "remove"}
    for job_id, edits in settings.items():
        job = history.jobs[job_id]
        if job.kept or job.step is None:
            continue
        for edit in edits:
            if not edit.acked or edit.next is None:
                continue
            rivals = [other for other in [*edits, removals.get(job_id)] if other and other != edit]
            until = _undisturbed_until(history, edit, rivals)
            if edit.next >= until * MICRO:
                continue
            lasts = [
                found[-1].last
                for _, found in by_job.get(job_id, ())
                if any(answer.first <= edit.next <= answer.last for answer in found)
            ]
            if not lasts:
                yield f"{job_id} has no answer for its first slot after {edit}, until {until:.3f}"
            elif max(lasts) + job.step < until * MICRO:
                yield f"{job_id} has no answer since {max(lasts)}, until {until:.3f}, after {edit}"


def _undisturbed_until(history: History, edit: Edit, rivals: Iterable[Edit]) -> float:
    """Return up to when slots must have been answered by what an edit has set."""
    ends = [rival.asked for rival in rivals if rival.end >= edit.asked]
    return in_reach(history, min([history.calm_until, *ends]))


def in_reach(history: History, moment: float) -> float:
    """Return up to when slots must have been answered if those after ``moment`` need not be."""
    until = moment - PATIENCE
    outages = sorted(
        (strike for strike in history.strikes if strike.kind in OUTAGES),
        key=lambda strike: strike.began,
        reverse=True,
    )
    for outage in outages:
        if outage.began < moment and outage.ended + RECOVERY > until:
            until = min(until, outage.began - PATIENCE)
    return until


def holes(history: History) -> list[tuple[str, int]]:
    """Return the first slot without answer of each incarnation, for which there is another."""
    found = []
    by_job = _by(lives(history).items(), lambda life: life[0][0])
    for job_id, of_job in by_job.items():
        step = history.jobs[job_id].step
        if step is None:
            continue
        answered = [(one.first, one.last) for _, life in of_job for one in life]
        for _, life in of_job:
            slot = life[-1].last + step
            if slot < history.calm_until * MICRO and not any(
                first <= slot <= last for first, last in answered
            ):
                found.append((job_id, slot))
    return found


def unexplained(history: History) -> Iterator[str]:
    # What 3.11.3 does leaves no note, and what was not confirmed may be done and not noted.
    unnoted = {edit.job for edit in history.edits if edit.whole or not edit.acked}
    changes = Counter(edit.job for edit in history.edits)
    for explanation in history.explanations:
        if explanation.job in unnoted:
            continue
        bad = NO_EXPLANATIONS
        if changes[explanation.job] < CHANGES:
            bad = (*bad, TOO_OLD)
        if any(text in explanation.text for text in bad):
            yield f"{explanation}"


# -- instances, and the end ---------------------------------------------------------------------


def too_many_at_once(history: History) -> Iterator[str]:
    records = {record.id: record for record in history.records}
    deaths = {strike.pid: strike.began for strike in history.strikes if strike.kind == "kill"}
    for job_id, calls in _by(history.calls, lambda call: call.job).items():
        moments: list[tuple[float, int, str]] = []
        for call in calls:
            end = call.returned or deaths.get(call.pid, FOREVER)
            record = records.get(call.run)
            if record is not None and record.state == "lost" and record.ended is not None:
                end = min(end, record.ended - BLUR)
            if end > call.began:
                moments += (call.began, 1, call.run), (end, -1, call.run)
        allowed, running = history.jobs[job_id].max_instances, set()
        for at, change, run in sorted(moments):
            (running.add if change > 0 else running.discard)(run)
            if len(running) > allowed:
                yield f"{job_id} had {len(running)} runs at {at:.3f}, of {allowed}: {running}"


def still_running(history: History) -> Iterator[str]:
    for record in history.records:
        if record.state == "running":
            yield f"{record}"


# -- edits and logs -----------------------------------------------------------------------------


def failed_edits(history: History) -> Iterator[str]:
    for edit in history.edits:
        if edit.done is not None and not edit.acked and not explained(history, edit.done):
            yield f"{edit}"


def logged_errors(history: History) -> Iterator[str]:
    frozen = [strike for strike in history.strikes if strike.kind == "freeze"]
    for line in history.lines:
        if line.level < ERROR and line.traceback is None:
            continue
        if "DeliberateError" in (line.traceback or line.text):
            continue
        if any(
            freeze.pid == line.pid and freeze.began <= line.at <= freeze.ended + RECOVERY
            for freeze in frozen
        ):
            continue
        if not explained(history, line.at):
            yield f"{line.name} ({line.pid}) at {line.at:.3f}: {line.text}\n{line.traceback or ''}"


def explained(history: History, moment: float) -> bool:
    """Tell whether the store was out of reach, or connections were cut, shortly before."""
    return any(
        strike.began <= moment <= strike.ended + RECOVERY
        for strike in history.strikes
        if strike.kind in OUTAGES or strike.kind == "cut"
    )


def _slot_key(record: Record) -> tuple[str, str, int]:
    return record.job, record.incarnation, record.slot


def _by(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    grouped: dict[K, list[T]] = defaultdict(list)
    for thing in things:
        grouped[key(thing)].append(thing)
    return dict(grouped)
