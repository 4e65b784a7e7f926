#!/usr/bin/python3
"""Starting: command line, environment, configuration file, locks, foreign data, identity, systemd.

    start_up.py --server build/release/quorald [--part lock]

Where etcd's behaviour is the measure, the reference runs the same command lines and exit codes are compared.
"""

import glob
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time

import support

rpc, _ = support.load_messages()
CHECKS = [0]


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def put(server, key=b"a", value=b"1"):
    calls = support.Calls(server.target)
    answer = calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=key, value=value).SerializeToString(), timeout=10)
    calls.close()
    return rpc.PutResponse.FromString(answer).header


def get(server, key=b"a"):
    calls = support.Calls(server.target)
    answer = calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=key).SerializeToString(), timeout=10)
    calls.close()
    return rpc.RangeResponse.FromString(answer)


def run(binary, arguments, directory, env=None, timeout=10):
    """(exit code or None if it serves, output). Started in the directory, so that a default data dir lands there."""
    process = subprocess.Popen([binary] + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=directory,
                               env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                               preexec_fn=support.die_with_parent)
    try:
        out, _ = process.communicate(timeout=timeout)
        return process.returncode, out.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[0].decode("utf-8", "replace")


def ends_badly(server, words, what):
    """Starts it, expects an end with a non-zero code and one of the words in the log."""
    server.start(wait=False)
    try:
        code = server.process.wait(10)
    except subprocess.TimeoutExpired:
        text = server.tail()
        server.stop()
        support.fail("%s: it keeps running:\n%s" % (what, text))
    server.process = None
    text = server.log_since_start().decode("utf-8", "replace")
    check(code not in (0, None) and code > 0, "%s: exit code %s" % (what, code))
    check(any(w in text.lower() for w in words), "%s: none of %s in its output:\n%s" % (what, words, server.tail()))


def part_lock(options, directory):
    """One process per data directory and per port."""
    first = support.Server(options.server, directory + "/data").start()
    put(first)
    second = support.Server(options.server, directory + "/data", label="second")
    second.log_path = directory + "/second.log"
    ends_badly(second, ("lock", "in use", "another"), "a second process on the data directory")
    third = support.Server(options.server, directory + "/other", label="third")
    third.client_port = first.client_port
    ends_badly(third, ("address already in use",), "a second process on the port")
    fourth = support.Server(options.server, directory + "/peer", label="fourth")
    fourth.peer_port = first.peer_port
    ends_badly(fourth, ("address already in use",), "a second process on the peer port")
    check(get(first).count == 1, "the first server after the others tried")
    first.stop()


def part_foreign(options, directory):
    """A real etcd's data directory is refused and stays as it is."""
    _, etcd, _ = support.reference()
    other = support.Server(etcd, directory + "/etcd").start()
    put(other)
    other.terminate()

    def contents():
        return {p: os.stat(p).st_size for p in glob.glob(directory + "/etcd/**", recursive=True) if os.path.isfile(p)}

    before = contents()
    ours = support.Server(options.server, directory + "/etcd", label="server")
    ours.log_path = directory + "/ours.log"
    ends_badly(ours, ("etcd",), "a data directory of etcd")
    check(contents() == before, "the foreign directory was changed: %s, before %s" % (contents(), before))
    other.start()
    check(get(other).count == 1, "etcd on its directory afterwards")
    other.stop()


def check_first_line(server):
    """The log's line "starting" says which node it is and where it listens."""
    lines = [json.loads(line) for line in server.log_since_start().splitlines()]
    starting = [line for line in lines if line["msg"] == "starting"]
    expected = {"name": "default", "data-dir": server.data_dir, "listen-client-urls": server.url,
                "listen-peer-urls": server.listen_peer_url}
    check(len(starting) == 1 and {name: starting[0].get(name) for name in expected} == expected and
          "listen-native-urls" not in starting[0], "the log's line about what starts: %s" % starting)


def part_identity(options, directory):
    """Existing data wins over the bootstrap flags; the directory is private and has member/."""
    server = support.Server(options.server, directory + "/data").start()
    header = put(server)
    check_first_line(server)
    check(stat.S_IMODE(os.stat(directory + "/data").st_mode) == 0o700, "mode of the data directory")
    check(os.path.isdir(directory + "/data/member"), "member/ in the data directory")
    server.terminate()
    server.extra = ["--initial-cluster-token=other", "--initial-advertise-peer-urls=http://localhost:9",
                    "--initial-cluster=default=http://localhost:9"]
    server.start()
    again = get(server)
    check((again.header.cluster_id, again.header.member_id) == (header.cluster_id, header.member_id),
          "ids after a restart with other bootstrap flags")
    check(again.count == 1, "data after a restart")
    server.stop()
    wal = directory + "/wal"
    split = support.Server(options.server, directory + "/split", extra=["--wal-dir=" + wal]).start()
    put(split)
    check(os.listdir(wal), "files in --wal-dir")
    split.kill()
    split.start()
    check(get(split).count == 1, "data after kill -9 with --wal-dir")
    split.stop()


def part_command_line(options, directory):
    """Exit codes of wrong command lines are etcd's."""
    version, etcd, _ = support.reference()
    lines = [(["--no-such-flag"], {}), (["-no-such-flag=1"], {}), (["word"], {}), (["--name"], {}), (["--help"], {}),
             (["-h"], {}), (["--version"], {}), (["--heartbeat-interval=x"], {}), (["--pre-vote=maybe"], {}),
             (["--listen-client-urls=localhost:1"], {}), (["--listen-client-urls=http://127.0.0.1:1"], {}),
             (["--listen-client-urls=http://example.com:2379", "--advertise-client-urls=http://example.com:2379"], {}),
             (["--initial-cluster-state=old"], {}), (["--heartbeat-interval=500", "--election-timeout=1000"], {}),
             (["--election-timeout=60000"], {}), (["--log-format=xml"], {}),
             (["--logger=capnslog"], {}), (["--config-file=/nonexistent"], {}), (["--name=a"], {"ETCD_NAME": "b"}),
             (["--auto-compaction-mode=sometimes"], {}), (["--initial-cluster=other=http://localhost:2380"], {}),
             ([], {"ETCD_HEARTBEAT_INTERVAL": "x"}),
             (["--snapshot-count=-1"], {}), (["--max-txn-ops=abc"], {})]
    for arguments, env in lines:
        codes, texts = [], []
        for i, binary in enumerate((etcd, options.server)):
            where = "%s/cl%d" % (directory, i)
            shutil.rmtree(where, ignore_errors=True)
            os.mkdir(where)
            code, text = run(binary, arguments, where, env, timeout=5)
            codes.append(code)
            texts.append(text)
        if version.startswith("3.4"):
            codes[0] = codes[1]  # other flags, other codes: only that it ends is checked
        check(codes[0] == codes[1] and codes[1] is not None, "%s %s: exit code %s, reference %s\n%s\n--- reference:\n%s" % (
            arguments, env, codes[1], codes[0], texts[1][-1500:], texts[0][-1500:]))
        check(texts[1].strip() != "", "%s: no word" % arguments)
    _, text = run(options.server, ["--version"], directory)
    check("etcd Version: 3.7.1" in text.splitlines(), "--version: %r" % text)


def part_sources(options, directory):
    """Environment, configuration file, and what systemd is told."""
    client, peer = support.free_ports(2)
    urls = {"listen-client-urls": "http://127.0.0.1:%d" % client, "advertise-client-urls": "http://127.0.0.1:%d" % client,
            "listen-peer-urls": "http://127.0.0.1:%d" % peer, "initial-advertise-peer-urls": "http://127.0.0.1:%d" % peer,
            "initial-cluster": "me=http://127.0.0.1:%d" % peer, "name": "me"}
    path = directory + "/config.yml"
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join("%s: %s\n" % item for item in dict(urls, **{"data-dir": directory + "/from-file"}).items()))
    env = {"ETCD_" + k.upper().replace("-", "_"): v for k, v in
           dict(urls, **{"data-dir": directory + "/from-env"}).items()}
    notify_path = directory + "/notify"
    for name, arguments, more, data in (
            ("environment", [], env, "/from-env"),
            ("--config-file", ["--config-file=" + path], {"ETCD_DATA_DIR": directory + "/ignored"}, "/from-file"),
            ("ETCD_CONFIG_FILE", ["--name=ignored"], {"ETCD_CONFIG_FILE": path}, "/from-file")):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(notify_path)
        notify.settimeout(15)
        with open(directory + "/sources.log", "wb") as log:
            process = subprocess.Popen([options.server] + arguments, stdout=log, stderr=log, cwd=directory,
                                       env=dict(os.environ, NOTIFY_SOCKET=notify_path, **more),
                                       preexec_fn=support.die_with_parent)
        try:
            try:
                told = notify.recv(1000)
            except socket.timeout:
                told = b"nothing"
            with open(directory + "/sources.log", "rb") as log:
                text = log.read().decode("utf-8", "replace")
            check(told.startswith(b"READY=1"), "%s: systemd is told %r\n%s" % (name, told, text[-2000:]))
            server = support.Server(options.server, directory + data)
            server.client_port = client
            put(server)
            check(os.path.isdir(directory + data), "%s: data directory" % name)
        finally:
            process.kill()
            process.wait()
            notify.close()
            os.unlink(notify_path)
    check(not os.path.exists(directory + "/ignored"), "a configuration file makes the environment ignored")


def part_damage(options, directory):
    """A log that is damaged in its middle is refused, and the message names file and offset."""
    server = support.Server(options.server, directory + "/data").start()
    for i in range(2000):
        if i % 500 == 0:
            put(server, b"k%d" % i, b"x" * 10000)
        put(server, b"a", b"x" * 100)
    server.kill()
    logs = sorted(glob.glob(directory + "/data/member/wal/*"), key=os.path.getsize)
    check(logs, "no log files in member/wal")
    with open(logs[-1], "r+b") as f:
        data = f.read(1 << 16)
        at = data.find(b"x" * 60)
        check(at > 0, "the log does not hold what was written")
        f.seek(at + 30)
        f.write(b"Y")
    server.start(wait=False)
    end = time.monotonic() + 20
    while server.alive() and time.monotonic() < end and not any(r in server.log_since_start() for r in support.READY):
        time.sleep(0.02)
    check(not server.alive(), "it starts on a damaged log:\n%s" % server.tail())
    text = server.log_since_start().decode("utf-8", "replace")
    check(os.path.basename(logs[-1]) in text and "offset" in text.lower(),
          "the damage is not named by file and offset:\n%s" % server.tail())
    server.process = None


ACTORS = {"election", "replicator", "wal_writer", "applier", "keeper", "lease", "watch", "peer", "grpc_gateway",
          "zmq_gateway"}


def threads(pid):
    """{name: nice value}."""
    found = {}
    for name in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/stat" % (pid, name), encoding="ascii") as f:
            rest = f.read()
        found[rest[rest.index("(") + 1:rest.rindex(")")]] = int(rest[rest.rindex(")") + 2:].split()[16])
    return found


def may_lower_nice():
    try:
        return subprocess.run(["nice", "-n", "-10", "nice"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False, text=True).stdout.strip() == str(os.nice(0) - 10)
    except OSError:
        return False


def part_threads(options, directory):
    """Each actor's thread bears its name; the WAL writer's comes first where that is permitted, else it serves as well."""
    server = support.Server(options.server, directory + "/data").start()
    found = threads(server.process.pid)
    check(ACTORS <= set(found), "names of threads: %s" % sorted(found))
    first = os.nice(0) - (10 if may_lower_nice() else 0)
    check(all(nice == (first if name == "wal_writer" else os.nice(0)) for name, nice in found.items()),
          "nice values: %s" % found)
    server.stop()
    if os.geteuid() == 0:
        plain = directory + "/plain"
        with open(plain, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\nexec setpriv --bounding-set -sys_nice --pdeathsig KILL "%s" "$@"\n' %
                    os.path.abspath(options.server))
        os.chmod(plain, 0o755)
        server = support.Server(plain, directory + "/data").start()
        check(set(threads(server.process.pid).values()) == {os.nice(0)}, "nice values without the privilege")
        put(server)
        server.stop()


PARTS = {"lock": part_lock, "foreign": part_foreign, "identity": part_identity, "command_line": part_command_line,
         "sources": part_sources, "damage": part_damage,
         "threads": part_threads}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    options = support.parse(parser)
    for part in options.part or PARTS:
        directory = support.scratch("start")
        before = CHECKS[0]
        PARTS[part](options, directory)
        shutil.rmtree(directory)
        print("%s: %d checks passed" % (part, CHECKS[0] - before), flush=True)
    support.count("starting: %d checks passed" % CHECKS[0])
    sys.exit(0)


if __name__ == "__main__":
    main()
