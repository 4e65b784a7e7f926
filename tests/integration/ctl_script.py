"""The command lines that every etcdctl runs against every server, and how their output is made comparable."""

import os
import re
import signal
import subprocess
import time

from support import load_messages

rpc, _ = load_messages()

# A step is (arguments, stdin). {lease}, {lease2}, {rev} stand for what earlier steps printed. "3.7:" in front marks what
# Debian's etcdctl 3.4 does not know; "watch N" runs in the background until N lines have come.
STEPS = [
    ("put a 1", None),
    ("put a 2 --prev-kv", None),
    ("put b", "from standard input"),
    ("put -- -dash value", None),
    ("put c 3 -w json", None),
    ("put c 4 -w json --prev-kv", None),
    ("put c 5 -w fields --prev-kv", None),
    ("put c 5 -w table", None),
    ("put d 6 --ignore-value", None),
    ("put c --ignore-value", None),
    ("put c 7 --ignore-lease", None),
    ("put c 7 --lease=123", None),
    ("put", None),
    ("put bin\x01key \xc3\xa4\x02", None),
    ("get bin\x01key --hex", None),
    ("get a", None),
    ("get a -w json", None),
    ("get a -w fields", None),
    ("get a -w table", None),
    ("get a -w protobuf", None),
    ("get a --hex -w json", None),
    ("get a --rev=2", None),
    ("get a --rev=2 -w json", None),
    ("get a --rev=99999", None),
    ("get nothing", None),
    ("get nothing -w json", None),
    ("get a c", None),
    ("get a c --keys-only", None),
    ("get a c --print-value-only", None),
    ("get --prefix b", None),
    ("get --prefix", None),
    ("get '' --prefix --keys-only", None),
    ("get b --from-key", None),
    ("get b --from-key --limit=1", None),
    ("get b --from-key --limit=1 -w json", None),
    ("get a --prefix --count-only -w fields", None),
    ("get '' --prefix --count-only -w json", None),
    ("get '' --prefix --order=DESCEND --sort-by=MODIFY --limit=2", None),
    ("get '' --prefix --order=ASCEND --sort-by=VALUE", None),
    ("get '' --prefix --order=DESCEND --sort-by=KEY", None),
    ("get '' --prefix --sort-by=NOTHING", None),
    ("get a --consistency=s", None),
    ("get a --consistency=l", None),
    ("get a --consistency=x", None),
    ("3.7:get '' --prefix --min-mod-rev=4 --max-mod-rev=8 --keys-only", None),
    ("3.7:get '' --prefix --min-create-rev=4 --max-create-rev=8 --keys-only", None),
    ("3.7:get '' --prefix --stream", None),
    ("get", None),
    ("get a b c", None),
    ("del nothing", None),
    ("del a", None),
    ("del b --prev-kv", None),
    ("del c -w json --prev-kv", None),
    ("del c -w fields", None),
    ("put r/1 x", None),
    ("put r/2 x", None),
    ("put r/3 x", None),
    ("3.7:del r/1 r/2 --range", None),
    ("del r/ --prefix", None),
    ("put k1 v1", None),
    ("txn", 'value("k1") = "v1"\n\nput k2 then\nget k1\n\nput k2 else\n\n'),
    ("txn", 'mod("k1") > "5000"\n\nput k3 then\n\nget k2\ndel k2\n\n'),
    ("txn", 'version("none") = "0"\ncreate("k1") > "0"\n\nget k1\n\n\n'),
    ("txn -w json", 'ver("k1") != "7"\n\nput k4 x\nget k4\ndel k4\n\n\n'),
    ("txn -w json", 'ver("k1") != "7"\n\nput k4 x\nget k4\ndel k1\n\n\n'),
    ("txn -w fields", 'ver("k1") = "0"\n\nget k4\n\n\n'),
    ("txn", 'lease("k4") = 0\n\nget k4\n\n\n'),
    ("txn", 'nonsense\n\n\n\n'),
    ("txn -i", 'value("k1") = "v1"\n\nget k1\n\n\n'),
    ("txn", '\n\n\n'),
    ("lease grant 1000", None),
    ("put leased x --lease={lease}", None),
    ("put leased2 x --lease={lease}", None),
    ("lease timetolive {lease}", None),
    ("lease timetolive {lease} --keys", None),
    ("lease timetolive {lease} --keys -w json", None),
    ("lease timetolive {lease} -w fields", None),
    ("lease keep-alive --once {lease}", None),
    ("lease list", None),
    ("lease list -w json", None),
    ("get leased -w json", None),
    ("lease revoke {lease}", None),
    ("lease revoke {lease}", None),
    ("lease timetolive {lease}", None),
    ("lease keep-alive --once {lease}", None),
    ("lease grant 1000 -w json", None),
    ("lease grant", None),
    ("lease grant x", None),
    ("lease revoke zz", None),
    ("get leased", None),
    ("member list", None),
    ("member list -w json", None),
    ("member list -w fields", None),
    ("member list -w table", None),
    ("endpoint health", None),
    ("alarm list", None),
    ("endpoint health -w json", None),
    ("endpoint status -w json", None),
    ("3.7:endpoint status", None),
    ("3.7:endpoint status -w fields", None),
    ("put h 1", None),
    ("put h 2", None),
    ("put h 3", None),
    ("watch 6 h --rev=2", None),
    ("watch 9 h --rev=2 --prev-kv", None),
    ("put h 4 -w json", None),
    ("watch 1 h --rev={rev} -w json", None),
    ("watch 6 h --prefix --rev=2", None),
    ("watch 16 --rev=2 h -- sh -c 'echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE'",
     None),
    ("del h", None),
    ("watch 11 h i --rev={rev} --prev-kv -w fields", None),
    ("watch -i 15", "watch h --rev=2\n"),
    ("compaction 10", None),
    ("compaction 10", None),
    ("compaction 5", None),
    ("compact 12 --physical", None),
    ("compaction 99999", None),
    ("compaction", None),
    ("get a --rev=3", None),
    ("watch 0 h --rev=3", None),
    ("nonsense", None),
]

MASKS = [
    (re.compile(r"127\.0\.0\.1:\d+"), "ENDPOINT"),
    (re.compile(r"took = [0-9.]+(s|ms|µs|us)"), "took = T"),
    (re.compile(r'"took":"[0-9.]+(s|ms|µs|us)"'), '"took":"T"'),
    (re.compile(r'("raft_term"|"raftTerm"|"raftIndex"|"raftAppliedIndex"|"dbSize"|"dbSizeInUse"):\d+'), r"\1:N"),
    (re.compile(r'("RaftTerm"|"RaftIndex"|"RaftAppliedIndex"|"DBSize"|"DBSizeInUse"|"TTL"|"ttl") ?: ?\d+'), r"\1:N"),
    (re.compile(r'("ttl"|"TTL"):\d+'), r"\1:N"),
    (re.compile(r"remaining\(\d+s\)"), "remaining(N)"),
    (re.compile(r'"ts":"[^"]*"'), '"ts":"T"'),
    (re.compile(r"etcd-endpoints://0x[0-9a-f]+/"), "etcd-endpoints://P/"),
    (re.compile(r"in \d+(\.\d+)?(s|ms|µs)"), "in T"),
]
KEY_LISTS = [
    (re.compile(r"(attached keys\(\[)([^\]]*)\]"), " "),
    (re.compile(r'("keys":\[)([^\]]*)\]'), ","),
]


class Tool:
    """One etcdctl and one server."""

    def __init__(self, ctl, target, new):
        self.ctl, self.target, self.new = ctl, target, new
        self.values = {}

    def run_all(self):
        """[(step, exit code, stdout, stderr)], masked."""
        results = []
        for step, stdin in STEPS:
            if self.new or not step.startswith("3.7:"):
                begin = time.monotonic()
                results.append((step,) + self.run_step(step, stdin))
                if os.environ.get("QUORAL_VERBOSE"):
                    print("%.2f s %s" % (time.monotonic() - begin, results[-1]))
        return results

    def arguments(self, step):
        import shlex  # pylint: disable=import-outside-toplevel

        words = shlex.split(step)
        return [w.format(**self.values) if "{" in w and "ETCD" not in w else w for w in words]

    def run_step(self, step, stdin):
        words = self.arguments(step[4:] if step.startswith("3.7:") else step)
        env = dict(os.environ, GOMAXPROCS="1")
        if not self.new:
            env["ETCDCTL_API"] = "3"
        command = [self.ctl, "--endpoints=" + self.target]
        if words[0] == "watch":
            number = next(w for w in words if w.isdigit())
            words.remove(number)
            return self.run_watch(command + words, stdin, int(number), env)
        try:
            done = subprocess.run(command + words, input=(stdin or "").encode(), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=env, timeout=20)
        except subprocess.TimeoutExpired:
            return ("timeout", "", "")
        out, err = done.stdout, done.stderr.decode("utf-8", "replace")
        if "protobuf" in words:
            out = self.from_protobuf(out)
        out = out.decode("utf-8", "replace")
        self.learn(step, out)
        return done.returncode, self.mask(step, out), self.mask_errors(err)

    def run_watch(self, command, stdin, lines, env):
        """Until that many lines have come (0: until it ends by itself), then SIGINT."""
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=env)
        os.set_blocking(process.stdout.fileno(), False)
        if stdin:
            process.stdin.write(stdin.encode())
            process.stdin.flush()
        out, end = b"", time.monotonic() + 5
        while time.monotonic() < end and process.poll() is None and (lines == 0 or out.count(b"\n") < lines):
            out += process.stdout.read() or b""
            time.sleep(0.002)
        missing = lines and out.count(b"\n") < lines
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:  # first the signal, then the end of the input: both at once is a race that either may win
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        process.stdin.close()
        err = process.stderr.read().decode("utf-8", "replace")
        code = process.wait(10)
        out += process.stdout.read() or b""
        process.stdout.close()
        process.stderr.close()
        return ("%s%s" % (code, ", lines missing" if missing else ""), self.mask("watch", out.decode()),
                self.mask_errors(err))

    @staticmethod
    def from_protobuf(data):
        message = rpc.RangeResponse.FromString(data)
        message.header.raft_term = 0
        return str(message).encode()

    def learn(self, step, out):
        m = re.search(r"lease ([0-9a-f]{16}) granted", out) if step == "lease grant 1000" else None
        if m:
            self.values["lease"] = m.group(1)
        m = re.search(r'"ID":(\d+)', out) if step == "lease grant 1000 -w json" else None
        if m:
            self.values["lease2"] = "%016x" % int(m.group(1))

        m = re.search(r'"revision":(\d+)', out) if step == "put h 4 -w json" else None
        if m:
            self.values["rev"] = m.group(1)

    def mask(self, step, text):
        text = text.replace(os.path.basename(self.ctl), "etcdctl")
        for name, value in self.values.items():
            if name == "rev":
                continue
            text = text.replace(value, name.upper()).replace(str(int(value, 16)), name.upper())
            text = text.replace("%x" % int(value, 16), name.upper())
        for pattern, by in MASKS:
            text = pattern.sub(by, text)
        for pattern, separator in KEY_LISTS:  # the API promises no order
            text = pattern.sub(lambda m, s=separator: m.group(1) + s.join(sorted(m.group(2).split(s))) + "]", text)
        if step.endswith("endpoint status"):
            # endpoint, id, version, storage version, sizes …: the sizes are each server's own
            text = "\n".join(", ".join(line.split(", ")[:4]) for line in text.splitlines())
        return text

    def mask_errors(self, text):
        """The client library's own log lines are not the server's answer: only the last words of each."""
        text = self.mask("", text)
        lines = []
        for line in text.splitlines():
            if line.startswith("{") and '"error"' in line:
                continue
            lines.append(line)
        return "\n".join(lines)


def version_of(ctl):
    out = subprocess.run([ctl, "version"], stdout=subprocess.PIPE, text=True, check=True,
                         env=dict(os.environ, ETCDCTL_API="3")).stdout
    return re.search(r"version: (\S+)", out).group(1)


def compare(name_a, result_a, name_b, result_b):
    """Prints the differences; returns how many steps differ."""
    differences = 0
    for a, b in zip(result_a, result_b):
        if a != b:
            differences += 1
            print("\n--- %s" % a[0])
            for what, x, y in zip(("exit code", "stdout", "stderr"), a[1:], b[1:]):
                if x != y:
                    print("%s\n  %s: %r\n  %s: %r" % (what, name_a, x, name_b, y))
    return differences
