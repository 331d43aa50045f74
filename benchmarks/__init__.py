"""What this library costs, beside what APScheduler 3.11.3 costs for the same work.

``python -m benchmarks`` makes an environment with 3.11.3 of its own, runs every scenario with
either library in turn and prints ratios. The rules that make the comparison fair:

* **One program, two libraries.** A scenario is one file that uses nothing but the public API of
  3.11. Both sides run it unchanged, on the same Python and the same version of tzlocal, each in a
  fresh process; a process that finds the wrong library on its path refuses to measure.
  A peer with another API (cronsim) has a program of its own.
* **Only ratios count.** The two sides take turns (A B A B ...), and a ratio is taken within each
  pair, so a slow spell of the machine strikes both. The table shows the median of the pairs and
  the range they span. Nothing below 1.5x should be claimed from fewer than five pairs.
* **CPU beside wall time.** Where a scenario does countable work, the processor time per operation,
  all threads together, is compared as well: a gain in wall time that costs more processor time
  shows.
* **Nothing is switched off.** Validation, events, logging at its default level, run records where
  the library keeps them, and the garbage collector all stay as a program finds them that
  configures nothing.
* **The work is checked.** A scenario counts what has run and fails, instead of giving a figure,
  when anything was lost. Due jobs are therefore given ``misfire_grace_time=None``: 3.11.3 counts
  the wait for a free worker as lateness and would drop most of a large batch.
* **Preparation is not timed.** Imports, random numbers (seeded, the same on both sides) and the
  making of the scheduler come before the clock starts, except where they are the subject.
* Due jobs are added to a started scheduler that is paused, and the clock runs from ``resume()``
  until the last of them has run.
* **Databases confirm what is on the disk.** Each measurement has an empty database of its own: a
  file, or one on a PostgreSQL or MariaDB that is started for the benchmarks as it is shipped,
  flushing at each commit. "Own file" is what either side makes of a file left to itself; elsewhere
  both sides have the same journal mode. Jobs are put in as an earlier process would have left
  them. The clock runs until the database itself has no job that is due and no run that is open,
  and the processor time includes that of the server (as Linux tells it).
* What 3.11.3 has nothing like is compared with ourselves under other conditions: eight nodes with
  fewer, questions about a million runs with the same about ten thousand. Both columns are then
  ours.
"""
