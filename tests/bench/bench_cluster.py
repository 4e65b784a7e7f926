"""The rows of ./dev bench that have three members on one machine, of quorald and then of the reference etcd.

The three members, their clients and the load generator share the cores, so requests per second say little by
themselves; CPU is that of all three members per 100,000 requests.
"""

import os
import shutil
import signal
import statistics
import threading
import time

import cluster
import support

GOALS = {
    ("3 members: put @1", "rate"): (">=", 1.3),
    ("3 members: put @256", "rate"): (">=", 4.0),
    ("3 members: put @256", "cpu"): ("<=", 1 / 4),
    ("3 members: get from leader @256", "rate"): (">=", 3.5),
    ("3 members: get from leader @256", "cpu"): ("<=", 1 / 5),
    ("3 members: get from follower @256", "rate"): (">=", 3.5),
    ("3 members: get from follower @256", "cpu"): ("<=", 1 / 5),
}

KILLS = 5            # of leaders, for the time without writes
CATCH_UP_KEYS = 100000
PROBE_TIMEOUT_S = 0.25


class ClusterRows:
    """The group of rows; `bench` is bench.Bench, whose recording and load it uses."""

    LOAD = ["3 members: put @%d" % n for n in (1, 64, 256)] + [
        "3 members: get from %s @%d" % (who, n) for who in ("leader", "follower") for n in (1, 256)]
    WATCH = "3 members: a lone put's event at a follower"
    REST = ["3 members: memory idle", WATCH, "3 members: no writes after kill -9 of the leader",
            "3 members: put @64 while a follower catches up"]

    def __init__(self, bench):
        self.bench = bench

    def run(self):
        bench = self.bench
        if not bench.wanted(*self.LOAD, *self.REST):
            return
        directory = os.path.join(bench.scratch, bench.system + "-cluster")
        os.makedirs(directory)
        # The defaults: what users run.
        members = cluster.Cluster(bench.binaries[bench.system], directory, timing=[])
        try:
            members.start()
            self.rows(members)
        finally:
            bench.pids = None
            bench.server = None
            members.stop()
            shutil.rmtree(directory, ignore_errors=True)  # the next round begins with nothing

    def rows(self, members):
        bench = self.bench
        leader = members.leader()
        follower = next(m for m in members.members if m is not leader)
        bench.pids = [m.process.pid for m in members.members]
        bench.server = leader
        if bench.wanted("3 members: memory idle"):
            time.sleep(bench.options.settle)
            each = [bench.memory_mib(pid) for pid in bench.pids]
            bench.record("3 members: memory idle",
                         **{k: statistics.mean(m[k] for m in each) for k in each[0]})
        puts = ["3 members: put @%d" % inflight for inflight in (1, 64, 256)]
        for row, inflight in zip(puts, (1, 64, 256)):
            bench.h2load_row(row, "Put", inflight)
        bench.check_one_key(*puts)
        for inflight in (1, 256):
            bench.h2load_row("3 members: get from leader @%d" % inflight, "Range", inflight)
        bench.server = follower
        for inflight in (1, 256):
            bench.h2load_row("3 members: get from follower @%d" % inflight, "Range", inflight)
        bench.server = None
        if bench.wanted(self.WATCH):
            self.watch(leader, follower)
        if bench.wanted("3 members: put @64 while a follower catches up"):
            self.catch_up(members)
        if bench.wanted("3 members: no writes after kill -9 of the leader"):
            self.kill_leaders(members)

    def watch(self, leader, follower):
        """From before a put to the leader until a watcher at a follower has its event; 50 puts per second."""
        bench = self.bench
        bench.server = leader
        got = bench.run_load("fanout", "--watchers", 1, "--streams", 1, "--connections", 1, "--inflight", 1,
                             "--rate", bench.options.fan_out_rate, "--watch-at", follower.target)
        bench.record(self.WATCH, **{"p50": got["p50_us"] / 1e3, "p99": got["p99_us"] / 1e3})
        bench.server = None

    # ---- a follower that is too far behind ----

    def catch_up(self, members):
        """Puts while one follower is down, so many that the log does not reach back; then it comes back and gets a
        snapshot while puts go on. The rate until it has caught up, beside that with all three up."""
        bench = self.bench
        leader = members.leader()
        follower = next(m for m in members.members if m is not leader)
        bench.server = leader
        before = bench.put_rate(64, 2)
        follower.kill()
        bench.run_load("fill", "--keys", CATCH_UP_KEYS, "--value-bytes", bench.options.value_bytes, "--inflight", 256,
                       "--connections", 8, seconds=300)
        follower.start(wait=False)
        began = time.monotonic()
        during = bench.put_rate(64, bench.options.seconds)
        members.wait("the follower has caught up", lambda: self.is_level(members, leader, follower), 120)
        bench.record("3 members: put @64 while a follower catches up",
                     **{"share of before": during / before, "caught up after s": time.monotonic() - began})
        bench.server = None

    @staticmethod
    def is_level(members, leader, follower):
        try:
            return (members.status(follower).raftAppliedIndex + 1000 >= members.status(leader).raftAppliedIndex)
        except Exception:  # pylint: disable=broad-except  # not up yet
            return False

    # ---- time without writes ----

    def kill_leaders(self, members):
        """The longest time between two acknowledged puts of a client that tries the survivors in turn."""
        gaps = []
        for _ in range(KILLS):
            leader = members.leader()
            survivors = [m for m in members.members if m is not leader]
            writer = Prober(members, survivors)
            writer.start()
            writer.wait_for(20)
            leader.process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            writer.wait_for_after(killed, 20)
            gaps.append(writer.stop(killed))
            leader.kill()
            leader.start()
            members.leader()
        self.bench.record("3 members: no writes after kill -9 of the leader", **{"median s": statistics.median(gaps)})


class Prober(threading.Thread):
    """Puts, one after the other, to members in turn; notes when each was acknowledged."""

    def __init__(self, members, targets):
        super().__init__(daemon=True)
        self.members, self.targets = members, targets
        self.acknowledged = []
        self.ending = False

    def run(self):
        number = 0
        while not self.ending:
            number += 1
            request = self.members.rpc.PutRequest(key=b"probe", value=b"%d" % number)
            try:
                self.members.call(self.targets[number % len(self.targets)], "KV/Put", request, timeout=PROBE_TIMEOUT_S)
                self.acknowledged.append(time.monotonic())
            except Exception:  # pylint: disable=broad-except  # no leader, deadline: the next one is asked
                time.sleep(0.005)

    def wait_for(self, count):
        self.members.wait("%d puts are acknowledged" % count, lambda: len(self.acknowledged) >= count)

    def wait_for_after(self, since, count):
        self.members.wait("puts are acknowledged again",
                          lambda: sum(1 for at in self.acknowledged[-count:] if at > since) >= count)

    def stop(self, killed):
        """The longest pause that ends after the kill, in seconds: what was in flight may still be acknowledged."""
        self.ending = True
        self.join()
        return max(after - before for before, after in zip(self.acknowledged, self.acknowledged[1:]) if after > killed)
