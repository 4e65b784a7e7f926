"""A cluster of members of one program on loopback ports, for tests."""

import os
import signal
import time

import support

# Long enough that a busy machine does not elect again in the middle of a test.
TIMING = ["--heartbeat-interval=200", "--election-timeout=2000"]
STEP_S = 30  # for what members agree on: a leader, a configuration


class Cluster:
    """Members m0, m1, …: servers of support.Server. start() from the main thread only."""

    def __init__(self, binary, directory, size=3, timing=None):
        self.binary, self.directory = binary, directory
        self.timing = TIMING if timing is None else timing
        self.rpc, _ = support.load_messages()
        self.channels = {}
        self.members = [self.new_server("m%d" % i) for i in range(size)]
        initial = ",".join("%s=%s" % (m.label, m.peer_url) for m in self.members)
        for member in self.members:
            member.extra += self.flags(member, initial, "new")

    def server_class(self, _name):
        return support.Server

    def new_server(self, name):
        return self.server_class(name)(self.binary, os.path.join(self.directory, name), label=name)

    def flags(self, server, initial_cluster, state):
        """Flags given twice: the last ones count."""
        return self.timing + [
            "--name=" + server.label,
            "--advertise-client-urls=" + server.url,
            "--initial-advertise-peer-urls=" + server.peer_url,
            "--initial-cluster=" + initial_cluster,
            "--initial-cluster-state=" + state,
        ]

    def start(self):
        for member in self.members:
            member.start(wait=False)
        for member in self.members:
            member.wait_ready(STEP_S)
        return self

    def stop(self):
        for calls in self.channels.values():
            calls.close()
        for member in self.members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)
            member.stop()

    # ---- questions, to one member each ----

    def call(self, member, method, request, timeout=STEP_S):
        """The answer's bytes."""
        if member.target not in self.channels:
            self.channels[member.target] = support.Calls(member.target)
        return self.channels[member.target].unary("etcdserverpb." + method)(
            request.SerializeToString(), timeout=timeout)

    def status(self, member):
        return self.rpc.StatusResponse.FromString(
            self.call(member, "Maintenance/Status", self.rpc.StatusRequest()))

    def id_of(self, member):
        return self.status(member).header.member_id

    def list(self, member):
        """What this member knows of all members."""
        return self.rpc.MemberListResponse.FromString(
            self.call(member, "Cluster/MemberList", self.rpc.MemberListRequest())).members

    # ---- what is waited for ----

    @staticmethod
    def wait(what, condition, seconds=STEP_S):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                support.fail("after %g s still not: %s" % (seconds, what))
            time.sleep(0.02)

    def agree_on(self, leader):
        """All members that run take this one for the leader."""
        wanted = self.id_of(leader)
        self.wait("%s is the leader for all" % leader.label,
                  lambda: all(self.status(m).leader == wanted for m in self.members if m.alive()))

    def leader(self):
        """The leader; waits until there is one."""
        found = []

        def there():
            found[:] = [m for m in self.members if m.alive() and self.id_of(m) == self.status(m).leader]
            return len(found) == 1

        self.wait("there is a leader", there)
        return found[0]

    def lead(self, member):
        """Makes this member the leader."""
        leader = self.leader()
        if leader is not member:
            self.call(leader, "Maintenance/MoveLeader", self.rpc.MoveLeaderRequest(targetID=self.id_of(member)))
        self.agree_on(member)
