#!/usr/bin/python3
"""The native protocol against a running server, spoken by a client on pyzmq that shares no code with the server.

    native.py --server build/release/quorald [--part calls|streams|errors|gone|window|restart|addresses]
"""

import os
import re
import shutil
import signal
import socket
import struct
import sys
import time
import urllib.request

import support

try:
    import zmq
except ImportError:
    support.fail("python3-zmq is missing: apt-get install python3-zmq")
import native_client as nc

rpc, kv = support.load_messages()
CHECKS = [0]
KV = "etcdserverpb.KV/"
PUTS = 30000


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def equal(got, expected, text):
    check(got == expected, "%s: got %r, expected %r" % (text, got, expected))


def refused(action, code, text, what):
    try:
        action()
    except nc.Refused as error:
        equal((error.code, error.text), (code, text), what)
        return
    support.fail("%s is not refused" % what)


def lost(client, call, code, what):
    """The answer is an ERROR with this code."""
    try:
        client.next_message(call)
    except nc.Lost:
        equal(client.errors[-1].argument, code, what)
        return client.errors[-1]
    return support.fail("%s: no error" % what)


class Native:
    """A server with a native side, on free ports."""

    def __init__(self, options, directory, name="data", extra=()):
        self.request_port, self.publish_port = support.free_ports(2)
        self.server = support.Server(options.server, directory + "/" + name, extra=[
            "--listen-native-urls=tcp://127.0.0.1:%d" % self.request_port,
            "--listen-publish-urls=tcp://127.0.0.1:%d" % self.publish_port] + list(extra))
        self.server.start()
        self.endpoint = "tcp://127.0.0.1:%d" % self.request_port

    def client(self, **more):
        client = nc.Client(self.endpoint, **more)
        client.hello()
        return client

    def metric(self, name):
        text = urllib.request.urlopen(self.server.url + "/metrics").read().decode()
        return int(float(re.search("^%s ([0-9.e+]+)$" % name, text, re.M).group(1)))

    def until_metric(self, name, value, timeout=15):
        end = time.monotonic() + timeout
        while self.metric(name) != value:
            check(time.monotonic() < end, "%s is %d, not %d" % (name, self.metric(name), value))
            time.sleep(0.05)

    def memory(self):
        with open("/proc/%d/status" % self.server.process.pid, encoding="utf-8") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) * 1024


def put(client, key, value, **more):
    return client.call(KV + "Put", rpc.PutRequest(key=key, value=value, **more), rpc.PutResponse)


def get(client, key, **more):
    return client.call(KV + "Range", rpc.RangeRequest(key=key, **more), rpc.RangeResponse)


def part_calls(native):
    """Everything with one answer, the same store as over gRPC, many at a time."""
    client = native.client()
    answer = put(client, b"a", b"1")
    equal(answer.header.revision, 2, "revision of a put")
    equal(put(client, b"a", b"2", prev_kv=True).prev_kv.value, b"1", "prev_kv")
    found = get(client, b"a")
    equal([(e.key, e.value, e.version) for e in found.kvs], [(b"a", b"2", 2)], "get")
    grpc = support.Calls(native.server.target)
    over_grpc = rpc.RangeResponse.FromString(
        grpc.unary(KV + "Range")(rpc.RangeRequest(key=b"a").SerializeToString(), timeout=10))
    equal(over_grpc.kvs[0], found.kvs[0], "the same key over gRPC")
    equal(over_grpc.header, found.header, "and the same header")
    grpc.unary(KV + "Put")(rpc.PutRequest(key=b"g", value=b"grpc").SerializeToString(), timeout=10)
    equal(get(client, b"g").kvs[0].value, b"grpc", "a key written over gRPC")
    equal(get(client, b"g", serializable=True).kvs[0].value, b"grpc", "and read serializably")
    txn = rpc.TxnRequest(
        compare=[rpc.Compare(key=b"a", target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL, value=b"2")],
        success=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"t", value=b"1"))],
        failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a"))])
    equal(client.call(KV + "Txn", txn, rpc.TxnResponse).succeeded, True, "txn")
    txn.compare[0].value = b"other"
    answer = client.call(KV + "Txn", txn, rpc.TxnResponse)
    equal((answer.succeeded, answer.responses[0].response_range.kvs[0].value), (False, b"2"), "txn, the other way")
    equal(client.call(KV + "DeleteRange", rpc.DeleteRangeRequest(key=b"a"), rpc.DeleteRangeResponse).deleted, 1, "delete")
    equal(get(client, b"a").kvs[:], [], "get of nothing")
    lease = client.call("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=60), rpc.LeaseGrantResponse)
    put(client, b"leased", b"x", lease=lease.ID)
    left = client.call("etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease.ID, keys=True),
                       rpc.LeaseTimeToLiveResponse)
    check(55 <= left.TTL <= 60 and list(left.keys) == [b"leased"], "time to live: %r" % left)
    client.call("etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease.ID))
    equal(get(client, b"leased").kvs[:], [], "a key of a revoked lease")
    members = client.call("etcdserverpb.Cluster/MemberList", rpc.MemberListRequest(), rpc.MemberListResponse)
    equal([m.ID for m in members.members], [found.header.member_id], "members")
    status = client.call("etcdserverpb.Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse)
    equal(status.leader, found.header.member_id, "status")
    hashed = client.call("etcdserverpb.Maintenance/HashKV", rpc.HashKVRequest(), rpc.HashKVResponse)
    equal(hashed.hash, rpc.HashKVResponse.FromString(grpc.unary("etcdserverpb.Maintenance/HashKV")(
        rpc.HashKVRequest().SerializeToString(), timeout=10)).hash, "hash")
    client.call(KV + "Compact", rpc.CompactionRequest(revision=4, physical=True))
    refused(lambda: get(client, b"a", revision=3), 11, "etcdserver: mvcc: required revision has been compacted",
            "a compacted revision")
    refused(lambda: put(client, b"", b""), 3, "etcdserver: key is not provided", "a put without a key")
    refused(lambda: client.call("etcdserverpb.KV/Patch", rpc.PutRequest()), 12,
            "unknown method Patch for service etcdserverpb.KV", "an unknown method")
    refused(lambda: client.finish(client.begin(KV + "Put", b"\xff")), 13,
            "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data", "bytes that are no request")
    refused(lambda: put(client, b"k", bytes(1600000)), 3, "etcdserver: request is too large", "a large put")
    refused(lambda: put(client, b"k", bytes(2200000)), 8,
            "grpc: received message larger than max (2200008 vs. 2097152)", "a larger one")
    grpc.close()
    client.close()


def part_pipeline(native):
    client = native.client()
    begun = time.monotonic()
    calls, revisions = [], []
    for i in range(PUTS):
        calls.append(client.begin(KV + "Put", rpc.PutRequest(key=b"p/%05d" % i, value=b"v" * 100).SerializeToString()))
        if i >= 1000:
            revisions.append(rpc.PutResponse.FromString(client.finish(calls[i - 1000])).header.revision)
    revisions += [rpc.PutResponse.FromString(client.finish(c)).header.revision for c in calls[-1000:]]
    equal(revisions, list(range(revisions[0], revisions[0] + PUTS)), "revisions of puts, in the order they were sent")
    support.count("%d puts pipelined in %.2f s" % (PUTS, time.monotonic() - begun))
    # A large range reads in slices; what comes behind it is answered meanwhile.
    large = client.begin(KV + "Range", rpc.RangeRequest(key=b"p/", range_end=b"p0").SerializeToString())
    small = client.begin(KV + "Range", rpc.RangeRequest(key=b"p/00000").SerializeToString())
    first = client.next_message()
    equal((first.command, first.call), (nc.DONE, small), "who is answered first")
    equal(len(rpc.RangeResponse.FromString(client.finish(large)).kvs), PUTS, "the large range")
    # One id after the other may be used again; one in use may not.
    call = client.begin(KV + "Range", rpc.RangeRequest(key=b"p/", range_end=b"p0").SerializeToString())
    client.send(nc.CALL, call, nc.END_FLAG, frames=[b"etcdserverpb.KV/Range", b""])
    equal(lost(client, call, 7, "an id in use").call, call, "the id that the error names")
    equal(len(rpc.RangeResponse.FromString(client.finish(call)).kvs), PUTS, "its call goes on")
    # Above the limit of calls.
    leases = [client.begin("etcdserverpb.Lease/LeaseKeepAlive", end=False) for _ in range(4096)]
    refused(lambda: get(client, b"p/00000"), 8, "quoral: too many calls are open", "a call too many")
    for call in leases:
        client.send(nc.CANCEL, call)
    for call in leases:
        refused(lambda: client.finish(call), 1, "context canceled", "a cancelled call")  # pylint: disable=cell-var-from-loop
    equal(get(client, b"p/00000").count, 1, "a call after that")
    client.close()


def events(client, call, count):
    """So many events of a watch, as (type, key, value)."""
    found = []
    while len(found) < count:
        answer = rpc.WatchResponse.FromString(client.next_message(call).body)
        found += [(e.type, e.kv.key, e.kv.value) for e in answer.events]
    return found


def watch_request(**more):
    return rpc.WatchRequest(create_request=rpc.WatchCreateRequest(**more)).SerializeToString()


def part_streams(native):
    """Watches and keepalives, with several on a call and several calls."""
    client = native.client()
    call = client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"w/", range_end=b"w0"), end=False)
    created = rpc.WatchResponse.FromString(client.next_message(call).body)
    check(created.created and created.watch_id == 0, "created: %r" % created)
    client.send(nc.DATA, call, frames=[watch_request(key=b"w/1", prev_kv=True)])
    equal(rpc.WatchResponse.FromString(client.next_message(call).body).watch_id, 1, "the second watch")
    put(client, b"w/1", b"x")
    put(client, b"w/2", b"y")
    put(client, b"elsewhere", b"z")
    equal(sorted(events(client, call, 3)), [(0, b"w/1", b"x"), (0, b"w/1", b"x"), (0, b"w/2", b"y")], "events")
    revision = put(client, b"w/1", b"2").header.revision
    got = {}
    while len(got) < 2:
        answer = rpc.WatchResponse.FromString(client.next_message(call).body)
        got[answer.watch_id] = answer.events[0].prev_kv.value
    equal(got, {0: b"", 1: b"x"}, "previous values")
    client.send(nc.DATA, call, frames=[rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()).SerializeToString()])
    equal(rpc.WatchResponse.FromString(client.next_message(call).body).header.revision, revision, "progress")
    again = client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"w/", range_end=b"w0", start_revision=revision),
                         end=False)
    equal(events(client, again, 1), [(0, b"w/1", b"2")], "a watch from the past")
    client.send(nc.DATA, call, frames=[rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=0)).SerializeToString()])
    check(rpc.WatchResponse.FromString(client.next_message(call).body).canceled, "cancelled watch")
    client.send(nc.CANCEL, again)
    refused(lambda: client.finish(again), 1, "context canceled", "a cancelled stream")
    native.until_metric("etcd_debugging_mvcc_watcher_total", 1)
    lease = client.call("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=30), rpc.LeaseGrantResponse).ID
    keep = client.begin("etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString(), end=False)
    for _ in range(3):
        equal(rpc.LeaseKeepAliveResponse.FromString(client.next_message(keep).body).TTL, 30, "keepalive")
        client.send(nc.DATA, keep, frames=[rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()])
    client.next_message(keep)
    client.send(nc.END, keep)
    equal(client.finish(keep), None, "the end of a keepalive stream")
    client.close()
    native.until_metric("quoral_native_clients", 0)
    native.until_metric("etcd_debugging_mvcc_watcher_total", 0)


def part_errors(native):
    """Nonsense is answered, counted, and does no harm."""
    native.until_metric("quoral_native_clients", 0)
    before = native.metric("quoral_native_malformed_total")
    raw = zmq.Context.instance().socket(zmq.DEALER)
    raw.linger = 0
    raw.connect(native.endpoint)
    good = struct.Struct(">2sBBB3sQIQ")
    wrong = [
        ([b""], 1), ([b"", b"", b""], 1), ([b"hello"], 1), ([bytes(28)], 1), ([b"QL" + bytes(25)], 1),
        ([good.pack(b"QL", 2, 1, 0, bytes(3), 1, 0, 0)], 2), ([good.pack(b"QL", 1, 99, 0, bytes(3), 1, 0, 0)], 3),
        ([good.pack(b"QL", 1, nc.DONE, 0, bytes(3), 1, 0, 0)], 3), ([good.pack(b"QL", 1, 1, 1, bytes(3), 1, 0, 0)], 4),
        ([good.pack(b"QL", 1, 1, 0, b"\0\0\1", 1, 0, 0)], 4), ([good.pack(b"QL", 1, 2, 0, bytes(3), 1, 0, 0)], 5),
        ([good.pack(b"QL", 1, 2, 0, bytes(3), 1, 0, 0), b"a/b", b"", b""], 5),
        ([good.pack(b"QL", 1, 2, 0, bytes(3), 1, 0, 0), b"a b"], 6), ([good.pack(b"QL", 1, 2, 0, bytes(3), 0, 0, 0), b"a/b"], 7),
        ([good.pack(b"QL", 1, 1, 0, bytes(3), 1, 0, 0), b"\x0a\xff"], 8),
        ([good.pack(b"QL", 1, 2, 1, bytes(3), 1, 0, 0), b"etcdserverpb.KV/Put", b""], 9),
        ([good.pack(b"QL", 1, 6, 0, bytes(3), 0, 0, 0)], 9), ([b"x"] * 1000, 1),
    ]
    for frames, code in wrong:
        raw.send_multipart(frames)
        check(raw.poll(10000), "no answer to %r" % frames[:3])
        message = nc.Message(raw.recv_multipart())
        equal((message.command, message.argument), (nc.ERROR, code), "the answer to %r" % frames[:3])
    equal(native.metric("quoral_native_malformed_total") - before, len(wrong), "malformed messages counted")
    equal(native.metric("quoral_native_clients"), 0, "clients")
    raw.close()
    client = native.client()
    client.socket.send_multipart([b"garbage"])
    lost(client, None, 1, "garbage in a session")
    put(client, b"e", b"1")  # goes on
    client.send(nc.PING, octets=10**12)
    lost(client, None, 10, "octets that were never sent")
    call = client.begin(KV + "Range", rpc.RangeRequest(key=b"e").SerializeToString())
    lost(client, call, 9, "a call after that")
    client.hello()
    equal(get(client, b"e").count, 1, "and after HELLO")
    call = client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"e"), end=False)
    client.next_message(call)
    client.hello()
    native.until_metric("etcd_debugging_mvcc_watcher_total", 0)  # HELLO again ends what was open
    # A frame above the largest closes the connection; ZeroMQ makes a new one, with another routing id.
    client.socket.send_multipart([bytes(8 << 20)])
    time.sleep(0.5)
    call = client.begin(KV + "Range", rpc.RangeRequest(key=b"e").SerializeToString())
    lost(client, call, 9, "a call on a new connection")
    client.hello()
    equal(get(client, b"e").count, 1, "and after HELLO")
    client.close()


def part_gone(native):
    """Clients that vanish, or say nothing, leave nothing behind; those that are idle and answer stay."""
    idle = native.client()
    for _ in range(20):
        client = native.client(heartbeat_ms=300)
        calls = [client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"x%d" % i), end=False) for i in range(5)]
        for call in calls:
            client.next_message(call)
        client.begin("etcdserverpb.Lease/LeaseKeepAlive", end=False)
        client.close(bye=False)
    silent = native.client(heartbeat_ms=300)
    call = silent.begin("etcdserverpb.Watch/Watch", watch_request(key=b"x"), end=False)
    silent.next_message(call)
    end = time.monotonic() + 5
    while native.metric("quoral_native_clients") > 1 and time.monotonic() < end:
        message = idle.receive(0.1)
        check(message is None, "the idle client gets %r" % message)
    equal(native.metric("quoral_native_clients"), 1, "clients that are left")
    equal(native.metric("quoral_native_calls"), 0, "their calls")
    native.until_metric("etcd_debugging_mvcc_watcher_total", 0)
    native.until_metric("etcd_debugging_mvcc_watch_stream_total", 0)
    silent.waiting = {}
    while silent.socket.poll(500):  # the PINGs it has not answered
        equal(nc.Message(silent.socket.recv_multipart()).command, nc.PING, "what a silent client gets")
    silent.send(nc.PONG)
    check(silent.socket.poll(10000), "no answer to who was given up")
    equal(nc.Message(silent.socket.recv_multipart()).argument, 9, "the answer to who was given up")
    silent.hello()
    equal(get(silent, b"none").count, 0, "and after HELLO")
    silent.close()
    # A server that was stopped for long has heard nobody, which is not their fault.
    native.server.process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    native.server.process.send_signal(signal.SIGCONT)
    equal(get(idle, b"none").count, 0, "a call after the server was stopped")
    idle.close()
    native.until_metric("quoral_native_clients", 0)


def part_window(native):
    """A client that does not acknowledge, or does not read, is held up, and costs a bounded amount."""
    helper = native.client(heartbeat_ms=60000)  # it is not listened to for long
    value = os.urandom(1 << 20)
    for i in range(8):
        put(helper, b"big/%d" % i, value)
    window = 16 << 20
    client = native.client(acknowledge=False)
    ask = rpc.RangeRequest(key=b"big/", range_end=b"big0").SerializeToString()
    calls = [client.begin(KV + "Range", ask, timeout_ms=60000) for _ in range(60)]
    answered = set()
    while True:
        message = client.receive(2)
        if message is None:
            break
        equal(message.argument, 0, "an answer's code")
        answered.add(message.call)
    check(2 <= len(answered) < 20, "%d answers of 8 MiB without an acknowledgement" % len(answered))
    check(native.metric("quoral_native_requests_waiting") >= 40, "requests that wait")
    equal(get(helper, b"big/0").count, 1, "another client meanwhile")
    client.acknowledge = True
    client.send(nc.PING)
    while len(answered) < len(calls):
        message = client.receive(20)
        check(message is not None, "%d of %d answers" % (len(answered), len(calls)))
        equal(message.argument, 0, "an answer's code")
        answered.add(message.call)
        client.send(nc.PING)
    equal(native.metric("quoral_native_requests_waiting"), 0, "requests that wait in the end")
    client.close()
    # Many bodies that wait: bounded, too.
    client = native.client(acknowledge=False)
    for _ in range(4):
        client.begin(KV + "Range", ask)
    time.sleep(1)
    calls = [client.begin(KV + "Put", rpc.PutRequest(key=b"w", value=value).SerializeToString()) for _ in range(40)]
    codes = {}
    while len(codes) < len(calls):
        message = client.receive(10)
        if message is None:
            check(not client.acknowledge, "only %d answers" % len(codes))
            equal(codes, {}, "answers beyond the window")
            client.acknowledge = True
            client.send(nc.PING)
        elif message.call in calls:
            codes[message.call] = message.argument
            client.send(nc.PING)
    waited = list(codes[call] for call in calls).index(8)
    check(10 <= waited <= 16, "%d puts of 1 MiB waited" % waited)
    equal({codes[call] for call in calls[waited:]}, {8}, "puts without room to wait")
    before = native.memory()
    client.close(bye=False)
    # A watch whose client reads nothing at all.
    client = native.client(heartbeat_ms=60000)
    call = client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"w"), end=False)
    client.next_message(call)
    for _ in range(80):
        put(helper, b"w", value)
    grown = native.memory() - before
    check(grown < 100 << 20, "%d MiB more for a watch that is not read" % (grown >> 20))
    seen = 0
    while seen < 80:
        seen += len(rpc.WatchResponse.FromString(client.next_message(call, 30).body).events)
        client.send(nc.PING)
    equal(seen, 80, "events, all of them in the end")
    check(native.metric("quoral_native_unacknowledged_bytes") < 2 * window, "unacknowledged octets")
    client.close()
    helper.close()


def part_restart(native):
    """Sessions end with the server; the data does not."""
    client = native.client()
    put(client, b"r", b"1")
    call = client.begin("etcdserverpb.Watch/Watch", watch_request(key=b"r"), end=False)
    client.next_message(call)
    code, seconds = native.server.terminate()
    equal(code, 0, "exit code")
    check(seconds < 3, "stopping took %.1f s" % seconds)
    refused(lambda: client.finish(call), 14, "etcdserver: server stopped", "a stream of a server that stops")
    native.server.start()
    call = client.begin(KV + "Range", rpc.RangeRequest(key=b"r").SerializeToString())
    lost(client, call, 9, "a call to a new process")
    client.hello()
    equal(get(client, b"r").kvs[0].value, b"1", "the data")
    native.server.kill()
    native.server.start()
    client.hello()
    equal(get(client, b"r").kvs[0].value, b"1", "the data after kill -9")
    client.close()


def varint(number):
    out = b""
    while number > 127:
        out += bytes([0x80 | number & 127])
        number >>= 7
    return out + bytes([number])


def port_with_followers():
    """A client port whose derived ports are free, too."""
    while True:
        port = support.free_ports(1)[0]
        socks = []
        try:
            for derived in (port, port + 2, port + 3):
                socks.append(socket.socket())
                socks[-1].bind(("127.0.0.1", derived))
            return port
        except (OSError, OverflowError):
            continue
        finally:
            for sock in socks:
                sock.close()


def part_addresses(options, directory):
    """Where a server listens."""
    path, publish_path = directory + "/native.sock", directory + "/publish.sock"
    server = support.Server(options.server, directory + "/ipc", extra=[
        "--listen-native-urls=ipc://" + path, "--listen-publish-urls=ipc://" + publish_path]).start()
    client = nc.Client("ipc://" + path)
    welcome = client.hello()
    check(b"\x50" not in welcome[-2:], "a publish port that is not there: %r" % welcome)
    subscriber = zmq.Context.instance().socket(zmq.SUB)
    for topic in (b"ME\0\2", b"E"):
        subscriber.subscribe(topic)
    subscriber.connect("ipc://" + publish_path)
    check(subscriber.poll(10000) and subscriber.recv_multipart()[0] == b"ME\0\2", "no mark over a socket file")
    put(client, b"a", b"1")
    while (topic := subscriber.recv_multipart()[0]) == b"ME\0\2":
        check(subscriber.poll(10000), "no event over a socket file")
    equal(topic, b"Ea\0\1", "the event's topic")
    subscriber.close()
    client.close()
    server.terminate()
    server.start()  # the socket files of before are in nobody's way
    server.stop()
    # Derived from the client port; taken by somebody else: a warning, and no more.
    for name in support.NATIVE_OFF:
        os.environ.pop(name, None)
    derived = support.Server(options.server, directory + "/derived")
    derived.client_port = port_with_followers()
    derived.start()
    client = nc.Client("tcp://127.0.0.1:%d" % (derived.client_port + 2))
    welcome = client.hello()
    check(welcome.endswith(b"\x50" + varint(derived.client_port + 3)), "publish port: %r" % welcome)
    other = support.Server(options.server, directory + "/other")
    other.client_port = port_with_followers()
    listener = zmq.Context.instance().socket(zmq.PUB)
    listener.linger = 0
    try:
        listener.bind("tcp://127.0.0.1:%d" % (other.client_port + 2))
        other.start()
        check(b"native clients are not served there" in other.log_since_start(), "no warning: " + other.tail())
        other.stop()
        other.extra = ["--listen-native-urls=tcp://127.0.0.1:%d" % (other.client_port + 2)]
        other.start(wait=False)
        equal(other.process.wait(10), 1, "exit code when a given address is taken")
        other.process = None
        check(b"cannot listen on tcp://127.0.0.1:" in other.log_since_start(), "no reason: " + other.tail())
    finally:
        listener.close()
    client.close()
    derived.stop()
    os.environ.update(support.NATIVE_OFF)


PARTS = {"calls": part_calls, "pipeline": part_pipeline, "streams": part_streams, "errors": part_errors, "gone": part_gone,
         "window": part_window, "restart": part_restart}


def main():
    parser = support.arguments(__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS) + ["addresses"])
    options = support.parse(parser)
    parts = options.part or list(PARTS) + ["addresses"]
    directory = support.scratch("native")
    try:
        native = Native(options, directory)
        for name in parts:
            begun = time.monotonic()
            if name == "addresses":
                part_addresses(options, directory)
            else:
                PARTS[name](native)
            print("%s: %.1f s" % (name, time.monotonic() - begun), flush=True)
        equal(native.server.log_fatal(), [], "errors in the log")
        native.server.stop()
        support.count("native: %d checks in %d parts" % (CHECKS[0], len(parts)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
