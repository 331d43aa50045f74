"""When a job is due: pure functions from the last fire time and the present to the next one."""
