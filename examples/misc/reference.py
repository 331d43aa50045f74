"""A job whose function is named by a text, ``module:attribute``, and imported by the scheduler."""

from apscheduler.schedulers.blocking import BlockingScheduler

if __name__ == "__main__":
    scheduler = BlockingScheduler()
    scheduler.add_job("sys:stdout.write", "interval", seconds=3, args=["Tick!\n"])
    print("Press Ctrl+C to exit", flush=True)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        pass
