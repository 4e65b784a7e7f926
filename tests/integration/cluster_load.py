"""Writers on all members of a cluster while members fail, and what all members must then have in common.

A member is known by its client port alone, so that it may be a process, or a container that the engine starts anew.
Each writer stays with its member, connects again as often as needed, and never repeats a write: what was not
acknowledged may have happened or not (load.py).
"""

import threading
import time
import types

import support
from fastgrpc import Connection, Refused
from load import Ledger, Writer

rpc, _ = support.load_messages()

DEPTH = 2  # requests in flight per writer, and a pause after each answer: failures matter here, not many writes
PAUSE_S = 0.01
SILENCE_S = 3  # without an answer a writer leaves its connection
PACE_S = 0.05  # between two tries of a member that is gone or refuses
ANSWER_S = 5
STEP_S = 60  # for what must come to be after a failure


def until(what, condition, seconds=STEP_S):
    """Waits until the condition holds; fails the test when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            support.fail("after %g s still not: %s" % (seconds, what))
        time.sleep(0.02)


class Channel(support.Calls):
    """Tries to connect again soon: members come back within seconds here."""

    OPTIONS = support.Calls.OPTIONS + [
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]


class Member:
    """One member's client port."""

    def __init__(self, name, port, host="127.0.0.1"):
        self.name, self.port, self.host = name, port, host
        self.target = "%s:%d" % (host, port)
        self.channel = None

    def call(self, method, request, answer, timeout=ANSWER_S):
        """The answer, or grpc.RpcError. A connection that failed is not used again: its member may be another now."""
        if self.channel is None:
            self.channel = Channel(self.target)
        try:
            return answer.FromString(self.channel.unary("etcdserverpb." + method)(
                request.SerializeToString(), timeout=timeout))
        except self.channel.grpc.RpcError:
            self.close()
            raise

    def close(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def tries(self, method, request, answer, timeout=ANSWER_S):
        """The answer, or None."""
        import grpc  # pylint: disable=import-outside-toplevel

        try:
            return self.call(method, request, answer, timeout)
        except grpc.RpcError:
            return None

    def put(self, key, value):
        """The revision it made."""
        return self.call("KV/Put", rpc.PutRequest(key=key, value=value), rpc.PutResponse).header.revision

    def get(self, key, serializable=False):
        """The value, or None."""
        kvs = self.call("KV/Range", rpc.RangeRequest(key=key, serializable=serializable), rpc.RangeResponse).kvs
        return kvs[0].value if kvs else None

    def serves(self):
        """A linearizable read succeeds now."""
        return self.tries("KV/Range", rpc.RangeRequest(key=b"x"), rpc.RangeResponse, timeout=1) is not None

    def status(self):
        return self.call("Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse)

    def list(self):
        return self.call("Cluster/MemberList", rpc.MemberListRequest(linearizable=True), rpc.MemberListResponse).members

    def hash(self, revision):
        return self.call("Maintenance/HashKV", rpc.HashKVRequest(revision=revision), rpc.HashKVResponse).hash


def leader_of(members):
    """The member that is the leader, according to itself. Waits until there is one."""
    found = []

    def there():
        found.clear()
        for member in members:
            status = member.tries("Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse, timeout=1)
            if status is not None and status.leader == status.header.member_id:
                found.append(member)
        return len(found) == 1

    until("one of %s is the leader" % [m.name for m in members], there)
    return found[0]


class ClusterWriter(Writer):
    """Stays with its member through everything that happens to it."""

    PAUSES_S = (PAUSE_S, PACE_S)  # after an answer, after an error

    def __init__(self, member, name, seed, value_bytes=(20, 200)):
        super().__init__(member.port, name, seed, DEPTH, value_bytes)
        self.host = member.host
        self.pace = threading.Event()  # set by nobody: waiting for it is a pause

    def answered(self, number, message):
        super().answered(number, message)
        self.pace.wait(self.PAUSES_S[message is None])
        self.refused = 0

    def run(self):
        while not self.stop:
            try:
                connection = Connection(self.host, self.port, SILENCE_S)
            except OSError:
                self.pace.wait(PACE_S)
                continue
            try:
                self.work(connection)
            except (OSError, Refused):
                self.pace.wait(PACE_S)
            connection.close()


class ClusterLoad:
    """One writer on each member. Used as a context, the load runs inside it."""

    WRITER = ClusterWriter

    def __init__(self, members, name, seed):
        self.writers = [self.WRITER(m, "%s.%s" % (name, m.name), seed * 10 + i) for i, m in enumerate(members)]
        self.by_member = dict(zip(members, self.writers))

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.stop = True
        for writer in self.writers:
            writer.join(STEP_S)
            if writer.is_alive():
                support.fail("a writer does not end")

    def acked(self):
        return sum(len(w.acked) for w in self.writers)

    def progress(self, members, count=30):
        """Waits until this many more writes through each of the members are acknowledged."""
        goals = [(m, len(self.by_member[m].acked) + count) for m in members]
        for member, goal in goals:
            until("%d more writes through %s" % (count, member.name),
                  lambda m=member, g=goal: len(self.by_member[m].acked) >= g)


class Agreement:
    """Checks again and again that every member has everything that was acknowledged, and all of them the same."""

    def __init__(self, members):
        self.ledgers = {m: Ledger() for m in members}
        self.writers = []  # of all loads so far: what they left unanswered may still come

    def exchange(self, word):
        """Written through each member, read through each: at once where the read is linearizable."""
        members = list(self.ledgers)
        record = types.SimpleNamespace(acked=[], sent={})
        self.writers.append(record)
        for writer in members:
            key = ("%s-%s" % (word, writer.name)).encode()
            value = b"through " + writer.name.encode()
            record.acked.append((writer.put(key, value), [(0, key, value)]))
            for reader in members:
                if reader.get(key) != value:
                    support.fail("%s was put through %s and is not read through %s" % (key, writer.name, reader.name))
                until("%s stores it, too" % reader.name,
                      lambda r=reader, k=key, v=value: r.get(k, serializable=True) == v)

    def forget(self, member):
        """The member begins with nothing and gets everything from the others: keys are compared, and the history with
        the hash."""
        other = next(ledger for m, ledger in self.ledgers.items() if m is not member)
        self.ledgers[member].base = other.base
        self.ledgers[member].state = dict(other.state)

    def check(self, load):
        self.writers += load.writers
        for member, ledger in self.ledgers.items():
            until("%s serves" % member.name, member.serves)
            ledger.check(member.target, self)
        for writer in self.writers:
            writer.acked = []
        self.compare()

    def compare(self):
        members = list(self.ledgers)
        revision = max(ledger.base for ledger in self.ledgers.values())
        for member in members:
            until("%s serves" % member.name, member.serves)
        hashes = {m.name: m.hash(revision) for m in members}
        if len(set(hashes.values())) != 1:
            support.fail("hashes at revision %d differ: %s" % (revision, hashes))
        until("all members list the same members", lambda: len({str(m.list()) for m in members}) == 1)

    def acknowledged(self):
        return min(ledger.checked for ledger in self.ledgers.values())
