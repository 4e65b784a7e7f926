"""The commands about clusters that quoralctl_cluster.py runs with both tools.

A step is that of ctl_scenarios.py, with
  at                  the endpoints: names separated by commas; without it m0, which leads when a scenario begins
  until               repeat it while stderr contains this text (what a cluster needs some seconds for)
  until_out           repeat it until stdout contains this text
  members             the answer lists members, in an order that depends on the id of the new one
  start, stop         no command: starts the member added last with the environment that `member add` printed; stops it
  pause, resume, kill, restart   no command: what is done to the server of that name
{mN} is the id of a member, {pN} its peer URL, {xN} a peer URL nobody listens on, {free} one that can be listened on,
{new} the id of the member added last and {new2} of the one before. Ids are hashes of the peer URLs and the second, and
ids of removed members are never taken again, so every `member add` has URLs of its own. Names of endpoints are
mN, "new" (the one that was started) and "dead" (nobody listens).
"""

from ctl_scenarios import FORMATS, a, each_format

ALL = "m0,m1,m2"
UNHEALTHY = "unhealthy cluster"
NOT_IN_SYNC = "in sync with leader"


def questions():
    """Nothing changes: each step runs with one tool and then at once with the other."""
    yield "endpoints of a cluster", [a("put", "k", "v", in_turn=True)] + [
        step for group in (["endpoint"], ["endpoint", "--cluster"]) for name in ("status", "hashkv", "health")
        for step in each_format(*group, name, at=ALL, any_order=name == "health")
    ] + [
        a("endpoint", "hashkv", "--rev=2"), a("endpoint", "hashkv", "--rev", "1", at="m1,m2"),
        a("endpoint", "hashkv", "--rev=99999999", at=ALL), a("endpoint", "hashkv", "--rev=99999999", "-w", "json"),
        a("endpoint", "hashkv", "--rev=-1"), a("endpoint", "hashkv", "extra"), a("endpoint", "hash"),
        a("--command-timeout=300ms", "endpoint", "hashkv", at="dead,m1"),
        a("--command-timeout=300ms", "endpoint", "hashkv", "-w", "table", at="m1,dead"),
        a("--command-timeout=300ms", "endpoint", "hashkv", "-w", "json", at="dead"),
        a("--command-timeout=300ms", "endpoint", "hashkv", "-w", "fields", "--cluster", at="dead"),
        a("--command-timeout=300ms", "endpoint", "status", "-w", "json", at="m2,dead"),
        a("--command-timeout=300ms", "endpoint", "health", at="dead,m0,m2", any_order=True),
    ]
    yield "members of a cluster", [
        step for at in ("m0", "m1") for step in each_format("member", "list", at=at, in_turn=True)
    ] + [a("member", "list", at=ALL), a("member", "list", "--consistency=s", at="m2")]
    yield "wrong arguments", [a(*args, in_turn=True) for args in [
        ["member", "add"], ["member", "add", "four"], ["member", "add", "four", "--peer-urls="],
        ["member", "add", "four", "{x1}"], ["member", "add", "four", "five", "HTTPS://a:1", "http:"],
        ["member", "add", "four", "--peer-urls=a:1"], ["member", "add", "four", "--peer-urls=,"],
        ["member", "add", "four", "--peer-urls={x1},http://a"], ["member", "add", "four", "--peer-urls=http://a:1/"],
        ["member", "add", "four", "--peer-urls=http://a b:1"], ["member", "add", "four", "--peer-urls=http://a:x"],
        ["member", "add", "four", "--peer-urls", "{p1}"], ["member", "add", "four", "--peer-urls={p1}", "--learner"],
        ["member", "add", "four", "--peer-urls={x1}", "-w", "xml"],
        ["member", "remove"], ["member", "remove", "{m1}", "{m2}"], ["member", "remove", "zz"],
        ["member", "remove", ""], ["member", "remove", "0x1"], ["member", "remove", "1fffffffffffffffff"],
        ["member", "remove", "1234"], ["member", "remove", "--", "-1"], ["member", "rem", "1234", "-w", "json"],
        ["member", "update"], ["member", "update", "zz"], ["member", "update", "1234"],
        ["member", "update", "1234", "--peer-urls=b"], ["member", "update", "1234", "--peer-urls", "{x1}"],
        ["member", "update", "{m1}", "--peer-urls={p2}"],
        ["member", "promote"], ["member", "promote", "zz"], ["member", "promote", "1234"],
        ["member", "promote", "{m1}"],
        ["move-leader"], ["move-leader", "{m1}", "{m2}"], ["move-leader", "zz"],
        ["move-leader", "10000000000000000"], ["move-leader", "1234"], ["move-leader", "0"], ["move", "{m0}x"],
        ["move-leader", "1234", "-w", "json"], ["move-leader", "1234", "-w", "xml"],
    ]] + [
        a("move-leader", "{m1}", at="m1"), a("move-leader", "{m1}", at="m1,m2"),
        a("--command-timeout=300ms", "move-leader", "{m1}", at="dead,m0"), a("move-leader", "1234", at=ALL),
    ] + [a(*args, usage=True) for args in [
        ["member", "add", "x", "--learner=maybe"], ["member", "add", "-x"], ["endpoint", "hashkv", "--rev=x"],
        ["move-leader", "--force"], ["member", "remove", "-1"],
    ]]


def leadership():
    yield "move-leader", [
        a("move-leader", "{m1}", at=ALL), a("move-leader", "{m2}", "-w", "json", at="m2,m1"),
        a("move-leader", "{m0}", "-w", "fields", at=ALL), a("move-leader", "{m1}", "-w", "table"),
        a("move-leader", "{m2}", "-w", "protobuf", at=ALL), a("move-leader", "{m2}", at="m2"),
        a("move-leader", "{m0}", "--hex", at="m1,m2"), a("endpoint", "hashkv", at=ALL),
    ]


def membership():
    """Members that are never started: what does not need a running one."""
    yield "member add and remove", [
        step for i, f in enumerate(FORMATS + ["table"]) for k, hex_ids in enumerate([[], ["--hex"]]) for step in [
            a("member", "add", "four", "--learner", "--peer-urls={x%d},{x40}" % (10 + 2 * i + k), "-w", f, *hex_ids,
              members=True, until=UNHEALTHY),
            a("member", "update", "{new}", "--peer-urls={x41}", "-w", f, *hex_ids, members=True),
            a("member", "promote", "{new}", "-w", f, *hex_ids),
            a("member", "list", "-w", f, *hex_ids, members=True, at="m1"),
            a("member", "remove", "{new}", "-w", f, *hex_ids, members=True),
            a("member", "remove", "{new}", "-w", f, *hex_ids),
        ]
    ] + [
        a("member", "add", "four", "--learner", "--peer-urls={x1}", "-w", "protobuf", members=True, protobuf=True,
          until=UNHEALTHY),
        a("member", "add", "five", "--learner", "--peer-urls={x2}"),
        a("member", "update", "{new}", "--peer-urls={x2}", "-w", "protobuf", members=True, protobuf=True),
        a("member", "list", "-w", "protobuf", members=True, protobuf=True),
        a("endpoint", "status", "--cluster", "-w", "fields"),
        a("member", "remove", "{new}", "-w", "protobuf", members=True, protobuf=True),
        # Voters that have not started count for the quorum.
        a("member", "add", "a \"name\"\t", "--peer-urls= {x4}", members=True, until=UNHEALTHY),
        a("member", "add", "five", "--peer-urls={x5}", members=True, until=UNHEALTHY),
        a("member", "add", "six", "--peer-urls={x6}", until=UNHEALTHY), a("member", "promote", "{new}"),
        a("member", "list", members=True), a("member", "update", "{new}", "--peer-urls={x6},{x7}", members=True),
        a("member", "remove", "{new}", members=True, until=UNHEALTHY),
        a("member", "remove", "{new2}", members=True, until=UNHEALTHY), a("member", "list"),
    ]


def growth(output):
    """A learner that is started with the printed environment, gets a vote, leads and leaves again."""
    w = ["-w", output]
    learner = [
        a("get", "k", at="new"), a("put", "k", "v", at="new"), a("get", "k", "--consistency=s", at="new"),
        a("member", "list", at="new"), a("watch", "k", lines=1, stderr_lines=1, at="new"),
        a("endpoint", "status", "-w", "fields", at="new"), a("endpoint", "health", at="new"),
        a("endpoint", "hashkv", at="new"), a("move-leader", "{m1}", at="new"),
        # A voter among the endpoints answers instead of it.
        a("get", "k", at="new,m1"), a("put", "k", "w", at="new,m1,m2"), a("get", "k", at="m2,new"),
        a("member", "list", members=True, at="new,m1"), a("lease", "list", at="new,m0"),
        a("endpoint", "health", "--cluster", any_order=True, at="new,m2"),
    ] if output == "simple" else []
    yield "a learner becomes a member, " + output, [
        a("put", "k", "v"), a("member", "add", "four", "--learner", "--peer-urls={free}", members=True, until=UNHEALTHY),
        {"start": True},
    ] + learner + [
        a("member", "promote", "{new}", *w, members=True, until=NOT_IN_SYNC), a("member", "promote", "{new}", *w),
        a("member", "list", *w, members=True), a("move-leader", "{new}", *w, at="m0,m1,new"),
        a("get", "k", at="new"), a("move-leader", "{m0}", *w, at="m0,m1,new"),
        a("member", "remove", "{new}", *w, members=True, until=UNHEALTHY),
        {"stop": True}, a("member", "list", *w),
    ]


def failures():
    some = [["get", "k"], ["put", "k", "v"], ["del", "none"], ["member", "list"], ["lease", "list"],
            ["get", "k", "--stream"], ["get", "k", "--consistency=s"]]
    yield "a member that hangs", [a("put", "k", "v"), {"pause": "m1"}] + [
        a(*args, at=at) for args in some for at in ("m1,m2", "m2,m1,m0")
    ] + [
        a("--command-timeout=1s", "endpoint", "health", at=ALL, any_order=True),
        a("--command-timeout=1s", "endpoint", "hashkv", at="m1,m2"),
        a("--command-timeout=1s", "get", "k", at="m1"), a("--command-timeout=1s", "put", "k", "w", at="m1"),
        a("get", "k"), {"resume": "m1"},
    ]
    yield "a member without the others", [
        a("put", "k", "v"), a("move-leader", "{m1}", at=ALL), {"kill": "m1"}, {"kill": "m2"},
        # Until it has noticed, it says that it knows a leader.
        a("endpoint", "status", "-w", "fields", until_out="etcdserver: no leader"),
    ] + [a("--command-timeout=500ms", *args, at="m0") for args in some] + [
        a("--command-timeout=500ms", *args, at="m1,m0") for args in some[:2]
    ] + [
        a("--command-timeout=500ms", *args, at="m0") for args in [
            ["endpoint", "health"], ["endpoint", "health", "-w", "json"], ["endpoint", "hashkv"],
            ["member", "list", "--consistency=s"], ["member", "add", "x", "--peer-urls={x1}"],
            ["member", "remove", "{m1}"], ["move-leader", "{m1}"], ["lease", "grant", "10"]]
    ] + [
        a("watch", "k", lines=9, stderr_lines=1), {"restart": "m1"}, {"restart": "m2"},
        a("get", "k", at="m0"), a("get", "k", at=ALL),
    ]


def scenarios():
    yield from questions()
    yield from leadership()
    yield from membership()
    for output in ("simple", "json"):
        yield from growth(output)
    yield from failures()
