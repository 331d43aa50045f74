"""Runs a server for as long as somebody holds its lock; a program that needs nothing installed.

Whoever uses the server holds a shared lock on a file, and the operating system lets go of it
however that process ends. So no server outlives its users, and nobody has to count them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading


def main(folder: str, owner: str, last_signal: str, *command: str) -> None:
    """Run a command until it ends and its folder is no longer used; then delete the folder.

    :param owner: user and group that the command runs as, or nothing
    :param last_signal: ends the command when nobody uses it any more
    """
    uid, gid = map(int, owner.split(":")) if owner else (None, None)
    with open(f"{folder}/log", "a") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            user=uid,
            group=gid,
            extra_groups=[] if owner else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    _say(server.pid)
    end = threading.Thread(target=_tell_of_its_end, args=(server,))
    end.start()
    with open(f"{folder}/users") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        server.send_signal(int(last_signal))
        end.join()
        shutil.rmtree(folder, ignore_errors=True)


def _tell_of_its_end(server: subprocess.Popen[bytes]) -> None:
    _say(f"ended: {server.wait()}")


def _say(text: object) -> None:
    try:
        os.write(1, f"{text}\n".encode())
    except BrokenPipeError:  # whoever started us is gone
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
