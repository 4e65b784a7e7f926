"""A unary gRPC client that is fast enough to keep a server busy from Python: it writes HTTP/2 frames by hand.

It knows only what a load generator needs. A response with a message is a success; one without (trailers only) is an
error whose status it does not decode. grpcio manages a few thousand calls a second, this ten times as many.
"""

import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
BIG = 2 ** 31 - 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman (RFC 7541, 6.2.2); lengths below 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Refused(Exception):
    """The server ended the connection in good order (GOAWAY) or sent what is no HTTP/2."""


class Connection:
    """Calls in flight on one connection. submit() queues, pump() sends and receives."""

    def __init__(self, host, port, timeout=20.0):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.authority = ("%s:%d" % (host, port)).encode()
        self.blocks = {}
        self.next_stream = 1
        self.out = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        # No dynamic header table, and windows that never close.
        self.out += frame(SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, BIG))
        self.out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", BIG - 65535))
        self.window = 65535
        self.waiting = []
        self.inbuf = bytearray()
        self.inflight = {}  # stream -> [tag, message bytes]

    def headers(self, path):
        block = self.blocks.get(path)
        if block is None:
            block = self.blocks[path] = (literal(b":method", b"POST") + literal(b":scheme", b"http") +
                                         literal(b":path", path) + literal(b":authority", self.authority) +
                                         literal(b"content-type", b"application/grpc") +
                                         literal(b"te", b"trailers"))
        return block

    def submit(self, path, message, tag):
        """Queues a call; its tag comes back from pump()."""
        stream = self.next_stream
        self.next_stream += 2
        self.inflight[stream] = [tag, bytearray()]
        self.waiting.append((stream, path, message))

    def fill(self):
        sent = 0
        for stream, path, message in self.waiting:
            size = len(message) + 5
            if size > self.window:
                break
            self.window -= size
            block = self.headers(path)
            self.out += frame(HEADERS, END_HEADERS, stream, block)
            body = b"\0" + struct.pack(">I", len(message)) + message
            for at in range(0, len(body), 16384):
                last = at + 16384 >= len(body)
                self.out += frame(DATA, END_STREAM if last else 0, stream, body[at:at + 16384])
            sent += 1
        del self.waiting[:sent]

    def flush(self):
        """Sends what is queued."""
        self.fill()
        if self.out:
            self.sock.sendall(self.out)
            self.out.clear()

    def pump(self):
        """Sends what is queued, waits for something to arrive, and returns [(tag, message or None)] of the calls that
        ended. Raises OSError or Refused when the connection is gone: whatever is then in flight is unknown."""
        self.flush()
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError("connection closed")
        self.inbuf += data
        done = []
        at, size = 0, len(self.inbuf)
        while size - at >= 9:
            length = int.from_bytes(self.inbuf[at:at + 3], "big")
            if size - at < 9 + length:
                break
            kind, flags = self.inbuf[at + 3], self.inbuf[at + 4]
            stream = int.from_bytes(self.inbuf[at + 5:at + 9], "big")
            self.take(kind, flags, stream, bytes(self.inbuf[at + 9:at + 9 + length]), done)
            at += 9 + length
        del self.inbuf[:at]
        return done

    def take(self, kind, flags, stream, payload, done):
        if kind == DATA:
            call = self.inflight.get(stream)
            if call is not None:
                if flags & PADDED:
                    payload = payload[1:len(payload) - payload[0]]
                call[1] += payload
        elif kind == SETTINGS:
            if not flags & ACK:
                self.out += frame(SETTINGS, ACK, 0)
        elif kind == PING:
            if not flags & ACK:
                self.out += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            if stream == 0:
                self.window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            raise Refused("GOAWAY %r" % payload)
        elif kind == RST_STREAM:
            call = self.inflight.pop(stream, None)
            if call is not None:
                done.append((call[0], None))
            return
        if flags & END_STREAM and kind in (DATA, HEADERS):
            call = self.inflight.pop(stream, None)
            if call is not None:
                body = call[1]
                done.append((call[0], bytes(body[5:]) if len(body) >= 5 else None))

    def close(self):
        self.sock.close()
