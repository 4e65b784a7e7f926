#!/usr/bin/python3
"""quoralctl and the reference's etcdctl print the same about a cluster of three members, and both survive its failures.

    quoralctl_cluster.py --server build/release/quorald --ctl build/release/quoralctl [--of server] [--only NAME]

The cluster is the reference's; with --of server it is the server under test's. The scenarios are in
ctl_cluster_scenarios.py, the comparison is compare_ctl.py's. What else cannot be equal is mapped: the ids of added
members become NEW1, NEW2 … in order of their appearance. Where a scenario changes something, so that the tools run one
after the other, positions in the Raft log and terms are masked.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading

import compare_ctl
import ctl_cluster_scenarios
import support
from cluster import TIMING, Cluster
from quoralctl import advance

UNTIL_S = 40
TRIES = 4
URLS = 50  # that a scenario may use; their ports have four digits, other ports five
TTL_S = 6  # keep-alive sends every third of it

POSITIONS = re.compile(r'("raft_term"|"raftTerm"|"raftIndex"|"raftAppliedIndex"|"dbSize"|"dbSizeInUse"|"RaftTerm"|'
                       r'"RaftIndex"|"RaftAppliedIndex"|"DBSize"|"DBSizeInUse")( ?: ?)\d+')


class World:
    """The cluster, and what the steps of a scenario do to it."""

    def __init__(self, binary, directory):
        self.cluster = Cluster(binary, directory).start()
        self.servers = {m.label: m for m in self.cluster.members}
        self.ids = {name: self.cluster.id_of(server) for name, server in self.servers.items()}
        self.new_ports = []  # for the clients and the peers of the member that is started
        self.dead = "127.0.0.1:1"
        self.added = []  # ids, in order of appearance
        self.starts = 0
        self.runs = 0
        self.wait_healthy()

    def wait_healthy(self):
        """Changes of the configuration are refused until all members have been connected for some seconds."""
        import grpc  # pylint: disable=import-outside-toplevel

        request = self.cluster.rpc.MemberAddRequest(peerURLs=[self.cluster.members[1].peer_url])

        def healthy():
            try:
                self.cluster.call(self.cluster.members[0], "Cluster/MemberAdd", request)
            except grpc.RpcError as e:
                return "already exists" in e.details()
            return False

        self.cluster.wait("the cluster is healthy", healthy, UNTIL_S)

    def begin(self):
        """Before each run of a scenario: nothing added, m0 leads. Each run has its own URLs: see the scenarios."""
        self.runs += 1
        self.new_ports = support.free_ports(2)
        self.added = []
        self.cluster.lead(self.cluster.members[0])

    def endpoints(self, names):
        return ",".join(self.dead if n == "dead" else self.servers[n].target for n in names.split(","))

    def fill(self, text):
        for i, member in enumerate(self.cluster.members):
            text = text.replace("{m%d}" % i, "%x" % self.ids[member.label]).replace("{p%d}" % i, member.peer_url)
        text = text.replace("{free}", "http://127.0.0.1:%d" % self.new_ports[1])
        text = re.sub(r"\{x(\d+)\}", lambda m: self.unused_url(int(m.group(1))), text)
        for i, name in enumerate(("{new}", "{new2}")):
            if name in text:
                text = text.replace(name, "%x" % self.added[-1 - i])
        return text

    def unused_url(self, number):
        return "http://127.0.0.1:%d" % (1000 + self.runs * URLS + number)

    def learn(self):
        for member in self.cluster.list(self.cluster.members[0]):
            if member.ID not in self.ids.values() and member.ID not in self.added:
                self.added.append(member.ID)

    def act(self, step, environment):
        """A step without a command."""
        (what, name), = step.items()
        if what == "start":
            self.start_new(environment)
        elif what == "stop":
            self.stop_new()
        elif what == "pause":
            self.servers[name].process.send_signal(signal.SIGSTOP)
        elif what == "resume":
            self.servers[name].process.send_signal(signal.SIGCONT)
        elif what == "kill":
            self.servers[name].kill()
        elif what == "restart":
            self.servers[name].start(UNTIL_S)
            self.cluster.agree_on(self.cluster.leader())

    def start_new(self, environment):
        self.starts += 1
        server = support.Server(self.cluster.binary, os.path.join(self.cluster.directory, "new%d" % self.starts))
        server.client_port, server.peer_port = self.new_ports
        server.extra = TIMING + ["--advertise-client-urls=" + server.url] + [
            "--%s=%s" % (name[len("ETCD_"):].lower().replace("_", "-"), value) for name, value in environment.items()]
        self.servers["new"] = server.start(UNTIL_S)

    def stop_new(self):
        server = self.servers.pop("new", None)
        if server:
            server.stop()

    def stop(self):
        self.stop_new()
        self.cluster.stop()


class Mapper(compare_ctl.Mapper):
    def __init__(self, base, world, exact):
        super().__init__(base)
        self.world, self.exact = world, exact
        self.known = set(world.ids.values())

    def names(self, text):
        for i, member in enumerate(self.world.added):
            for form in ("Member %16x", "\u2502 %16x", "%x", "%d"):  # columns are filled with blanks
                text = text.replace(form % member, form.split("%")[0] + "NEW%d" % (i + 1))
        for port, name in zip(self.world.new_ports, ("CLIENTS", "PEERS")):
            text = text.replace("127.0.0.1:%d" % port, name)
        return re.sub(r"http://127\.0\.0\.1:(\d{4})\b", lambda m: "URL%d" % (int(m.group(1)) % URLS), text)

    def text(self, data, tool_name):
        text = self.names(data.decode("utf-8", "backslashreplace"))
        if not self.exact:
            text = POSITIONS.sub(r"\1\2N", text)
            text = re.sub(r"^([^ ,]+), \d+, \d+$", r"\1, HASH, REVISION", text, flags=re.M)
        text = re.sub(r'(?<=^ETCD_INITIAL_CLUSTER=")[^\n]*(?="$)',
                      lambda m: ",".join(sorted(m.group(0).split(","))), text, flags=re.M)
        text = super().text(text.encode(), tool_name)
        if "TIME" in text and "\u2502" in text:  # a column as wide as its widest time
            text = re.sub("(\u2500)+", "\u2500", re.sub(" +", " ", text))
        return text

    def hex_id(self, digits):
        return digits if int(digits, 16) in self.known else super().hex_id(digits)

    def decimal_id(self, value):
        return str(value) if value in self.known else super().decimal_id(value)

    def protobuf(self, data, depth=0):
        result = super().protobuf(data, depth)
        if depth:
            return result
        text = [self.names(repr(field)) for field in result]
        if not self.exact and text:
            text[0] = re.sub(r"\(4, \d+\)", "(4, TERM)", text[0])  # the header
        return sorted(text)


class Run(compare_ctl.Run):
    def __init__(self, tool, base, world, exact):
        super().__init__(tool, base)
        self.world = world
        self.mapper = Mapper(base, world, exact)
        self.environment = {}

    def fill(self, text):
        return self.world.fill(super().fill(text))

    def execute(self, step):
        self.tool.endpoint = self.world.endpoints(step.get("at", "m0"))
        result = []

        def done():
            result[:] = super(Run, self).execute(step)
            again = step.get("until", "\0").encode() in result[1] or step.get("until_out", "").encode() not in result[0]
            return not again

        self.world.cluster.wait("%s answers" % step["args"], done, UNTIL_S)
        return result

    def learn(self, out):
        super().learn(out)
        if any(a == "member" for a in self.step_args) and self.world.cluster.members[0].alive():
            self.world.learn()
        for line in re.findall(rb"^ETCD_\w+=.*$", out, re.M):
            name, value = shlex.split(line.decode())[0].split("=", 1)
            self.environment[name] = value

    def step(self, step):
        if "args" not in step:
            self.world.act(step, self.environment)
            return "", "", 0
        self.step_args = step["args"]
        mapped, err, code = super().step(step)
        if step.get("members") or step.get("any_order"):
            mapped = sort_objects(mapped)
        return mapped, err, code


def sort_objects(text):
    """Lines, and the objects of a JSON array, in an order of their own."""
    def ordered(match):
        return match.group(1) + "},{".join(sorted(match.group(2).split("},{"))) + match.group(3)

    text = re.sub(r'((?:"members":|^)\[\{)(.*)(\}\])', ordered, text, flags=re.M)
    return "\n".join(sorted(text.split("\n")))


def run_both(world, tools, reference, scenario):
    def fresh(tool, exact):
        world.begin()
        reference.endpoint = world.endpoints("m0")
        compare_ctl.empty_store(reference)
        return Run(tool, compare_ctl.current_revision(reference), world, exact)

    def in_turn(runs, step):
        """Sizes and places in the log may change by themselves between one tool and the other, but not always."""
        for _ in range(TRIES):
            results = [run.step(step) for run in runs]
            if results[0] == results[1]:
                break
        return results

    if scenario[0].get("in_turn"):
        runs = [fresh(tool, True) for tool in tools]
        return list(zip(*[in_turn(runs, step) for step in scenario]))
    return [[run.step(step) for step in scenario] for run in (fresh(tool, False) for tool in tools)]


class Follower:
    """A command that goes on until it is stopped."""

    def __init__(self, tool, args):
        self.name = "%s %s" % (tool.name, args[0])
        self.process = subprocess.Popen(tool.command(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=tool.environment(None))
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.read()), daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            yield line.decode().rstrip("\n")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


def follow_through_failures(world, tools):
    """A watch and a keep-alive on m1 and m2 go on while one of them after the other is killed. How many do not."""
    cluster, rpc = world.cluster, world.cluster.rpc
    leader = cluster.members[0]
    world.begin()
    lease = rpc.LeaseGrantResponse.FromString(
        cluster.call(leader, "Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=TTL_S))).ID
    begin = cluster.status(leader).header.revision + 1
    watches, leases = [], []
    for tool in tools:
        tool.endpoint = world.endpoints("m1,m2")
        watches.append(Follower(tool, ["watch", "--prefix", "follow/", "--rev=%d" % begin]))
        leases.append(Follower(tool, ["lease", "keep-alive", "%x" % lease]))
    expected = []

    def put_and_wait(key):
        cluster.call(leader, "KV/Put", rpc.PutRequest(key=key.encode(), value=b"x"))
        expected.extend(["PUT", key, "x"])
        renewed = [len(f.lines) for f in leases]
        cluster.wait("watches show " + key, lambda: all(len(f.lines) >= len(expected) for f in watches), UNTIL_S)
        cluster.wait("leases are renewed after " + key,
                     lambda: all(len(f.lines) > n for f, n in zip(leases, renewed)), UNTIL_S)

    put_and_wait("follow/both")
    for name in ("m1", "m2"):
        world.act({"kill": name}, None)
        put_and_wait("follow/without " + name)
        world.act({"restart": name}, None)
    wrong = 0
    for follower in watches + leases:
        follower.stop()
        lines = expected if follower in watches else \
            ["lease %016x keepalived with TTL(%d)" % (lease, TTL_S)] * len(follower.lines)
        if follower.lines != lines:
            wrong += 1
            print("DIFFERENT %s through failures: %r" % (follower.name, follower.lines))
    return wrong


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--ctl", required=True)
    parser.add_argument("--of", choices=["reference", "server"], default="reference", help="whose cluster it is")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="print the result of every step")
    options = support.parse(parser)
    version, etcd, etcdctl = support.reference()
    if not version.startswith("3.7"):
        support.skip("the reference is etcd %s, whose etcdctl prints other things" % version)
    tools = [compare_ctl.Tool(path, None) for path in (os.path.abspath(options.ctl), etcdctl)]
    reference = compare_ctl.Tool(etcdctl, None)
    directory = support.scratch("quoralctl-cluster", in_memory=True)
    differences = steps = 0
    world = None
    try:
        world = World(etcd if options.of == "reference" else options.server, directory)
        advance(world.cluster.members[0])
        for name, scenario in ctl_cluster_scenarios.scenarios():
            if options.only in name:
                ours, theirs = run_both(world, tools, reference, scenario)
                differences += compare_ctl.compare(name, scenario, ours, theirs, options.verbose)
                steps += sum("args" in step for step in scenario)
        if options.only in "through failures":
            differences += follow_through_failures(world, tools)
            steps += 2
    finally:
        if world:
            world.stop()
        shutil.rmtree(directory)
    support.count("quoralctl against the %s's cluster: %d commands compared, %d different" %
                  (options.of, steps, differences))
    sys.exit(1 if differences or not steps else 0)


if __name__ == "__main__":
    main()
