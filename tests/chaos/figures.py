"""How much happened in a history, in figures."""

from __future__ import annotations

from collections import Counter

from chaos.checker import lives
from chaos.history import OUTAGES, History


def figures(history: History) -> dict[str, int]:
    """Return figures by what they count."""
    outcomes: Counter[str] = Counter()
    slots = coalesced = 0
    for found in lives(history).values():
        for answer in found:
            first, last = answer.attempts[0], answer.attempts[-1]
            slots += first.count
            outcomes[last.state] += first.count
            if last.state not in ("missed", "skipped"):
                coalesced += first.count - 1
    records = history.records
    texts = [line.text for line in history.lines]
    asked = [edit for edit in history.edits if edit.done is not None]
    return {
        "slots answered": slots,
        **{f"  {state}": outcomes[state] for state in sorted(outcomes)},
        "  of these coalesced": coalesced,
        "runs started": len(history.calls),
        "runs lost": sum(record.state == "lost" for record in records),
        "  without harm to their process or the store": _lost_unharmed(history),
        "recoveries": sum(record.kind == "recovery" for record in records),
        "runs beside the schedule": sum(not record.of_schedule for record in records),
        "results refused as too late": sum("came too late and was refused" in t for t in texts),
        "slots started in two incarnations": _started_anew(history),
        "edits confirmed": sum(edit.acked for edit in history.edits),
        "  by 3.11.3": sum(edit.acked and edit.whole for edit in history.edits),
        "edits refused": sum(not edit.acked for edit in asked),
        "edits without answer": len(history.edits) - len(asked),
        "values read": len(history.readings) + len(history.final),
        "explanations": len(history.explanations),
        "processes": len({line.pid for line in history.lines}),
        **dict(sorted(Counter(f"blows: {strike.kind}" for strike in history.strikes).items())),
    }


def _lost_unharmed(history: History) -> int:
    """Count the lost Runs of processes that were left alone while the store was within reach."""
    lost = {record.id: record for record in history.records if record.state == "lost"}
    calls = [call for call in history.calls if call.run in lost]
    return sum(
        not any(
            (strike.pid == call.pid or strike.kind in OUTAGES or strike.kind == "cut")
            and strike.began <= (lost[call.run].ended or strike.began)
            and strike.ended >= call.began
            for strike in history.strikes
        )
        for call in calls
    )


def _started_anew(history: History) -> int:
    records = {record.id: record for record in history.records}
    incarnations: dict[tuple[str, int], set[str]] = {}
    for call in history.calls:
        record = records.get(call.run)
        if record is not None and record.of_schedule:
            incarnations.setdefault((record.job, record.slot), set()).add(record.incarnation)
    return sum(len(found) > 1 for found in incarnations.values())
