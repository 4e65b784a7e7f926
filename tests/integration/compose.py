#!/usr/bin/python3
"""docker/compose.yaml with the real engine: three members, and what happens to containers.

    compose.py --server build/release/quorald [--image programs --ctl build/release/quoralctl] [--seed 1]

The image is built from docker/Dockerfile, as users do it; with --image programs it is made of --server and --ctl, so
that nothing is compiled in a container, and the reference can take quorald's place. Where no engine answers, the test
is skipped and says so.
"""

import os
import random
import sys
import time

import grpc

import docker_engine
import support
from cluster_load import Agreement, ClusterLoad, Member, leader_of, rpc, until
from docker_engine import docker, run
from native_cache import Cache, Session

BACK_S = 60
HEALTHY_S = 90
COMPOSE_STOP_S = 10


class Containers:
    """The members, and what can be done to each. What undoes it is beside it."""

    def __init__(self, project):
        self.project = project
        self.members = [Member(name, port) for name, port in project.ports.items()]
        self.agreement = Agreement(self.members)
        self.loads = 0
        self.done = {}

    def stop(self, name):
        docker("stop", "-t", str(COMPOSE_STOP_S), self.project.container(name))

    def kill(self, name):
        docker("kill", self.project.container(name))

    def start(self, name):
        docker("start", self.project.container(name))

    def restart(self, name):
        docker("restart", "-t", str(COMPOSE_STOP_S), self.project.container(name))

    def pause(self, name):
        docker("pause", self.project.container(name))

    def unpause(self, name):
        docker("unpause", self.project.container(name))

    def disconnect(self, name):
        docker("network", "disconnect", self.project.network(), self.project.container(name))

    def connect(self, name):
        docker("network", "connect", "--alias", name, self.project.network(), self.project.container(name))

    def load(self):
        self.loads += 1
        return ClusterLoad(self.members, "l%d" % self.loads, self.loads)

    def serving(self):
        for member in self.members:
            until("%s serves" % member.name, member.serves, BACK_S)

    def healthy(self):
        """The engine's own word."""
        for member in self.members:
            until("%s is healthy" % member.name,
                  lambda m=member: self.project.health(m.name) == "healthy", HEALTHY_S)

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1


def check_image(project):
    """What an image promises, of the container of a member."""
    container = project.container("quoral1")
    if docker("exec", container, "id", "-u") == "0":
        support.fail("the image runs as root")
    state = project.inspect("quoral1")
    if state["HostConfig"]["ReadonlyRootfs"] is not True:
        support.fail("the root file system can be written")
    for service, port in project.ports.items():
        bound = project.inspect(service)["HostConfig"]["PortBindings"]["2379/tcp"]
        if bound != [{"HostIp": "127.0.0.1", "HostPort": str(port)}]:
            support.fail("%s is published as %s" % (service, bound))
    listed = docker("exec", container, "quoralctl", "member", "list")
    if listed.count(", started, ") != 3:
        support.fail("member list inside a container:\n" + listed)
    # The names that health checks made for etcd call.
    docker("exec", container, "etcdctl", "endpoint", "health")


def check_single(image):
    """`docker run` of the image alone, with variables and flags of etcd."""
    if "etcd Version: 3.7" not in docker("run", "--rm", image, "etcd", "--version"):
        support.fail("etcd --version")
    name = image + "-single"
    docker("run", "-d", "--name", name, "-e", "ETCD_NAME=solo", "-e",
           "QUORAL_INITIAL_CLUSTER=solo=http://127.0.0.1:2380", image,
           "--initial-advertise-peer-urls=http://127.0.0.1:2380")
    try:
        until("a member alone is healthy",
              lambda: docker("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy", HEALTHY_S)
        if ", started, solo, " not in docker("exec", name, "quoralctl", "member", "list"):
            support.fail("the name came through no variable")
        docker("stop", name)
    finally:
        run("docker", "rm", "-f", "-v", name, check=False)


def native_cache(project, service, prefix):
    """A native client of this machine, with events from where the member says that they are."""
    url = "tcp://127.0.0.1:%d"
    session = Session(url % project.native_ports[service])
    welcome = support.load_native().Welcome.FromString(session.client.hello())
    if welcome.publish_urls or welcome.publish_port != project.publish_ports[service]:
        support.fail("%s says that it publishes at %s" % (service, welcome))
    return Cache(session, url % welcome.publish_port, prefix)


def check_native(project, agreement):
    """Through each member: a snapshot before there is anything, an event for each change, a snapshot with all of it."""
    before = [native_cache(project, service, b"first-") for service in project.SERVICES]
    for service, early in zip(project.SERVICES, before):
        early.wait("no mark through %s: is the subscription there?" % service, lambda c=early: c.marks)
    agreement.exchange("first")
    content = {b"first-" + s.encode(): b"through " + s.encode() for s in project.SERVICES}
    for service, early in zip(project.SERVICES, before):
        early.wait("events through " + service, lambda c=early: c.shown == content)
        late = native_cache(project, service, b"first-")
        if len(early.events) != len(content) or early.repairs or late.shown != content or late.events:
            support.fail("%s: %s; %s" % (service, early.describe(), late.describe()))
        for cache in (early, late):
            cache.detach()
            cache.session.client.close()


def trouble(containers, rng):
    """Each kind of failure, of the leader and of a follower, under load."""
    kinds = [("stop", containers.stop, containers.start), ("kill", containers.kill, containers.start),
             ("restart", containers.restart, None), ("pause", containers.pause, containers.unpause),
             ("disconnect", containers.disconnect, containers.connect)]
    cases = [(kind, of_leader) for kind in kinds for of_leader in (True, False)]
    rng.shuffle(cases)
    for (kind, act, undo), of_leader in cases:
        with containers.load() as load:
            load.progress(containers.members)
            leader = leader_of(containers.members)
            victim = leader if of_leader else rng.choice([m for m in containers.members if m is not leader])
            others = [m for m in containers.members if m is not victim]
            begin = time.monotonic()
            act(victim.name)
            load.progress(others)
            without = time.monotonic() - begin
            if kind == "disconnect":
                alone(containers, victim)
            if undo is not None:
                undo(victim.name)
            load.progress(containers.members)
            whole = time.monotonic() - begin
        containers.agreement.check(load)
        containers.count(kind)
        print("%s of %s, %s: others went on %.1f s after it, all were back after %.1f s" % (
            kind, victim.name, "the leader" if of_leader else "a follower", without, whole), flush=True)


def alone(containers, member):
    """Cut off from everybody, a member answers no linearizable read; what it has stored it still shows."""
    container = containers.project.container(member.name)
    if run("docker", "exec", container, "quoralctl", "get", "x", "--command-timeout=2s", check=False)[0] == 0:
        support.fail("%s answers a linearizable read though it is cut off" % member.name)
    docker("exec", container, "quoralctl", "get", "--prefix", "first-", "--consistency=s")


def all_at_once(containers):
    """All three killed at one moment."""
    with containers.load() as load:
        load.progress(containers.members)
        docker("kill", *[containers.project.container(m.name) for m in containers.members])
    for member in containers.members:
        containers.start(member.name)
    containers.serving()
    containers.agreement.check(load)
    containers.count("kill of all three")


def replace(containers, rng):
    """A volume is lost: the member is removed, added again and started with nothing, while the others go on."""
    project = containers.project
    victim = rng.choice(containers.members)
    others = [m for m in containers.members if m is not victim]
    with containers.load() as load:
        load.progress(containers.members)
        volume = project.volume(victim.name)
        docker("rm", "-f", project.container(victim.name))
        docker("volume", "rm", volume)
        load.progress(others)
        old = next(m for m in others[0].list() if m.name == victim.name)
        urls = list(old.peerURLs)
        change(others[0], "Cluster/MemberRemove", rpc.MemberRemoveRequest(ID=old.ID), rpc.MemberRemoveResponse)
        change(others[0], "Cluster/MemberAdd", rpc.MemberAddRequest(peerURLs=urls), rpc.MemberAddResponse)
        project.say("up", "-d", "--no-build", victim.name, QUORAL_INITIAL_CLUSTER_STATE="existing")
        until("%s serves" % victim.name, victim.serves, BACK_S)
        load.progress(containers.members)
    containers.agreement.forget(victim)
    containers.agreement.check(load)
    if sorted(m.name for m in victim.list()) != project.SERVICES:
        support.fail("members: %s" % victim.list())
    containers.count("lost volume")


def change(member, method, request, answer):
    """A change of the membership. It is refused for some seconds after a member was lost (strict reconfiguration);
    one that was not answered may have happened, and is then refused for that."""
    def done():
        try:
            member.call(method, request, answer)
        except grpc.RpcError as e:
            return e.code() == grpc.StatusCode.NOT_FOUND or "already exists" in (e.details() or "")
        return True

    until("%s is done" % method, done, BACK_S)


def down_and_up(containers):
    """Compose removes the containers and the network and makes them again: the volumes are the cluster."""
    project = containers.project
    project.say("down", "-t", str(COMPOSE_STOP_S))
    if docker("ps", "-aq", "--filter", "label=com.docker.compose.project=" + project.name):
        support.fail("down leaves containers")
    project.say("up", "-d", "--no-build")
    containers.serving()
    containers.agreement.compare()
    containers.agreement.exchange("again")
    with containers.load() as load:
        load.progress(containers.members)
    containers.agreement.check(load)
    containers.count("down and up")


def build(project, options):
    begin = time.monotonic()
    if options.image == "programs":
        docker_engine.image_of_programs(project.name, options.server, options.ctl)
    else:
        project.build()
    size = int(docker("image", "inspect", "-f", "{{.Size}}", project.name))
    print("image: %d MB, %s, %.0f s" % (size / 1e6, "docker/Dockerfile" if options.image == "dockerfile" else
                                        "with " + options.server, time.monotonic() - begin), flush=True)


def everything(project, options, rng):
    begin = time.monotonic()
    build(project, options)
    check_single(project.name)
    containers = Containers(project)
    up = time.monotonic()
    project.say("up", "-d", "--no-build")
    containers.healthy()
    print("up and healthy: %.1f s" % (time.monotonic() - up), flush=True)
    check_image(project)
    if os.path.basename(options.server) == "quorald":
        check_native(project, containers.agreement)
    else:
        containers.agreement.exchange("first")
    trouble(containers, rng)
    all_at_once(containers)
    replace(containers, rng)
    down_and_up(containers)
    containers.healthy()
    for member in containers.members:
        member.close()
    support.count("%s: %s; %d acknowledged writes on all three members, hashes equal after each; %.0f s" % (
        " ".join(project.compose), ", ".join("%d %s" % (n, what) for what, n in containers.done.items()),
        containers.agreement.acknowledged(), time.monotonic() - begin))


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--image", default="dockerfile", choices=["dockerfile", "programs"])
    parser.add_argument("--ctl", help="quoralctl or etcdctl, for --image programs")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = support.parse(parser)
    if options.image == "programs" and not options.ctl:
        parser.error("--image programs needs --ctl")
    project = docker_engine.project_of("compose.yaml")
    print("seed %d" % options.seed)
    try:
        everything(project, options, random.Random(options.seed))
    except SystemExit:
        print(project.logs(), flush=True)
        raise
    finally:
        project.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
