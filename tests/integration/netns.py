"""A network of its own for a test: each member of a cluster in a network namespace, all joined by a bridge.

The namespaces have no names: they live as long as the test and its servers, and nothing of the machine's own network is
touched. Needs root, ip (iproute2) and iptables. Delays are relay.py's business: few kernels have netem.
"""

import os
import shutil
import subprocess

import support

CLONE_NEWNET = 0x40000000
PREFIX = "10.73.0."
HUB = PREFIX + "254"
CHAIN = "FAULTS"


def here():
    """The calling thread's network namespace, as a descriptor."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def why_not():
    """Why there can be no such network on this machine, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "iptables"):
        if not shutil.which(program):
            return program + " is missing; on Debian 12: apt-get install iproute2 iptables"
    before = here()
    try:
        support.system_call("unshare", CLONE_NEWNET)
        Node.run_here("ip", "link", "add", "name", "a", "type", "veth", "peer", "name", "b")
        Node.run_here("ip", "link", "add", "name", "c", "type", "bridge")
        Node.run_here("iptables", "-w", "-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", "0.5",
                      "-j", "DROP")
    except (OSError, RuntimeError) as e:
        return "no network namespaces with veth, bridge and iptables' statistic here: %s" % e
    finally:
        support.system_call("setns", before, CLONE_NEWNET)
        os.close(before)
    return None


class Node:
    """One member's end of the network."""

    def __init__(self, number):
        self.address = PREFIX + str(number + 1)
        hub = here()
        support.system_call("unshare", CLONE_NEWNET)
        self.namespace = here()
        try:
            self.run_here("ip", "link", "set", "lo", "up")
            for words in (["-N", CHAIN], ["-A", "INPUT", "-j", CHAIN]):
                self.run_here("iptables", "-w", *words)
        finally:
            support.system_call("setns", hub, CLONE_NEWNET)
        os.close(hub)
        port = "node%d" % number
        self.run_here("ip", "link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns",
                      "/proc/%d/fd/%d" % (os.getpid(), self.namespace))
        self.run_here("ip", "link", "set", port, "master", "hub", "up")
        self.run("ip", "address", "add", self.address + "/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    @staticmethod
    def run_here(*command, enter=None):
        """What it prints."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=enter)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(command), done.stdout.strip()))
        return done.stdout

    def enter(self):
        """For a child that is to live here."""
        support.system_call("setns", self.namespace, CLONE_NEWNET)

    def run(self, *command):
        return self.run_here(*command, enter=self.enter)

    def refuse(self, *others, share=1.0):
        """Loses this share of the packets that come from the others; clients are not concerned."""
        for other in others:
            chance = [] if share >= 1 else ["-m", "statistic", "--mode", "random", "--probability", str(share)]
            self.run("iptables", "-w", "-A", CHAIN, "-s", other.address, *chance, "-j", "DROP")

    def heal(self):
        """Returns how many packets were lost."""
        rules = self.run("iptables", "-w", "-n", "-v", "-x", "-L", CHAIN).splitlines()[2:]
        self.run("iptables", "-w", "-F", CHAIN)
        return sum(int(rule.split()[0]) for rule in rules)


def cut(some, others):
    """Neither side hears the other."""
    for a in some:
        a.refuse(*others)
    for b in others:
        b.refuse(*some)


def enter_hub():
    """Moves the calling thread, and the threads and processes it will make, into a namespace with the bridge that nodes
    are joined to. To be called before there are other threads."""
    support.system_call("unshare", CLONE_NEWNET)
    for words in (["link", "set", "lo", "up"], ["link", "add", "name", "hub", "type", "bridge"],
                  ["link", "set", "hub", "up"], ["address", "add", HUB + "/24", "dev", "hub"]):
        Node.run_here("ip", *words)


class PlacedServer(support.Server):
    """A member that lives at a node."""

    def __init__(self, node, binary, data_dir, label):
        super().__init__(binary, data_dir, label=label)
        self.node = node
        self.host = node.address
        self.in_child.append(node.enter)
