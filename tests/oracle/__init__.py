"""Fire times by brute force: what the triggers answer, found by walking the clock.

Nothing of the package is used in the models, only the standard library's knowledge of zones and
calendars. They are plain on purpose: every minute (or second) of UTC is converted to local time,
every field is compared with it, and what the clocks do is seen from the walk.
"""
