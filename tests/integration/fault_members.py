"""Members that come and go for good."""

import shutil
import time

import support
from cluster_load import ANSWER_S, STEP_S, until
from fault_world import START_S, World

END_S = 30  # until the process of a removed member has ended


class Change:
    """Changes of a world's members. Each is tried until the list of members shows it: the leader may change meanwhile,
    and etcd refuses while its members have not known each other for long enough."""

    def __init__(self, world):
        self.world = world
        self.rpc = world.cluster.rpc

    def listed(self, through):
        import grpc  # pylint: disable=import-outside-toplevel

        try:
            return {m.ID: m for m in self.world.members[through].list()}
        except grpc.RpcError as e:
            self.refusal = e.details()
            return None

    def until_listed(self, what, through, call, request, answer, condition):
        """Calls through a member until its list fulfils the condition."""
        import grpc  # pylint: disable=import-outside-toplevel

        end = time.monotonic() + STEP_S
        self.refusal = None
        while True:
            members = self.listed(through)
            if members is not None and condition(members):
                return members
            if time.monotonic() > end:
                support.fail("%s: not within %g s: %s" % (what, STEP_S, self.refusal))
            try:
                self.world.members[through].call("Cluster/" + call, request, answer, timeout=ANSWER_S)
            except grpc.RpcError as e:
                self.refusal = e.details()
                time.sleep(0.05)  # between two tries of a call that is refused

    def add(self, through, server, learner=False):
        """Starts the server as a new member; a learner is promoted when it has caught up."""
        request = self.rpc.MemberAddRequest(peerURLs=[server.peer_url], isLearner=learner)
        members = self.until_listed("adding " + server.label, through, "MemberAdd", request, self.rpc.MemberAddResponse,
                                    lambda ms: any(server.peer_url in m.peerURLs for m in ms.values()))
        initial = ",".join("%s=%s" % (m.name or server.label, url) for m in members.values() for url in m.peerURLs)
        server.extra += self.world.cluster.flags(server, initial, "existing")
        if server not in self.world.cluster.members:
            self.world.cluster.members.append(server)
        server.start(timeout=START_S)
        new = next(m.ID for m in members.values() if server.peer_url in m.peerURLs)
        if learner:
            self.until_listed("promoting " + server.label, through, "MemberPromote",
                              self.rpc.MemberPromoteRequest(ID=new), self.rpc.MemberPromoteResponse,
                              lambda ms: not ms[new].isLearner)
        self.world.welcome(server, joined=True)
        until("%s serves" % server.label, self.world.members[server].serves)

    def remove(self, through, number, label):
        self.until_listed("removing " + label, through, "MemberRemove", self.rpc.MemberRemoveRequest(ID=number),
                          self.rpc.MemberRemoveResponse, lambda ms: number not in ms)

    def remove_running(self, through, server):
        """The process of a removed member ends by itself."""
        self.remove(through, self.world.members[server].status().header.member_id, server.label)
        end = time.monotonic() + END_S
        while server.alive():
            if time.monotonic() > end:
                support.fail("%s still runs %g s after its removal:\n%s" % (server.label, END_S, server.tail()))
            time.sleep(0.02)
        server.process.wait()
        server.process = None
        self.world.farewell(server)


def part_replace(options, directory):
    """A member's disk is lost: removed, added anew with another id, and it gets everything from the others."""
    with World(options, directory) as world:
        change = Change(world)
        for number in range(2 * options.rounds):
            with world.traffic() as traffic:
                traffic.progress(traffic.by_member)
                victim = world.leader() if number % 2 else world.follower()
                through = next(s for s in world.servers(victim))
                old = world.members[victim].status().header.member_id
                world.kill(victim)
                shutil.rmtree(victim.data_dir)
                change.remove(through, old, victim.label)
                world.farewell(victim)
                traffic.progress(world.of(world.servers()))
                change.add(through, victim, learner=number % 2 == 1)
                traffic.progress(world.of(world.servers(victim)))
            with world.traffic() as after:
                after.progress(after.by_member)
            world.verify(after, traffic)
        world.report("a member replaced %d times" % (2 * options.rounds))


def part_grow(options, directory):
    """From one member to three and five, as voters and as learners, and back to one; leaders leave, too."""
    with World(options, directory, size=1) as world:
        change = Change(world)
        for _ in range(options.rounds):
            for number in range(1, 5):
                with world.traffic() as traffic:
                    traffic.progress(traffic.by_member, 10)
                    server = world.cluster.new_server("m%d.%d" % (number, world.loads))
                    change.add(world.leader(), server, learner=number % 2 == 1)
                    traffic.progress(traffic.by_member, 10)
                world.verify(traffic)
            with world.traffic() as traffic:
                traffic.progress(traffic.by_member)
            world.verify(traffic)
            for number in range(4):
                with world.traffic() as traffic:
                    traffic.progress(traffic.by_member, 10)
                    victim = world.follower() if number % 2 else world.leader()
                    through = next(s for s in world.servers(victim))
                    change.remove_running(through, victim)
                    traffic.progress(world.of(world.servers()))
                world.verify(traffic)
        world.report("one member to five and back %d times" % options.rounds)


PARTS = {"replace": part_replace, "grow": part_grow}
