#!/usr/bin/python3
"""A cluster in service: what followers and learners answer and how soon, who leads, who leaves; on every member the same keys.

    cluster_members.py --server build/release/quorald [--part followers|learner|leaders|leave]
"""

import shutil
import sys
import time
import urllib.error
import urllib.request

import grpc

import support
from cluster import TIMING, Cluster
from cluster_start import CHECKS, REMOVED, check, ends, join, kill, put

HEARTBEAT_S = int(TIMING[0].split("=")[1]) / 1000
NOT_FOR_LEARNERS = "etcdserver: rpc not supported for learner"


def loose(options, directory):
    """Three members that change without waiting until all have been connected for five seconds."""
    cluster = Cluster(options.server, directory)
    for member in cluster.members:
        member.extra.append("--strict-reconfig-check=false")
    return cluster.start()


def followers_of(cluster):
    leader = cluster.leader()
    return [m for m in cluster.members if m is not leader]


def error_of(cluster, member, method, request):
    """Its text; the call must fail."""
    try:
        cluster.call(member, method, request)
    except grpc.RpcError as e:
        return e.details()
    return "no error"


def get(cluster, member, key, serializable=False):
    answer = cluster.call(member, "KV/Range", cluster.rpc.RangeRequest(key=key, serializable=serializable))
    return [kv.value for kv in cluster.rpc.RangeResponse.FromString(answer).kvs]


def page(member, path):
    """(status, body) of an HTTP page."""
    try:
        with urllib.request.urlopen(member.url + path, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def same_keys(cluster):
    """The same hash everywhere, at a revision that all have."""
    put(cluster, cluster.members[0], b"last")
    revision = min(cluster.status(m).header.revision for m in cluster.members)
    request = cluster.rpc.HashKVRequest(revision=revision)
    answers = [cluster.rpc.HashKVResponse.FromString(cluster.call(m, "Maintenance/HashKV", request))
               for m in cluster.members]
    check(len({(a.hash, a.hash_revision) for a in answers}) == 1, "hashes at %d: %s" % (revision, answers))


def part_followers(options, directory):
    """A write or read through a follower takes what it takes, not until the next heartbeat; a lost leader costs no client of
    a follower more than an error that says so."""
    cluster = Cluster(options.server, directory).start()
    for follower in followers_of(cluster):
        took = []
        for i in range(20):
            begin = time.monotonic()
            put(cluster, follower, b"key", b"%d" % i)
            check(get(cluster, follower, b"key") == [b"%d" % i], "what was put is there")
            took.append(time.monotonic() - begin)
        check(min(took) < HEARTBEAT_S / 2, "put and get through a follower took %s" % took)
    leader = cluster.leader()
    follower = followers_of(cluster)[0]
    kill(cluster, leader)
    end = time.monotonic() + 30
    served = 0
    while served < 5:
        check(time.monotonic() < end, "nothing is served without the old leader")
        try:
            put(cluster, follower, b"after", b"%d" % served)
            served += 1
        except grpc.RpcError as e:
            check(e.code() == grpc.StatusCode.UNAVAILABLE and "not leader" not in e.details(), str(e))
    check(get(cluster, follower, b"after") == [b"4"], "what was put without the old leader")
    leader.start()
    same_keys(cluster)
    cluster.stop()


def refusals(cluster, learner, rpc):
    requests = {
        "KV/Range": rpc.RangeRequest(key=b"a"), "KV/Put": rpc.PutRequest(key=b"a"), "KV/Txn": rpc.TxnRequest(),
        "KV/DeleteRange": rpc.DeleteRangeRequest(key=b"a"), "KV/Compact": rpc.CompactionRequest(revision=1),
        "Lease/LeaseGrant": rpc.LeaseGrantRequest(TTL=10), "Lease/LeaseLeases": rpc.LeaseLeasesRequest(),
        "Cluster/MemberList": rpc.MemberListRequest(), "Maintenance/Alarm": rpc.AlarmRequest(),
        "Maintenance/HashKV": rpc.HashKVRequest(), "Maintenance/MoveLeader": rpc.MoveLeaderRequest(targetID=1),
    }
    for method, request in requests.items():
        check(error_of(cluster, learner, method, request) == NOT_FOR_LEARNERS, "%s of a learner" % method)


def part_learner(options, directory):
    """It has what the others have and answers next to nothing, until it is promoted."""
    cluster = loose(options, directory)
    rpc = cluster.rpc
    put(cluster, cluster.members[0], b"a", b"1")
    new = cluster.new_server("m3")
    answer = rpc.MemberAddResponse.FromString(cluster.call(
        followers_of(cluster)[0], "Cluster/MemberAdd", rpc.MemberAddRequest(peerURLs=[new.peer_url], isLearner=True)))
    learner_id = answer.member.ID
    check(answer.member.isLearner and len(answer.members) == 4, "the answer: %s" % answer)
    promote = rpc.MemberPromoteRequest(ID=learner_id)
    check("in sync with leader" in error_of(cluster, cluster.members[0], "Cluster/MemberPromote", promote),
          "a learner that is not there cannot be promoted")
    initial = ",".join("%s=%s" % (m.label, m.peer_url) for m in cluster.members + [new])
    new.extra = cluster.flags(new, initial, "existing")
    new.start()
    refusals(cluster, new, rpc)
    check(get(cluster, new, b"a", serializable=True) == [b"1"], "a serializable read of a learner")
    status = cluster.status(new)
    check(status.isLearner and status.leader == cluster.id_of(cluster.leader()), "its status: %s" % status)
    check(page(new, "/health") == (200, '{"health":"true","reason":""}'), "its health")
    code, text = page(new, "/readyz?verbose")
    check(code == 503 and "[-]non_learner failed: not supported for learner" in text and
          "[+]linearizable_read ok" in text, text)
    check("\netcd_server_is_learner 1\n" in page(new, "/metrics")[1], "its metrics")
    cluster.call(followers_of(cluster)[1], "Cluster/MemberPromote", promote)
    check("\netcd_server_learner_promote_successes 1\n" in page(cluster.leader(), "/metrics")[1], "the leader's metrics")
    cluster.members.append(new)
    cluster.wait("the promoted member knows", lambda: not cluster.status(new).isLearner)
    put(cluster, new, b"a", b"2")
    check(page(new, "/readyz")[0] == 200, "it is ready")
    same_keys(cluster)
    cluster.stop()


def part_leaders(options, directory):
    """Each member leads in turn, by request of who leads."""
    cluster = Cluster(options.server, directory).start()
    for member in cluster.members * 2:
        leader = cluster.leader()
        move = cluster.rpc.MoveLeaderRequest(targetID=cluster.id_of(member))
        for other in followers_of(cluster):
            check(error_of(cluster, other, "Maintenance/MoveLeader", move) == "etcdserver: not leader", "of a follower")
        term = cluster.status(leader).raftTerm
        check(cluster.call(leader, "Maintenance/MoveLeader", move) == b"", "the answer has no field")
        cluster.agree_on(member)
        check(cluster.status(member).raftTerm == term + (member is not leader), "one term more")
        put(cluster, leader, b"moved")
    nobody = cluster.rpc.MoveLeaderRequest(targetID=1)
    check(error_of(cluster, cluster.leader(), "Maintenance/MoveLeader", nobody) == "etcdserver: bad leader transferee",
          "to nobody")
    same_keys(cluster)
    cluster.stop()


def leave(cluster, member):
    """Removes a member by asking itself."""
    rpc = cluster.rpc
    request = rpc.MemberRemoveRequest(ID=cluster.id_of(member))
    left = rpc.MemberRemoveResponse.FromString(cluster.call(member, "Cluster/MemberRemove", request)).members
    cluster.channels.pop(member.target).close()
    cluster.members.remove(member)
    check({m.ID for m in left} == {cluster.id_of(m) for m in cluster.members}, "left: %s" % left)
    ends(member, REMOVED, code=0)
    cluster.leader()


def part_leave(options, directory):
    """Who removes a member through itself has the answer before it ends: a leader, a follower, one of two."""
    cluster = loose(options, directory)
    put(cluster, cluster.members[0], b"a")
    leave(cluster, cluster.leader())
    join(cluster, "n0")
    leave(cluster, followers_of(cluster)[0])
    leave(cluster, cluster.leader())
    check(get(cluster, cluster.members[0], b"a") == [b"v"], "what was put is there")
    cluster.stop()


PARTS = {"followers": part_followers, "learner": part_learner, "leaders": part_leaders, "leave": part_leave}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    options = support.parse(parser)
    for part in options.part or PARTS:
        directory = support.scratch("members")
        before = CHECKS[0]
        PARTS[part](options, directory)
        shutil.rmtree(directory)
        print("%s: %d checks passed" % (part, CHECKS[0] - before), flush=True)
    support.count("a cluster in service: %d checks passed" % CHECKS[0])
    sys.exit(0)


if __name__ == "__main__":
    main()
