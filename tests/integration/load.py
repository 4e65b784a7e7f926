"""Writers that remember what was acknowledged, and the check that it is all there.

Each operation makes exactly one revision. The check reads the whole history since the last check with a watch:
revisions without gap or double, each acknowledged operation at its revision with its events, every other revision
exactly one of the operations that were sent and not answered. Then the state, which must be what the history gives.
"""

import random
import threading

from fastgrpc import Connection, Refused
from support import Calls, fail, load_messages

rpc, kv = load_messages()

PUT = b"/etcdserverpb.KV/Put"
TXN = b"/etcdserverpb.KV/Txn"
DELETE = b"/etcdserverpb.KV/DeleteRange"
DELETE_AT_ONCE = 1000  # keys, when everything goes


class Writer(threading.Thread):
    """One connection with many writes in flight, until the connection ends or stop is set."""

    def __init__(self, port, name, seed, inflight, value_bytes=(20, 200)):
        super().__init__(daemon=True)
        self.port = port
        self.prefix = name.encode() + b"/"
        self.rng = random.Random(seed)
        self.depth = inflight
        self.value_bytes = value_bytes
        self.stop = False
        self.number = 0
        self.acked = []  # (revision, events)
        self.refused = 0
        self.sent = {}  # number -> events, not answered
        self.deletable = []
        self.error = None

    def value(self):
        """Unique and incompressible."""
        return b"%s%d:" % (self.prefix, self.number) + self.rng.randbytes(self.rng.randint(*self.value_bytes))

    def operation(self):
        """The next request as (path, bytes, events); an event is (type, key, value)."""
        self.number += 1
        r = self.rng.random()
        if r < 0.80:
            key, value = b"%s%d" % (self.prefix, self.number), self.value()
            return PUT, rpc.PutRequest(key=key, value=value), [(0, key, value)]
        if r < 0.88:  # overwrites
            key, value = b"%shot%d" % (self.prefix, self.number % 8), self.value()
            return PUT, rpc.PutRequest(key=key, value=value), [(0, key, value)]
        if r < 0.96 or not self.deletable:
            events = [(0, b"%s%d%s" % (self.prefix, self.number, s), self.value() + s) for s in (b"a", b"b", b"c")]
            request = rpc.TxnRequest()
            for _, key, value in events:
                request.success.add().request_put.CopyFrom(rpc.PutRequest(key=key, value=value))
            return TXN, request, events
        key = self.deletable.pop(self.rng.randrange(len(self.deletable)))
        return DELETE, rpc.DeleteRangeRequest(key=key), [(1, key, b"")]

    def answered(self, number, message):
        if message is None:
            # An error answer: not acknowledged. It stays among those that may have happened.
            self.refused += 1
            self.stop = self.stop or self.refused > 100
            return
        # All three answers have the header first.
        revision = rpc.PutResponse.FromString(message).header.revision if message else 0
        events = self.sent.pop(number)
        self.acked.append((revision, events))
        if len(events) == 1 and events[0][0] == 0 and b"hot" not in events[0][1] and number % 4 == 0:
            self.deletable.append(events[0][1])

    def work(self, connection):
        while not self.stop or connection.inflight:
            while not self.stop and len(connection.inflight) < self.depth:
                path, request, events = self.operation()
                self.sent[self.number] = events
                connection.submit(path, request.SerializeToString(), self.number)
            for number, message in connection.pump():
                self.answered(number, message)

    def run(self):
        try:
            connection = Connection("127.0.0.1", self.port)
        except OSError as e:
            self.error = e
            return
        try:
            self.work(connection)
        except (OSError, Refused) as e:
            self.error = e
        connection.close()


class Load:
    """Several writers on one server."""

    def __init__(self, port, name, seed, writers=2, inflight=64, value_bytes=(20, 200)):
        self.writers = [Writer(port, "%s.%d" % (name, i), seed * 10 + i, inflight, value_bytes)
                        for i in range(writers)]

    def start(self):
        for w in self.writers:
            w.start()
        return self

    def acked(self):
        return sum(len(w.acked) for w in self.writers)

    def running(self):
        return any(w.is_alive() for w in self.writers)

    def stop(self):
        for w in self.writers:
            w.stop = True

    def join(self, timeout=30):
        for w in self.writers:
            w.join(timeout)
            if w.is_alive():
                fail("a writer does not end: the server neither answers nor closes")


class Ledger:
    """What the server has promised so far."""

    def __init__(self):
        self.base = 1  # the history up to here is checked
        self.compacted = 0
        self.checked = 0  # acknowledged writes found
        self.unknown = 0  # unanswered writes found
        self.state = {}  # key -> (value, mod revision)

    def check(self, target, load):
        """Compares the server with what the load has recorded."""
        calls = Calls(target)
        try:
            self.check_with(calls, load)
        finally:
            calls.close()

    def check_with(self, calls, load):
        answer = rpc.RangeResponse.FromString(
            calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"x").SerializeToString(), timeout=20))
        current = answer.header.revision
        acked = {}
        for w in load.writers:
            for revision, events in w.acked:
                if revision <= self.base:
                    fail("write acknowledged at revision %d, but %d was reached before" % (revision, self.base))
                if revision in acked:
                    fail("revision %d acknowledged twice: %s and %s" % (revision, acked[revision], events))
                acked[revision] = events
        if acked and max(acked) > current:
            fail("acknowledged up to revision %d, the server is at %d: %d writes lost" % (
                max(acked), current, sum(r > current for r in acked)))
        unanswered = {}
        for w in load.writers:
            for events in w.sent.values():
                unanswered[events[0][:2] + (events[0][2],)] = events
        for revision, events in self.history(calls, current):
            plain = [(e.type, e.kv.key, e.kv.value) for e in events]
            expected = acked.pop(revision, None)
            if expected is None:
                expected = unanswered.pop(plain[0], None)
                if expected is None:
                    fail("revision %d: %s was neither acknowledged at it nor is it unanswered" % (revision, plain))
                self.unknown += 1
            else:
                self.checked += 1
            if expected != plain:
                fail("revision %d: sent %s, stored %s" % (revision, expected, plain))
            for kind, key, value in plain:
                if kind == kv.Event.PUT:
                    self.state[key] = (value, revision)
                else:
                    self.state.pop(key, None)
        if acked:
            fail("%d acknowledged writes are not in the history, the first %s" % (len(acked), sorted(acked.items())[0]))
        self.base = current
        self.check_state(calls)

    def history(self, calls, current):
        """[(revision, events)] after base up to current; fails on gaps."""
        if current == self.base:
            return []
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=self.base + 1))
        done = threading.Event()

        def requests():
            yield create.SerializeToString()
            done.wait()

        stream = calls.stream("etcdserverpb.Watch/Watch")(requests(), timeout=60)
        found = []
        for data in stream:
            m = rpc.WatchResponse.FromString(data)
            if m.canceled:
                fail("watch from %d was cancelled: %s" % (self.base + 1, m))
            for e in m.events:
                if found and found[-1][0] == e.kv.mod_revision:
                    found[-1][1].append(e)
                    continue
                expected = found[-1][0] + 1 if found else self.base + 1
                if e.kv.mod_revision != expected:
                    fail("history goes on with revision %d instead of %d" % (e.kv.mod_revision, expected))
                found.append((e.kv.mod_revision, [e]))
            if found and found[-1][0] >= current:
                break
        done.set()
        stream.cancel()
        return found

    def check_state(self, calls):
        seen = 0
        key = b"\0"
        while True:
            m = rpc.RangeResponse.FromString(calls.unary("etcdserverpb.KV/Range")(
                rpc.RangeRequest(key=key, range_end=b"\0", limit=5000).SerializeToString(), timeout=20))
            for k in m.kvs:
                if self.state.get(k.key) != (k.value, k.mod_revision):
                    fail("key %r is %r at %d, the history gives %r" % (
                        k.key, k.value, k.mod_revision, self.state.get(k.key)))
            seen += len(m.kvs)
            if not m.more:
                break
            key = m.kvs[-1].key + b"\0"
        if seen != len(self.state):
            fail("%d keys stored, the history gives %d" % (seen, len(self.state)))

    def tidy(self, target):
        """Deletes everything and compacts, so that long runs stay small; both are checked like other writes."""
        calls = Calls(target)
        keys = sorted(self.state)
        for at in range(0, len(keys), DELETE_AT_ONCE):
            end = keys[at + DELETE_AT_ONCE] if at + DELETE_AT_ONCE < len(keys) else b"\0"
            m = rpc.DeleteRangeResponse.FromString(calls.unary("etcdserverpb.KV/DeleteRange")(
                rpc.DeleteRangeRequest(key=keys[at], range_end=end).SerializeToString(), timeout=60))
            if m.deleted != len(keys[at:at + DELETE_AT_ONCE]):
                fail("%d keys deleted, there were %d" % (m.deleted, len(keys[at:at + DELETE_AT_ONCE])))
            if m.header.revision != self.base + 1:
                fail("delete at revision %d after %d" % (m.header.revision, self.base))
            self.base = m.header.revision
        self.compacted = self.base
        self.state = {}
        calls.unary("etcdserverpb.KV/Compact")(
            rpc.CompactionRequest(revision=self.base).SerializeToString(), timeout=60)
        calls.close()
