"""A client of the native protocol (docs/protocol.md) on pyzmq, written from that text alone: for tests.

One thread; whoever waits for an answer answers the server's PINGs meanwhile. Needs python3-zmq.
"""

import itertools
import struct
import time

import zmq

HELLO, CALL, DATA, END, CANCEL, PING, PONG, BYE = range(1, 9)
WELCOME, REPLY, DONE, ERROR = range(0x81, 0x85)
END_FLAG, REQUIRE_LEADER = 1, 2
HEADER = struct.Struct(">2sBBB3xQIQ")


class Lost(Exception):
    """The server does not know this client any more, or something was lost; the session has to begin anew."""


class Refused(Exception):
    """A call that ended with another code than OK."""

    def __init__(self, code, text):
        super().__init__("%d %s" % (code, text))
        self.code, self.text = code, text


class Message:
    def __init__(self, frames):
        self.command, self.flags, self.call, self.argument, self.octets = self.fields(frames[0])
        self.body = frames[1] if len(frames) > 1 else None
        self.size = sum(len(f) for f in frames)

    @staticmethod
    def fields(header):
        magic, version, command, flags, call, argument, octets = HEADER.unpack(header)
        assert magic == b"QL" and version == 1, header
        return command, flags, call, argument, octets


class Client:
    def __init__(self, endpoint, heartbeat_ms=0, acknowledge=True, curve=None):
        """`curve`: the own pair (public, secret) and the server's public key."""
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        if curve:
            self.socket.curve_publickey, self.socket.curve_secretkey = curve[0]
            self.socket.curve_serverkey = curve[1]
        self.socket.connect(endpoint)
        self.acknowledge = acknowledge
        self.heartbeat_ms = heartbeat_ms
        self.ids = itertools.count(1)
        self.received = 0
        self.waiting = {}  # messages by call, of calls that somebody will ask for
        self.errors = []

    # ---- frames ----

    def send(self, command, call=0, flags=0, argument=0, frames=(), octets=None):
        if octets is None:
            octets = self.received if self.acknowledge and command != HELLO else 0
        self.socket.send_multipart([HEADER.pack(b"QL", 1, command, flags, call, argument, octets)] + list(frames))

    def receive(self, timeout):
        """The next message that is no heartbeat, or None."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0 or not self.socket.poll(left * 1000):
                return None
            message = Message(self.socket.recv_multipart())
            if message.command in (REPLY, DONE):
                if message.octets != self.received:
                    raise Lost("%d octets received, %d sent before" % (self.received, message.octets))
                self.received += message.size
            if message.command == PING:
                self.send(PONG)
            elif message.command != PONG:
                return message

    # ---- a session ----

    def hello(self, timeout=10, body=b""):
        nonce = next(self.ids)
        self.send(HELLO, nonce, argument=self.heartbeat_ms, frames=[body] if body else [])
        end = time.monotonic() + timeout
        while True:
            if not self.socket.poll(max(0, end - time.monotonic()) * 1000):
                raise Lost("no WELCOME within %g s" % timeout)
            message = Message(self.socket.recv_multipart())
            if message.command == ERROR:
                raise Refused(message.argument, message.body.decode())
            if message.command == WELCOME and message.call == nonce:
                self.received = 0
                self.waiting = {}
                return message.body

    def close(self, bye=True):
        if bye:
            self.socket.linger = 1000
            self.send(BYE)
        self.socket.close()

    # ---- calls ----

    def begin(self, method, body=None, end=True, flags=0, timeout_ms=0):
        call = next(self.ids)
        self.waiting[call] = []
        frames = [method.encode()] + ([body] if body is not None else [])
        self.send(CALL, call, flags | (END_FLAG if end else 0), timeout_ms, frames)
        return call

    def next_message(self, call=None, timeout=10):
        """The next message of a call, or of any; fails when there is none in time."""
        end = time.monotonic() + timeout
        while True:
            if call is not None and self.waiting[call]:
                return self.waiting[call].pop(0)
            for messages in self.waiting.values() if call is None else ():
                if messages:
                    return messages.pop(0)
            message = self.receive(end - time.monotonic())
            if message is None:
                raise AssertionError("no answer to call %s within %g s" % (call, timeout))
            if message.command == ERROR:
                self.errors.append(message)
                raise Lost("error %d: %s" % (message.argument, message.body.decode()))
            if message.call in self.waiting:
                self.waiting[message.call].append(message)

    def finish(self, call, timeout=10):
        """The answer of a call with one answer."""
        done = self.next_message(call, timeout)
        assert done.command == DONE, done.command
        del self.waiting[call]
        if done.argument:
            raise Refused(done.argument, done.body.decode())
        return done.body

    def call(self, method, request, answer=None, **more):
        body = self.finish(self.begin(method, request.SerializeToString(), **more))
        return answer.FromString(body) if answer else body
