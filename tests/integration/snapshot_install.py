#!/usr/bin/python3
"""A follower that is too far behind gets the leader's store: while it runs, with watches open on it; and while it is killed
again and again in the middle of it. Afterwards all stores are equal.

    snapshot_install.py --server build/release/quorald [--part paused|killed] [--rounds N]
"""

import os
import queue
import random
import shutil
import signal
import sys
import threading
import time

import support
from cluster import Cluster

CATCHUP = 20  # entries that the leader keeps for followers
KEYS = 40


class Watch(threading.Thread):
    """Everything that happens, as one member tells it."""

    def __init__(self, rpc, member):
        super().__init__(daemon=True)
        self.rpc = rpc
        self.events = []
        self.ended = None
        self.requests = queue.Queue()
        self.calls = support.Calls(member.target)
        create = rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=True)
        self.requests.put(rpc.WatchRequest(create_request=create).SerializeToString())
        self.created = threading.Event()
        self.start()
        if not self.created.wait(30):
            support.fail("a watch on %s is not created" % member.label)

    def run(self):
        try:
            stream = self.calls.stream("etcdserverpb.Watch/Watch")(iter(self.requests.get, None))
            for data in stream:
                answer = self.rpc.WatchResponse.FromString(data)
                self.created.set()
                if answer.canceled:
                    self.ended = "cancelled, compacted at %d" % answer.compact_revision
                    return
                for event in answer.events:
                    self.events.append((event.kv.mod_revision, event.kv.key, event.kv.value, event.prev_kv.mod_revision))
        except Exception as error:  # pylint: disable=broad-except
            self.ended = str(error)


class Writer:
    """Puts through the leader, and what a watch must tell of them."""

    def __init__(self, cluster, leader):
        self.cluster, self.leader = cluster, leader
        self.expected = []
        self.last = {}

    def put(self, count, size):
        rpc = self.cluster.rpc
        for _ in range(count):
            key = b"key%d" % random.randrange(KEYS)
            value = os.urandom(size)
            answer = self.cluster.call(self.leader, "KV/Put", rpc.PutRequest(key=key, value=value))
            revision = rpc.PutResponse.FromString(answer).header.revision
            self.expected.append((revision, key, value, self.last.get(key, 0)))
            self.last[key] = revision


def begin(options, directory):
    cluster = Cluster(options.server, directory)
    for member in cluster.members:
        member.extra += ["--snapshot-catchup-entries=%d" % CATCHUP, "--snapshot-count=200"]
    cluster.start()
    leader = cluster.leader()
    follower = next(m for m in cluster.members if m is not leader)
    return cluster, leader, follower


def revision(cluster, member):
    return cluster.status(member).header.revision


def caught_up(cluster, follower, leader):
    cluster.wait("%s has caught up" % follower.label, lambda: revision(cluster, follower) == revision(cluster, leader), 60)


def hash_of(cluster, member):
    answer = cluster.rpc.HashKVResponse.FromString(
        cluster.call(member, "Maintenance/HashKV", cluster.rpc.HashKVRequest()))
    return answer.hash, answer.hash_revision, answer.compact_revision


def check_equal(cluster):
    hashes = [hash_of(cluster, member) for member in cluster.members]
    if len(set(hashes)) != 1:
        support.fail("the stores differ: %s" % hashes)


def generations(member):
    return [n for n in os.listdir(os.path.join(member.data_dir, "member", "store")) if n.isdigit()]


def installed(member):
    with open(member.log_path, "rb") as log:
        return log.read().count(b"installs a snapshot")


def part_paused(options, directory):
    """It stops for a while and finds that the leader's log begins behind it. The watch misses nothing, gets nothing twice."""
    cluster, leader, follower = begin(options, directory)
    watch = Watch(cluster.rpc, follower)
    writer = Writer(cluster, leader)
    for _ in range(options.rounds):
        follower.process.send_signal(signal.SIGSTOP)
        writer.put(CATCHUP * 10, 2000)
        follower.process.send_signal(signal.SIGCONT)
        writer.put(30, 20)
        caught_up(cluster, follower, leader)
        cluster.wait("the watch has told of everything",
                     lambda: watch.ended or len(watch.events) >= len(writer.expected), 60)
        if watch.ended:
            support.fail("the watch ended: " + watch.ended)
        if watch.events != writer.expected:
            different = next(p for p in zip(watch.events, writer.expected) if p[0] != p[1])
            support.fail("the watch told of %s@%d, expected %s@%d" %
                         (different[0][1], different[0][0], different[1][1], different[1][0]))
    check_equal(cluster)
    count = installed(follower)
    if count == 0:
        support.fail("no snapshot was installed: the test shows nothing")
    cluster.wait("old generations are gone", lambda: len(generations(follower)) == 1)
    cluster.stop()
    return "%d snapshots under an open watch, %d events" % (count, len(watch.events))


def part_killed(options, directory):
    """kill -9 at any time while it receives and installs: what it comes back with is whole."""
    cluster, leader, follower = begin(options, directory)
    writer = Writer(cluster, leader)
    kills = 0
    for _ in range(options.rounds):
        cluster.channels.pop(follower.target).close()
        follower.kill()
        writer.put(CATCHUP * 10, 5000)
        for _ in range(4):
            follower.start(wait=False)
            time.sleep(random.uniform(0.05, 0.8))
            if not follower.alive():
                support.fail("it ends by itself:\n" + follower.tail())
            follower.kill()
            kills += 1
        follower.start()
        caught_up(cluster, follower, leader)
        check_equal(cluster)
    cluster.wait("old generations are gone", lambda: len(generations(follower)) == 1)
    count = installed(follower)
    if count == 0:
        support.fail("no snapshot was installed: the test shows nothing")
    cluster.stop()
    return "%d kills, %d snapshots" % (kills, count)


PARTS = {"paused": part_paused, "killed": part_killed}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = support.parse(parser)
    random.seed(options.seed)
    for part in options.part or PARTS:
        directory = support.scratch("snapshot")
        text = PARTS[part](options, directory)
        shutil.rmtree(directory)
        support.count("%s: %s" % (part, text))
    sys.exit(0)


if __name__ == "__main__":
    main()
