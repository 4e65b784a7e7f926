#!/usr/bin/env python3
"""Gap-free caches over ZeroMQ: snapshots, events, marks and repairs, spoken as docs/protocol.md says by a subscriber
written from it alone (native_cache.py), against running members.

Messages are lost on the subscriber's side: at random, and on purpose the last of a revision, and the last of a prefix,
which only a mark can tell. At every mark the cache is compared with Range at its revision.

    native_events.py --server build/release/quorald [--only NAME]
"""

import itertools
import os
import random
import signal
import time
import urllib.request

import support
from cluster import Cluster
from native_cache import UNAVAILABLE, Cache, Session, subscription
from native_client import Lost, Refused

PROGRESS_S = 0.2


class Member(support.Server):
    """A server with sockets for native clients."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.native_port, self.publish_port = support.free_ports(2)
        self.native_url = "tcp://127.0.0.1:%d" % self.native_port
        self.publish_url = "tcp://127.0.0.1:%d" % self.publish_port
        self.extra += ["--listen-native-urls=" + self.native_url, "--listen-publish-urls=" + self.publish_url,
                       "--native-progress-interval=%dms" % (PROGRESS_S * 1000)]

    def metric(self, name):
        with urllib.request.urlopen(self.url + "/metrics") as page:
            for line in page.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        support.fail("no metric " + name)


class NativeCluster(Cluster):
    def new_server(self, name):
        return Member(self.binary, os.path.join(self.directory, name), label=name)


class Store:
    """The same store, seen and changed over gRPC."""

    def __init__(self, target):
        self.calls = support.Calls(target)
        self.rpc, _ = support.load_messages()

    def call(self, method, request, answer):
        return answer.FromString(self.calls.unary("etcdserverpb." + method)(request.SerializeToString(), timeout=20))

    def put(self, key, value):
        return self.call("KV/Put", self.rpc.PutRequest(key=key, value=value), self.rpc.PutResponse).header.revision

    def delete(self, key, range_end=b""):
        return self.call("KV/DeleteRange", self.rpc.DeleteRangeRequest(key=key, range_end=range_end),
                         self.rpc.DeleteRangeResponse).header.revision

    def txn(self, *changes):
        """Puts (key, value) and deletions (key, None) in one revision."""
        request = self.rpc.TxnRequest()
        for key, value in changes:
            if value is None:
                request.success.add().request_delete_range.key = key
            else:
                put = request.success.add().request_put
                put.key, put.value = key, value
        return self.call("KV/Txn", request, self.rpc.TxnResponse).header.revision

    def compact(self, revision):
        self.call("KV/Compact", self.rpc.CompactionRequest(revision=revision), self.rpc.CompactionResponse)

    def content(self, cache, revision=0, serializable=True):
        """What the cache should show, and the store's revision."""
        end = b""
        if not cache.exact:
            stem = cache.prefix.rstrip(b"\xff")
            end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
        answer = self.call("KV/Range", self.rpc.RangeRequest(key=cache.prefix or b"\0", range_end=end,
                                                             revision=revision, serializable=serializable),
                           self.rpc.RangeResponse)
        return {kv.key: kv.value for kv in answer.kvs}, answer.header.revision

    def expect_equal(self, cache):
        content, _ = self.content(cache, cache.revision)
        if content != cache.shown:
            support.fail("the cache of %r differs from the store at revision %d: %s\nstore %r\ncache %r" % (
                cache.subscription, cache.revision, cache.describe(), content, cache.shown))

    def expect_fresh(self, cache, revision):
        cache.wait("the cache does not come to revision %d" % revision, lambda: cache.revision >= revision)
        self.expect_equal(cache)


def a_cache_equals_the_store(member, store):
    session = Session(member.native_url)
    store.put(b"/a/1", b"one")
    cache = Cache(session, member.publish_url, b"/a/")
    assert cache.shown == {b"/a/1": b"one"}, cache.shown
    revision = store.put(b"/a/2", b"two")
    store.expect_fresh(cache, revision)
    revision = store.txn((b"/a/1", None), (b"/a/3", b"three"), (b"/b", b"not ours"), (b"/a/2", b"2"))
    store.expect_fresh(cache, revision)
    assert cache.shown == {b"/a/2": b"2", b"/a/3": b"three"}
    revision = store.delete(b"/a/", b"/a0")
    store.expect_fresh(cache, revision)
    assert cache.shown == {} and cache.snapshots == 1, cache.describe()


def idle_caches_stay_fresh(member, store):
    cache = Cache(Session(member.native_url), member.publish_url, b"/idle/")
    cache.wait("no mark comes", lambda: cache.marks > 0)
    assert cache.interval == PROGRESS_S, cache.interval
    revision = store.put(b"/elsewhere", b"x")
    store.expect_fresh(cache, revision)  # by a mark
    marks, begin = cache.marks, time.monotonic()
    cache.receive(10 * PROGRESS_S)
    per_interval = (cache.marks - marks) / ((time.monotonic() - begin) / PROGRESS_S)
    assert 0.5 < per_interval < 1.5 and not cache.is_stale, "%g marks per interval" % per_interval
    assert not cache.leaderless


def exact_keys_and_prefixes_differ(member, store):
    session = Session(member.native_url)
    exact = Cache(session, member.publish_url, b"/k", exact=True)
    prefix = Cache(session, member.publish_url, b"/k")
    zero = Cache(session, member.publish_url, b"/k\0")
    everything = Cache(session, member.publish_url, b"")
    for key in (b"/k", b"/k\0", b"/k\0\1", b"/kk", b"/k\xff", b"/l", b"\0"):
        revision = store.put(key, b"value of " + key)
    for cache in (exact, prefix, zero, everything):
        store.expect_fresh(cache, revision)
    assert set(exact.shown) == {b"/k"} and set(zero.shown) == {b"/k\0", b"/k\0\1"}
    assert len(prefix.shown) == 5


def previous_values_come_on_request(member, store):
    store.put(b"/p/a", b"first")
    cache = Cache(Session(member.native_url), member.publish_url, b"/p/", previous=True)
    cache.wait("it is not registered", lambda: cache.marks > 0)
    store.put(b"/p/a", b"second")
    store.put(b"/p/b", b"new")
    store.expect_fresh(cache, store.delete(b"/p/a"))
    got = [(key, value, previous) for _, _, key, value, previous in cache.events]
    assert got == [(b"/p/a", b"second", b"first"), (b"/p/b", b"new", None), (b"/p/a", None, b"second")], got


def large_values_are_fetched(member, store):
    cache = Cache(Session(member.native_url), member.publish_url, b"/large/")
    cache.wait("it is not registered", lambda: cache.marks > 0)
    revision = store.put(b"/large/1", b"v" * 1000000)
    store.expect_fresh(cache, revision)
    assert cache.repairs == 1 and cache.snapshots == 1, cache.describe()
    revision = store.put(b"/large/" + b"k" * 20000, b"a key longer than any topic")
    store.expect_fresh(cache, revision)


def the_loss_of_a_last_event_shows(member, store):
    """Of a revision: the next event tells. Of the prefix: nothing but a mark does."""
    lose = {"next": None}

    def drop(kind, _, head):
        if kind == "event" and lose["next"] and lose["next"](head):
            lose["next"] = None
            return True
        return False

    cache = Cache(Session(member.native_url), member.publish_url, b"/last/", drop=drop)
    cache.wait("it is not registered", lambda: cache.marks > 0)
    repaired = member.metric("quoral_native_gap_repairs_total")
    for i, which in enumerate((lambda head: head[1], lambda head: not head[1], lambda head: True)):
        lose["next"] = which  # the last of its revision, an earlier one, any
        store.txn((b"/last/a%d" % i, b"1"), (b"/other", b"2"), (b"/last/b%d" % i, b"3"), (b"/last/c%d" % i, b"4"))
        revision = store.put(b"/last/d%d" % i, b"5")
        store.expect_fresh(cache, revision)
        assert lose["next"] is None and cache.repairs == i + 1, cache.describe()
    lose["next"] = lambda head: True
    revision = store.put(b"/last/z", b"nothing follows it")
    store.expect_fresh(cache, revision)
    assert cache.repairs == 4 and cache.snapshots == 1 and cache.dropped == 4, cache.describe()
    assert member.metric("quoral_native_gap_repairs_total") == repaired + 4


def what_is_compacted_takes_a_fresh_snapshot(member, store):
    state = {"deaf": False}
    cache = Cache(Session(member.native_url), member.publish_url, b"/c/", drop=lambda *_: state["deaf"])
    cache.wait("it is not registered", lambda: cache.marks > 0)
    before = [member.metric("quoral_native_" + name) for name in ("snapshots_total", "gap_repairs_compacted_total")]
    state["deaf"] = True
    for i in range(5):
        revision = store.put(b"/c/%d" % (i % 3), b"%d" % i)
    store.compact(revision)
    cache.receive(2 * PROGRESS_S)
    state["deaf"] = False
    store.expect_fresh(cache, store.put(b"/c/9", b"after"))
    assert cache.snapshots == 2, cache.describe()
    after = [member.metric("quoral_native_" + name) for name in ("snapshots_total", "gap_repairs_compacted_total")]
    assert [a - b for a, b in zip(after, before)] == [1, 1], (before, after)


def bad_requests_are_told(member, store):
    session, native = Session(member.native_url), support.load_native()
    for text, code in ((b"", 3), (b"X", 3), (b"Ea\0", 3), (b"E" * 5000, 8)):
        for method, request in (("Snapshot", native.SnapshotRequest), ("Events", native.EventsRequest)):
            try:
                list(session.stream("quoral.Native/" + method, request(subscription=text)))
                support.fail("%s of %r is answered" % (method, text[:10]))
            except Refused as e:
                assert e.code == code, e
    try:
        list(session.stream("quoral.Native/Snapshot", native.SnapshotRequest(subscription=b"E", cluster_id=1)))
        support.fail("another cluster's request is answered")
    except Refused as e:
        assert e.code == 9 and "cluster ID mismatch" in e.text, e
    begin = time.monotonic()
    try:
        list(session.stream("quoral.Native/Snapshot", native.SnapshotRequest(subscription=b"E", serializable=True,
                                                                             min_revision=10**9)))
        support.fail("a revision that is not there is answered")
    except Refused as e:
        assert e.code == UNAVAILABLE and "behind" in e.text, e
    assert 2 < time.monotonic() - begin < 10
    # Linearizable, the answer is the proof that there is no such revision.
    page = native.SnapshotResponse.FromString(
        session.unary("quoral.Native/Snapshot", native.SnapshotRequest(subscription=b"E/none", min_revision=10**9)))
    assert page.header.revision == store.put(b"/x", b"") - 1


def both_protocols_answer_the_same(member, store):
    native, session = support.load_native(), Session(member.native_url)
    calls = support.Calls(member.target)
    before = native.Position(revision=store.put(b"/g/0", b""), sub=0)
    for i in range(50):
        store.put(b"/g/%d" % (i % 7), b"v" * 100000)
    requests = (("Snapshot", native.SnapshotRequest(subscription=subscription(b"/g/"))),
                ("Events", native.EventsRequest(subscription=subscription(b"/g/3", exact=True, previous=True),
                                                after=before)))
    for method, request in requests:
        over_zmq = list(session.stream("quoral.Native/" + method, request))
        over_grpc = list(calls.server_stream("quoral.Native/" + method)(request.SerializeToString(), timeout=20))
        assert over_zmq == over_grpc and len(over_zmq) > 0, method
    calls.close()


def who_stops_reading_loses_and_repairs(member, store):
    """More than all queues on the way hold: ZeroMQ drops, and nobody is told. Others are not held up meanwhile."""
    session = Session(member.native_url)
    stopped = Cache(session, member.publish_url, b"/q/")
    stopped.wait("it is not registered", lambda: stopped.marks > 0)
    other = Cache(session, member.publish_url, b"/q/1")
    for i in range(300):
        revision = store.txn(*((b"/q/%d" % ((i * 100 + k) % 5000), b"%d" % i * 700) for k in range(100)))
        other.receive(0)
    store.expect_fresh(other, revision)
    store.expect_fresh(stopped, revision)
    assert stopped.repairs > 0 and stopped.snapshots == 1, stopped.describe()
    store.delete(b"/q/", b"/q0")  # a cache of everything is compared with the store at each mark below


def caches_under_load(member, store):
    """Caches of overlapping subscriptions that lose one message in ten; compaction now and then."""
    rng = random.Random(1)
    session = Session(member.native_url)
    checks = itertools.count()

    def check(cache):
        try:
            content, _ = store.content(cache, cache.revision)
        except store.calls.grpc.RpcError:
            return  # compacted meanwhile
        next(checks)
        if content != cache.shown:
            support.fail("%r at revision %d: %r, store %r" % (cache.subscription, cache.revision, cache.shown, content))

    caches = [Cache(session, member.publish_url, key, exact=exact, drop=lambda *_: rng.random() < 0.1)
              for key, exact in ((b"/l/", False), (b"/l/1", False), (b"/l/1", True), (b"/l/2/", False), (b"", False))]
    for cache in caches:
        cache.on_mark = check
    def total(name):
        return sum(getattr(cache, name) for cache in caches)

    end = time.monotonic() + 60
    writes = 0
    compacted = store.put(b"/l/start", b"")
    while total("dropped") < 200 or total("repairs") < 50 or total("marks") < 200:
        if time.monotonic() > end:
            support.fail("too little happens: " + "; ".join(cache.describe() for cache in caches))
        for _ in range(20):
            changes = {}
            for _ in range(rng.randrange(1, 5)):
                key = b"/l/%d" % rng.randrange(4) + (b"/%d" % rng.randrange(5) if rng.random() < 0.7 else b"")
                changes[key] = None if rng.random() < 0.3 else b"%d" % rng.randrange(10**9)
            revision = store.txn(*changes.items())
            writes += 1
        wanted = revision - rng.randrange(300)
        if rng.random() < 0.02 and wanted > compacted:
            compacted = wanted
            store.compact(compacted)
        for cache in caches:
            cache.receive(0)
    for cache in caches:
        cache.drop = lambda *_: False
        store.expect_fresh(cache, revision)
    compared = next(checks)
    assert compared > 100, compared
    support.count("%d transactions, 5 caches: %d messages lost, %d repairs, %d snapshots, compared %d times" % (
        writes, total("dropped"), total("repairs"), total("snapshots"), compared))


def a_restart_of_the_member(member, store):
    """A cache goes on after it without a snapshot, with what happened meanwhile."""
    cache = Cache(Session(member.native_url), member.publish_url, b"/r/")
    cache.wait("it is not registered", lambda: cache.marks > 0)
    store.expect_fresh(cache, store.put(b"/r/1", b"before"))
    member.kill()
    cache.receive(5 * PROGRESS_S)
    assert cache.is_stale
    member.start()
    other = Store(member.target)
    revision = other.put(b"/r/2", b"after")
    cache.attach(Session(member.native_url), member.publish_url)
    other.expect_fresh(cache, revision)
    assert cache.snapshots == 1 and cache.shown == {b"/r/1": b"before", b"/r/2": b"after"}, cache.describe()
    assert not cache.is_stale


def a_cluster_that_was_restored(member, store):
    """With another id, or with a lower revision under the same: caches begin anew, and only then go back."""
    content, _ = store.content(Cache(Session(member.native_url), member.publish_url, b"/s/"))
    assert content == {}
    for _ in range(20):
        store.put(b"/x", b"")
    data_dir = member.data_dir
    for number in range(2):
        cache = Cache(Session(member.native_url), member.publish_url, b"/s/")
        store.put(b"/s/old%d" % number, b"1")
        store.expect_fresh(cache, store.put(b"/s/old%d" % number, b"2"))
        for i in range(10 if number else 0):
            store.expect_fresh(cache, store.put(b"/s/more", b"%d" % i))
        before = (cache.cluster_id, cache.revision)
        member.kill()
        member.data_dir = "%s-%d" % (data_dir, number)
        member.extra.append("--initial-cluster-token=other")  # the second time, too: then the id stays
        member.start()
        store = Store(member.target)
        new = b"/s/new%d" % number
        store.put(new, b"3")
        cache.attach(Session(member.native_url), member.publish_url)
        cache.wait("it does not begin anew", lambda c=cache, key=new: key in c.shown)
        store.expect_equal(cache)
        assert cache.snapshots == 2 and cache.shown == {new: b"3"}, cache.describe()
        assert cache.revision < before[1] and (cache.cluster_id != before[0]) == (number == 0), cache.describe()


ONE = [a_cache_equals_the_store, idle_caches_stay_fresh, exact_keys_and_prefixes_differ, previous_values_come_on_request,
       large_values_are_fetched, the_loss_of_a_last_event_shows, what_is_compacted_takes_a_fresh_snapshot,
       bad_requests_are_told, both_protocols_answer_the_same, who_stops_reading_loses_and_repairs, caches_under_load,
       a_restart_of_the_member, a_cluster_that_was_restored]


# ---- three members ----

def a_cache_moves_between_members(cluster):
    """To members that are even, behind, and ahead; it neither misses anything nor goes back."""
    m = cluster.members
    stores = [Store(member.target) for member in m]
    sessions = [Session(member.native_url) for member in m]
    cache = Cache(sessions[0], m[0].publish_url, b"/m/")
    highest = 0
    for i in range(12):
        at = i % 3
        revision = stores[(i + 1) % 3].put(b"/m/%d" % (i % 5), b"%d" % i)
        cache.attach(sessions[at], m[at].publish_url)
        revision = max(revision, stores[(i + 2) % 3].txn((b"/m/x", b"%d" % i), (b"/m/y", b"%d" % i)))
        cache.wait("it does not catch up at %s" % m[at].label, lambda r=revision: cache.revision >= r)
        assert cache.revision >= highest
        highest = cache.revision
        stores[at].expect_equal(cache)
    assert cache.snapshots == 1, cache.describe()
    assert [e[:2] for e in cache.events] == sorted({e[:2] for e in cache.events}), "an event came twice or out of order"


def a_member_that_is_behind(cluster):
    """It can't have what its client has seen elsewhere: it says so, and gives it once it can."""
    leader = cluster.leader()
    lagging = [m for m in cluster.members if m is not leader][0]
    store = Store(leader.target)
    cache = Cache(Session(leader.native_url), leader.publish_url, b"/behind/")
    lagging.process.send_signal(signal.SIGSTOP)
    try:
        for i in range(20):
            revision = store.put(b"/behind/%d" % i, b"%d" % i)
        store.expect_fresh(cache, revision)
    finally:
        for m in cluster.members:  # the others stop: what it lacks, nobody can give it now
            m.process.send_signal(signal.SIGCONT if m is lagging else signal.SIGSTOP)
    session = Session(lagging.native_url)
    behind = Store(lagging.target)
    _, there = behind.content(cache)
    if there >= revision:
        support.fail("the stopped member has revision %d already" % there)
    shown = dict(cache.shown)
    try:
        cache.attach(session, lagging.publish_url)
        try:
            cache.snapshot(serializable=True, min_revision=cache.revision)
            support.fail("a snapshot at %d for a cache at %d" % (there, revision))
        except Refused as e:
            assert e.code == UNAVAILABLE and "behind" in e.text, e
        cache.receive(5 * PROGRESS_S)
        assert (cache.shown, cache.revision) == (shown, revision), "it went back"
        assert lagging.metric("quoral_native_behind_total") == 1
    finally:
        for m in cluster.members:
            m.process.send_signal(signal.SIGCONT)
    cluster.wait("leader", lambda: all(cluster.status(m).leader for m in cluster.members))
    revision = store.put(b"/behind/new", b"")
    cache.wait("it does not catch up", lambda: cache.revision >= revision)
    behind.expect_equal(cache)
    assert cache.snapshots == 1, cache.describe()


def without_a_leader_marks_say_so(cluster):
    leader = cluster.leader()
    alone = [m for m in cluster.members if m is not leader][0]
    cache = Cache(Session(alone.native_url), alone.publish_url, b"/alone/")
    cache.wait("no mark comes", lambda: cache.marks > 0 and not cache.leaderless)
    stopped = [m for m in cluster.members if m is not alone]
    for m in stopped:
        m.process.send_signal(signal.SIGSTOP)
    try:
        cache.wait("marks do not tell", lambda: cache.leaderless)
    finally:
        for m in stopped:
            m.process.send_signal(signal.SIGCONT)
    cache.wait("marks do not tell that there is one again", lambda: not cache.leaderless)


def members_die_under_their_caches(cluster):
    """kill -9 and restart, one after the other, while others write; whose member is gone moves to another one."""
    rng = random.Random(2)
    members = cluster.members
    stores = {member: Store(member.target) for member in members}
    homes, compared = {}, itertools.count()

    def settle(cache):
        """At a member that runs; nothing it has is given up."""
        while True:
            home = rng.choice([m for m in members if m.alive()])
            try:
                cache.attach(Session(home.native_url, timeout=3), home.publish_url)
                homes[cache] = home
                return
            except Lost:
                pass  # it may be starting

    def check(cache):
        try:
            content, _ = stores[homes[cache]].content(cache, cache.revision)
        except RpcError:
            return  # its member has just gone
        next(compared)
        if content != cache.shown:
            support.fail("%r at revision %d: %r, store %r" % (cache.subscription, cache.revision, cache.shown, content))

    def turn(cache):
        """Takes what has come. True: its member is gone, it has moved."""
        try:
            cache.receive(0)
        except (Lost, Refused):
            cache.mark_at = 0  # its member does not answer
        if cache.is_stale:
            settle(cache)
            return True
        return False

    def write(member):
        key = b"/d/%d" % rng.randrange(30)
        try:
            return stores[member].txn((key, b"%d" % rng.randrange(10**9)), (key + b"x", b"y"))
        except RpcError:
            return 0  # no leader now; whether it was written, the store will tell

    RpcError = stores[members[0]].calls.grpc.RpcError  # pylint: disable=invalid-name
    caches = [Cache(Session(m.native_url), m.publish_url, key) for m, key in zip(members * 2, [b"/d/", b"/d/1"] * 3)]
    for cache, home in zip(caches, members * 2):
        homes[cache], cache.on_mark = home, check
    moves, revision = 0, 0
    for victim in members * 2:
        victim.kill()
        highest = [cache.revision for cache in caches]
        end = time.monotonic() + 3
        while time.monotonic() < end:
            revision = max(revision, write(rng.choice([m for m in members if m.alive()])))
            moves += sum(turn(cache) for cache in caches)
        assert all(cache.revision >= before for cache, before in zip(caches, highest)), "a cache went back"
        victim.start()
    cluster.wait("the caches have caught up",
                 lambda: [turn(c) for c in caches] and all(c.revision >= revision for c in caches))
    for cache in caches:
        check(cache)
    assert moves >= 6 and next(compared) > 50
    assert all(cache.snapshots == 1 for cache in caches), [cache.describe() for cache in caches]
    support.count("6 caches moved %d times from members that died, without a snapshot" % moves)


THREE = [a_cache_moves_between_members, a_member_that_is_behind, without_a_leader_marks_say_so,
         members_die_under_their_caches]


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="one of the tests; may be given several times")
    options = support.parse(parser)
    directory = support.scratch("native")

    def chosen(tests):
        return [t for t in tests if not options.only or t.__name__ in options.only]

    if chosen(ONE):
        member = Member(options.server, os.path.join(directory, "one"))
        try:
            member.start()
            for test in chosen(ONE):
                print(test.__name__, flush=True)
                test(member, Store(member.target))
        finally:
            member.stop()
    if chosen(THREE):
        cluster = NativeCluster(options.server, directory)
        try:
            cluster.start()
            for test in chosen(THREE):
                print(test.__name__, flush=True)
                test(cluster)
        finally:
            cluster.stop()
    support.shutil.rmtree(directory)
    print("ok")


if __name__ == "__main__":
    main()
