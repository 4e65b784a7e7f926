"""Two servers and one client: each request goes to both, each pair of answers is compared."""

import time

import grpc
from google.protobuf import text_format

import support
from diff_canon import METHODS, Canon, clean_text, rpc

MAX_SHOWN = 20
SHORT_TTL = 1.5  # seconds: a lease with the smallest TTL there is, 2 s, still lives


class Diverged(Exception):
    """The two stores are not equal any more: nothing after this can be compared."""


class Answer:
    """OK with bytes, or an error with code and text."""

    __slots__ = ("code", "text", "data")

    def __init__(self, code, text, data):
        self.code, self.text, self.data = code, text, data

    @property
    def ok(self):
        return self.code == "OK"


def error_answer(e):
    return Answer(e.code().name, clean_text(e.details()), b"")


def result_of(future):
    try:
        return Answer("OK", "", future.result())
    except grpc.RpcError as e:
        return error_answer(e)


def collect_stream(iterator):
    """A RangeStream's answer as one message. That only the last chunk carries header, more and count is checked
    here, since the sum does not show it."""
    total = rpc.RangeResponse()
    chunks = []
    try:
        for data in iterator:
            chunks.append(rpc.RangeStreamResponse.FromString(data).range_response)
    except grpc.RpcError as e:
        return error_answer(e)
    for i, chunk in enumerate(chunks):
        last = i == len(chunks) - 1
        if chunk.HasField("header") != last or (not last and (chunk.more or chunk.count or not chunk.kvs)):
            return Answer("BAD_STREAM", "chunk %d of %d: %s" % (i, len(chunks), chunk), b"")
        total.MergeFrom(chunk)
    return Answer("OK", "", total.SerializeToString())


class Pair:
    """The two servers, the counters, and the report."""

    def __init__(self, target_a, target_b, seed=0, max_differences=10):
        self.a, self.b = support.Calls(target_a), support.Calls(target_b)
        self.canon_a, self.canon_b = Canon(), Canon()
        self.seed = seed
        self.ops = 0
        self.kinds = {}
        self.errors = {}
        self.differences = 0
        self.max_differences = max_differences
        self.lease_ids = {}  # id that a chose -> id that b chose

    def close(self):
        self.a.close()
        self.b.close()

    # ---- reporting ----

    def differ(self, what, request, answer_a, answer_b):
        self.differences += 1
        print("\n--- difference %d: seed %d, op %d: %s" % (self.differences, self.seed, self.ops, what))
        print("request: " + show(request))
        print("reference: " + answer_a)
        print("server:    " + answer_b, flush=True)
        if self.differences >= self.max_differences:
            raise Diverged("%d differences" % self.differences)

    def count(self, kind, answer):
        self.ops += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if not answer.ok:
            self.errors[answer.text] = self.errors.get(answer.text, 0) + 1

    # ---- calls ----

    def send(self, method, request):
        """Starts the call on both; request is a message or bytes."""
        data_a = request if isinstance(request, bytes) else request.SerializeToString()
        data_b = data_a if isinstance(request, bytes) or not self.lease_ids else self.for_b(request)
        if method.endswith("/RangeStream"):
            return (method, request, self.a.server_stream(method)(data_a), self.b.server_stream(method)(data_b))
        return (method, request, self.a.unary(method).future(data_a), self.b.unary(method).future(data_b))

    def receive(self, sent):
        """Waits for both answers and compares them; returns the reference's as (answer, message or None)."""
        method, request, call_a, call_b = sent
        take = collect_stream if method.endswith("/RangeStream") else result_of
        answer_a, answer_b = take(call_a), take(call_b)
        self.count(method.split("/")[1] + ("" if not isinstance(request, bytes) else " (raw)"), answer_a)
        return answer_a, self.compare(method, request, answer_a, answer_b)

    def call(self, method, request):
        return self.receive(self.send(method, request))

    def call_within(self, end, method, request):
        """As call, but what only time may have made different is no difference: not compared after `end` (monotonic)."""
        _, _, call_a, call_b = self.send(method, request)
        answer_a, answer_b = result_of(call_a), result_of(call_b)
        self.count(method.split("/")[1], answer_a)
        if time.monotonic() < end:
            self.compare(method, request, answer_a, answer_b)

    def for_b(self, request):
        """The request with server-chosen lease ids as b knows them."""
        copy = type(request)()
        copy.CopyFrom(request)
        self.map_leases(copy)
        return copy.SerializeToString()

    def map_leases(self, m):
        if isinstance(m, rpc.PutRequest):
            m.lease = self.lease_ids.get(m.lease, m.lease)
        elif isinstance(m, (rpc.LeaseGrantRequest, rpc.LeaseRevokeRequest, rpc.LeaseTimeToLiveRequest,
                            rpc.LeaseKeepAliveRequest)):
            m.ID = self.lease_ids.get(m.ID, m.ID)
        elif isinstance(m, rpc.TxnRequest):
            for c in m.compare:
                if c.WhichOneof("target_union") == "lease":
                    c.lease = self.lease_ids.get(c.lease, c.lease)
            for op in list(m.success) + list(m.failure):
                which = op.WhichOneof("request")
                if which in ("request_put", "request_txn"):
                    self.map_leases(getattr(op, which))

    # ---- comparing ----

    def compare(self, method, request, a, b):
        kind, response, canonical = METHODS.get(method, (None, None, None))
        if (a.code, a.text) != (b.code, b.text):
            self.differ(method, request, show_answer(a, response), show_answer(b, response))
            if a.ok or b.ok:
                self.check_revision(response, a, b)
            return response.FromString(a.data) if a.ok and response else None
        if not a.ok or response is None:
            if a.data != b.data:
                self.differ(method, request, repr(a.data), repr(b.data))
            return None
        original = response.FromString(a.data)
        try:
            message_b = response.FromString(b.data)
        except Exception as e:  # pylint: disable=broad-except
            self.differ(method, request, show(original), "not a message: %s %r" % (e, b.data))
            return original
        message_a = response.FromString(a.data)
        if isinstance(request, bytes):
            try:
                request = kind.FromString(request)
            except Exception:  # pylint: disable=broad-except
                request = kind()  # Go took what Python's library does not
        canonical(self.canon_a, request, message_a)
        canonical(self.canon_b, request, message_b)
        if message_a != message_b or \
                message_a.SerializeToString(deterministic=True) != message_b.SerializeToString(deterministic=True):
            self.differ(method, request, show(message_a), show(message_b))
            self.check_revision(response, a, b)
        return original

    def check_revision(self, response, a, b):
        """After a difference: goes on only if the two stores can still be equal."""
        if response is None or not (a.ok and b.ok):
            if response in (rpc.PutResponse, rpc.DeleteRangeResponse, rpc.TxnResponse, rpc.CompactionResponse,
                            rpc.LeaseGrantResponse, rpc.LeaseRevokeResponse, None):
                raise Diverged("one server did what the other refused")
            return
        if response.FromString(a.data).header.revision != response.FromString(b.data).header.revision:
            raise Diverged("the revisions differ")


def show(message):
    if message is None:
        return "-"
    text = repr(message) if isinstance(message, (bytes, str)) else \
        text_format.MessageToString(message, as_one_line=True)
    return text if len(text) < 4000 else text[:4000] + " … (%d characters)" % len(text)


def show_answer(answer, response):
    if not answer.ok:
        return "%s %r" % (answer.code, answer.text)
    if response is None:
        return "OK %r" % answer.data
    return "OK " + show(response.FromString(answer.data))
