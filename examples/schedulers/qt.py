"""A schedule on the event loop of Qt; works with PyQt6 as well."""

import signal
from datetime import datetime

from PySide6.QtCore import QCoreApplication

from apscheduler.schedulers.qt import QtScheduler


def tick() -> None:
    print(f"Tick! It is {datetime.now():%H:%M:%S}", flush=True)


if __name__ == "__main__":
    application = QCoreApplication([])
    signal.signal(signal.SIGINT, lambda *args: application.quit())
    scheduler = QtScheduler()
    scheduler.add_job(tick, "interval", seconds=3)
    scheduler.start()
    print("Press Ctrl+C to exit", flush=True)
    application.exec()
    scheduler.shutdown()
