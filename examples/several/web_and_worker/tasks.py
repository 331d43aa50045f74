"""What is done later. The web process and the worker process both import this."""

import os

DATABASE = os.environ.get("JOBS_DATABASE", "sqlite:///jobs.sqlite")


def send_letter(to: str) -> None:
    print(f"Sent a letter to {to} from process {os.getpid()}", flush=True)
