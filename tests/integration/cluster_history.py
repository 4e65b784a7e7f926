"""When what happened: writers and readers that keep the times, watchers that go on through failures, and the check that
all of it fits one order, that of the revisions.

A history is linearizable if there is an order of its operations that explains every answer and contradicts no clock:
what ended before another began comes first. etcd says the order in its answers: a write is at its revision, a read behind
the write whose revision its header has. So nothing has to be searched for; check_order() looks whether that order keeps
to the clock and explains what was read.
"""

import collections
import random
import select
import threading
import time

import support
from cluster_load import PACE_S, SILENCE_S, Channel, ClusterLoad, ClusterWriter, until
from fastgrpc import Connection, Refused

rpc, kv = support.load_messages()

RANGE = b"/etcdserverpb.KV/Range"
ALWAYS, NEVER = float("-inf"), float("inf")
READ_PAUSE_S = 0.005
PROBE_S = 0.02
PROBES = 500  # without an answer; then the connection is given up

# kvs: {key: (value, revision)} of all keys that begin with the prefix.
Read = collections.namedtuple("Read", "begin end revision linearizable prefix kvs member")


def hot_prefix(writer):
    """What this writer overwrites all the time."""
    return writer.prefix + b"hot"


def check_order(history, writes, reads):
    """The first contradiction as a text, or None. history: [(revision, [(type, key, value)])]; writes: {revision:
    (begin, end)}, NEVER if no answer came; a revision that is missing here says nothing about time."""
    reads = sorted(reads, key=lambda r: r.revision)
    state = collections.defaultdict(dict)  # the prefix -> {key: (value, revision)}
    prefixes = {r.prefix for r in reads}
    latest, who = ALWAYS, None  # the latest beginning of all that comes before
    at = 0
    for revision, events in [(1, [])] + history:
        begin, end = writes.get(revision, (ALWAYS, NEVER))
        if latest > end:
            return "the write of revision %d was acknowledged %.6f s before %s began" % (revision, latest - end, who)
        if begin > latest:
            latest, who = begin, "the write of revision %d" % revision
        for kind, key, value in events:
            prefix = key.rstrip(b"0123456789")
            if prefix not in prefixes:
                continue
            if kind == kv.Event.PUT:
                state[prefix][key] = (value, revision)
            else:
                state[prefix].pop(key, None)
        behind = (latest, who)
        while at < len(reads) and reads[at].revision <= revision:
            read = reads[at]
            at += 1
            name = "a read at %s of revision %d" % (read.member, read.revision)
            if latest > read.end:
                return "%s ended %.6f s before %s began" % (name, latest - read.end, who)
            if read.kvs != state[read.prefix]:
                return "%s (%s) has %s, the history gives %s" % (
                    name, "linearizable" if read.linearizable else "serializable", read.kvs, state[read.prefix])
            if read.linearizable and read.begin > behind[0]:
                behind = (read.begin, name)
        latest, who = behind
    if at < len(reads):
        return "a read at %s is of revision %d, the history ends at %d" % (
            reads[at].member, reads[at].revision, history[-1][0] if history else 1)
    return None


class TimedWriter(ClusterWriter):
    """Knows when each of its writes began and ended."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.began = {}  # number -> when, of those without an answer
        self.times = {}  # revision -> (begin, end)

    def operation(self):
        request = super().operation()
        self.began[self.number] = time.monotonic()
        return request

    def answered(self, number, message):
        now = time.monotonic()
        if message is not None:
            revision = rpc.PutResponse.FromString(message).header.revision if message else 0
            self.times[revision] = (self.began.pop(number), now)
        super().answered(number, message)

    def first_after(self, moment):
        """When the first write that began after the moment was acknowledged, or None."""
        return min((end for begin, end in list(self.times.values()) if begin > moment), default=None)


class Prober(TimedWriter):
    """Sends a write every few milliseconds, whether the ones before it were answered or not."""

    PAUSES_S = (0, 0)

    def work(self, connection):
        while not self.stop:
            path, request, events = self.operation()
            self.sent[self.number] = events
            connection.submit(path, request.SerializeToString(), self.number)
            connection.flush()
            due = time.monotonic() + PROBE_S
            while select.select([connection.sock], [], [], max(0.0, due - time.monotonic()))[0]:
                for number, message in connection.pump():
                    self.answered(number, message)
            if len(connection.inflight) > PROBES:
                return


class Reader(threading.Thread):
    """Reads what the writers overwrite, through one member, whatever happens to it."""

    def __init__(self, member, prefixes, seed):
        super().__init__(daemon=True)
        self.member, self.prefixes = member, prefixes
        self.rng = random.Random(seed)
        self.stop = False
        self.reads = []
        self.refused = 0

    def run(self):
        pace = threading.Event()
        while not self.stop:
            try:
                connection = Connection(self.member.host, self.member.port, SILENCE_S)
            except OSError:
                pace.wait(PACE_S)
                continue
            try:
                while not self.stop:
                    pace.wait(READ_PAUSE_S if self.read(connection) else PACE_S)
            except (OSError, Refused):
                pace.wait(PACE_S)
            connection.close()

    def read(self, connection):
        prefix = self.rng.choice(self.prefixes)
        linearizable = self.rng.random() < 0.75
        request = rpc.RangeRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]),
                                   serializable=not linearizable)
        begin = time.monotonic()
        connection.submit(RANGE, request.SerializeToString(), 0)
        done = []
        while not done:
            done = connection.pump()
        end = time.monotonic()
        if done[0][1] is None:
            self.refused += 1
            return False
        answer = rpc.RangeResponse.FromString(done[0][1])
        kvs = {k.key: (k.value, k.mod_revision) for k in answer.kvs}
        self.reads.append(Read(begin, end, answer.header.revision, linearizable, prefix, kvs, self.member.name))
        return True


class Watcher(threading.Thread):
    """Watches everything through one member from the first revision on; goes on where it was when the stream ends."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.member = member
        self.history = []  # [(revision, [(type, key, value)])] without gap
        self.stop = False
        self.stream = None
        self.streams = 0
        self.error = None

    @property
    def next(self):
        return self.history[-1][0] + 1 if self.history else 2

    def run(self):
        import grpc  # pylint: disable=import-outside-toplevel

        pace = threading.Event()
        while not self.stop and not self.error:
            channel = Channel(self.member.target)
            try:
                self.watch(channel)
            except grpc.RpcError:
                pace.wait(PACE_S)
            channel.close()

    def watch(self, channel):
        request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=self.next))
        done = threading.Event()

        def requests():
            yield request.SerializeToString()
            done.wait()

        self.stream = channel.stream("etcdserverpb.Watch/Watch")(requests())
        self.streams += 1
        try:
            for data in self.stream:
                message = rpc.WatchResponse.FromString(data)
                if message.canceled:
                    if message.compact_revision:
                        self.error = "the watch from %d is compacted: %s" % (self.next, message)
                    return
                if not self.take(message):
                    return
        finally:
            done.set()
            self.stream.cancel()

    def take(self, message):
        """A response has whole revisions, the next ones."""
        new = []
        for event in message.events:
            revision = event.kv.mod_revision
            if not new or new[-1][0] != revision:
                if revision != (new[-1][0] + 1 if new else self.next):
                    self.error = "%s: the watch goes on with revision %d instead of %d" % (
                        self.member.name, revision, new[-1][0] + 1 if new else self.next)
                    return False
                new.append((revision, []))
            new[-1][1].append((event.type, event.kv.key, event.kv.value))
        self.history += new
        return True

    def end(self):
        self.stop = True
        if self.stream is not None:
            self.stream.cancel()
        self.join(SILENCE_S * 3)


class Traffic(ClusterLoad):
    """A writer and a reader on each member; with probes, a prober too."""

    WRITER = TimedWriter

    def __init__(self, members, name, seed, probes=False):
        super().__init__(members, name, seed)
        self.probers = []
        if probes:
            self.probers = [Prober(m, "%s.%s.probe" % (name, m.name), seed * 10 + i) for i, m in enumerate(members)]
        prefixes = [hot_prefix(w) for w in self.writers]
        self.readers = [Reader(m, prefixes, seed * 10 + i) for i, m in enumerate(members)]
        self.writers += self.probers

    def __enter__(self):
        for reader in self.readers:
            reader.start()
        return super().__enter__()

    def __exit__(self, *_):
        for reader in self.readers:
            reader.stop = True
        super().__exit__()
        for reader in self.readers:
            reader.join(SILENCE_S * 3)

    def probed(self, members, moment):
        """When a write that began after the moment was first acknowledged by one of these members; waits for it."""
        ports = {(m.host, m.port) for m in members}
        probers = [p for p in self.probers if (p.host, p.port) in ports]
        until("a write is acknowledged", lambda: any(p.first_after(moment) for p in probers))
        return min(p.first_after(moment) for p in probers if p.first_after(moment))

    def quickest(self, since):
        """What the quickest of the writes took that began after the moment and are acknowledged."""
        return min(end - begin for writer in self.writers for begin, end in list(writer.times.values()) if begin > since)

    def longest_gap(self, member, since):
        """The longest time without an acknowledgement since then; through this member, or through any."""
        ends = [since, time.monotonic()]
        for writer in self.writers:
            if member is None or (writer.host, writer.port) == (member.host, member.port):
                ends += [end for _, end in list(writer.times.values()) if end > since]
        ends.sort()
        return max(b - a for a, b in zip(ends, ends[1:]))


class Observer:
    """All watchers and all traffic of a cluster's life."""

    def __init__(self):
        self.watchers = {}
        self.writers = []
        self.readers = []

    def watch(self, member):
        self.watchers[member] = Watcher(member)
        self.watchers[member].start()

    def leave(self, member):
        self.watchers.pop(member).end()

    def add(self, traffic):
        self.writers += traffic.writers
        self.readers += getattr(traffic, "readers", [])

    def check(self, revision):
        """All watchers have seen the same up to this revision, and the times fit."""
        for member, watcher in self.watchers.items():
            until("the watcher at %s sees revision %d" % (member.name, revision),
                  lambda w=watcher: w.error or w.next > revision)
            if watcher.error:
                support.fail(watcher.error)
        histories = {m: w.history[:revision - 1] for m, w in self.watchers.items()}
        first, history = next(iter(histories.items()))
        for member, other in histories.items():
            if other != history:
                differs = next(i for i, (a, b) in enumerate(zip(history, other)) if a != b)
                support.fail("watchers at %s and %s have seen different events: %s and %s" % (
                    first.name, member.name, history[differs], other[differs]))
        problem = check_order(history, self.times(history), [r for reader in self.readers for r in reader.reads])
        if problem:
            support.fail("not linearizable: " + problem)

    def times(self, history):
        times = {}
        pending = {}  # first event -> begin
        for writer in self.writers:
            times.update(getattr(writer, "times", {}))
            for number, began in getattr(writer, "began", {}).items():
                if number in writer.sent:
                    pending[writer.sent[number][0]] = began
        for revision, events in history:
            if revision not in times and events[0] in pending:
                times[revision] = (pending[events[0]], NEVER)
        return times

    def stop(self):
        for watcher in self.watchers.values():
            watcher.end()

    def summary(self):
        reads = [r for reader in self.readers for r in reader.reads]
        return "%d writes and %d reads (%d of them linearizable) in one order, seen by %d watchers on %d streams" % (
            sum(len(getattr(w, "times", {})) for w in self.writers), len(reads), sum(r.linearizable for r in reads),
            len(self.watchers), sum(w.streams for w in self.watchers.values()))
