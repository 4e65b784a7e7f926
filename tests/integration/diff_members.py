"""Named cases of the differential test about members: a cluster of one is changed, the added members never start.

Ids of added members are made of their URLs and the time, so they differ between the servers: requests name members,
and answers are compared by these names (Canon.member_names).
"""

import hashlib
import time

from diff_canon import rpc
from diff_cases import case, fresh_case
from diff_pair import result_of

CLUSTER = "etcdserverpb.Cluster/"
OWN_URL = "http://localhost:2380"
NOWHERE = "http://127.0.0.1:1"
BAD_URLS = (
    [], [""], ["127.0.0.1:1"], ["http://127.0.0.1"], ["ftp://127.0.0.1:1"], ["http://127.0.0.1:1/path"],
    ["http://127.0.0.1:1,http://127.0.0.1:2"], ["http://127.0.0.1:x"], ["http://127.0.0.1 :1"], [NOWHERE, "x"],
    ["http://[::1:1"], ["http://\0:1"],
)


class Members:
    """Calls that name members: their ids, as either server knows them."""

    def __init__(self, c):
        self.c, self.pair = c, c.pair
        self.pair.call(CLUSTER + "MemberList", rpc.MemberListRequest())  # from now on the servers' own ids are known
        self.canons = (self.pair.canon_a, self.pair.canon_b)

    def id_of(self, canon, name):
        if isinstance(name, int):
            return name
        return canon.ids[1] if name == "self" else next(k for k, v in canon.member_names.items() if v == name)

    def call(self, method, make):
        """The request is made for each server, given what turns a name into an id."""
        requests = [make(lambda name, canon=canon: self.id_of(canon, name)) for canon in self.canons]
        futures = [calls.unary(method).future(request.SerializeToString())
                   for calls, request in zip((self.pair.a, self.pair.b), requests)]
        answers = [result_of(f) for f in futures]
        self.pair.count(method.split("/")[1], answers[0])
        self.pair.compare(method, requests[0], *answers)
        return answers

    def add(self, name, urls, learner=True):
        """Its id is checked as well, for both."""
        before = int(time.time())
        for canon in self.canons:
            canon.next_member = name
        answers = self.call(CLUSTER + "MemberAdd", lambda _: rpc.MemberAddRequest(peerURLs=urls, isLearner=learner))
        joined = "".join(sorted(u.strip() for u in urls))
        expected = {int.from_bytes(hashlib.sha1((joined + str(second)).encode()).digest()[:8], "big")
                    for second in range(before - 1, int(time.time()) + 2)}
        for answer in answers:
            if answer.ok and rpc.MemberAddResponse.FromString(answer.data).member.ID not in expected:
                self.pair.differ("the id of a new member", urls, "of URLs and second", str(answer.data))

    def remove(self, name):
        self.call(CLUSTER + "MemberRemove", lambda id_of: rpc.MemberRemoveRequest(ID=id_of(name)))

    def update(self, name, urls):
        self.call(CLUSTER + "MemberUpdate", lambda id_of: rpc.MemberUpdateRequest(ID=id_of(name), peerURLs=urls))

    def promote(self, name):
        self.call(CLUSTER + "MemberPromote", lambda id_of: rpc.MemberPromoteRequest(ID=id_of(name)))

    def move_leader(self, name):
        self.call("etcdserverpb.Maintenance/MoveLeader",
                  lambda id_of: rpc.MoveLeaderRequest(targetID=id_of(name)))

    def list(self):
        for linearizable in (False, True):
            self.pair.call(CLUSTER + "MemberList", rpc.MemberListRequest(linearizable=linearizable))


@case
def members_that_cannot_be_added(c):
    m = Members(c)
    for urls in BAD_URLS:
        for learner in (False, True):
            m.add("bad", urls, learner)
    m.add("taken", [OWN_URL])
    m.add("taken", [NOWHERE, OWN_URL])
    m.add("taken", [OWN_URL], learner=False)
    m.list()


@case
def members_that_are_not_there(c):
    m = Members(c)
    for name in (0, 1, 2 ** 64 - 1):
        m.remove(name)
        m.update(name, [NOWHERE])
        m.update(name, [OWN_URL])
        m.promote(name)
        m.move_leader(name)


@case
def the_only_voter(c):
    m = Members(c)
    m.remove("self")
    m.promote("self")
    m.move_leader("self")
    m.update("self", [OWN_URL])
    m.update("self", ["http://localhost:2380", "http://localhost:12380"])
    m.list()
    m.update("self", [OWN_URL])
    m.list()


@case
def a_learner_comes_and_goes(c):
    m = Members(c)
    m.add("first", ["http://127.0.0.1:2", " " + NOWHERE])
    m.list()
    m.add("second", ["http://127.0.0.1:3"])  # --max-learners
    m.add("second", [NOWHERE])
    m.promote("first")  # it is not there
    m.move_leader("first")
    c.put(b"members/a")
    c.get(b"members/a")
    c.pair.call("etcdserverpb.Maintenance/Status", rpc.StatusRequest())
    m.update("first", [OWN_URL])  # etcd does not look at URLs here, and panics when they are none
    m.update("first", ["http://127.0.0.1:4"])
    m.list()
    m.remove("self")
    m.remove("first")
    for change in (m.remove, m.promote, m.move_leader, lambda name: m.update(name, [NOWHERE])):
        change("first")
    m.list()
    m.add("again", ["http://127.0.0.1:2", NOWHERE, "http://127.0.0.1:5"])  # its URLs are free
    m.remove("again")
    c.put(b"members/a")


@case
def member_requests_that_are_no_message(c):
    for method in ("MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"):
        for data in (b"\x0a", b"\x0a\x05a", b"\xff" * 11, b"\x00\x00", b"\x0b", b"\x07",
                     b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00"):
            c.raw(CLUSTER + method, data)
    c.raw(CLUSTER + "MemberRemove", b"\x08\x05\x08\x07")  # the last one counts
    c.raw(CLUSTER + "MemberRemove", b"\x0a\x01a")  # of another type


@fresh_case
def hashes_of_the_keys(c):
    """etcd remembers the sums at compactions, and answers with them for any revision up to there."""
    method = "etcdserverpb.Maintenance/HashKV"
    head = c.put(b"hash/a").header.revision
    for revision in (0, head, head - 1, head + 1, 2 ** 62):
        c.pair.call(method, rpc.HashKVRequest(revision=revision))
    c.compact(head)
    c.put(b"hash/a")
    for revision in (head + 1, head - 1, 1):
        c.pair.call(method, rpc.HashKVRequest(revision=revision))
    c.pair.call("etcdserverpb.Maintenance/Hash", rpc.HashRequest())
    for data in (b"\x0a", b"\x08", b"\xff" * 11):
        c.raw(method, data)
        c.raw("etcdserverpb.Maintenance/MoveLeader", data)


@case
def the_second_voter(c):
    """The last case: the cluster needs both from then on, and one never starts."""
    m = Members(c)
    m.add("voter", [NOWHERE], learner=False)
    c.pair.call(CLUSTER + "MemberList", rpc.MemberListRequest())
    c.get(serializable=True)
    m.add("third", ["http://127.0.0.1:3"], learner=False)  # not enough have started
