"""Watches in the differential test.

A recorder on the reference watches everything from revision 1; what each watcher has to see follows from its record,
so a checkpoint knows what to wait for: no sleeping, and nothing is taken for "no event" too early.
"""

import queue
import threading
import time

import grpc

from diff_canon import clean_text, kv, rpc
from diff_pair import Answer, show

WATCH = "etcdserverpb.Watch/Watch"
PATIENCE = 10.0  # seconds until a missing answer counts as missing


class WatchStream:
    """One Watch stream of one server. A thread sorts what arrives into answers and, per watcher, events."""

    def __init__(self, calls, canon):
        self.canon = canon
        self.requests = queue.SimpleQueue()
        self.call = calls.stream(WATCH)(iter(self.requests.get, None))
        self.changed = threading.Condition()
        self.controls = []  # created, cancelled and progress answers, in order
        self.events = {}  # watch id -> [(revision, type, key, canonical bytes)]
        self.open_fragment = set()
        self.may_fragment = set()
        self.progress = 0  # the highest revision of a progress answer
        self.problems = []
        self.ended = None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def send(self, **request):
        self.requests.put(rpc.WatchRequest(**request).SerializeToString())

    def read(self):
        try:
            for data in self.call:
                message = rpc.WatchResponse.FromString(data)
                with self.changed:
                    self.take(message)
                    self.changed.notify_all()
            ended = Answer("OK", "", b"")
        except grpc.RpcError as e:
            ended = Answer(e.code().name, clean_text(e.details()), b"")
        with self.changed:
            self.ended = ended
            self.changed.notify_all()

    def take(self, m):
        header = m.header.revision
        self.canon.header(m)
        if m.created or m.canceled:
            if m.created and not m.canceled:
                self.events[m.watch_id] = []
            if m.events:
                self.problems.append("events in an answer to a control request: " + show(m))
            self.controls.append(m)
            return
        if not m.events:
            if m.fragment or (m.watch_id != -1 and m.watch_id not in self.events):
                self.problems.append("empty response: " + show(m))
            self.progress = max(self.progress, header)
            return
        seen = self.events.get(m.watch_id)
        if seen is None:
            self.problems.append("event before created: " + show(m))
            return
        if m.fragment and m.watch_id not in self.may_fragment:
            self.problems.append("fragment that was not asked for: " + show(m))
        first, last = m.events[0].kv.mod_revision, m.events[-1].kv.mod_revision
        if header < last:
            self.problems.append("header revision below the last event: " + show(m))
        if seen and m.watch_id not in self.open_fragment and first <= seen[-1][0]:
            self.problems.append("a revision twice or in two responses (after %d): %s" % (seen[-1][0], show(m)))
        if m.fragment:
            self.open_fragment.add(m.watch_id)
        else:
            self.open_fragment.discard(m.watch_id)
        for e in m.events:
            revision = e.kv.mod_revision
            if seen and revision < seen[-1][0]:
                self.problems.append("out of order: " + show(m))
            self.canon.key_value(e.kv)
            if e.HasField("prev_kv"):
                self.canon.key_value(e.prev_kv)
            seen.append((revision, e.type, e.kv.key, e.SerializeToString(deterministic=True)))

    def wait(self, condition, patience=PATIENCE):
        """True once condition() holds; False after the patience or when the stream has ended."""
        end = time.monotonic() + patience
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0 or self.ended is not None:
                    return False
                self.changed.wait(left)
        return True

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.thread.join(PATIENCE)


class Recorder:
    """All events of the reference, in order."""

    def __init__(self, calls, canon):
        self.stream = WatchStream(calls, canon)
        self.stream.send(create_request=rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1))
        assert self.stream.wait(lambda: self.stream.controls)

    def upto(self, revision):
        """The record, which is complete up to the revision (each revision has at least one event)."""
        record = self.stream.events[0]
        if revision > 1 and not self.stream.wait(lambda: record and record[-1][0] >= revision):
            raise RuntimeError("the reference does not deliver revision %d: %s %s" % (
                revision, self.stream.problems, self.stream.ended))
        return record


class Watcher:
    def __init__(self, request, start):
        self.request = request
        self.start = start
        self.position = 0  # in the record
        self.expected = 0

    def wants(self, event):
        revision, kind, key, _ = event
        if revision < self.start:
            return False
        r = self.request
        if (kind == kv.Event.PUT and rpc.WatchCreateRequest.NOPUT in r.filters) or \
                (kind == kv.Event.DELETE and rpc.WatchCreateRequest.NODELETE in r.filters):
            return False
        low = r.key or b"\0"
        if r.range_end == b"":
            return key == low
        return key >= low and (r.range_end == b"\0" or key < r.range_end)


class WatchSession:
    """One stream to each server, and what its watchers have to see.

    Left open, since etcd's behaviour there is an accident: after it cancelled a watcher because of compaction, etcd
    still holds the id as used and never answers a progress request on that stream again. Such ids are not used again
    and such streams are not asked.
    """

    def __init__(self, pair, script, recorder):
        self.pair, self.script, self.recorder = pair, script, recorder
        self.a = WatchStream(pair.a, pair.canon_a)
        self.b = WatchStream(pair.b, pair.canon_b)
        self.watchers = {}
        self.dead = set()
        self.last_past = 0.0
        self.broken = False

    def both(self, condition):
        return [s.wait(lambda s=s: condition(s)) for s in (self.a, self.b)]

    def fault(self, what, request=None):
        self.broken = True
        self.pair.differ("Watch: " + what, request, self.describe(self.a), self.describe(self.b))

    @staticmethod
    def describe(s):
        return "last answers %s; problems %s; end %s" % (
            [show(c) for c in s.controls[-2:]], s.problems[:3],
            s.ended and (s.ended.code, s.ended.text))

    def next_control(self, request, count):
        """Waits until both have that many answers, and compares the newest."""
        if self.both(lambda s: len(s.controls) >= count) != [True, True]:
            self.fault("an answer is missing", request)
            return None
        a, b = self.a.controls[count - 1], self.b.controls[count - 1]
        if a != b:
            self.pair.differ("Watch", request, show(a), show(b))
            if (a.created, a.canceled, a.watch_id) != (b.created, b.canceled, b.watch_id):
                self.broken = True
        return a

    def random_create(self):
        rng, script = self.script.rng, self.script
        m = rpc.WatchCreateRequest()
        m.key, m.range_end = script.interval()
        r = rng.random()
        if r < 0.45:
            m.start_revision = 0
        elif r < 0.80:
            m.start_revision = rng.randint(max(1, script.compacted), max(1, script.revision))
        elif r < 0.90:
            m.start_revision = script.revision + rng.randint(1, 12)
        else:
            m.start_revision = rng.choice([1, script.compacted - 1, script.compacted] + [-1, -7] * (not script.old))
        m.prev_kv = script.maybe(40)
        m.fragment = script.maybe(20)
        m.progress_notify = script.maybe(10)
        if script.maybe(25):
            m.filters.extend(rng.choice([[0], [1], [0, 1], [1, 1], [5]]))
        if script.maybe(20):
            m.watch_id = rng.choice([1, 2, 3, 5, 40, -5, 2 ** 62])
        if m.watch_id in self.dead or 0 < m.start_revision < script.compacted:
            m.watch_id = 0
        return m

    def create(self, m=None):
        m = m or self.random_create()
        self.checkpoint()
        count = len(self.a.controls) + 1
        for s in (self.a, self.b):
            if m.fragment:
                # ids that the server will pick are not known here: any watcher of a stream with one may fragment
                s.may_fragment.update(range(-10, 200))
                s.may_fragment.add(m.watch_id)
            s.send(create_request=m)
        self.pair.count("watch create", Answer("OK", "", b""))
        created = self.next_control(m, count)
        if created is None or created.canceled or not created.created:
            return created
        if 0 < m.start_revision < self.script.compacted:
            self.next_control(m, count + 1)
            self.dead.add(created.watch_id)
            return created
        if 0 < m.start_revision <= self.script.revision:
            self.last_past = time.monotonic()
        self.watchers[created.watch_id] = Watcher(m, m.start_revision or created.header.revision + 1)
        return created

    def cancel(self, watch_id=None):
        rng = self.script.rng
        self.checkpoint()
        if watch_id is None:
            watch_id = rng.choice(sorted(self.watchers) + [77777])
        count = len(self.a.controls) + 1
        m = rpc.WatchCancelRequest(watch_id=watch_id)
        for s in (self.a, self.b):
            s.send(cancel_request=m)
        self.pair.count("watch cancel", Answer("OK", "", b""))
        if watch_id in self.watchers:
            self.next_control(m, count)
            del self.watchers[watch_id]

    def progress(self):
        """A progress request is answered if all watchers have caught up. etcd needs up to 100 ms to notice that one
        has, so it is asked again until it says so; where no answer may come, a short wait has to do."""
        self.checkpoint()
        revision = self.script.revision
        self.pair.count("watch progress", Answer("OK", "", b""))
        if self.dead:
            return
        expected = self.watchers and all(w.start <= revision + 1 for w in self.watchers.values())
        # A watcher from now starts at current + 1 and counts as caught up; one for current + 1 asked as a future
        # revision looks the same, so only later ones are certain to keep the answer back.
        for s in (self.a, self.b):
            s.progress = 0
        if expected and all(w.request.start_revision <= revision for w in self.watchers.values()):
            for name, s in (("reference", self.a), ("server", self.b)):
                for _ in range(100):
                    s.send(progress_request=rpc.WatchProgressRequest())
                    if s.wait(lambda s=s: s.progress, 0.05):
                        break
                if s.progress != revision:
                    self.fault("progress answer of the %s is %d, not %d" % (name, s.progress, revision))
        elif not expected and not self.script.old:
            for s in (self.a, self.b):
                s.send(progress_request=rpc.WatchProgressRequest())
            time.sleep(0.03)
            if self.a.progress or self.b.progress:
                self.fault("progress answer %d and %d where none may come" % (self.a.progress, self.b.progress))

    def settle(self):
        """Before a compaction: a watcher from the past that still catches up (etcd does so every 100 ms) may or may
        not be cancelled by it."""
        self.checkpoint()
        time.sleep(max(0.0, self.last_past + 0.25 - time.monotonic()))

    def nothing(self):
        """A request without content is ignored."""
        for s in (self.a, self.b):
            s.send()

    def checkpoint(self):
        """Waits until each watcher has what it must have seen, and compares."""
        if self.broken:
            return
        record = self.recorder.upto(self.script.revision)
        for watch_id, w in self.watchers.items():
            while w.position < len(record):
                w.expected += w.wants(record[w.position])
                w.position += 1
            if self.both(lambda s, i=watch_id, w=w: len(s.events[i]) >= w.expected) != [True, True]:
                self.fault("watcher %d: %d events expected, %d and %d came" % (
                    watch_id, w.expected, len(self.a.events[watch_id]), len(self.b.events[watch_id])), w.request)
                return
            seen_a, seen_b = self.a.events[watch_id], self.b.events[watch_id]
            if seen_a != seen_b or len(seen_a) != w.expected:
                self.show_events(watch_id, w, seen_a, seen_b)
        if self.a.problems or self.b.problems:
            self.fault("rules broken")

    def show_events(self, watch_id, w, seen_a, seen_b):
        i = 0
        while i < min(len(seen_a), len(seen_b)) and seen_a[i] == seen_b[i]:
            i += 1

        def text(seen):
            return "%d events, at %d: %s" % (len(seen), i,
                                             show(kv.Event.FromString(seen[i][3])) if i < len(seen) else "none")

        self.broken = True
        self.pair.differ("Watch: events of watcher %d (%d expected)" % (watch_id, w.expected), w.request,
                         text(seen_a), text(seen_b))

    def events(self):
        return sum(len(e) for e in self.b.events.values())

    def close(self):
        self.checkpoint()
        self.a.close()
        self.b.close()


def hammer(calls, canon, threads, rounds, name):
    """A put acknowledged before a watch from now is never delivered by it; the next one always is. Other clients
    write to the same key and to others meanwhile. Returns the number of rounds; problems are in the list."""
    problems = []
    stop = threading.Event()

    def put(key):
        data = calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=key, value=b"v").SerializeToString())
        return rpc.PutResponse.FromString(data).header.revision

    def noise():
        while not stop.is_set():
            put(b"hammer/shared")
            put(b"hammer/other")

    def work(number):
        try:
            rounds_of(number)
        except Exception as e:  # pylint: disable=broad-except
            problems.append("%s: thread %d: %r" % (name, number, e))

    def rounds_of(number):
        stream = WatchStream(calls, canon)
        own = b"hammer/%d" % number
        for i in range(rounds):
            shared = i % 3 == 2
            key = b"hammer/shared" if shared else own
            before = put(key)
            stream.send(create_request=rpc.WatchCreateRequest(key=key))
            if not stream.wait(lambda: len(stream.controls) >= 2 * i + 1):
                problems.append("%s: no created answer" % name)
                break
            created = stream.controls[-1]
            if created.header.revision < before:
                problems.append("%s: created at %d after an acknowledged put at %d" % (
                    name, created.header.revision, before))
            after = put(key)
            seen = stream.events[created.watch_id]
            if not stream.wait(lambda: any(e[0] == after for e in seen)):
                problems.append("%s: put %d after the watch was created is not delivered: %s" % (name, after, seen))
                break
            if any(e[0] <= before for e in seen):
                problems.append("%s: the watch created after put %d delivered %s" % (name, before, seen))
            if not shared and [e[0] for e in seen] != [after]:
                problems.append("%s: events %s instead of %d" % (name, seen, after))
            stream.send(cancel_request=rpc.WatchCancelRequest(watch_id=created.watch_id))
            if not stream.wait(lambda: len(stream.controls) >= 2 * i + 2):
                problems.append("%s: no cancel answer" % name)
                break
            if stream.controls[-1].header.revision < after:
                problems.append("%s: cancelled at %d after an acknowledged put at %d" % (
                    name, stream.controls[-1].header.revision, after))
        problems.extend("%s: %s" % (name, p) for p in stream.problems)
        stream.close()

    disturber = threading.Thread(target=noise)
    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for t in [disturber] + workers:
        t.start()
    for t in workers:
        t.join()
    stop.set()
    disturber.join()
    return threads * rounds, problems
