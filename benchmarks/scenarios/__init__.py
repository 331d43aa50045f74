"""One small program per scenario; each prints its figure and can be run by itself.

For example ``python -m benchmarks.scenarios.add '{"size": 10000, "trigger": "interval"}'``.
"""
