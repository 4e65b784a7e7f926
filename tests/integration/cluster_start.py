#!/usr/bin/python3
"""How clusters begin, lose members and go on: first members agree on ids, a wiped member is refused, another token is another
cluster, who joins has to fit, members come and go until none of the first is left, and one member goes on alone with all
that was acknowledged.

    cluster_start.py --server build/release/quorald [--part first|strangers|growth|turnover|away|alone]
"""

import hashlib
import shutil
import sys
import time

import grpc

import support
from cluster import Cluster

CHECKS = [0]
WAIT_S = 30
REMOVED = "the member has been permanently removed from the cluster"


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def put(cluster, member, key, value=b"v"):
    cluster.call(member, "KV/Put", cluster.rpc.PutRequest(key=key, value=value))


def count(cluster, member):
    answer = cluster.call(member, "KV/Range", cluster.rpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True))
    return cluster.rpc.RangeResponse.FromString(answer).count


def kill(cluster, *members):
    for member in members:
        if member.target in cluster.channels:
            cluster.channels.pop(member.target).close()
        member.kill()


def log_has(server, text):
    return text in server.log_since_start().decode("utf-8", "replace")


def ends(server, text, code=None):
    """The process ends by itself, and says this."""
    end = time.monotonic() + WAIT_S
    while server.alive():
        if time.monotonic() > end:
            support.fail("%s keeps running:\n%s" % (server.label, server.tail()))
        time.sleep(0.02)
    check(log_has(server, text), "%s ends without %r:\n%s" % (server.label, text, server.tail()))
    check(code is None or server.process.returncode == code,
          "%s: exit code %d" % (server.label, server.process.returncode))
    server.process = None


def first_bytes(data):
    return int.from_bytes(hashlib.sha1(data).digest()[:8], "big")


def part_first(options, directory):
    """Ids follow from URLs and token; every member lists all; a wiped one is not begun anew."""
    cluster = Cluster(options.server, directory).start()
    ids = {m.label: first_bytes((m.peer_url + "etcd-cluster").encode()) for m in cluster.members}
    whole = first_bytes(b"".join(i.to_bytes(8, "big") for i in sorted(ids.values())))
    for member in cluster.members:
        header = cluster.status(member).header
        check((header.member_id, header.cluster_id) == (ids[member.label], whole), "ids of %s" % member.label)
        listed = {m.name: (m.ID, list(m.peerURLs)) for m in cluster.list(member)}
        check(listed == {m.label: (ids[m.label], [m.peer_url]) for m in cluster.members}, "the list: %s" % listed)
    for i, member in enumerate(cluster.members):
        put(cluster, member, b"k%d" % i)
    check(count(cluster, cluster.members[2]) == 3, "what was put through each member")
    # What the data says wins over the flags.
    kill(cluster, cluster.members[1])
    cluster.members[1].extra += ["--initial-cluster=m1=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1",
                                 "--initial-cluster-token=other"]
    cluster.members[1].start()
    check(cluster.id_of(cluster.members[1]) == ids["m1"], "the id after a restart with other flags")
    wiped = cluster.members[2]
    kill(cluster, wiped)
    shutil.rmtree(wiped.data_dir)
    for state in ("new", "existing"):
        wiped.extra.append("--initial-cluster-state=" + state)
        wiped.start(wait=False)
        ends(wiped, "member %x has already been bootstrapped" % ids["m2"], code=1)
    cluster.stop()


def part_strangers(options, directory):
    """Another token makes another cluster; who joins must fit what is there."""
    cluster = Cluster(options.server, directory, size=2).start()
    first, second = cluster.members
    other = cluster.new_server("m1")
    other.data_dir, other.log_path = directory + "/other", directory + "/other.log"
    other.peer_port = second.peer_port
    other.extra = second.extra + ["--initial-cluster-token=other"]
    kill(cluster, second)
    other.start(wait=False)
    cluster.wait("the other cluster's member is refused", lambda: log_has(first, "cluster ID mismatch"))
    check(not any(r in other.log_since_start() for r in support.READY), "the other cluster's member serves")
    other.kill()
    second.start()
    cluster.leader()
    dead = "http://127.0.0.1:%d" % support.free_ports(1)[0]
    own = cluster.new_server("m2")
    for initial, error in (
            ("m0=%s" % dead, "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"),
            ("m0=%s,m1=%s" % (first.peer_url, second.peer_url), "member count is unequal"),
            ("m0=%s" % first.peer_url, "unmatched member while checking PeerURLs")):
        own.extra = cluster.flags(own, initial + ",m2=" + own.peer_url, "existing")
        own.start(wait=False)
        ends(own, error, code=1)
    cluster.stop()


def change(cluster, method, request):
    """A change of the members, asked of one that runs, again until the cluster or the learner is ready for it. When the
    leader goes with the change, only asking again tells whether it was made."""
    end = time.monotonic() + WAIT_S
    unknown = False
    while True:
        try:
            cluster.call(next(m for m in cluster.members if m.alive()), "Cluster/" + method, request)
            return
        except grpc.RpcError as e:
            if unknown and any(text in e.details() for text in ("already exist", "member not found")):
                return
            unknown = unknown or "leader changed" in e.details() or "timed out" in e.details()
            if not (unknown or "unhealthy" in e.details() or "in sync with leader" in e.details()):
                raise
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def join(cluster, name, learner=False):
    """Adds a member and starts it; a learner is promoted as soon as it is ready."""
    new = cluster.new_server(name)
    change(cluster, "MemberAdd", cluster.rpc.MemberAddRequest(peerURLs=[new.peer_url], isLearner=learner))
    initial = ",".join("%s=%s" % (m.label, m.peer_url) for m in cluster.members + [new])
    new.extra = cluster.flags(new, initial, "existing") + ["--strict-reconfig-check=false"]
    new.start(wait=False)
    if learner:
        cluster.wait("%s knows who it is" % name, lambda: log_has(new, "made a member that joins a cluster"))
        member_id = next(m.ID for m in cluster.list(cluster.leader()) if new.peer_url in m.peerURLs)
        change(cluster, "MemberPromote", cluster.rpc.MemberPromoteRequest(ID=member_id))
    new.wait_ready(WAIT_S)
    cluster.members.append(new)
    return new


def remove(cluster, member):
    member_id = cluster.id_of(member)
    cluster.members.remove(member)
    change(cluster, "MemberRemove", cluster.rpc.MemberRemoveRequest(ID=member_id))
    ends(member, REMOVED, code=0)
    cluster.leader()


def part_turnover(options, directory):
    """Each first member in turn is replaced by one that joins; in the end nobody is left who began the cluster."""
    cluster = Cluster(options.server, directory).start()
    for i in range(3):
        put(cluster, cluster.members[0], b"before%d" % i)
        leaving = cluster.members[0]
        new = join(cluster, "n%d" % i)
        check(count(cluster, new) == i + 1, "keys at the member that joined")
        remove(cluster, leaving)
        leaving.start(wait=False)  # with what it knows, or what the others tell it
        ends(leaving, REMOVED)
        check(len(cluster.list(new)) == 3, "members after the removal")
    cluster.stop()


def part_growth(options, directory):
    """From one member to two, then to three: the one alone has to say yes before the second can be there."""
    cluster = Cluster(options.server, directory, size=1).start()
    put(cluster, cluster.members[0], b"first")
    for i in range(2):
        new = join(cluster, "n%d" % i)
        check(count(cluster, new) == i + 1, "keys at the member that joined")
        put(cluster, new, b"then%d" % i)
    check([len(cluster.list(m)) for m in cluster.members] == [3, 3, 3], "three members for each")
    cluster.stop()


def part_away(options, directory):
    """While a member is away all others are replaced: back again, it meets a leader that its log does not know."""
    cluster = Cluster(options.server, directory)
    for member in cluster.members:
        member.extra.append("--strict-reconfig-check=false")
    cluster.start()
    put(cluster, cluster.leader(), b"first")
    away = next(m for m in cluster.members if m is not cluster.leader())
    away_id = cluster.id_of(away)
    kill(cluster, away)
    for i, leaving in enumerate([m for m in cluster.members if m is not away]):
        join(cluster, "n%d" % i, learner=True)  # one of three is away: a fourth voter would have to be there at once
        remove(cluster, leaving)
    put(cluster, cluster.leader(), b"last")
    away.start()
    check(count(cluster, away) == 2, "keys at the member that was away")
    check({m.ID for m in cluster.list(away)} == {away_id} | {cluster.id_of(m) for m in cluster.members},
          "members at the member that was away")
    cluster.stop()


def part_alone(options, directory):
    """--force-new-cluster: one member goes on with everything that was acknowledged; the others are told and end."""
    cluster = Cluster(options.server, directory).start()
    leader = cluster.leader()
    for i in range(200):
        put(cluster, leader, b"key%d" % i)
    kill(cluster, *cluster.members)
    # The one with the longest log: a majority has all that was acknowledged.
    survivor = next(m for m in cluster.members if m is leader)
    before = None
    for flag in ("--force-new-cluster", "--force-new-cluster", "--force-new-cluster=false"):
        survivor.extra.append(flag)
        survivor.start()
        check(count(cluster, survivor) == 200, "keys with %s" % flag)
        header = cluster.status(survivor).header
        before = before or (header.member_id, header.cluster_id)
        check((header.member_id, header.cluster_id) == before, "ids with %s" % flag)
        check([m.name for m in cluster.list(survivor)] == [survivor.label], "members with %s" % flag)
        put(cluster, survivor, b"key0", flag.encode())
        kill(cluster, survivor)
    survivor.start()
    for _ in range(2):
        for member in cluster.members:
            if member is not survivor:
                member.start(wait=False)
                ends(member, REMOVED)
    check(log_has(survivor, "the sender has been removed"), "the survivor's log")
    put(cluster, survivor, b"last")
    cluster.stop()


PARTS = {"first": part_first, "strangers": part_strangers, "growth": part_growth, "turnover": part_turnover, "away": part_away,
         "alone": part_alone}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    options = support.parse(parser)
    for part in options.part or PARTS:
        directory = support.scratch("cluster")
        before = CHECKS[0]
        PARTS[part](options, directory)
        shutil.rmtree(directory)
        print("%s: %d checks passed" % (part, CHECKS[0] - before), flush=True)
    support.count("clusters beginning and ending: %d checks passed" % CHECKS[0])
    sys.exit(0)


if __name__ == "__main__":
    main()
