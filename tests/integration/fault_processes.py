"""Members that are killed, stopped, asked to end and restarted, and members that are far away."""

import signal
import statistics
import time

import relay
import support
from cluster_history import NEVER
from cluster_load import until
from fault_world import ELECTION_S, World, pause, spread

KILLS = 5
AIM = 1.5  # election timeouts, at the median, until writes resume after the leader was killed
DELAY_S = 0.1
SUCCESSOR_S, GONE_S = 0.5, 1.5  # after SIGTERM


def kill_leaders(world, traffic, times, kills):
    for _ in range(kills):
        traffic.progress(traffic.by_member, 10)
        leader = world.leader()
        others = world.servers(leader)
        moment = time.monotonic()
        world.kill(leader)
        times.append(traffic.probed(world.of(others), moment) - moment)
        world.restart(leader)


def part_kill(options, directory):
    """kill -9 of the leader, of a follower, of all."""
    times, gaps = [], []
    with World(options, directory) as world:
        with world.traffic(probes=True) as traffic:
            kill_leaders(world, traffic, times, KILLS * options.rounds)
        world.verify(traffic)
        with world.traffic(probes=True) as traffic:
            for _ in range(2 * options.rounds):
                traffic.progress(traffic.by_member, 10)
                leader, follower = world.leader(), world.follower()
                moment = time.monotonic()
                world.kill(follower)
                traffic.progress(world.of(world.servers(follower)))
                gaps.append(traffic.longest_gap(world.members[leader], moment))
                world.restart(follower)
        world.verify(traffic)
        with world.traffic() as traffic:
            for _ in range(2 * options.rounds):
                traffic.progress(traffic.by_member, 10)
                world.kill(*world.servers())
                world.restart(*world.servers())
            traffic.progress(traffic.by_member)
        world.verify(traffic)
        world.report("leader killed %d times, follower %d, all %d" % (len(times), len(gaps), 2 * options.rounds))
    support.count("cluster faults: leader killed: writes again after %s; election timeout %g s, aim %g s" % (
        spread(times), ELECTION_S, AIM * ELECTION_S))
    support.count("cluster faults: follower killed: longest time without a write %s" % spread(gaps))
    if statistics.median(times) > AIM * ELECTION_S and not options.measure_only:
        support.fail("writes resume too late after the leader was killed")


def part_brief(options, directory):
    """kill -9 of the leader, once: for builds with sanitizers."""
    times = []
    with World(options, directory) as world:
        with world.traffic(probes=True) as traffic:
            kill_leaders(world, traffic, times, options.rounds)
            traffic.progress(traffic.by_member)
        world.verify(traffic)
        world.report("leader killed %d times" % len(times))
    support.count("cluster faults: leader killed: writes again after %s" % spread(times))


def part_stop(options, directory):
    """SIGSTOP and SIGCONT: of the leader, for longer than it may lead unheard and for less; of a follower."""
    with World(options, directory) as world:
        with world.traffic() as traffic:
            for _ in range(options.rounds):
                for is_leader, seconds in ((True, 2.5), (True, 0.5), (False, 1.5), (True, 1.1)):
                    traffic.progress(traffic.by_member, 10)
                    victim = world.leader() if is_leader else world.follower()
                    world.freeze(victim)
                    pause(seconds * ELECTION_S)
                    if seconds > 2:
                        traffic.progress(world.of(world.servers(victim)))
                    victim.process.send_signal(signal.SIGCONT)
                    traffic.progress(traffic.by_member)
        world.verify(traffic)
        world.report("members stopped and continued %d times" % (4 * options.rounds))


def terminate_leader(world):
    """Returns (seconds to the successor, terms it took, seconds to the end of the process, exit code)."""
    leader = world.leader()
    others = world.of(world.servers(leader))
    status = world.members[leader].status()
    old = (0, status.header.member_id)
    successor = gone = None
    begin = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)

    def done():
        nonlocal successor, gone
        now = time.monotonic() - begin
        if successor is None and all(m.status().leader not in old for m in others):
            successor = now
        if gone is None and leader.process.poll() is not None:
            gone = now
        return None not in (successor, gone)

    until("%s has ended and has a successor" % leader.label, done)
    code = leader.process.returncode
    leader.process = None
    terms = max(m.status().raftTerm for m in others) - status.raftTerm
    world.restart(leader)
    return successor, terms, gone, code


def part_term(options, directory):
    """SIGTERM of the leader: it hands over. Then a rolling restart of all."""
    with World(options, directory) as world:
        with world.traffic(probes=True) as traffic:
            ends = []
            for _ in range(4 * options.rounds):
                traffic.progress(traffic.by_member, 10)
                ends.append(terminate_leader(world))
        world.verify(traffic)
        successors, terms, gone, codes = zip(*ends)
        with world.traffic(probes=True) as traffic:
            gaps = []
            for _ in range(options.rounds):
                for server in world.servers():
                    traffic.progress(traffic.by_member, 10)
                    moment = time.monotonic()
                    server.terminate()
                    world.restart(server)
                    gaps.append(traffic.longest_gap(None, moment))
        world.verify(traffic)
        world.report("leader asked to end %d times, rolling restart of %d" % (len(ends), len(gaps)))
    support.count("cluster faults: SIGTERM of the leader: successor after %s, terms %s, process gone after %s" % (
        spread(successors), sorted(set(terms)), spread(gone)))
    support.count("cluster faults: rolling restart: longest time without a write %s" % spread(gaps))
    late = max(successors) > SUCCESSOR_S or max(gone) > GONE_S
    if set(terms) != {1} or set(codes) not in ({0}, {-signal.SIGTERM}) or late and not options.measure_only:
        support.fail("SIGTERM of the leader: (successor, terms, gone, exit code): %s" % ends)


def part_delay(options, directory):
    """100 ms more in each direction between members, suddenly there and suddenly gone; the leader is killed meanwhile."""

    def make(name):
        return relay.RelayedServer(options.server, directory + "/" + name, name)

    world = World(options, directory, make=make)
    between = relay.Process(world.cluster.members)
    quickest, elections = NEVER, 0
    try:
        with world:
            with world.traffic() as traffic:
                for _ in range(options.rounds):
                    traffic.progress(traffic.by_member, 10)
                    term = world.term(world.leader())
                    between.delay(DELAY_S)
                    moment = time.monotonic()
                    traffic.progress(traffic.by_member)
                    quickest = min(quickest, traffic.quickest(moment))
                    elections += world.term(world.leader()) - term
                    leader = world.leader()
                    world.kill(leader)
                    traffic.progress(world.of(world.servers(leader)), 10)
                    world.restart(leader)
                    traffic.progress(traffic.by_member, 10)
                    between.delay(0)
                    traffic.progress(traffic.by_member)
            world.verify(traffic)
            if quickest < 2 * DELAY_S:
                support.fail("a write took %.3f s, and a quorum is %g s away" % (quickest, 2 * DELAY_S))
            world.report("%g ms between members, leader killed meanwhile, %d times; %d elections for the delay alone" % (
                DELAY_S * 1000, options.rounds, elections))
    finally:
        between.stop()


PARTS = {"kill": part_kill, "stop": part_stop, "term": part_term, "delay": part_delay}
