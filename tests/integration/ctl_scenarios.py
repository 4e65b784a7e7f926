"""The commands that compare_ctl.py runs with both tools.

A step: args; optional stdin, env, and
  usage        a wrong command line, whose help text may differ
  protobuf     stdout is a message ("header": nothing but its header)
  lines, stderr_lines   stop when so many lines were printed (watch)
  endpoint     False: without --endpoints
  in_turn      in the first step: the scenario writes nothing, both tools run each step at once
  any_order    lines may come in any order
  differs      a difference we want, with its reason (the test fails when it is gone)
{rev+N} is the revision N after the scenario's start, {leaseN} the N-th lease granted in it.
"""

FORMATS = ["simple", "fields", "json"]


def s(line, **more):
    """A step from words separated by spaces."""
    return {"args": line.split(" "), **more}


def a(*args, **more):
    return {"args": list(args), **more}


def each_format(*args, protobuf=True, **more):
    steps = [a(*args, "-w", f, **more) for f in FORMATS]
    steps += [a(*args, "-w", f, "--hex", **more) for f in FORMATS]
    steps += [a(*args, "-w", "protobuf", protobuf=protobuf, **more), a(*args, "-w", "table", **more)]
    return steps


def some_keys():
    return [a("put", f"k{i}", f"v{9 - i}") for i in range(5)]


def kv():
    odd = "tab\tquote\" back\\ <&> é \u200b \u2028 \u00ad 世界 \x01"
    yield "put", (each_format("put", "a", "1") + each_format("put", "a", "2", "--prev-kv") + [
        a("put", "odd", odd), a("put", odd, "x"),
        a("get", "odd", "-w", "fields"), a("get", odd, "-w", "fields"),
        a("get", "odd", "-w", "json"), a("get", odd),
        a("put", "empty", ""), a("get", "empty"), a("get", "empty", "-w", "json"),
        a("put", "stdin", stdin="from\nstdin\n"), a("get", "stdin"),
        a("get", "stdin", "--hex"),
        a("put", "--", "-dash", "-value"), a("get", "--", "-dash"),
        a("put", "dash", "--", "-v"), a("get", "dash"),
        a("put", "a", "--ignore-value"), a("put", "a", "b", "--ignore-value"),
        a("put", "missing", "--ignore-value"), a("put", "missing", "x", "--ignore-lease"),
        a("put", "a", "x", "--lease=123"), a("put", "a", "x", "--lease", "zz"),
        a("put", "a", "x", "--lease", "fffffffffffffffff"), a("put"), a("put", "a"),
        a("put", "", "x"), a("put", "a", "b", "c"),
        a("put", "big", "x" * 100000), a("get", "big"),
    ])
    yield "get", some_keys() + [
        step for args in [
            ["k1"], ["k1", "k3"], ["k", "--prefix"], ["", "--prefix"], ["k3", "--from-key"],
            ["", "--from-key"], ["none"], ["k", "--prefix", "--limit", "2"],
            ["k", "--prefix", "--keys-only"], ["k", "--prefix", "--rev={rev+2}"],
            ["k", "--prefix", "--sort-by", "VALUE", "--order", "ASCEND"],
        ] for step in each_format("get", *args)
    ] + [
        a("get", "k", "--prefix", "--order=DESCEND"), a("get", "k", "--prefix", "--order", "descend"),
        a("get", "k", "--prefix", "--sort-by=create", "--order", "DESCEND"),
        a("get", "k", "--prefix", "--sort-by=MODIFY"), a("get", "k", "--prefix", "--sort-by=VERSION"),
        a("get", "k", "--prefix", "--sort-by=KEY", "--order", "ASCEND"),
        a("get", "k", "--prefix", "--order=up"), a("get", "k", "--prefix", "--sort-by=size"),
        a("get", "k", "--prefix", "--consistency=s"), a("get", "k1", "--consistency=x"),
        a("get", "k", "--prefix", "--count-only"),
        a("get", "k", "--prefix", "--count-only", "-w", "fields"),
        a("get", "k", "--prefix", "--count-only", "-w", "json"),
        a("get", "k", "--prefix", "--print-value-only"),
        a("get", "k", "--prefix", "--print-value-only", "--hex"),
        a("get", "k", "--prefix", "--print-value-only", "-w", "json"),
        a("get", "k", "--prefix", "--min-create-rev={rev+2}", "--max-create-rev={rev+3}"),
        a("get", "k", "--prefix", "--min-mod-rev={rev+2}", "--max-mod-rev={rev+3}", "-w", "json"),
        a("get", "k", "--prefix", "--min-mod-rev=3", "--max-mod-rev=2"),
        a("get", "k", "--prefix", "--min-create-rev=3", "--max-create-rev=2"),
        a("get", "k", "--prefix", "--from-key"), a("get", "k", "z", "--prefix"),
        a("get", "k", "--keys-only", "--count-only"), a("get", "k1", "--rev={rev+900}"),
        a("get", "k", "--prefix", "--stream"), a("get", "k", "--prefix", "--stream", "-w", "json"),
        a("get", "none", "--stream", "-w", "json"), a("get", "", "--stream"),
        a("get", "k", "--prefix", "--stream", "--limit=2", "-w", "json"),
        a("get", "k", "--prefix", "--stream", "--order=DESCEND"),
        a("get", "k", "--prefix", "--stream", "--min-mod-rev=1"),
        a("get", "k", "--prefix", "--stream", "-w", "protobuf", protobuf=True),
        a("get"), a("get", ""), a("get", "k1", "--max-recv-bytes=10"),
        a("get", "k1", "k9", "extra"), a("get", "k1", "--rev=-5"), a("get", "k1", "--limit=-1"),
    ]
    yield "del", [
        step for args in [["k1"], ["none"], ["k", "--prefix"], ["k2", "k4", "--range"],
                          ["k3", "--from-key"], ["", "--prefix"], ["k1", "--prev-kv"],
                          ["k", "--prefix", "--prev-kv"], ["", "--from-key", "--prev-kv"]]
        for run in each_format("del", *args) for step in some_keys() + [run]
    ] + [
        a("put", "a", "1"), a("del", "a", "b"),
        a("del"), a("del", "a", "b", "c"), a("del", ""), a("del", "a", "b", "--prefix"),
        a("del", "a", "--prefix", "--from-key"), a("del", "a", "b", "--from-key", "--range"),
    ]
    yield "compaction", some_keys() + [
        a("compaction", "{rev+2}"), a("compaction", "{rev+2}"), a("compaction", "{rev+900}"),
        a("compact", "{rev+3}", "--physical"), a("compaction", "x"), a("compaction"),
        a("compaction", "1", "2"), a("compaction", "9999999999999999999999"),
        a("get", "k1", "--rev={rev+1}"), a("get", "k1", "--rev={rev+3}"),
        a("compaction", "{rev+4}", "-w", "json"),
    ]


def txn():
    body = 'mod("a") > "0"\n\nput b "it was there"\nget a\ndel c\n\nput a "it is new"\n\n'
    compares = ['ver("a") = "1"', 'version("a") != "1"', 'c("a") > "1"', 'create("a") < "1"',
                'm("a") = "0"', 'val("a") = "1"', 'value("a") > "0"', 'value("a") < "\\x30"',
                'mod("none") = "0"', 'val("none") != "x"', 'mod("a")  >  "0"', '  mod("a") > "0"  ',
                'mod("a")> "0"', 'val(`a`) = `1`']
    wrong = ['mod', 'mod("a"', 'mod("a") > ', 'mod("a") > 0', 'foo("a") = "1"', 'mod("a") = "x"',
             'mod(a) = "1"', 'val("a") "1"', 'mod("\\q") = "1"', 'mod ("a") = "1"', 'mod("a" ) = "1"']
    ops = ['get a', 'get a --prefix', 'get a b --limit 1', 'get a --rev={rev+1}', 'put x 1',
           'put x "two words"', "put x 'single <&> quotes'", 'put x "tab\\t\\u00e9\\x41"', 'put x 1 --prev-kv',
           'put x --ignore-value', 'del x', 'del x --prev-kv', 'del a --prefix', 'del a b --range',
           'g a', 'd none', 'get a --keys-only', 'get a --count-only', 'put  spaced   out']
    wrong_ops = ['get', 'foo a', 'put x', 'get a --order=x', 'put x y --lease=q', 'get a --prefix --from-key',
                 'del a b c']
    yield "txn", [a("put", "a", "1")] + [
        step for f in FORMATS for step in [
            a("txn", "-w", f, stdin=body), a("txn", "-i", "-w", f, stdin=body)]
    ] + [
        a("txn", "-w", "protobuf", stdin=body, protobuf=True), a("txn", "-w", "table", stdin=body),
        a("txn", "--hex", stdin=body), a("txn", stdin="\n\n\n"), a("txn", "-w", "json", stdin="\n\n\n"),
        a("txn", "extra"), a("txn", stdin=""), a("txn", stdin="\n"), a("txn", stdin="\n\nget a"),
        a("txn", "--interactive", stdin="\n"),
        a("txn", stdin="\nput d 1\nput d 2\n\n\n"),
        a("txn", stdin="\nput d 1 --lease=123\n\n\n"),
    ]
    yield "txn compares", [a("put", "a", "1")] + [
        a("txn", stdin=f"{c}\n\nget a\n\n\n") for c in compares + wrong]
    yield "txn requests", [a("put", "a", "1")] + [
        step for op in ops for step in [a("txn", stdin=f"\n{op}\n\n\n"),
                                        a("txn", "-w", "json", stdin=f"\n{op}\n\n\n")]
    ] + [a("txn", stdin=f"\n{op}\n\n\n", usage=True) for op in wrong_ops]


def lease():
    grant = a("lease", "grant", "600")
    yield "lease", [
        step for f in FORMATS for step in [
            a("lease", "grant", "600", "-w", f), a("lease", "grant", "600", "-w", f, "--hex")]
    ] + [
        # Leases granted in one instant have no order between them.
        a("lease", "list", any_order=True)] + [grant, a("put", "a", "1", "--lease={lease1}"),
         a("put", "b", "1", "--lease={lease1}")] + [
        a("get", "a", "-w", f, *h) for f in FORMATS for h in ([], ["--hex"])] + [
        a("put", "a", "2", "--prev-kv", "-w", "json"), a("put", "a", "1", "--lease={lease1}"),
        a("put", "a", "3", "--ignore-lease"), a("get", "a", "-w", "json"),
    ] + each_format("lease", "timetolive", "{lease1}", protobuf="header") + each_format(
        "lease", "timetolive", "{lease1}", "--keys", any_order=True, protobuf="header") + each_format(
        "lease", "timetolive", "7", protobuf="header") + [a("lease", "timetolive", "7", "--keys")] + [
        a("lease", "keep-alive", "--once", "{lease1}", "-w", f) for f in FORMATS] + [
        a("lease", "keep-alive", "--once", "{lease1}", "-w", "protobuf", protobuf="header"),
        a("lease", "keep-alive", "--once", "{lease1}", "-w", "table"),
        a("lease", "grant", "600", "-w", "table"),
        a("lease", "keep-alive", "--once", "7"), a("lease", "keep-alive", "7"),
        a("lease", "keep-alive", "7", "-w", "json"),
        a("lease", "revoke", "7"), a("lease", "revoke", "{lease1}"), a("get", "a"),
        grant, a("lease", "revoke", "{lease2}", "-w", "json"),
        grant, a("lease", "revoke", "{lease3}", "-w", "fields"),
        a("lease", "revoke", "zz"), a("lease", "revoke"), a("lease", "timetolive"),
        a("lease", "timetolive", "zz"), a("lease", "keep-alive"), a("lease", "keep-alive", "zz"),
        a("lease", "grant"), a("lease", "grant", "x"), a("lease", "grant", "1", "2"),
        a("lease", "grant", "9000000001"), a("lease", "grant", "99999999999999999999"),
        a("lease", "grant", "-w", "simple", "--", "-5"),
        a("lease", "list", "extra", any_order=True),
        a("lease", "keep", "--once", "7"),
    ]
    yield "lease list", [a("lease", "list", "-w", f) for f in FORMATS] + [
        grant] + each_format("lease", "list", protobuf="header")
    yield "lease keep-alive until it is gone", [
        a("lease", "grant", "2"),
        a("lease", "keep-alive", "{lease1}", lines=1),
        a("lease", "grant", "2", "-w", "protobuf", protobuf="header"),
    ]


def cluster():
    yield "member", each_format("member", "list") + [
        a("member", "list", "--consistency", "s"),
        a("member", "list", "--consistency=q", differs="etcdctl names the flag of get"),
        a("member", "list", "-w", "table", "--hex"), a("member", "list", "-w", "xml")]
    yield "endpoint", [a("endpoint", "status", in_turn=True), a("endpoint", "stat"), a("en", "s")] + [
        step for group in (["endpoint"], ["endpoint", "--cluster"])
        for step in each_format(*group, "status")] + [
        a("endpoint", "health", "-w", f) for f in FORMATS] + [
        a("endpoint", "health", "-w", "protobuf"), a("endpoint", "health", "--cluster"),
        a("endpoint", "status", "extra"),
        a("--endpoints", "127.0.0.1:1,{endpoint}", "--command-timeout=400ms", "endpoint", "status",
          endpoint=False),
        a("--endpoints", "http://{endpoint}", "endpoint", "status", endpoint=False),
    ]
    dead = ["--endpoints", "127.0.0.1:1", "--command-timeout=300ms"]
    half = ["--endpoints", "127.0.0.1:1,{endpoint}", "--command-timeout=400ms"]
    yield "endpoints that do not answer", [
        a(*dead, *rest, endpoint=False) for rest in [
            ["get", "a"], ["get", "a", "-w", "json"], ["put", "a", "1"], ["del", "a"],
            ["compaction", "1"], ["lease", "grant", "5"], ["lease", "revoke", "5"],
            ["member", "list"], ["endpoint", "health"], ["endpoint", "health", "-w", "json"],
            ["endpoint", "health", "-w", "fields"], ["endpoint", "status"],
            ["endpoint", "status", "-w", "json"], ["endpoint", "status", "-w", "table"],
            ["endpoint", "status", "--cluster"]]
    ] + [
        a(*half, "get", "a", endpoint=False), a(*half, "put", "a", "1", endpoint=False),
        a(*half, "endpoint", "health", endpoint=False),
        a(*half, "endpoint", "health", "-w", "json", endpoint=False),
        a("--endpoints", "", "get", "a", endpoint=False),
        a("--endpoints", "http://{endpoint}", "get", "a", endpoint=False),
        a("--endpoints", " {endpoint} , {endpoint}", "get", "a", endpoint=False),
        a("--endpoints={endpoint}", "--endpoints={endpoint}", "get", "a", endpoint=False),
    ]


def command_line():
    yield "flags", [
        a("put", "a", "1"), a("-w", "json", "get", "a"), a("get", "-wjson", "a"),
        a("get", "a", "-w=json"), a("get", "--write-out", "json", "a"),
        a("--write-out=json", "get", "a"), a("get", "--hex=true", "a"), a("get", "--hex=0", "a"),
        a("get", "a", "--hex", "false"), a("get", "--limit=0x10", "a"), a("get", "--limit=1_0", "a"),
        a("get", "--limit=010", "a"), a("get", "a", "-w", "xml"), a("get", "a", "--command-timeout=1m"),
        a("get", "a", "--command-timeout=1.5h3s"), a("get", "a", "--command-timeout=1ns"),
        a("get", "a", "--dial-timeout", "300ms"), a("get", "a", "--keepalive-time=1s"),
        a("get", "a", "--insecure-transport"), a("get", "a", "--insecure-discovery=false"),
        a("get", "a", "--cert="), a("get", "a", "--key", ""), a("get", "a", "--cacert="),
        a("put", "a", "1234567890", "--max-request-bytes=10", "--max-recv-bytes=1000"),
        a("get", "a", "--max-request-bytes=1000", "--max-recv-bytes=20"),
    ]
    yield "wrong flags", [a(*args, usage=True) for args in [
        ["get", "a", "--nosuch"], ["get", "a", "-x"], ["get", "a", "-wx", "-y"],
        ["get", "a", "--limit=x"], ["get", "a", "--limit"], ["get", "a", "-w"],
        ["get", "a", "--rev=99999999999999999999"], ["get", "a", "--prefix=maybe"],
        ["get", "a", "--limit=0x"], ["get", "a", "--limit=1__0"], ["get", "a", "--limit="],
        ["get", "a", "--command-timeout=5"], ["get", "a", "--command-timeout=x"],
        ["get", "a", "--command-timeout=5q"], ["get", "a", "--command-timeout="],
        ["get", "a", "--command-timeout=.s"], ["get", "a", "--hex=x"],
        ["get", "a", "---x"], ["get", "a", "--=x"], ["get", "a", "-5"], ["put", "a", "-1"],
        ["lease", "grant", "-1"], ["txn", "-q"], ["watch", "--rev=x", "a"], ["member", "list", "-z"],
        ["get", "a", "-w\"q\"", "--tab\t"],
    ]]
    yield "wrong commands", [a(*args) for args in [
        ["nosuch"], ["c"], ["l"], ["gett"], ["gte", "a"], ["pt"], ["m"], ["e"], ["NOSUCH"], ["GE"],
        ["leese"],
    ]]
    yield "prefixes", [a(*args) for args in [
        ["p", "a", "1"], ["g", "a"], ["ge", "a"], ["member", "l"], ["mem", "lis"],
        ["lea", "li"], ["tx"], ["compa"],
        ["--nosuch", "get", "a"], ["--hex", "get", "a"],
    ]]
    yield "environment", [
        a("put", "a", "1"),
        a("get", "a", env={"ETCDCTL_WRITE_OUT": "json"}),
        a("get", "a", env={"ETCDCTL_HEX": "true", "ETCDCTL_COMMAND_TIMEOUT": "3s"}),
        a("get", "a", env={"ETCDCTL_ENDPOINTS": "{endpoint}"}, endpoint=False),
        a("get", "a", env={"ETCDCTL_ENDPOINTS": "127.0.0.1:1,{endpoint}"}, endpoint=False),
        a("get", "a", env={"ETCDCTL_WRITE_OUT": ""}),
    ]


def watch():
    history = [a("put", "a", "1"), a("put", "a", "2"), a("put", "ab", "<&>\u00e9"), a("del", "a"),
               a("txn", stdin="\nput a 3\nput b 4\ndel ab\n\n\n")]
    since = "--rev={rev+1}"
    show = ["sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"
            " REVISION=$ETCD_WATCH_REVISION"]
    yield "watch", history + [
        a("watch", "a", since, lines=12), a("watch", "a", since, "--prev-kv", lines=16),
        a("watch", "a", "b", since, lines=18), a("watch", "--prefix", "a", since, lines=18),
        a("watch", "--prefix", "", since, lines=21), a("watch", "a", since, "--hex", lines=12),
        a("watch", "a", since, "-w", "json", lines=1),
        a("watch", "a", since, "-w", "json", "--prev-kv", lines=1),
        a("watch", "--prefix", "a", since, "-w", "json", lines=1),
        a("watch", "a", since, "-w", "fields", lines=32),
        a("watch", "a", since, "-w", "fields", "--prev-kv", "--hex", lines=44),
        a("watch", "a", since, "-w", "table", lines=1),
        a("watch", "a", since, "--", *show, lines=16),
        a("watch", since, "a", "b", "--", "echo", "changed", lines=24),
        a("watch", "a", since, "--", "sh", "-c", "exit 3", lines=99),
        a("watch", "a", since, "--", "sh", "-c", "kill -TERM $$", lines=99),
        a("watch", "a", since, "--", "nosuchprogram", "x", lines=99),
        a("watch", "a", since, "--", "/no/such/program", lines=99),
        a("watch", since, lines=12, env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", since, lines=18, env={"ETCDCTL_WATCH_KEY": "a", "ETCDCTL_WATCH_RANGE_END": "b"}),
        a("watch", since, "--", "echo", "x", lines=16, env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", "a", "--rev=-1", lines=1),
        a("watch", "b", "a", lines=1),
        a("watch", "b", "a", "-w", "json", lines=99),
        a("watch"), a("watch", "a", "--"), a("watch", "--"), a("watch", "a", "b", "--prefix"),
        a("watch", "a", env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", "a", "--", "x", env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", env={"ETCDCTL_WATCH_RANGE_END": "b"}),
        a("watch", "--rev=1", lines=99),
    ]
    yield "watch after a compaction", history + [
        a("compaction", "{rev+3}"),
        a("watch", "a", since, lines=99), a("watch", "a", since, "-w", "json", lines=99),
        a("watch", "a", since, "-w", "fields", lines=99),
        a("watch", "a", "--rev={rev+3}", lines=6),
    ]
    yield "watch -i", history + [
        a("watch", "-i", stdin="watch a --rev={rev+1}\n", lines=12),
        a("watch", "-i", stdin="watch --prefix a --rev={rev+1} --prev-kv\n", lines=24),
        a("watch", "-i", stdin="watch 'a' \"b\" --rev {rev+1} -- echo x\n", lines=24),
        a("watch", "-i", stdin="watch a\nprogress\n", lines=1),
        a("watch", "-i", "-w", "json", stdin="watch a\nprogress\n", lines=2),
        a("watch", "-i", stdin="foo\n\nwatch\nwatch a b --prefix\n", lines=0, stderr_lines=4),
        a("watch", "-i", stdin="watch --nosuch\n", lines=99),
        a("watch", "-i", stdin="watch a --\n", lines=99),
        a("watch", "-i", stdin="watch b a\nwatch a --rev={rev+1}\n", lines=12),
        a("watch", "-i", stdin="watch --rev={rev+1}\n", lines=12, env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", "-i", stdin="watch b\n", lines=99, env={"ETCDCTL_WATCH_KEY": "a"}),
        a("watch", "-i", stdin=""), a("watch", "-i", stdin="watch a"),
    ]


def scenarios():
    for family in (kv, txn, lease, cluster, command_line, watch):
        yield from family()
