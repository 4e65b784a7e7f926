"""A subscriber of the native protocol, written from docs/protocol.md alone with pyzmq and protobuf: a cache that
follows the rule of section 9. Messages can be dropped on their way in.

One thread: nothing happens but in the calls.
"""

import struct
import time

import zmq

import support
from native_client import DONE, PING, Client, Lost, Refused

OUT_OF_RANGE, UNAVAILABLE = 11, 14
MAX = 0xFFFFFFFF  # as sub: behind every change of its revision


class Session:
    """Calls to one member, one after the other."""

    ACKNOWLEDGE_BYTES = 1 << 20

    def __init__(self, url, timeout=20.0):
        self.client = Client(url, heartbeat_ms=60000)  # it is not looked at between calls
        self.timeout = timeout
        self.client.hello(timeout)

    def stream(self, method, request):
        """The messages of a call that sends one. "hello first": a new session, and once again."""
        client = self.client
        for attempt in range(2):
            try:
                call, acknowledged = client.begin(method, request.SerializeToString()), client.received
                while True:
                    if not client.waiting[call] and not client.socket.poll(self.timeout * 1000):
                        raise Lost("no answer within %g s" % self.timeout)
                    message = client.next_message(call, self.timeout)
                    if message.command == DONE and message.argument:
                        raise Refused(message.argument, message.body.decode())
                    if message.body is not None:
                        yield message.body
                    if message.command == DONE:
                        del client.waiting[call]
                        return
                    if client.received - acknowledged > self.ACKNOWLEDGE_BYTES:
                        client.send(PING)
                        acknowledged = client.received
            except Lost:
                if attempt:
                    raise
                client.hello(self.timeout)

    def unary(self, method, request):
        return list(self.stream(method, request))[0]


def escape(key):
    return key.replace(b"\0", b"\0\xff")


def subscription(key, exact=False, previous=False):
    return (b"P" if previous else b"E") + escape(key) + (b"\0\1" if exact else b"")


class Cache:
    """The keys of a subscription as a map: key -> value. `drop(kind, cache, head) -> bool` may lose a message: kind is
    "event" or "mark", head what Event or Mark read from it."""

    def __init__(self, session, publish_url, key, exact=False, previous=False, drop=None):
        self.subscription = subscription(key, exact, previous)
        self.prefix, self.exact, self.with_previous = key, exact, previous
        self.drop = drop or (lambda kind, cache, head: False)
        self.native = support.load_native()
        self.rpc, self.kv = support.load_messages()
        self.position, self.revision, self.cluster_id = (0, 0), 0, 0
        self.shown, self.next = {}, {}
        self.snapshots = self.repairs = self.dropped = self.marks = 0
        self.low_marks = 0  # in a row, below the revision
        self.ask_at = 0.0  # not before: it takes long where nobody knows
        self.mark_at = None
        self.interval = 1.0
        self.events = []  # all that was applied, in order: (revision, sub, key, value, previous)
        self.on_mark = lambda cache: None
        self.socket = None
        self.attach(session, publish_url)
        self.snapshot()

    # ---- the member it is at ----

    def attach(self, session, publish_url):
        """Goes to a member, without a snapshot: what is missing shows as a hole."""
        self.detach()
        self.session = session
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.subscribe(b"M" + self.subscription + b"\0\2")
        self.socket.subscribe(self.subscription)
        self.socket.connect(publish_url)
        self.mark_at = time.monotonic()

    def detach(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    @property
    def is_stale(self):
        return time.monotonic() - self.mark_at > 3 * self.interval

    # ---- requests ----

    def snapshot(self, serializable=False, min_revision=0):
        request = self.native.SnapshotRequest(subscription=self.subscription, serializable=serializable,
                                              min_revision=min_revision)
        content, revision, more = {}, None, True
        for body in self.session.stream("quoral.Native/Snapshot", request):
            assert more
            page = self.native.SnapshotResponse.FromString(body)
            assert revision in (None, page.header.revision)
            revision, more = page.header.revision, page.more
            content.update((kv.key, kv.value) for kv in page.kvs)
        assert not more and page.count == len(content)
        self.cluster_id = page.header.cluster_id
        self.low_marks = 0
        self.shown, self.next = dict(content), content
        self.position, self.revision = (revision, MAX), revision
        self.snapshots += 1

    def repair(self, through):
        request = self.native.EventsRequest(subscription=self.subscription, cluster_id=self.cluster_id)
        request.after.revision, request.after.sub = self.position
        request.through.revision, request.through.sub = through
        try:
            for body in self.session.stream("quoral.Native/Events", request):
                page = self.native.EventsResponse.FromString(body)
                for event in page.events:
                    self.apply((event.position.revision, event.position.sub), event.event)
        except Refused as e:
            if e.code == OUT_OF_RANGE:
                self.snapshot()
                return
            raise
        assert not page.more
        complete = (page.complete.revision, page.complete.sub)
        assert complete[0] == through[0] and complete[1] == MAX
        self.position = max(self.position, complete)
        self.show(complete[0])
        self.repairs += 1

    # ---- the rule ----

    def apply(self, position, event):
        assert position > self.position
        assert event.kv.mod_revision == position[0]
        assert event.kv.key == self.prefix if self.exact else event.kv.key.startswith(self.prefix)
        value = None if event.type == self.kv.Event.DELETE else event.kv.value
        previous = event.prev_kv.value if event.HasField("prev_kv") else None
        if self.with_previous:
            assert previous == self.next.get(event.kv.key)
        else:
            assert previous is None
        if value is None:
            self.next.pop(event.kv.key, None)
        else:
            self.next[event.kv.key] = value
        self.position = position
        self.events.append((*position, event.kv.key, value, previous))

    def show(self, revision):
        self.shown = dict(self.next)
        self.revision = max(self.revision, revision)

    def on_event(self, head, links, body):
        flags, position, cluster_id = head
        if cluster_id != self.cluster_id:
            self.snapshot()
            return
        if position <= self.position or len(self.subscription) not in links:
            return
        is_last, previous = links[len(self.subscription)]
        if previous > self.position:
            self.repair(previous)
            if position <= self.position:
                return
        if flags & 1:
            self.repair(position)
            return
        self.apply(position, self.kv.Event.FromString(body))
        if is_last:
            self.show(position[0])

    def apply_mark(self, cluster_id, revision, last):
        self.low_marks = self.low_marks + 1 if revision < self.revision else 0
        if cluster_id != self.cluster_id or (
                self.low_marks > 3 and time.monotonic() >= self.ask_at and self.was_restored()):
            self.snapshot()
            return
        if last > self.position:
            self.repair(last)
        self.show(revision)

    def was_restored(self):
        """Is the store, and not only this member, behind the cache? Nobody may know, then it is not."""
        self.low_marks = 0
        request = self.rpc.RangeRequest(key=self.prefix or b"\0", count_only=True)
        try:
            body = self.session.unary("etcdserverpb.KV/Range", request)
        except Refused:
            self.ask_at = time.monotonic() + 30
            return False
        return self.rpc.RangeResponse.FromString(body).header.revision < self.revision

    def receive(self, seconds):
        """Handles what comes within that time, and what is there already."""
        end = time.monotonic() + seconds
        while self.socket.poll(max(0, int((end - time.monotonic()) * 1000))):
            self.handle(self.socket.recv_multipart())

    def handle(self, frames):
        if frames[0] == b"M" + self.subscription + b"\0\2":
            layout, kind, flags, _, interval, cluster_id, revision, last, sub = struct.unpack(">BBBBIQQQI", frames[1])
            assert (layout, kind, len(frames)) == (1, 2, 2)
            if self.drop("mark", self, ((last, sub), revision)):
                self.dropped += 1
                return
            self.mark_at, self.interval, self.leaderless = time.monotonic(), interval / 1000, bool(flags & 1)
            self.apply_mark(cluster_id, revision, (last, sub))
            self.marks += 1
            self.on_mark(self)
            return
        topic, head, body = frames
        assert topic.startswith(self.subscription)
        layout, kind, flags, count, sub, cluster_id, revision = struct.unpack_from(">BBBBIQQ", head)
        assert (layout, kind) == (1, 1)
        links = {}
        for i in range(count):
            length, link_flags, previous, previous_sub = struct.unpack_from(">HBQI", head, 24 + 15 * i)
            links[length] = (bool(link_flags & 1), (previous, previous_sub))
        mine = links.get(len(self.subscription))
        if self.drop("event", self, ((revision, sub), mine and mine[0])):
            self.dropped += 1
            return
        self.on_event((flags, (revision, sub), cluster_id), links, body)

    def wait(self, what, condition, seconds=20.0):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                support.fail("%s: %s" % (what, self.describe()))
            self.receive(0.05)

    def describe(self):
        return "at %s, revision %d, %d snapshots, %d repairs, %d dropped, %d marks" % (
            self.position, self.revision, self.snapshots, self.repairs, self.dropped, self.marks)
