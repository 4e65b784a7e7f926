#!/usr/bin/python3
"""CURVE between real members, with pyzmq and plain sockets as those who should not get in: a cluster elects, writes and
sends snapshots under CURVE; strangers, plain clients and old protocols are refused; keys come and go while it runs;
broken, duplicated and secret files among the allowed keys are skipped; who has no key is told so.

    curve.py --server build/release/quorald --ctl build/release/quoralctl
             --library build/release/client/native/libquoral.so [--part NAME]

Needs python3-zmq."""

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import support
import native_client
from cluster import Cluster
from cluster_start import change
from program import Program

try:
    import zmq
    import zmq.auth
    import zmq.utils.monitor
except ImportError:
    support.skip("python3-zmq is not installed")

ALLOWED_S = 10  # for what the members notice: they look once a second
CATCHUP = 20


# ---- keys ----

class Keys:
    """Pairs made by quoralctl keygen, and the directory of those that are allowed."""

    def __init__(self, ctl, directory):
        self.ctl, self.own, self.allowed = ctl, os.path.join(directory, "own"), os.path.join(directory, "allowed")
        os.makedirs(self.own)
        os.makedirs(self.allowed)

    def make(self, name, peer_url=None, allow=True):
        path = os.path.join(self.own, name)
        subprocess.run([self.ctl, "keygen", path] + (["--peer-urls=" + peer_url] if peer_url else []),
                       check=True, stdout=subprocess.DEVNULL)
        if os.stat(path + "_secret").st_mode & 0o777 != 0o600:
            support.fail("others may read a secret key")
        if allow:
            self.allow(name)
        return path

    def allow(self, name):
        """Appears whole, as it should be done."""
        new = os.path.join(self.allowed, ".new")
        shutil.copy(os.path.join(self.own, name), new)
        os.rename(new, os.path.join(self.allowed, name))

    def revoke(self, name):
        os.unlink(os.path.join(self.allowed, name))

    def flags(self, name, side="peer"):
        return ["--%s-curve-secret-key=%s_secret" % (side, os.path.join(self.own, name)),
                "--%s-curve-allowed-keys=%s" % (side, self.allowed)]

    def pair(self, name):
        """(public, secret), as pyzmq reads the files."""
        return zmq.auth.load_certificate(os.path.join(self.own, name + "_secret"))

    def public(self, name):
        return zmq.auth.load_certificate(os.path.join(self.own, name))[0]


def curve_cluster(options, directory, size=3):
    cluster = Cluster(options.server, directory, size)
    keys = Keys(options.ctl, directory)
    for member in cluster.members:
        keys.make(member.label, member.peer_url)
        member.plain = list(member.extra)
        member.extra += keys.flags(member.label) + ["--snapshot-catchup-entries=%d" % CATCHUP, "--snapshot-count=200"]
    return cluster, keys


# ---- who should not get in ----

class Client:
    """A socket of pyzmq, and what becomes of its connection."""

    def __init__(self, member, keys=None, server_key=None, port=None, kind=zmq.DEALER):
        self.kind = kind
        self.socket = zmq.Context.instance().socket(kind)
        self.socket.linger = 0
        self.socket.immediate = 1
        if keys:
            self.socket.curve_publickey, self.socket.curve_secretkey = keys
            self.socket.curve_serverkey = server_key
        self.monitor = self.socket.get_monitor_socket()
        self.socket.connect("tcp://127.0.0.1:%d" % (port or member.peer_port))

    def event(self, wanted, seconds=ALLOWED_S):
        """The value of the next event of that kind; fails when there is none in time."""
        end = time.monotonic() + seconds
        seen = []
        while time.monotonic() < end:
            if self.monitor.poll(100):
                message = zmq.utils.monitor.recv_monitor_message(self.monitor)
                if message["event"] == wanted:
                    return message["value"]
                seen.append("%#x" % message["event"])
        support.fail("no event %#x of a connection, but %s" % (wanted, seen))
        return None

    def let_in(self):
        self.event(zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def is_mute(self):
        """Nothing can be sent: no connection has been made."""
        if self.kind == zmq.SUB:
            return True
        try:
            self.socket.send(b"anybody there?", zmq.DONTWAIT)
        except zmq.Again:
            return True
        return False

    def refused(self, event, value):
        got = self.event(event)
        if got != value:
            support.fail("a connection was refused with %#x instead of %#x" % (got, value))
        if not self.is_mute():
            support.fail("a connection that was refused takes messages")
        self.close()

    def close(self):
        self.socket.disable_monitor()
        self.socket.close()


MISMATCH = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


# ---- what members say ----

def log_lines(member, text):
    """The log's lines with this message since the member's start."""
    found = []
    for line in member.log_since_start().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("msg") == text:
            found.append(entry)
    return found


def wait_log(member, text, seconds=ALLOWED_S, **fields):
    def there():
        return any(all(e.get(k.replace("_", "-")) == v for k, v in fields.items()) for e in log_lines(member, text))

    Cluster.wait("%s logs \"%s\" %s" % (member.label, text, fields), there, seconds)


def metric(member, name):
    with urllib.request.urlopen(member.url + "/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return int(float(line.split()[-1]))
    support.fail("no metric " + name)
    return None


def wait_metric(member, name, value):
    Cluster.wait("%s of %s is %d" % (name, member.label, value), lambda: metric(member, name) == value, ALLOWED_S)


REFUSED = 'quoral_curve_connections_total{domain="peer",result="refused"}'
ALLOWED_KEYS = 'quoral_curve_allowed_keys{domain="peer"}'
SKIPPED = 'quoral_curve_skipped_files{domain="peer"}'
REVOKED = 'quoral_curve_revoked_keys_total{domain="peer"}'
FAILED = "quoral_peer_handshakes_failed_total"


# ---- load ----

class Load(threading.Thread):
    """Puts through one member, one after the other; every one must succeed."""

    def __init__(self, cluster, member):
        super().__init__(daemon=True)
        self.cluster, self.member = cluster, member
        self.calls = support.Calls(member.target)
        self.stopping = False
        self.done = 0
        self.error = None
        self.start()

    def run(self):
        put = self.calls.unary("etcdserverpb.KV/Put")
        while not self.stopping:
            request = self.cluster.rpc.PutRequest(key=b"load%d" % (self.done % 100), value=b"x" * 100)
            try:
                put(request.SerializeToString(), timeout=support_timeout())
            except Exception as error:  # pylint: disable=broad-except
                self.error = str(error)
                return
            self.done += 1

    def end(self):
        self.stopping = True
        self.join(30)
        self.calls.close()
        if self.error:
            support.fail("a put failed: " + self.error)
        return self.done


def support_timeout():
    return 30


def put(cluster, member, count=1, size=10):
    for i in range(count):
        request = cluster.rpc.PutRequest(key=b"key%d" % (i % 50), value=os.urandom(size))
        cluster.call(member, "KV/Put", request)


def revision(cluster, member):
    return cluster.status(member).header.revision


def caught_up(cluster, member, leader):
    cluster.wait("%s has caught up" % member.label, lambda: revision(cluster, member) == revision(cluster, leader), 60)


def others(cluster, leader):
    return [m for m in cluster.members if m is not leader]


# ---- parts ----

def part_cluster(options, directory):
    """Elects, writes, replaces a leader, sends a snapshot; a new member joins once its key is there."""
    cluster, keys = curve_cluster(options, directory)
    cluster.start()
    leader = cluster.leader()
    follower = others(cluster, leader)[0]
    put(cluster, follower, 50)
    for member in others(cluster, leader):
        caught_up(cluster, member, leader)
    follower.kill()
    put(cluster, leader, CATCHUP * 10, 20000)
    follower.start()
    caught_up(cluster, follower, leader)
    with open(follower.log_path, "rb") as log:
        if b"installs a snapshot" not in log.read():
            support.fail("no snapshot was installed: the test shows nothing")
    leader.kill()
    left = cluster.leader()
    put(cluster, left, 10)
    leader.start()
    caught_up(cluster, leader, left)
    if any(metric(m, REFUSED) for m in cluster.members):
        support.fail("a member was refused")
    join(cluster, keys, left)
    cluster.stop()
    return "a cluster under CURVE"


def join(cluster, keys, leader):
    rpc = cluster.rpc
    new = cluster.new_server("m3")
    keys.make("m3", new.peer_url, allow=False)
    change(cluster, "MemberAdd", rpc.MemberAddRequest(peerURLs=[new.peer_url], isLearner=True))
    initial = ",".join("%s=%s" % (m.label, m.peer_url) for m in cluster.members + [new])
    new.extra = cluster.flags(new, initial, "existing") + keys.flags("m3")
    new.start(wait=False)
    if new.process.wait(30) != 1:
        support.fail("a member joined without an allowed key:\n" + new.tail())
    new.process = None
    if not any("the other side does not allow this key" in line for line in new.log_fatal()):
        support.fail("a joining member does not say that its key is refused:\n" + new.tail())
    keys.allow("m3")
    for member in cluster.members:
        wait_metric(member, ALLOWED_KEYS, 4)
    new.start()
    cluster.members.append(new)
    caught_up(cluster, new, leader)
    if not all(metric(m, REFUSED) for m in cluster.members[:3]):
        support.fail("not all members counted the one they refused")


def zmtp2_is_refused(member):
    """Protocols from before there were mechanisms: the connection is closed, nothing is accepted."""
    signature = b"\xff\0\0\0\0\0\0\0\1\x7f"
    for greeting in (signature + b"\1\5" + b"\0\0", b"\1\0" + b"\6\0hello"):  # ZMTP 2.0 as DEALER; ZMTP 1.0
        with socket.create_connection(("127.0.0.1", member.peer_port), timeout=10) as connection:
            connection.sendall(greeting)
            try:
                while connection.recv(1000):
                    pass
            except ConnectionResetError:
                pass
            except socket.timeout:
                support.fail("an old protocol is not refused")


def part_strangers(options, directory):
    """Who has no allowed key gets in nowhere, and both sides say why. A plain member and one with CURVE find no way."""
    cluster, keys = curve_cluster(options, directory)
    cluster.start()
    leader = cluster.leader()
    member, other = others(cluster, leader)
    keys.make("stranger", allow=False)
    public = keys.public("stranger").decode()
    Client(member, keys.pair("stranger"), keys.public(member.label)).refused(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
    wait_log(member, "refused a connection", public_key=public, address="127.0.0.1", error="key is not allowed")
    if metric(member, REFUSED) != 1:
        support.fail("a refused connection is not counted")
    failed = metric(member, FAILED)
    zmtp2_is_refused(member)
    wrong = Client(member, keys.pair(other.label), keys.public("stranger"))
    wrong.event(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    wait_log(member, "refused a connection that was made for another server's key")
    wrong.close()
    for _ in range(20):
        Client(member).refused(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, MISMATCH)
    Cluster.wait("failed handshakes are counted", lambda: metric(member, FAILED) >= failed + 20, ALLOWED_S)
    # Whoever sees it first closes the connection; the other side may then see no more than that.
    wait_log(member, "refused a connection without CURVE")
    if len(log_lines(member, "refused a connection without CURVE")) > 1:
        support.fail("the same is logged again and again")
    plain_member(cluster, member, other, leader)
    Client(member, keys.pair(other.label), keys.public(member.label)).let_in()
    cluster.stop()
    return "strangers"


def plain_member(cluster, member, other, leader):
    """One member is started without CURVE: nobody hears it, all say so; with its key it is back."""
    flags = member.extra
    member.kill()
    member.extra = member.plain
    member.start(wait=False)
    wait_log(member, "the other side demands CURVE", 30)
    wait_log(member, "refused a connection with CURVE, for which there is no key here")
    wait_log(leader, "the other side does not speak CURVE")
    wait_log(other, "refused a connection without CURVE")
    if metric_when_up(member, FAILED) == 0:
        support.fail("a plain member counts no failed handshakes")
    member.kill()
    member.extra = flags
    member.start()
    put(cluster, leader)
    caught_up(cluster, member, leader)


def metric_when_up(member, name):
    Cluster.wait(member.label + " shows its metrics", lambda: is_up(member))
    return metric(member, name)


def is_up(member):
    try:
        with socket.create_connection(("127.0.0.1", member.client_port), timeout=1):
            return True
    except OSError:
        return False


def part_live(options, directory):
    """Keys come and go under load: nobody else notices."""
    cluster, keys = curve_cluster(options, directory)
    cluster.start()
    leader = cluster.leader()
    term = cluster.status(leader).raftTerm
    member, _ = others(cluster, leader)
    load = Load(cluster, leader)
    keys.make("guest", allow=False)
    Client(leader, keys.pair("guest"), keys.public(leader.label)).refused(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
    keys.allow("guest")
    for other in cluster.members:
        wait_metric(other, ALLOWED_KEYS, 4)
    guest = Client(leader, keys.pair("guest"), keys.public(leader.label))
    guest.let_in()
    keys.revoke("guest")
    guest.event(zmq.EVENT_DISCONNECTED)
    guest.refused(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
    for other in cluster.members:
        wait_metric(other, REVOKED, 1)
    revoke_member(cluster, keys, member, leader)
    rotate_member(cluster, keys, member, leader)
    done = load.end()
    if cluster.status(leader).raftTerm != term:
        support.fail("changes of keys made an election: term %d, then %d" % (term, cluster.status(leader).raftTerm))
    for other in others(cluster, leader):
        caught_up(cluster, other, leader)
    cluster.stop()
    return "keys added and revoked during %d puts" % done


def revoke_member(cluster, keys, member, leader):
    """It hears nothing and is not heard; with its key back it catches up."""
    keys.revoke(member.label)
    wait_log(leader, "no allowed CURVE certificate has this peer URL: cannot connect", url=member.peer_url)
    wait_metric(leader, ALLOWED_KEYS, 2)
    Cluster.wait("the revoked member is refused", lambda: metric(leader, REFUSED) > 2, ALLOWED_S)
    stale = revision(cluster, member)
    before = revision(cluster, leader)
    Cluster.wait("the others go on", lambda: revision(cluster, leader) > before + 100)
    if revision(cluster, member) > stale:
        support.fail("a revoked member still hears of writes")
    keys.allow(member.label)
    Cluster.wait("the member catches up", lambda: revision(cluster, member) > before + 100)


def rotate_member(cluster, keys, member, leader):
    """A new pair beside the old one, then a restart with it, then the old one goes."""
    name = member.label + "-new"
    keys.make(name, member.peer_url)
    for other in cluster.members:
        wait_metric(other, ALLOWED_KEYS, 4)
    member.kill()
    member.extra += keys.flags(name)
    member.start()
    keys.revoke(member.label)
    for other in cluster.members:
        wait_metric(other, ALLOWED_KEYS, 3)
    before = revision(cluster, leader)
    Cluster.wait("the member with the new key keeps up", lambda: revision(cluster, member) > before + 50)


# ---- native clients ----

class Subscriber:
    """A SUB socket for all keys with a prefix, and a thread of ZeroMQ's own that connects again."""

    def __init__(self, port, keys, server_key, prefix):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.curve_publickey, self.socket.curve_secretkey = keys
        self.socket.curve_serverkey = server_key
        self.socket.subscribe(b"E" + prefix)
        self.socket.connect("tcp://127.0.0.1:%d" % port)

    def next_value(self, seconds=ALLOWED_S):
        """The event's body."""
        if not self.socket.poll(seconds * 1000):
            support.fail("no event within %g s" % seconds)
        return self.socket.recv_multipart()[2]


class NativeSide:
    def __init__(self, options, directory):
        self.rpc, _ = support.load_messages()
        self.keys = Keys(options.ctl, directory)
        self.request_port, self.publish_port = support.free_ports(2)
        self.keys.make("server", allow=False)
        for name in ("alice", "bob"):
            self.keys.make(name)
        self.server_key = self.keys.public("server")
        self.server = support.Server(options.server, os.path.join(directory, "data"), [
            "--listen-native-urls=tcp://127.0.0.1:%d" % self.request_port,
            "--listen-publish-urls=tcp://127.0.0.1:%d" % self.publish_port] + self.keys.flags("server", "native"))
        self.server.start()

    def client(self, name):
        endpoint = "tcp://127.0.0.1:%d" % self.request_port
        client = native_client.Client(endpoint, curve=(self.keys.pair(name), self.server_key))
        client.socket.sndtimeo = 5000  # who was refused has no connection that takes anything
        return client

    def kind(self, port):
        return zmq.DEALER if port == self.request_port else zmq.SUB

    def knock(self, name, port):
        return Client(None, self.keys.pair(name), self.server_key, port, self.kind(port))

    def put(self, client, key, value):
        client.call("etcdserverpb.KV/Put", self.rpc.PutRequest(key=key, value=value))

    def put_again(self, client, key, value):
        """As a client does when its session is gone."""
        end = time.monotonic() + ALLOWED_S
        while time.monotonic() < end:
            try:
                self.put(client, key, value)
                return
            except (native_client.Lost, AssertionError):
                client.hello()
        support.fail("a client does not find its way back")

    def get(self, client, key):
        answer = client.call("etcdserverpb.KV/Range", self.rpc.RangeRequest(key=key), self.rpc.RangeResponse)
        return answer.kvs[0].value if answer.kvs else None


def plain_publisher(side):
    """The same server without keys: who subscribes with CURVE gets nowhere, and both sides say why."""
    server = side.server
    server.extra = server.extra[:2]
    server.start()
    side.knock("alice", side.publish_port).refused(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, MISMATCH)
    wait_log(server, "refused a connection with CURVE, for which there is no key here", address="127.0.0.1")
    if metric(server, "quoral_native_handshakes_failed_total") < 1:
        support.fail("who comes with CURVE is not counted")
    server.stop()


NATIVE_REFUSED = 'quoral_curve_connections_total{domain="native",result="refused"}'


def part_native(options, directory):
    """Native clients: who has no key gets nowhere, on either socket; a revoked one is out, the others come back."""
    side = NativeSide(options, directory)
    keys, server = side.keys, side.server
    keys.make("stranger", allow=False)
    for port in (side.request_port, side.publish_port):
        Client(None, port=port, kind=side.kind(port)).refused(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, MISMATCH)
        side.knock("stranger", port).refused(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
    if metric(server, NATIVE_REFUSED) != 2:
        support.fail("refused clients are not counted")
    Cluster.wait("failed handshakes are counted",
                 lambda: metric(server, "quoral_native_handshakes_failed_total") >= 2, ALLOWED_S)
    alice, bob = side.client("alice"), side.client("bob")
    alice.hello()
    bob.hello()
    subscriber = Subscriber(side.publish_port, keys.pair("alice"), side.server_key, b"a")
    wait_metric(server, "quoral_native_registrations", 1)
    side.put(alice, b"a1", b"before")
    side.put(bob, b"b1", b"before")
    if b"before" not in subscriber.next_value():
        support.fail("another event than that of the put")
    bobs = side.knock("bob", side.publish_port)
    bobs.let_in()
    keys.revoke("bob")
    bobs.event(zmq.EVENT_DISCONNECTED)
    bobs.refused(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
    try:
        side.put(bob, b"b1", b"after")
        support.fail("who has a revoked key still writes")
    except (native_client.Lost, AssertionError, zmq.Again):
        pass
    side.put_again(alice, b"a1", b"after")
    while b"last" not in (value := side_event(side, alice, subscriber)):
        if not value:
            support.fail("a subscriber does not come back")
    if side.get(alice, b"b1") != b"before":
        support.fail("who has a revoked key has written")
    keys.allow("bob")
    Cluster.wait("the key is back", lambda: metric(server, 'quoral_curve_allowed_keys{domain="native"}') == 2)
    bob.close(bye=False)
    bob = side.client("bob")
    bob.hello()
    side.put(bob, b"b1", b"again")
    if metric(server, "quoral_native_clients") != 2:
        support.fail("old sessions are left")
    time.sleep(6)  # longer than a registration lingers
    if metric(server, "quoral_native_registrations") != 1:
        support.fail("the subscriber's registration is gone")
    code, _ = server.terminate()
    if code != 0:
        support.fail("the server ended with %d" % code)
    plain_publisher(side)
    return "native clients"


def side_event(side, alice, subscriber):
    """Puts until the subscriber hears of it: it may be on its way back, and says what it wants when it is asked."""
    end = time.monotonic() + ALLOWED_S
    while time.monotonic() < end:
        side.put_again(alice, b"a2", b"last")
        if subscriber.socket.poll(200):
            return subscriber.next_value()
    return b""


# ---- libquoral ----

class Bytes(ctypes.Structure):
    """quoral_bytes_t"""
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class ClientOptions(ctypes.Structure):
    """quoral_client_options_t"""
    _fields_ = [("endpoints", ctypes.c_char_p), ("timeout_ms", ctypes.c_uint32), ("dial_timeout_ms", ctypes.c_uint32),
                ("heartbeat_ms", ctypes.c_uint32), ("server_key", ctypes.c_char_p), ("public_key", ctypes.c_char_p),
                ("secret_key", ctypes.c_char_p), ("on_log", ctypes.c_void_p), ("log_arg", ctypes.c_void_p)]


class LibraryClient:
    """A client of libquoral.so."""

    def __init__(self, path, side, name=None):
        self.library = ctypes.CDLL(path)
        self.library.quoral_client_new.restype = ctypes.c_void_p
        self.library.quoral_put.restype = ctypes.c_void_p
        self.library.quoral_put.argtypes = [ctypes.c_void_p, Bytes, Bytes, ctypes.c_void_p]
        self.library.quoral_result_text.restype = ctypes.c_char_p
        self.text = ""
        options = ClientOptions(endpoints=b"tcp://127.0.0.1:%d" % side.request_port, timeout_ms=2000)
        if name:
            options.server_key = side.server_key
            options.public_key, options.secret_key = side.keys.pair(name)
        self.handle = ctypes.c_void_p(self.library.quoral_client_new(ctypes.byref(options), None))
        if not self.handle:
            support.fail("libquoral takes no such options")

    def put(self):
        """Whether it was done."""
        result = ctypes.c_void_p(self.library.quoral_put(self.handle, Bytes(b"k", 1), Bytes(b"v", 1), None))
        done = self.library.quoral_result_code(result) == 0
        self.text = self.library.quoral_result_text(result).decode()
        self.library.quoral_result_destroy(ctypes.byref(result))
        return done

    def close(self):
        self.library.quoral_client_destroy(ctypes.byref(self.handle))


def part_libquoral(options, directory):
    """The C library under CURVE: refused, let in once its key is there, refused again; each time it says why."""
    if not options.library:
        return "libquoral: not given"
    side = NativeSide(options, directory)
    side.keys.make("carol", allow=False)
    alice, carol = (LibraryClient(options.library, side, name) for name in ("alice", "carol"))
    plain = LibraryClient(options.library, side)
    if not alice.put() or carol.put() or plain.put():
        support.fail("not who has an allowed key is served, but another")
    if "refuses this client's key" not in carol.text or "no agreement on security" not in plain.text:
        support.fail("libquoral does not say why: %s; %s" % (carol.text, plain.text))
    side.keys.allow("carol")
    Cluster.wait("the new key is served", carol.put)
    side.keys.revoke("carol")
    wait_metric(side.server, 'quoral_curve_revoked_keys_total{domain="native"}', 1)
    if carol.put():
        support.fail("a revoked key is served")
    Cluster.wait("the others are served again", alice.put)
    for client in (alice, carol, plain):
        client.close()
    side.server.stop()
    return "libquoral"


# ---- quoralctl service ----

class ServiceCtl:
    """`quoralctl service` as the holder of a key, by flags or by the environment."""

    def __init__(self, options, side):
        self.ctl, self.side = options.ctl, side
        self.programs = []

    def paths(self, name, server="server"):
        own = self.side.keys.own
        return {"endpoints": "tcp://127.0.0.1:%d" % self.side.request_port,
                "curve-secret-key": os.path.join(own, name + "_secret"), "curve-server-key": os.path.join(own, server)}

    def command(self, arguments, paths):
        return [self.ctl, "service", arguments[0]] + ["--native-%s=%s" % p for p in paths.items()] + list(arguments[1:])

    def output(self, paths, *arguments, code=0, error="", **environment):
        """What it prints; fails unless it ends with that code and says that."""
        done = subprocess.run(self.command(arguments, paths), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, **environment), check=False, timeout=60)
        if done.returncode != code or error not in done.stderr or (not error and done.stderr):
            support.fail("service %s ended with %d and said: %s" % (" ".join(arguments), done.returncode, done.stderr))
        return done.stdout

    def start(self, paths, *arguments):
        """One that goes on; its output and what it says of errors come together."""
        command = ["sh", "-c", 'exec "$@" 2>&1', "sh"] + self.command(arguments, paths)
        self.programs.append(Program(*command))
        return self.programs[-1]


def wrong_key_files(side, ctl):
    """What is wrong with a file is said at once, whatever the command."""
    own = side.keys.own
    with open(os.path.join(own, "alice_secret"), encoding="ascii") as f:
        mixed = f.read().replace(side.keys.public("alice").decode(), side.keys.public("bob").decode())
    with open(os.path.join(own, "mixed_secret"), "w", encoding="ascii") as f:
        f.write(mixed)
    os.chmod(os.path.join(own, "mixed_secret"), 0o600)
    alice = ctl.paths("alice")
    cases = [
        (dict(alice, **{"curve-secret-key": os.path.join(own, "alice")}), "it holds no secret key"),
        (dict(alice, **{"curve-server-key": os.path.join(own, "server_secret")}),
         "it holds a secret key, which does not belong here"),
        (dict(alice, **{"curve-server-key": "/nowhere"}), "--native-curve-server-key: /nowhere: No such file"),
        (ctl.paths("mixed"), "the CURVE public key does not belong to the secret key"),
    ]
    for paths, text in cases:
        for arguments in (["list"], ["watch", "web"], ["drain", "web", "one"], ["deregister", "web", "one"],
                          ["register", "--name=web", "--addr=a"], ["run", "--name=web", "--addr=a", "--", "true"]):
            ctl.output(paths, *arguments, code=128, error=text)
    os.chmod(os.path.join(own, "bob_secret"), 0o644)
    ctl.output(ctl.paths("bob"), "list", error="Warning: others than its owner may read or write")
    os.chmod(os.path.join(own, "bob_secret"), 0o600)


def part_quoralctl(options, directory):
    """Every command of `quoralctl service` under CURVE; who is refused is told why, also by what goes on for ever."""
    side = NativeSide(options, directory)
    ctl = ServiceCtl(options, side)
    alice, carol = ctl.paths("alice"), ctl.paths("carol")
    side.keys.make("carol", allow=False)
    plain = {"endpoints": alice["endpoints"]}
    wrong_key_files(side, ctl)
    refused = "the server refuses this client's key"
    for arguments in (["list"], ["list", "web"], ["drain", "web", "one"], ["deregister", "web", "one"]):
        ctl.output(carol, "--command-timeout=1s", *arguments, code=1, error=refused)
    ctl.output(plain, "--command-timeout=1s", "list", code=1, error="no agreement on security")
    ctl.output(ctl.paths("alice", server="bob"), "--command-timeout=1s", "list", code=1, error="no agreement on security")
    watch = ctl.start(alice, "watch", "web")
    watch.expect("^fresh at")
    late = ctl.start(carol, "register", "--name=web", "--addr=tcp://w:2", "--instance=late")
    late.expect("^not connected: .*" + refused)
    one = ctl.start(alice, "run", "--name=web", "--addr=tcp://w:1", "--instance=one", "--drain=0s", "--ttl=3",
                    "--", "sleep", "60")
    watch.expect("^added one")
    side.keys.allow("carol")
    watch.expect("^added late")
    variables = {"QUORALCTL_NATIVE_" + name.upper().replace("-", "_"): path for name, path in alice.items()}
    if ctl.output({}, "list", "web", **variables).split()[0] != "late":
        support.fail("the environment does not count")
    ctl.output(alice, "deregister", "web", "late")
    watch.expect("^removed late")
    ctl.output(alice, "drain", "web", "one")
    watch.expect("^removed one")
    one.wait()
    for program in ctl.programs:
        program.process.kill()
    side.server.stop()
    return "quoralctl service"


def part_files(options, directory):
    """What is no certificate is named once, skipped, and harms nobody. Without the directory the keys stay."""
    cluster, keys = curve_cluster(options, directory)
    cluster.start()
    leader = cluster.leader()
    bad = os.path.join(keys.allowed, "bad-")

    def write(name, content):
        with open(bad + name, "wb") as f:
            f.write(content)

    with open(os.path.join(keys.own, "m1"), "rb") as f:
        good = f.read()
    write("empty", b"")
    write("garbage", os.urandom(5000))
    write("huge", b"#" * 100000)
    write("short", good.replace(b"public-key = \"", b"public-key = \"x"))
    shutil.copy(os.path.join(keys.own, "m1"), os.path.join(keys.allowed, "twice"))
    shutil.copy(os.path.join(keys.own, "m2_secret"), os.path.join(keys.allowed, "m2_secret"))
    os.mkfifo(bad + "fifo")
    os.mkdir(bad + "directory")
    os.symlink("nowhere", bad + "link")
    for member in cluster.members:
        wait_metric(member, SKIPPED, 9)
        wait_metric(member, ALLOWED_KEYS, 3)
        wait_log(member, "skipped a certificate file", file="twice", error="its key is the one of m1")
        wait_log(member, "skipped a certificate file", file="m2_secret",
                 error="it holds a secret key, which does not belong here")
        wait_log(member, "skipped a certificate file", file="bad-empty", error="it holds no public key")
    time.sleep(4)  # several looks
    for member in cluster.members:
        if len(log_lines(member, "skipped a certificate file")) != 9:
            support.fail("each file should be named once:\n" + member.tail(30))
    # The first of two with one key goes: the second counts, and nobody is revoked.
    keys.revoke("m1")
    for member in cluster.members:
        wait_metric(member, SKIPPED, 8)
        wait_metric(member, ALLOWED_KEYS, 3)
    put(cluster, leader, 5)
    os.rename(keys.allowed, keys.allowed + "-away")
    for member in cluster.members:
        wait_log(member, "cannot read the allowed keys: those read before stay in force")
    put(cluster, leader, 5)
    Client(leader, keys.pair("m2"), keys.public(leader.label)).let_in()
    os.rename(keys.allowed + "-away", keys.allowed)
    if any(metric(m, REVOKED) for m in cluster.members):
        support.fail("a key was revoked")
    follower = others(cluster, leader)[0]
    follower.kill()
    put(cluster, leader, 5)
    follower.start()  # with all the bad files there
    caught_up(cluster, follower, leader)
    cluster.stop()
    return "bad files"


def part_start(options, directory):
    """What is wrong with the keys of a member is said at its start."""
    keys = Keys(options.ctl, directory)
    keys.make("a")
    keys.make("b")
    own = os.path.join(keys.own, "a_secret")
    with open(own) as f:
        mixed = f.read().replace(keys.public("a").decode(), keys.public("b").decode())
    with open(os.path.join(keys.own, "mixed"), "w") as f:
        f.write(mixed)
    cases = [
        (["--peer-curve-secret-key=" + own],
         "--peer-curve-secret-key and --peer-curve-allowed-keys must be given together"),
        (["--peer-curve-allowed-keys=" + keys.allowed],
         "--peer-curve-secret-key and --peer-curve-allowed-keys must be given together"),
        (["--peer-curve-secret-key=/nowhere", "--peer-curve-allowed-keys=" + keys.allowed], "No such file"),
        (["--peer-curve-secret-key=" + own, "--peer-curve-allowed-keys=/nowhere"], "No such file"),
        (["--peer-curve-secret-key=" + os.path.join(keys.own, "a"), "--peer-curve-allowed-keys=" + keys.allowed],
         "it holds no secret key"),
        (["--peer-curve-secret-key=" + os.path.join(keys.own, "mixed"), "--peer-curve-allowed-keys=" + keys.allowed],
         "its public key does not belong to its secret key"),
    ]
    for flags, text in cases:
        server = support.Server(options.server, os.path.join(directory, "data"), flags)
        server.start(wait=False)
        code = server.process.wait(30)
        log = server.log_since_start().decode()
        if code != 1 or text not in log:
            support.fail("%s ended with %d and said:\n%s" % (flags, code, log))
    again = subprocess.run([options.ctl, "keygen", os.path.join(keys.own, "a")], capture_output=True, text=True)
    if again.returncode != 1 or not re.search("File exists", again.stderr):
        support.fail("keygen overwrites a key: " + again.stderr)
    return "%d wrong starts" % len(cases)


PARTS = {"start": part_start, "cluster": part_cluster, "strangers": part_strangers, "live": part_live,
         "files": part_files, "native": part_native, "libquoral": part_libquoral,
         "quoralctl": part_quoralctl}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--ctl", default=os.environ.get("QUORALCTL"), help="quoralctl")
    parser.add_argument("--library", default=os.environ.get("QUORAL_LIBRARY"), help="libquoral.so")
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    options = support.parse(parser)
    if not options.ctl:
        parser.error("give --ctl or set QUORALCTL")
    for name in options.part or PARTS:
        directory = support.scratch("curve", in_memory=True)
        begin = time.monotonic()
        said = PARTS[name](options, directory)
        shutil.rmtree(directory)
        support.count("curve: %s, %.0f s" % (said, time.monotonic() - begin))


if __name__ == "__main__":
    sys.exit(main())
