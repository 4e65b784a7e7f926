#!/usr/bin/env python3
"""Runs quoralctl and the reference etcdctl with the same commands against the same server and
compares what they print (stdout and stderr, byte for byte) and their exit codes.

    compare_ctl.py --ctl build/release/quoralctl --reference PATH/etcdctl --endpoint 127.0.0.1:2379

A scenario is a list of steps. Each tool runs the whole scenario on an emptied store; then the
results are compared step by step. What cannot be equal is mapped: revisions become relative to the
scenario's start, lease ids become L1, L2 … in order of appearance, times become TIME, the
program's name becomes CTL. The reference's log lines (zap's JSON on stderr) are left out, and of an
answer to wrong flags only the first line counts, since the help text is our own.
"""

import argparse
import os
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ctl_scenarios

STEP_TIMEOUT_S = 20
WATCH_TIMEOUT_S = 10
REVISION_WINDOW = 1000  # revisions a scenario may add


class Tool:
    """One of the two programs; knows how to run a step and what to map in its output."""

    def __init__(self, path, endpoint):
        self.path = path
        self.name = os.path.basename(path)
        self.endpoint = endpoint

    def command(self, args, with_endpoint=True):
        endpoint = ["--endpoints", self.endpoint] if with_endpoint else []
        return [self.path] + endpoint + args

    def environment(self, extra):
        env = {k: v for k, v in os.environ.items() if not re.match("(ETCD|QUORAL)", k)}
        env.update(extra or {})
        return env

    def run(self, args, stdin=b"", env=None, with_endpoint=True):
        done = subprocess.run(self.command(args, with_endpoint), input=stdin, capture_output=True,
                              env=self.environment(env), timeout=STEP_TIMEOUT_S, check=False)
        return done.stdout, done.stderr, done.returncode

    def run_until(self, args, stdin, env, lines, stderr_lines):
        """For watch: ends the program when it has printed so many lines, or has ended by itself."""
        process = subprocess.Popen(self.command(args), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment(env))
        if stdin:
            process.stdin.write(stdin)
            process.stdin.flush()
        output = {process.stdout: b"", process.stderr: b""}
        open_streams = set(output)
        deadline = time.monotonic() + WATCH_TIMEOUT_S

        def missing():
            errors = [l for l in output[process.stderr].split(b"\n")[:-1]
                      if not l.startswith(b'{"level"')]
            return output[process.stdout].count(b"\n") < lines or len(errors) < stderr_lines

        while open_streams and missing() and time.monotonic() < deadline:
            ready, _, _ = select.select(list(open_streams), [], [], 0.2)
            for stream in ready:
                data = os.read(stream.fileno(), 65536)
                output[stream] += data
                if not data:
                    open_streams.discard(stream)
        code = None
        if open_streams:
            timed_out = missing()
            process.send_signal(signal.SIGKILL)
            code = "timeout" if timed_out else "killed"
        rest = process.communicate()
        output[process.stdout] += rest[0]
        output[process.stderr] += rest[1]
        return (output[process.stdout], output[process.stderr],
                code if code is not None else process.returncode)


class Mapper:
    """Makes the outputs of one run of a scenario comparable."""

    def __init__(self, base):
        self.base = base
        self.leases = {}

    def lease(self, value):
        if value == 0:
            return "0"
        if value not in self.leases:
            self.leases[value] = f"L{len(self.leases) + 1}"
        return self.leases[value]

    def relative(self, value):
        return f"R+{value - self.base}" if self.base <= value < self.base + REVISION_WINDOW else \
            str(value)

    def text(self, data, tool_name):
        text = data.decode("utf-8", "backslashreplace").replace(tool_name, "CTL")
        text = re.sub(r'(?<=evision":)(\d+)', lambda m: self.relative(int(m.group(1))), text)
        text = re.sub(r'(?<=evision" : )(\d+)', lambda m: self.relative(int(m.group(1))), text)
        text = re.sub(r'(?<=compacted revision )(\d+)',
                      lambda m: self.relative(int(m.group(1))), text)
        text = re.sub(r'(?<=notify: )(\d+)', lambda m: self.relative(int(m.group(1))), text)
        text = re.sub(r'(?<=REVISION=)(\d+)', lambda m: self.relative(int(m.group(1))), text)
        text = re.sub(r'(?<=raftIndex":)\d+|(?<=raftAppliedIndex":)\d+', "INDEX", text)
        text = re.sub(r'\b[0-9a-f]{16}\b', lambda m: self.hex_id(m.group(0)), text)
        text = re.sub(r'((?:"lease"|"id"|"ID"):|"Lease" : |"ID" : )(\d{15,})',
                      lambda m: m.group(1) + self.decimal_id(int(m.group(2))), text)
        text = re.sub(r'[0-9.]+(µs|ms|s)(?=["\s)]|$)', "TIME", text)
        text = re.sub(r'(?<=keys\(\[)[^]]*|(?<="keys":\[)[^]]*',
                      lambda m: " ".join(sorted(re.split("[ ,]", m.group(0)))), text)
        text = re.sub(r'remaining\(\d+s\)|"ttl":\d+|(?<="TTL" : )59\d', "REMAINING", text)
        return text

    # Ids of members stay as they are: both tools must show the same.
    def hex_id(self, digits):
        value = int(digits, 16)
        return self.lease(value) if value < 1 << 63 else digits

    def decimal_id(self, value):
        return self.lease(value) if value < 1 << 63 else str(value)

    def protobuf(self, data, depth=0):
        """Fields as nested lists; what is no message stays bytes. Revisions (a header's field 3, a key's 2 and 3)
        are relative; an answer's own numbers are not revisions."""
        result, i = [], 0
        while i < len(data):
            key, i = varint(data, i)
            number, kind = key >> 3, key & 7
            if number == 0 or kind not in (0, 2):
                raise ValueError("not a message")
            value, i = varint(data, i)
            if kind == 0:
                result.append((number, self.relative(value) if depth and number in (2, 3) else value))
                continue
            if i + value > len(data):
                raise ValueError("cut off")
            inner, i = data[i:i + value], i + value
            try:
                result.append((number, self.protobuf(inner, depth + 1)))
            except (ValueError, IndexError):
                result.append((number, inner))
        return result


def varint(data, i):
    value = shift = 0
    while True:
        byte = data[i]
        value |= (byte & 127) << shift
        i, shift = i + 1, shift + 7
        if byte < 128:
            return value, i


def without_logs(stderr):
    lines = stderr.split(b"\n")
    return b"\n".join(l for l in lines if not l.startswith(b'{"level"'))


def current_revision(reference):
    out, err, code = reference.run(["get", "a", "-w", "json"])
    if code != 0:
        sys.exit(f"the server at {reference.endpoint} does not answer: {err.decode()}")
    return int(re.search(rb'"revision":(\d+)', out).group(1))


def empty_store(reference):
    reference.run(["del", "", "--prefix"])
    for line in reference.run(["lease", "list"])[0].split(b"\n")[1:]:
        if line:
            reference.run(["lease", "revoke", line.decode()])


def fill_in(text, base, leases, tool):
    text = re.sub(r"\{rev\+(\d+)\}", lambda m: str(base + int(m.group(1))), text)
    text = re.sub(r"\{lease(\d+)\}", lambda m: leases[int(m.group(1)) - 1], text)
    return text.replace("{endpoint}", tool.endpoint)


class Run:
    """One tool going through one scenario."""

    def __init__(self, tool, base):
        self.tool = tool
        self.base = base
        self.mapper = Mapper(base)
        self.leases = []

    def fill(self, text):
        return fill_in(text, self.base, self.leases, self.tool)

    def execute(self, step):
        """(stdout, stderr without logs, exit code) as they come."""
        args = [self.fill(a) for a in step["args"]]
        stdin = self.fill(step.get("stdin", "")).encode()
        env = {k: self.fill(v) for k, v in step.get("env", {}).items()}
        if "lines" in step:
            out, err, code = self.tool.run_until(args, stdin, env, step["lines"],
                                                 step.get("stderr_lines", 0))
        else:
            out, err, code = self.tool.run(args, stdin, env, step.get("endpoint", True))
        return out, without_logs(err), code

    def learn(self, out):
        """Remembers the names of what a step has made."""
        granted = re.search(rb"lease ([0-9a-f]{16}) granted with TTL\(\d+s\)\n", out)
        if granted and "remaining" not in out.decode(errors="replace"):
            self.leases.append(granted.group(1).decode())

    def step(self, step):
        tool, mapper = self.tool, self.mapper
        out, err, code = self.execute(step)
        self.learn(out)
        if step.get("usage"):
            err = err.split(b"\n")[0]
        if step.get("protobuf"):
            mapped = repr(mapper.protobuf(out, depth=1 if step["protobuf"] == "header" else 0))
        else:
            mapped = mapper.text(out, tool.name)
        if step.get("any_order"):
            mapped = "\n".join(sorted(mapped.split("\n")))
        return mapped, mapper.text(err, tool.name), code


def run_both(ctl, reference, scenario):
    """Step by step in turn when nothing is written, so that both see the very same server."""
    empty_store(reference)
    base = current_revision(reference)
    if scenario[0].get("in_turn"):
        runs = Run(ctl, base), Run(reference, base)
        pairs = [(runs[0].step(s), runs[1].step(s)) for s in scenario]
        return [p[0] for p in pairs], [p[1] for p in pairs]
    run = Run(ctl, base)
    ours = [run.step(step) for step in scenario]
    empty_store(reference)
    run = Run(reference, current_revision(reference))
    return ours, [run.step(step) for step in scenario]


def compare(name, scenario, ours, theirs, verbose):
    """How many steps have different results, which are printed."""
    differences = 0
    for step, mine, other in zip(scenario, ours, theirs):
        title = " ".join(step.get("args", ["(no command)"]))
        if verbose:
            print(f"{name}: {title!r}: {other}")
        if "timeout" in (mine[2], other[2]):
            print(f"TIMEOUT {name}: {title}: {mine}")
        if (mine != other) != ("differs" in step):
            differences += 1
            print(f"DIFFERENT {name}: {title}")
            for what, a, b in zip(("stdout", "stderr", "exit"), mine, other):
                if a != b:
                    print(f"  {what}  ours: {a!r}\n  {what} etcdctl: {b!r}")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ctl", required=True, help="quoralctl")
    parser.add_argument("--reference", required=True, help="etcdctl 3.7")
    parser.add_argument("--endpoint", default="127.0.0.1:2379", help="a server whose contents may be lost")
    parser.add_argument("--only", help="scenarios whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="print the result of every step")
    options = parser.parse_args()
    ctl = Tool(os.path.abspath(options.ctl), options.endpoint)
    reference = Tool(options.reference, options.endpoint)
    differences = steps = 0
    for name, scenario in ctl_scenarios.scenarios():
        if not options.only or options.only in name:
            ours, theirs = run_both(ctl, reference, scenario)
            differences += compare(name, scenario, ours, theirs, options.verbose)
            steps += len(scenario)
    print(f"{steps} commands compared, {differences} different")
    return 1 if differences or not steps else 0


if __name__ == "__main__":
    sys.exit(main())
