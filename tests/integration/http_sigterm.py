#!/usr/bin/python3
"""curl against the HTTP side and its live diagnostics, and a process manager's SIGTERM.

    http_sigterm.py --server build/release/quorald [--part http|debug|sigterm]
"""

import fnmatch
import gzip
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import time

import support
from load import Ledger, Load

CHECKS = [0]


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def equal(got, expected, text):
    check(got == expected, "%s: got %r, expected %r" % (text, got, expected))


# ---- curl ----

HEADERS = ("content-type", "allow", "x-content-type-options")
PATHS = [
    ("GET", "/health"), ("GET", "/health?serializable=true"), ("GET", "/health?exclude=NOSPACE&exclude=CORRUPT"),
    ("POST", "/health"), ("HEAD", "/health"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/livez?verbose"),
    ("GET", "/readyz?verbose"), ("GET", "/readyz?verbose&exclude=linearizable_read"), ("GET", "/livez?exclude=unknown"),
    ("GET", "/livez/serializable_read"), ("GET", "/readyz/data_corruption"), ("GET", "/readyz/serializable_read"),
    ("GET", "/readyz/linearizable_read"), ("GET", "/readyz/non_learner"), ("GET", "/readyz/nothing"),
    ("POST", "/livez"), ("GET", "/version"), ("POST", "/version"), ("GET", "/nothing"), ("GET", "/"),
    ("GET", "/healthy"), ("GET", "/health/"), ("POST", "/debug/vars"),
]
METRICS = """etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_server_id etcd_server_version
etcd_cluster_version etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total
etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total
etcd_disk_wal_fsync_duration_seconds_bucket etcd_disk_wal_fsync_duration_seconds_count
etcd_disk_backend_commit_duration_seconds_bucket etcd_mvcc_db_total_size_in_bytes
etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_range_total etcd_mvcc_put_total etcd_mvcc_delete_total
etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_watch_stream_total
etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_events_total etcd_debugging_lease_granted_total
etcd_debugging_lease_revoked_total etcd_network_client_grpc_sent_bytes_total
etcd_network_client_grpc_received_bytes_total grpc_server_started_total grpc_server_handled_total
grpc_server_msg_received_total grpc_server_msg_sent_total process_resident_memory_bytes
process_virtual_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds
etcd_server_slow_apply_total etcd_server_slow_read_indexes_total etcd_server_read_indexes_failed_total
etcd_server_feature_enabled etcd_disk_wal_write_duration_seconds_count etcd_mvcc_db_open_read_transactions
etcd_debugging_mvcc_pending_events_total os_fd_used os_fd_limit process_virtual_memory_max_bytes
""".split()
# What etcd's mixin and its dashboards draw as a rate or a quantile: requests move it, here and there.
MOVES = """etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_mvcc_put_total etcd_mvcc_range_total
etcd_mvcc_delete_total etcd_mvcc_txn_total etcd_disk_wal_fsync_duration_seconds_bucket
etcd_disk_wal_fsync_duration_seconds_sum etcd_disk_wal_write_bytes_total etcd_disk_backend_commit_duration_seconds_bucket
etcd_disk_backend_commit_duration_seconds_sum etcd_network_client_grpc_received_bytes_total
etcd_network_client_grpc_sent_bytes_total grpc_server_started_total grpc_server_handled_total
grpc_server_msg_received_total grpc_server_msg_sent_total etcd_server_client_requests_total
etcd_server_request_duration_seconds_bucket etcd_server_apply_duration_seconds_bucket
etcd_server_apply_duration_seconds_sum etcd_server_range_duration_seconds_bucket
etcd_debugging_mvcc_current_revision etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_db_compaction_last
etcd_debugging_mvcc_events_total etcd_debugging_lease_renewed_total""".split()
# Counted alike: the same requests give the same numbers.
SAME_VALUE = """etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_cluster_version
etcd_server_version etcd_server_proposals_failed_total etcd_server_proposals_pending etcd_mvcc_put_total
etcd_mvcc_delete_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watcher_total
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total etcd_debugging_lease_ttl_total_bucket
etcd_debugging_lease_ttl_total_sum etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_mvcc_events_total
etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count
etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count etcd_debugging_mvcc_pending_events_total
etcd_server_client_requests_total etcd_server_request_duration_seconds_count
etcd_server_apply_duration_seconds_count etcd_server_range_duration_seconds_count etcd_server_feature_enabled
etcd_server_slow_read_indexes_total process_max_fds""".split()


def curl(server, method, path):
    """(status, chosen headers, body)."""
    command = ["curl", "-s", "-i", "--max-time", "10", "--http1.1"]
    command += ["-I"] if method == "HEAD" else ["-X", method]
    out = subprocess.run(command + [server.url + path], stdout=subprocess.PIPE, check=True).stdout
    head, _, body = out.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict((n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines[1:]))
    return (int(lines[0].split()[1]), {h: headers[h] for h in HEADERS if h in headers},
            "\n".join(sorted(body.decode().split("\n"))) if "verbose" in path else body.decode())


def metrics(server):
    """{name: {labels: value}}"""
    found = {}
    status, headers, body = curl(server, "GET", "/metrics")
    equal(status, 200, "/metrics")
    check(headers["content-type"].startswith("text/plain; version=0.0.4"), "/metrics: %s" % headers)
    for line in body.splitlines():
        if line and not line.startswith("#"):
            m = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$", line)
            check(m is not None, "/metrics: not a sample: %r" % line)
            found.setdefault(m.group(1), {})[m.group(2) or ""] = float(m.group(3))
    return found


def watched_put(calls, rpc):
    """A put that a watch sees."""
    requests = queue.Queue()
    requests.put(rpc.WatchRequest(create_request={"key": b"watched"}).SerializeToString())
    answers = calls.stream("etcdserverpb.Watch/Watch")(iter(requests.get, None))
    check(rpc.WatchResponse.FromString(next(answers)).created, "no watch")
    calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=b"watched").SerializeToString())
    equal(len(rpc.WatchResponse.FromString(next(answers)).events), 1, "events")
    requests.put(None)
    answers.cancel()


def keep_alive(calls, rpc, lease):
    answers = calls.stream("etcdserverpb.Lease/LeaseKeepAlive")(
        iter([rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()]))
    equal(rpc.LeaseKeepAliveResponse.FromString(next(answers)).TTL, 1000, "TTL")
    answers.cancel()


def some_requests(server):
    calls = support.Calls(server.target)
    rpc, _ = support.load_messages()
    calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=b"by 3.7").SerializeToString(),
                                       metadata=(("client-api-version", "3.7.0"),))
    for i in range(10):
        calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=b"%d" % (i % 9)).SerializeToString())
    calls.unary("etcdserverpb.KV/DeleteRange")(rpc.DeleteRangeRequest(key=b"1").SerializeToString())
    calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"2").SerializeToString())
    try:
        calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"").SerializeToString())
    except calls.grpc.RpcError:
        pass
    calls.unary("etcdserverpb.Lease/LeaseGrant")(rpc.LeaseGrantRequest(TTL=1000, ID=7).SerializeToString())
    try:
        calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"2", revision=999).SerializeToString())
    except calls.grpc.RpcError:
        pass
    keep_alive(calls, rpc, 7)
    watched_put(calls, rpc)
    calls.unary("etcdserverpb.Lease/LeaseRevoke")(rpc.LeaseRevokeRequest(ID=7).SerializeToString())
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"t"))
    calls.unary("etcdserverpb.KV/Txn")(rpc.TxnRequest(success=[put, rpc.RequestOp(
        request_range=rpc.RangeRequest(key=b"t"))]).SerializeToString())
    calls.unary("etcdserverpb.KV/Txn")(rpc.TxnRequest(success=[rpc.RequestOp(
        request_range=rpc.RangeRequest(key=b"t"))]).SerializeToString())
    calls.unary("etcdserverpb.KV/Compact")(rpc.CompactionRequest(revision=13, physical=True).SerializeToString())
    calls.close()


def compare_codings(server, reference):
    """/metrics compressed when etcd compresses it, and the same inside."""
    for accept in ("gzip", "deflate, gzip;q=1.0", "gzip, identity", "*", "gzip;q=0", "gzip;q=0.5,identity;q=0.4", "br"):
        coded = []
        for s in (reference, server):
            out = subprocess.run(["curl", "-s", "-i", "--max-time", "10", "-H", "Accept-Encoding: " + accept,
                                  s.url + "/metrics"], stdout=subprocess.PIPE, check=True).stdout
            head, _, body = out.partition(b"\r\n\r\n")
            coded.append(b"content-encoding: gzip" in head.lower())
            if s is server:
                text = gzip.decompress(body) if coded[-1] else body
                check(text.startswith(b"# HELP ") and text.endswith(b"\n"), "/metrics with %r: %r" % (accept, text[:80]))
        equal(coded[1], coded[0], "compressed with Accept-Encoding: " + accept)


def compare_variables(server, reference):
    """/debug/vars: the same frame; what is Go's own is not here."""
    answers = []
    for s in (reference, server):
        status, headers, body = curl(s, "GET", "/debug/vars")
        answers.append((status, headers, json.loads(body)))
    equal(answers[1][:2], answers[0][:2], "/debug/vars")
    theirs, ours = answers[0][2], answers[1][2]
    equal(set(theirs) - set(ours), {"memstats"}, "variables that are missing")
    equal(ours["cmdline"][1:3], ["--name=default", "--data-dir=" + server.data_dir], "cmdline")
    for name in ("id", "lead", "raftState", "term"):
        equal(ours["raft.status"][name], theirs["raft.status"][name], "raft.status: " + name)


def documented():
    """The patterns of names in docs/METRICS.md: (of what is there, of what is left out)."""
    with open(os.path.join(support.ROOT, "docs", "METRICS.md")) as f:
        text = f.read()
    there, left_out = [], []
    for section in re.split(r"^## ", text, flags=re.M):
        names = left_out if section.startswith(("Without a meaning", "Not yet")) else there
        names += re.findall(r"`([a-z0-9_*]+)(?:\{[a-z,_]+\})?`", section)
    check(there and left_out, "no sections of docs/METRICS.md about what is there and what is not")
    return there, left_out


def compare_families(ours, theirs):
    """What only one of them has is in docs/METRICS.md, and what that names as left out is not here."""
    ours, theirs = ({re.sub("_(bucket|sum|count)$", "", name) for name in page} for page in (ours, theirs))
    there, left_out = documented()

    def is_in(name, patterns):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    for name in sorted(theirs - ours):
        check(is_in(name, left_out), "%s is neither there nor named in docs/METRICS.md as left out" % name)
    for name in sorted(ours - theirs):
        check(is_in(name, there), "%s is not etcd's, and docs/METRICS.md says nothing of it" % name)
    for name in sorted(ours):
        check(not is_in(name, left_out), "docs/METRICS.md says that %s is left out, but it is there" % name)


def alike(page, name):
    """Without what the members ask of themselves, sooner or later."""
    return {labels: value for labels, value in page.get(name, {}).items() if '"Cluster' not in labels}


def part_http(server, options):
    version, etcd, _ = support.reference()
    directory = support.scratch("http", in_memory=True)
    reference = support.Server(etcd, directory + "/data", label="reference").start()
    differences = []
    try:
        if version.startswith("3.4"):
            print("reference is 3.4: /livez, /readyz and metrics are not compared")
        for method, path in PATHS:
            if version.startswith("3.4") and not path.startswith(("/version", "/nothing")):
                continue
            expected, got = curl(reference, method, path), curl(server, method, path)
            CHECKS[0] += 1
            if expected != got:
                differences.append("%s %s\n  reference %s\n  server    %s" % (method, path, expected, got))
        before = {}
        for s in (reference, server):
            before[s] = metrics(s)
            some_requests(s)
        ours, theirs = metrics(server), metrics(reference)
        if not version.startswith("3.4"):
            compare_codings(server, reference)
            compare_variables(server, reference)
            compare_families(ours, theirs)
        for s, now in ((reference, theirs), (server, ours)):
            for name in MOVES:
                CHECKS[0] += 1
                if sum(now.get(name, {}).values()) <= sum(before[s].get(name, {}).values()):
                    differences.append("/metrics of %s: %s has not moved: %s" % (s.label, name, now.get(name)))
        for name in METRICS:
            CHECKS[0] += 1
            if name not in ours:
                differences.append("/metrics: %s is missing (reference %s)" % (name, theirs.get(name)))
        for name in SAME_VALUE:
            CHECKS[0] += 1
            if alike(ours, name) != alike(theirs, name) and not version.startswith("3.4"):
                differences.append("/metrics: %s is %s, reference %s" % (name, ours.get(name), theirs.get(name)))
        handled = "grpc_server_handled_total"
        for labels in theirs[handled]:
            CHECKS[0] += 1
            if '"etcdserverpb.KV"' in labels and ours.get(handled, {}).get(labels) != theirs[handled][labels]:
                differences.append("/metrics: %s%s is %s, reference %s" % (
                    handled, labels, ours.get(handled, {}).get(labels), theirs[handled][labels]))
    finally:
        reference.stop()
        shutil.rmtree(directory)
    for d in differences:
        print("--- " + d)
    check(not differences, "%d differences on the HTTP side" % len(differences))


# ---- /debug/ ----


def page(server, path):
    status, headers, body = curl(server, "GET", path)
    equal((status, headers["content-type"]), (200, "text/plain; charset=utf-8"), path)
    return body


def part_debug(server, options):
    """--enable-pprof: the index names the pages, and they show the actors of the wiring and what a put was between them."""
    equal(curl(server, "GET", "/debug/actors")[0], 404, "/debug/actors without --enable-pprof")
    server.stop()
    server.extra.append("--enable-pprof")
    server.start()
    load = Load(server.client_port, "d", 1).start()
    end = time.monotonic() + 20
    while load.acked() < 500 and time.monotonic() < end:
        time.sleep(0.002)
    names = [line.split()[0] for line in page(server, "/debug/").splitlines()]
    equal(names, ["/debug/actors", "/debug/trace", "/debug/wiring"], "/debug/")
    trace = [tuple(line.split()[1:]) for line in page(server, "/debug/trace").splitlines()[1:]]
    load.stop()
    load.join()
    for taken in (("grpc_gateway", "replicator", "PROPOSE"), ("replicator", "wal_writer", "APPEND_LOG"),
                  ("wal_writer", "replicator", "LOG_DURABLE"), ("replicator", "applier", "COMMITTED"),
                  ("applier", "grpc_gateway", "RESULT")):
        check(taken in trace, "/debug/trace has no %s: %s" % (taken, trace))
    wiring = subprocess.run([options.server, "--print-wiring"], stdout=subprocess.PIPE, check=True, text=True).stdout
    equal(page(server, "/debug/wiring"), wiring, "/debug/wiring beside --print-wiring")
    edges = set(re.findall(r"^  (\w+) -> (\w+) \[", wiring, re.M))
    ports = re.findall(r"^  (\w+) -> (\w+) \[.*dir=both", wiring, re.M)
    for edge in {t[:2] for t in trace if t[0] != "none"}:
        check(edge in edges or edge[::-1] in ports, "/debug/trace: %s is no edge of the wiring" % (edge,))
    actors, loads = page(server, "/debug/actors").split("\n\n")
    shown = {line.split()[0]: line.split()[1:] for line in actors.splitlines()[1:]}
    equal(set(shown), {name for edge in edges for name in edge} - {port for _, port in ports},
          "actors of /debug/actors")
    for name in ("grpc_gateway", "replicator", "wal_writer", "applier"):
        turns, messages, busy, longest = shown[name]
        check(int(turns) > 0 and int(messages) > 0 and float(busy.rstrip("%")) > 0 and int(longest) > 0,
              "/debug/actors after a load: %s %s" % (name, shown[name]))
    for line in loads.splitlines()[1:]:
        sender, receiver, messages, messages_max, _, _ = line.split()
        check((sender, receiver) in edges and int(messages) <= int(messages_max), "/debug/actors: %s" % line)


# ---- SIGTERM ----


def part_sigterm(server, options):
    """Under load, ten times: exit code 0 within a second (--seconds), and everything acknowledged is there afterwards."""
    ledger = Ledger()
    slowest = 0.0
    for number in range(10):
        load = Load(server.client_port, "t%d" % number, number).start()
        end = time.monotonic() + 20
        while load.acked() < 500 and time.monotonic() < end:
            time.sleep(0.002)
        check(load.acked() >= 500, "no load before SIGTERM: %d" % load.acked())
        code, took = server.terminate(max(10.0, options.seconds))
        slowest = max(slowest, took)
        load.join()
        if not options.any_exit_code:
            equal(code, 0, "exit code after SIGTERM (log: %s)" % server.tail(3))
        check(took < options.seconds or options.any_exit_code, "SIGTERM took %.2f s" % took)
        equal(server.log_fatal() if not options.any_exit_code else [], [], "errors in the log after SIGTERM")
        server.start()
        ledger.check(server.target, load)
    support.count("SIGTERM: 10 times under load, slowest %.3f s, all %d acknowledged writes there" % (
        slowest, ledger.checked))
    code, took = server.terminate()
    if not options.any_exit_code:
        equal(code, 0, "exit code when idle")
    server.start()


PARTS = {"http": part_http, "debug": part_debug, "sigterm": part_sigterm}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    parser.add_argument("--seconds", type=float, default=1.0, help="until the end after SIGTERM; more under valgrind")
    parser.add_argument("--any-exit-code", action="store_true", help="for etcd, which ends by the signal itself")
    options = support.parse(parser)
    for part in options.part or sorted(PARTS):
        directory = support.scratch("strangers")
        server = support.Server(options.server, directory + "/data").start()
        before = CHECKS[0]
        try:
            PARTS[part](server, options)
            check(server.alive(), "the server ended:\n" + server.tail())
        finally:
            server.stop()
            shutil.rmtree(directory)
        support.count("%s: %d checks passed" % (part, CHECKS[0] - before))
    sys.exit(0)


if __name__ == "__main__":
    main()
