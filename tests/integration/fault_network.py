"""The network between members fails; clients reach every member all the time. Each member lives in a namespace of its own
(netns.py)."""

import time

import netns
import support
from fault_world import ELECTION_S, World, pause, spread

STEPS = 12  # of a storm of cuts


why_not = netns.why_not
NODES = []  # they outlive the parts


class Net:
    """A world whose members have nodes."""

    def __init__(self, options, directory, size=3):
        if not NODES:
            netns.enter_hub()
        self.lost = 0  # packets
        self.world = World(options, directory, size=size, make=lambda name: netns.PlacedServer(
            self.node(int(name[1:])), options.server, directory + "/" + name, name))

    def node(self, number):
        while len(NODES) <= number:
            NODES.append(netns.Node(len(NODES)))
        NODES[number].heal()
        return NODES[number]

    def cut(self, some, others):
        netns.cut([s.node for s in some], [s.node for s in others])

    def heal(self):
        lost = sum(server.node.heal() for server in self.world.servers())
        if not lost:
            support.fail("no packet was lost")
        self.lost += lost

    def report(self, title):
        self.world.report("%s, %d packets lost" % (title, self.lost))


def part_partition(options, directory):
    """The leader alone, a follower alone, everybody alone, and two that both hear the third but not each other."""
    net = Net(options, directory)
    times = []
    with net.world as world:
        with world.traffic(probes=True) as traffic:
            for _ in range(options.rounds):
                leader = world.leader()
                others = world.servers(leader)
                net.cut([leader], others)
                moment = time.monotonic()
                times.append(traffic.probed(world.of(others), moment) - moment)
                traffic.progress(world.of(others))
                net.heal()
                traffic.progress(traffic.by_member)

                follower = world.follower()
                net.cut([follower], world.servers(follower))
                traffic.progress(world.of(world.servers(follower)))
                pause(2 * ELECTION_S)
                net.heal()
                traffic.progress(traffic.by_member)

                first, second, third = world.servers()
                net.cut([first], [second, third])
                net.cut([second], [third])
                pause(2 * ELECTION_S)
                acked = traffic.acked()
                pause(ELECTION_S)
                if traffic.acked() != acked:
                    support.fail("writes are acknowledged while no two members hear each other")
                net.heal()
                traffic.progress(traffic.by_member)
        world.verify(traffic)
        with world.traffic() as traffic:
            for _ in range(options.rounds):
                leader, follower = world.leader(), world.follower()
                both = world.servers(follower)
                term = world.term(leader)
                net.cut([leader], [follower])
                pause(2 * ELECTION_S)
                traffic.progress(world.of(both))
                risen = world.term(leader) - term
                net.heal()
                traffic.progress(traffic.by_member)
                if risen > 1 and not options.measure_only:
                    support.fail("%d elections because one follower does not hear the leader" % risen)
        world.verify(traffic)
        net.report("partitions: 4 kinds, %d times" % options.rounds)
    support.count("cluster faults: leader cut off: writes again after %s; election timeout %g s" % (
        spread(times), ELECTION_S))


def part_one_way(options, directory):
    """Packets get lost in one direction: the leader's, those to the leader, and a follower's."""
    net = Net(options, directory)
    with net.world as world:
        with world.traffic() as traffic:
            for _ in range(options.rounds):
                for kind in ("from the leader", "to the leader", "from a follower", "to a follower"):
                    victim = world.leader() if "leader" in kind else world.follower()
                    others = world.servers(victim)
                    if kind.startswith("from"):
                        for server in others:
                            server.node.refuse(victim.node)
                    else:
                        victim.node.refuse(*[s.node for s in others])
                    traffic.progress(world.of(others))
                    net.heal()
                    traffic.progress(traffic.by_member)
        world.verify(traffic)
        net.report("loss in one direction: 4 kinds, %d times" % options.rounds)


def part_loss(options, directory):
    """Five of a hundred packets between members are lost; the leader is killed meanwhile."""
    net = Net(options, directory)
    with net.world as world:
        with world.traffic() as traffic:
            for _ in range(options.rounds):
                for server in world.servers():
                    server.node.refuse(*[s.node for s in world.servers(server)], share=0.05)
                traffic.progress(traffic.by_member, 60)
                leader = world.leader()
                world.kill(leader)
                traffic.progress(world.of(world.servers(leader)))
                world.restart(leader)
                traffic.progress(traffic.by_member)
                net.heal()
                traffic.progress(traffic.by_member)
        world.verify(traffic)
        net.report("5 %% of the packets lost, leader killed meanwhile, %d times" % options.rounds)


def part_storm(options, directory):
    """Links are cut one by one and healed in another order, in a cluster of five."""
    net = Net(options, directory, size=5)
    rng = options.rng
    with net.world as world:
        with world.traffic() as traffic:
            for _ in range(options.rounds):
                links = [(a, b) for a in world.servers() for b in world.servers() if a is not b]
                broken = rng.sample(links, STEPS)
                for a, b in broken:
                    a.node.refuse(b.node)
                    pause(rng.random() * 0.5)
                nodes = [s.node for s in world.servers()]
                rng.shuffle(nodes)
                lost = 0
                for node in nodes:
                    lost += node.heal()
                    pause(rng.random() * 0.5)
                if not lost:
                    support.fail("no packet was lost")
                net.lost += lost
                traffic.progress(traffic.by_member)
        world.verify(traffic)
        net.report("storm of %d cuts in a cluster of five, %d times" % (STEPS, options.rounds))


PARTS = {"partition": part_partition, "one-way": part_one_way, "loss": part_loss, "storm": part_storm}
