#!/usr/bin/python3
"""A full disk: the server stops with a clear message, and with space again nothing acknowledged is lost.

    disk_full.py --server build/release/quorald [--rounds 3 --room 150]

The data directory is on a small tmpfs, together with a file of ballast that leaves little room. Each round writes until
the server ends, checks its last words, frees the ballast, starts again and compares everything that was acknowledged.
In a last round the log alone (--wal-dir) is on a file system that holds one segment and a part of the next: writes go on
until that segment is full. Needs root.
"""

import os
import shutil
import subprocess
import sys
import time

import support
from load import Ledger, Load

SEGMENT = 16 << 20  # of the log
WARNING = "no room on the disk for the next segment"
WORDS = ("no space left on device", "disk full", "disk is full", "enospc")


def last_words(server):
    """The log's fatal lines, or any line that speaks of the disk."""
    text = server.log_since_start().decode("utf-8", "replace")
    return [line for line in text.splitlines() if any(w in line.lower() for w in WORDS)]


def one_round(server, ledger, number, patience, ballast):
    load = Load(server.client_port, "f%d" % number, number, value_bytes=(4000, 16000)).start()
    end = time.monotonic() + patience
    while server.alive() and load.running() and time.monotonic() < end:
        time.sleep(0.02)
    if server.alive():
        load.stop()
        load.join()
        support.fail("round %d: the server still runs after %d acknowledged writes and %d refused ones; it must stop "
                     "when its disk is full:\n%s" % (number, load.acked(), sum(w.refused for w in load.writers),
                                                      server.tail()))
    load.join()
    code = server.process.returncode
    server.process = None
    words = last_words(server)
    if code == 0 or not words:
        support.fail("round %d: ended with %d and without naming the full disk:\n%s" % (number, code, server.tail()))
    # Still full: it must say so again, or start; in no case may it damage anything.
    server.start(wait=False)
    end = time.monotonic() + 5
    while server.alive() and time.monotonic() < end and not any(r in server.log_since_start() for r in support.READY):
        time.sleep(0.02)
    server.stop()
    os.unlink(ballast)
    server.start(timeout=60)
    ledger.check(server.target, load)
    return load.acked(), code, words[-1]


def segment_alone(directory, binary):
    """A log whose disk has room for one segment only. Returns what was compared."""
    mount_point = os.path.join(directory, "wal")
    os.mkdir(mount_point)
    size = SEGMENT + (SEGMENT >> 2)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs", mount_point], check=True)
    server = support.Server(binary, os.path.join(directory, "data"), extra=["--wal-dir=" + mount_point + "/log"])
    server.log_path = os.path.join(directory, "wal.log")
    ledger = Ledger()
    try:
        server.start()
        load = Load(server.client_port, "w", 1, value_bytes=(4000, 16000)).start()
        end = time.monotonic() + 60
        while server.alive() and load.running() and time.monotonic() < end:
            time.sleep(0.02)
        load.stop()
        load.join()
        if server.alive():
            support.fail("the server still runs when its log's disk is full:\n%s" % server.tail())
        log = server.log_since_start().decode("utf-8", "replace")
        code = server.process.returncode
        server.process = None
        if code == 0 or "filling the next log segment" not in log or WARNING not in log:
            support.fail("ended with %d, without a warning first or without naming the segment:\n%s" % (
                code, server.tail()))
        # The warning comes in the second half of the segment; all of the rest was used.
        with open(os.path.join(mount_point, "log", "0000000000000001.wal"), "rb") as f:
            used = len(f.read().rstrip(b"\0"))
        if used < SEGMENT - SEGMENT // 8:
            support.fail("ended with %d bytes of its segment unused" % (SEGMENT - used))
        server.start(timeout=60)  # what is there can be read and is the ledger's
        ledger.check(server.target, load)
        print("the log alone: %d writes acknowledged, %d bytes of the segment unused" % (load.acked(), SEGMENT - used))
        return ledger.checked
    finally:
        server.stop()
        subprocess.run(["umount", mount_point], check=False)


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=800, help="size of the file system")
    parser.add_argument("--room", type=int, default=150, help="megabytes that each round may fill")
    parser.add_argument("--patience", type=float, default=60, help="seconds a round may write")
    options = support.parse(parser)
    if os.geteuid() != 0:
        support.skip("a file system of its own needs root (mount)")
    directory = support.scratch("full")
    mount_point = os.path.join(directory, "disk")
    os.mkdir(mount_point)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % options.megabytes, "tmpfs", mount_point], check=True)
    server = support.Server(options.server, os.path.join(mount_point, "data"), extra=["--snapshot-count=1000"])
    server.log_path = os.path.join(directory, "log")
    ballast = os.path.join(mount_point, "ballast")
    checked = 0
    try:
        for number in range(options.rounds):
            # A directory of its own for each round: what earlier ones left would be the first to fill the disk.
            shutil.rmtree(os.path.join(mount_point, "data"), ignore_errors=True)
            ledger = Ledger()
            server.start()
            stat = os.statvfs(mount_point)
            size = stat.f_bavail * stat.f_frsize - (options.room << 20)
            if size <= 0:
                support.fail("round %d: less than %d MiB left before it began" % (number, options.room))
            with open(ballast, "wb") as f:
                os.posix_fallocate(f.fileno(), 0, size)
            acked, code, words = one_round(server, ledger, number, options.patience, ballast)
            print("round %d: %d writes acknowledged, then exit code %d: %s" % (number, acked, code, words[:300]),
                  flush=True)
            if acked < 100:
                support.fail("round %d hardly wrote anything: no test of a disk that fills up" % number)
            checked += ledger.checked
            server.stop()
        checked += segment_alone(directory, options.server)
    finally:
        server.stop()
        subprocess.run(["umount", mount_point], check=False)
    shutil.rmtree(directory)
    support.count("full disk: %d times, all %d acknowledged writes there afterwards" % (options.rounds + 1, checked))
    sys.exit(0)


if __name__ == "__main__":
    main()
