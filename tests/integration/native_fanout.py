#!/usr/bin/python3
"""Many subscribers of one member, some of which do not read: those delay nobody, what waits for them stays within its
bounds, and who reads again sees what it has missed.

The subscribers speak ZMTP over plain sockets, so that one can be held exactly where it is: a ZeroMQ library would
go on reading for a program that does not.

    native_fanout.py --server build/release/quorald [--readers N] [--stalled N]
"""

import itertools
import re
import resource
import selectors
import shutil
import socket
import struct
import threading
import time
import urllib.request

import native_cache
import support

rpc, _ = support.load_messages()
MIB = 1 << 20
BACKLOG_BYTES = 128 * MIB  # messages/limits.h
VALUE = b"v" * 16000       # as large as an event may be to go along
PER_TXN = 60
KEY = b"/hot/1"
PROMPT_S = 10.0  # so busy may the machine be; who waited for the stalled ones would wait for good
MORE, LONG, COMMAND = 1, 2, 4


def command(name, content=b""):
    body = bytes([len(name)]) + name + content
    assert len(body) < 256
    return bytes([COMMAND, len(body)]) + body


class Subscriber:
    """A SUB socket in ZMTP 3.1, without a thread of its own."""

    def __init__(self, port, subscription, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = bytearray()
        self.frames = []
        self.greeted = False
        self.last = None  # position of the last event
        self.events = self.holes = 0
        self.told = None  # the last event's position, by the newest mark
        self.subscription = subscription
        self.socket.sendall(b"\xff" + bytes(8) + b"\x7f\3\1NULL" + bytes(48) +
                            command(b"READY", b"\x0bSocket-Type\0\0\0\3SUB"))
        self.socket.setblocking(False)

    def receive(self):
        """One read, and what has come with it. False = nothing was there."""
        try:
            got = self.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        if not got:
            support.fail("the server has closed a subscriber's connection")
        self.buffer += got
        if not self.greeted and len(self.buffer) >= 64:
            del self.buffer[:64]
            self.greeted = True
        while self.greeted and self.next_frame():
            pass
        return True

    def next_frame(self):
        if len(self.buffer) < 9 and (len(self.buffer) < 2 or self.buffer[0] & LONG):
            return False
        flags = self.buffer[0]
        head, size = (9, struct.unpack_from(">Q", self.buffer, 1)[0]) if flags & LONG else (2, self.buffer[1])
        if len(self.buffer) < head + size:
            return False
        body = bytes(self.buffer[head:head + size])
        del self.buffer[:head + size]
        if flags & COMMAND:
            self.on_command(body)
            return True
        self.frames.append(body)
        if not flags & MORE:
            frames, self.frames = self.frames, []
            self.on_message(frames)
        return True

    def on_command(self, body):
        if body.startswith(b"\5READY"):
            for text in (b"M" + self.subscription + b"\0\2", self.subscription):
                self.socket.sendall(command(b"SUBSCRIBE", text))
        elif body.startswith(b"\4PING"):
            self.pong(body[7:])

    def pong(self, context=b""):
        """Also unasked, as a sign of life of who does not read."""
        self.socket.sendall(command(b"PONG", context))

    def on_message(self, frames):
        if frames[0][:1] == b"M":
            _, _, _, _, _, _, _, *told = struct.unpack_from(">BBBBIQQQI", frames[1])
            self.told = tuple(told)
            self.holes += self.last is not None and self.told > self.last
            return
        _, kind, _, links, sub, _, revision = struct.unpack_from(">BBBBIQQ", frames[1])
        assert kind == 1 and frames[0].startswith(self.subscription)
        previous = None
        for i in range(links):
            length, _, before, before_sub = struct.unpack_from(">HBQI", frames[1], 24 + 15 * i)
            if length == len(self.subscription):
                previous = (before, before_sub)
        assert previous is not None
        self.holes += self.last is not None and previous > self.last
        assert self.last is None or (revision, sub) > self.last, "events out of order"
        self.last = (revision, sub)
        self.events += 1

    def has(self, revision):
        return self.last is not None and self.last[0] >= revision


class Member(support.Server):
    def __init__(self, binary, data_dir):
        self.publish_port, = support.free_ports(1)
        super().__init__(binary, data_dir, extra=["--listen-publish-urls=tcp://127.0.0.1:%d" % self.publish_port])
        self.calls = None

    def metric(self, name):
        text = urllib.request.urlopen(self.url + "/metrics").read().decode()
        return int(float(re.search("^%s ([0-9.e+]+)$" % name, text, re.M).group(1)))

    def memory(self):
        with open("/proc/%d/status" % self.process.pid, encoding="utf-8") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) * 1024

    def put(self, key, value):
        request = rpc.PutRequest(key=key, value=value)
        answer = self.calls.unary("etcdserverpb.KV/Put")(request.SerializeToString(), timeout=20)
        return rpc.PutResponse.FromString(answer).header.revision


def flood(member, events, numbers):
    """Large changes that only the stalled subscribers want, PER_TXN of them in a revision."""
    for _ in range(0, events, PER_TXN):
        txn = rpc.TxnRequest()
        for _ in range(PER_TXN):
            put = txn.success.add().request_put
            put.key, put.value = b"/bulk/%d" % (next(numbers) % 1000), VALUE
        member.calls.unary("etcdserverpb.KV/Txn")(txn.SerializeToString(), timeout=60)


class Subscribers:
    """Many that are looked after together. They stand when this is made: each has had a mark."""

    def __init__(self, port, count, subscription, receive_bytes=None):
        self.all = [Subscriber(port, subscription, receive_bytes) for _ in range(count)]
        self.selector = selectors.DefaultSelector()
        for one in self.all:
            self.selector.register(one.socket, selectors.EVENT_READ, one)
        self.until("they do not stand", lambda one: one.told, 20)

    def receive(self, seconds):
        for key, _ in self.selector.select(seconds):
            key.data.receive()

    def until(self, what, is_done, seconds):
        end = time.monotonic() + seconds
        waiting = self.all
        while waiting:
            self.receive(0.1)
            waiting = [one for one in waiting if not is_done(one)]
            if time.monotonic() > end:
                support.fail("%d of %d subscribers: %s within %g s" % (len(waiting), len(self.all), what, seconds))

    def close(self, but=0):
        for one in self.all[but:]:
            self.selector.unregister(one.socket)
            one.socket.close()
        self.all = self.all[:but]

    def put_and_wait(self, member, number):
        """Seconds until all have the event of a put, counted from before it."""
        begin = time.monotonic()
        revision = member.put(KEY, b"%d" % number)
        self.until("they do not get an event", lambda one: one.has(revision), PROMPT_S)
        return time.monotonic() - begin


def put_while(member, readers, events, numbers, between=lambda: None):
    """Puts for the readers as long as the flood lasts. The times they took."""
    thread = threading.Thread(target=flood, args=(member, events, numbers), daemon=True)
    thread.start()
    times = []
    while thread.is_alive() or len(times) < 20:
        times.append(readers.put_and_wait(member, len(times)))
        between()
    thread.join()
    return sorted(times)


def run(member, options):
    numbers = itertools.count()
    readers = Subscribers(member.publish_port, options.readers, native_cache.subscription(KEY, exact=True))
    # Log, caches and write buffers are as large now as they get.
    before = put_while(member, readers, 8000, numbers)
    base = member.memory()
    stalled = Subscribers(member.publish_port, options.stalled, native_cache.subscription(b"/"), receive_bytes=4096)
    lively = {"at": 0.0}

    def stay():
        if time.monotonic() > lively["at"]:
            lively["at"] = time.monotonic() + 2
            for one in stalled.all:
                one.pong()

    beside = put_while(member, readers, 16000, numbers, stay)
    grown = member.memory() - base
    dropped = member.metric("quoral_native_publications_dropped_total")
    if member.metric("quoral_native_subscribers") != options.readers + options.stalled:
        support.fail("a stalled subscriber was given up though it answers")
    if dropped < options.stalled * 1000:
        support.fail("only %d messages were dropped: the stalled subscribers are no burden" % dropped)
    if grown > BACKLOG_BYTES + options.stalled * MIB // 4 + 32 * MIB:
        support.fail("%d MiB more with %d stalled subscribers" % (grown // MIB, options.stalled))
    if any(one.holes or one.events != len(before) + len(beside) for one in readers.all):
        support.fail("a subscriber that reads has lost an event: %s" % [one.events for one in readers.all])
    # Who reads again gets what waits, and a mark then tells what is missing and where the present is.
    revision = member.put(KEY, b"the last")
    stalled.close(but=1)
    stalled.all[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
    stalled.until("who reads again does not come to the present", lambda one: one.told[0] >= revision, 30)
    if not stalled.all[0].holes:
        support.fail("messages were dropped, and a stalled subscriber sees no hole")
    stalled.close()
    end = time.monotonic() + 10
    while member.metric("quoral_native_subscribers") != options.readers:
        if time.monotonic() > end:
            support.fail("subscribers that have hung up are still there")
        readers.receive(0.05)
    support.count("%d subscribers: events of %d puts after %.0f ms at the median and %.0f ms at most; beside %d that "
                  "do not read, of %d puts after %.0f and %.0f ms, %d messages dropped for those, %d MiB more" % (
                      options.readers, len(before), 1e3 * before[len(before) // 2], 1e3 * before[-1], options.stalled,
                      len(beside), 1e3 * beside[len(beside) // 2], 1e3 * beside[-1], dropped, grown // MIB))


def main():
    parser = support.arguments(__doc__)
    parser.add_argument("--readers", type=int, default=400)
    parser.add_argument("--stalled", type=int, default=50)
    options = support.parse(parser)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = support.scratch("fanout", in_memory=True)
    member = Member(options.server, directory + "/data").start()
    try:
        member.calls = support.Calls(member.target)
        run(member, options)
        code, _ = member.terminate()
        if code != 0:
            support.fail("the server ended with %d" % code)
    finally:
        member.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
