#!/usr/bin/python3
"""Power cuts under load: every acknowledged write is there, on ext4, xfs and btrfs.

    power_cut.py --server build/release/quorald [--cuts 30 --seed 1]

The data directory is on a loop-mounted image. A cut is: kill -9 under load, copy the image file while it is still
mounted, mount the copy, start on it. What was not synced is not in the copy (measured; the method of
reliability testing without special kernels). The next cut goes on from the copy, so an early loss is seen late too.

The cuts fall, in turn, at a random moment; right after the data directory changed (a table written or deleted: a flush);
while a compaction runs; and one in ten right after a segment of the log was deleted. A cut whose event did not happen
does not count: the test fails. Needs root and loop devices.
"""

import os
import random
import shutil
import subprocess
import sys
import threading
import time

import support
from load import Ledger, Load, rpc

MINIMUM = 1000
IMAGE_BYTES = 2 << 30  # sparse
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "loop"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "loop,nouuid"),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], "loop"),
}
MODES = ("random moment", "file created or deleted", "compaction running", "log segment deleted")
RANDOM, FILES, COMPACTION, PURGE = range(4)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), done.stdout.strip()))


class Disk:
    """An image file, mounted; cut() makes the copy the disk."""

    def __init__(self, directory, kind):
        self.kind = kind
        self.mkfs, self.options = FILE_SYSTEMS[kind]
        self.image = os.path.join(directory, kind + ".img")
        self.mount_point = os.path.join(directory, kind)
        self.mounted = False
        os.mkdir(self.mount_point)
        with open(self.image, "wb") as f:
            f.truncate(IMAGE_BYTES)
        run(*self.mkfs, self.image)

    def mount(self):
        run("mount", "-t", self.kind, "-o", self.options, self.image, self.mount_point)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            run("umount", self.mount_point)
            self.mounted = False

    def cut(self):
        copy = self.image + ".copy"
        run("cp", "--sparse=always", self.image, copy)
        self.unmount()  # this flushes the rest into the old image, which nobody reads again
        os.rename(copy, self.image)
        self.mount()


def listing(path):
    found = {}
    for base, _, names in os.walk(path):
        for name in names:
            found[os.path.join(base, name)] = 1
    return set(found)


class Compactor(threading.Thread):
    """Compacts up to a revision, at once or in small steps, until told to stop or the server is gone."""

    def __init__(self, target, first, last, step):
        super().__init__(daemon=True)
        self.target = target
        self.revisions = list(range(first, last, step)) + [last]
        self.asked = 0
        self.answered = 0

    def run(self):
        calls = support.Calls(self.target)
        try:
            for revision in self.revisions:
                self.asked += 1
                calls.unary("etcdserverpb.KV/Compact")(
                    rpc.CompactionRequest(revision=revision, physical=True).SerializeToString(), timeout=5)
                self.answered += 1
        except Exception:  # pylint: disable=broad-except
            pass  # killed, or the revision was compacted before
        calls.close()


def wait_for_load(load, server, what):
    end = time.monotonic() + 60
    while load.acked() < MINIMUM:
        if time.monotonic() > end or not load.running():
            support.fail("%s: only %d writes acknowledged (%s):\n%s" % (
                what, load.acked(), [w.error for w in load.writers], server.tail()))
        time.sleep(0.002)


def wait_for_purge(server, load):
    """Until a segment of the log disappears."""
    path = os.path.join(server.data_dir, "member", "wal")
    end = time.monotonic() + 60
    seen = set(os.listdir(path))
    while load.running():
        now = set(os.listdir(path))
        if seen - now:
            return
        seen |= now
        if time.monotonic() > end:
            break
    support.fail("no segment of the log was deleted under load:\n" + server.tail())


def wait_for_change(disk, load):
    """Until a table or a segment comes or goes."""
    end = time.monotonic() + 30
    then = listing(disk.mount_point)
    while listing(disk.mount_point) == then:
        if time.monotonic() > end or not load.running():
            support.fail("no file came or went under load: nothing was flushed")


def start_compaction(server, ledger, rng):
    # Never above the last check: the next one needs the history since then.
    compactor = Compactor(server.target, ledger.compacted + 1, ledger.base, rng.choice([50, 500, 2 ** 40]))
    compactor.start()
    end = time.monotonic() + 30
    while not compactor.asked:
        if time.monotonic() > end:
            support.fail("no compaction was asked for")
        time.sleep(0.0002)
    ledger.compacted = ledger.base  # perhaps; what is below need not be readable any more
    return compactor


def one_cut(server, disk, ledger, rng, mode, number):
    """Returns (acknowledged before, table or segment files created, deleted, whether a compaction was cut short)."""
    before_files = listing(disk.mount_point)
    # Large values fill segments of 64 MiB soon.
    load = Load(server.client_port, "c%d" % number, rng.randrange(2 ** 32), inflight=16 if mode == PURGE else 64,
                value_bytes=(60000, 100000) if mode == PURGE else (200, 8000)).start()
    wait_for_load(load, server, "cut %d" % number)
    compactor = None
    if mode == RANDOM:
        time.sleep(rng.random() * 0.3)
    elif mode == PURGE:
        wait_for_purge(server, load)
        time.sleep(rng.choice([0, 0, 0.001, 0.01]))
    elif mode == FILES:
        wait_for_change(disk, load)
        time.sleep(rng.choice([0, 0, 0.001, 0.005, 0.02]))
    else:
        compactor = start_compaction(server, ledger, rng)
        time.sleep(rng.random() * 0.02)
    files = listing(disk.mount_point)
    asked = compactor.asked if compactor else 0
    server.kill()
    load.join()
    if compactor:
        compactor.join()
    acked = load.acked()
    disk.cut()
    server.start(timeout=60)
    ledger.check(server.target, load)
    return (acked, len(files - before_files), len(before_files - files),
            compactor is not None and asked > compactor.answered)


def cuts_on(kind, options, directory, rng, cuts):
    disk = Disk(directory, kind)
    server = support.Server(options.server, os.path.join(disk.mount_point, "data"),
                            extra=["--snapshot-count=%d" % options.snapshot_count])
    server.log_path = os.path.join(directory, kind + ".log")  # not on the disk that loses power
    ledger = Ledger()
    total = {"created": 0, "deleted": 0, "fewest": None, "cut short": 0}
    modes = [0, 0, 0, 0]
    try:
        disk.mount()
        server.start()
        for number in range(cuts):
            mode = PURGE if number % 10 == 3 else number % 3  # it takes longer than the others
            acked, created, deleted, cut_short = one_cut(server, disk, ledger, rng, mode, number)
            modes[mode] += 1
            total["created"] += created
            total["deleted"] += deleted
            total["cut short"] += cut_short
            total["fewest"] = acked if total["fewest"] is None else min(total["fewest"], acked)
            if mode == PURGE:  # not just before a cut in a compaction: that needs something to do
                ledger.tidy(server.target)
    finally:
        server.stop()
        disk.unmount()
    support.count("power cuts: %-5s %2d (%s), each after at least %d acknowledged writes: all %d there, %d unanswered ones found "
          "whole; files created %d, deleted %d under load; %d compactions cut short" % (
              kind, cuts, ", ".join("%d %s" % (n, MODES[i]) for i, n in enumerate(modes)), total["fewest"] or 0,
              ledger.checked, ledger.unknown, total["created"], total["deleted"], total["cut short"]))
    if (total["fewest"] or 0) < MINIMUM:
        support.fail("a cut without its load does not count")
    if modes[COMPACTION] and not total["cut short"]:
        support.fail("no compaction was cut short")


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=30, help="in all, divided among the file systems")
    parser.add_argument("--file-systems", default="ext4,xfs,btrfs")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--snapshot-count", type=int, default=1000, help="entries between two flushes of the store")
    options = support.parse(parser)
    if os.geteuid() != 0:
        support.skip("power cuts need root (loop devices and mount); run as root or in ./dev hunt")
    if not os.path.exists("/dev/loop-control"):
        support.skip("power cuts need loop devices; /dev/loop-control is missing")
    kinds = options.file_systems.split(",")
    for kind in kinds:
        if not shutil.which(FILE_SYSTEMS[kind][0][0]):
            support.fail("%s is missing; on Debian 12: apt-get install e2fsprogs xfsprogs btrfs-progs" %
                         FILE_SYSTEMS[kind][0][0])
    print("seed %d" % options.seed)
    rng = random.Random(options.seed)
    directory = support.scratch("power")
    begin = time.monotonic()
    for i, kind in enumerate(kinds):
        cuts_on(kind, options, directory, rng, options.cuts * (i + 1) // len(kinds) - options.cuts * i // len(kinds))
    shutil.rmtree(directory)
    support.count("power cuts: %d in all, %.0f s" % (options.cuts, time.monotonic() - begin))
    sys.exit(0)


if __name__ == "__main__":
    main()
