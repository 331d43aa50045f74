"""Database servers of the tests' own: unprivileged, in throw-away folders, on the loopback.

`servers` needs no pytest, and serves the benchmarks too; `fixtures` lends servers to tests.
"""
