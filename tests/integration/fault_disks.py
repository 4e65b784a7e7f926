"""One member's disk is full, slow, or loses its power."""

import glob
import os
import shutil
import subprocess
import time
import urllib.request

import power_cut
import support
from cluster_load import until
from fault_world import ELECTION_S, START_S, World, pause
from load import Load

FULL_MEGABYTES = 400
ROOM_BYTES = 4 << 20
END_S = 60  # until a member whose disk is full has ended
SLOW_IOPS = 10
SLOW_SYNC_S, STILL_SYNC_S = 0.064, 1.024  # a sync took at least that long; bounds of buckets of its histogram
BIG_VALUES = (10000, 15000)  # three in a Txn fit into what etcd takes at once from fastgrpc
STATE_WRITES = 2000  # with big values: what a snapshot has to carry
SNAPSHOT_S = 1.5  # a member that serves and gets no snapshot for that long needs none
SNAPSHOT = ("--snapshot-count=100", "--snapshot-catchup-entries=50")


def why_not():
    if os.geteuid() != 0:
        return "file systems of their own need root (mount, loop devices)"
    if not os.path.exists("/dev/loop-control"):
        return "loop devices are missing"
    return None


def own_mounts():
    """For all parts, once."""
    if not MOUNTS:
        support.own_mounts()
        MOUNTS.append(True)


MOUNTS = []


def placed(options, directory, name, disk):
    """A member whose data is on this disk; its log is not."""
    server = support.Server(options.server, os.path.join(disk, name), label=name)
    server.log_path = os.path.join(directory, name + ".log")
    return server


# ---- full ----


def fill(world, server, mount_point):
    """Until the member's disk is full and the member has ended for it."""
    stat = os.statvfs(mount_point)
    ballast = os.path.join(mount_point, "ballast")
    with open(ballast, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, max(stat.f_bavail * stat.f_frsize - ROOM_BYTES, 4096))
    survivor = next(s for s in world.servers(server))
    load = Load(survivor.client_port, "B%d" % world.loads, world.loads, writers=1, inflight=8,
                value_bytes=BIG_VALUES).start()
    end = time.monotonic() + END_S
    while server.alive():
        if time.monotonic() > end or not load.running():
            support.fail("%s still runs on its full disk after %d writes" % (server.label, load.acked()))
        time.sleep(0.02)
    load.stop()
    load.join()
    world.observer.add(load)
    world.agreement.writers += load.writers
    code, server.process = server.process.returncode, None
    if code == 0 or b"o space left" not in server.log_since_start():
        support.fail("%s ended with %d and without naming the full disk:\n%s" % (server.label, code, server.tail()))
    return ballast


def part_full(options, directory):
    """The disk of a member fills up, the leader's and a follower's: the member ends, the others go on."""
    own_mounts()
    mount_point = os.path.join(directory, "small")
    os.mkdir(mount_point)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % FULL_MEGABYTES, "tmpfs", mount_point], check=True)

    def make(name):
        return placed(options, directory, name, mount_point if name == "m0" else directory)

    try:
        with World(options, directory, make=make, extra=("--snapshot-count=100",)) as world:
            victim = world.servers()[0]
            for number in range(2 * options.rounds):
                world.lead(victim if number % 2 == 0 else world.servers()[1])
                with world.traffic() as traffic:
                    traffic.progress(traffic.by_member, 10)
                    ballast = fill(world, victim, mount_point)
                    traffic.progress(world.of(world.servers(victim)))
                    os.unlink(ballast)
                    world.restart(victim)
                    traffic.progress(traffic.by_member)
                world.verify(traffic)
            world.report("disk of one member full %d times" % (2 * options.rounds))
    finally:
        subprocess.run(["umount", mount_point], check=False)


# ---- slow ----


class Throttle:
    """A control group whose processes can be slowed down when they write to one device."""

    NAME = "quoral-test-%d"

    def __init__(self, device):
        self.device = device
        name = self.NAME % os.getpid()
        self.first = os.path.isdir("/sys/fs/cgroup/blkio")
        self.path = "/sys/fs/cgroup/blkio/" + name if self.first else "/sys/fs/cgroup/" + name
        os.mkdir(self.path)

    @staticmethod
    def why_not():
        if os.path.exists("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device"):
            return None
        try:
            with open("/sys/fs/cgroup/cgroup.subtree_control", encoding="ascii") as f:
                if "io" in f.read().split():
                    return None
        except OSError:
            pass
        return "no control group that limits writes (blkio.throttle, or io in /sys/fs/cgroup/cgroup.subtree_control)"

    def put(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as f:
            f.write(text)

    def join(self):
        """For the child that is to be slow."""
        self.put("cgroup.procs", str(os.getpid()))

    def limit(self, iops=None, bps=None):
        """Writes, or bytes, per second; None is no limit."""
        if self.first:
            self.put("blkio.throttle.write_iops_device", "%s %d" % (self.device, iops or 0))
            self.put("blkio.throttle.write_bps_device", "%s %d" % (self.device, bps or 0))
        else:
            self.put("io.max", "%s wiops=%s wbps=%s" % (self.device, iops or "max", bps or "max"))

    def remove(self):
        until("the control group is empty", lambda: not open(os.path.join(self.path, "cgroup.procs")).read().split())
        os.rmdir(self.path)


def why_not_slow():
    return why_not() or Throttle.why_not()


class Syncs:
    """How long a member's log has waited for its disk so far, from its metrics."""

    NAME = "etcd_disk_wal_fsync_duration_seconds"

    def __init__(self, server):
        with urllib.request.urlopen(server.url + "/metrics", timeout=20) as page:
            lines = [line.split() for line in page.read().decode().splitlines() if line.startswith(self.NAME)]
        self.values = {line[0]: float(line[1]) for line in lines}

    def slower(self, seconds):
        """How many took longer; the bound of a bucket."""
        return self.values[self.NAME + "_count"] - self.values['%s_bucket{le="%g"}' % (self.NAME, seconds)]


def device_of(image):
    """major:minor of the loop device."""
    return subprocess.run(["losetup", "-n", "-O", "MAJ:MIN", "-j", image], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def part_slow(options, directory):
    """The leader's disk becomes slow, and then so slow that nothing is written any more: the others go on."""
    own_mounts()
    disk = power_cut.Disk(directory, "ext4")
    disk.mount()
    throttle = Throttle(device_of(disk.image))

    def make(name):
        server = placed(options, directory, name, disk.mount_point if name == "m0" else directory)
        if name == "m0":
            server.in_child.append(throttle.join)
        return server

    gaps = []
    try:
        with World(options, directory, make=make) as world:
            victim = world.servers()[0]
            for _ in range(options.rounds):
                for limit, sync_s in (({"iops": SLOW_IOPS}, SLOW_SYNC_S), ({"bps": 1}, STILL_SYNC_S)):
                    world.lead(victim)
                    with world.traffic(probes=True) as traffic:
                        traffic.progress(traffic.by_member, 10)
                        before = Syncs(victim)
                        moment = time.monotonic()
                        throttle.limit(**limit)
                        try:
                            pause(3 * ELECTION_S)
                            traffic.progress(world.of(world.servers(victim)))
                        finally:
                            throttle.limit()
                        gaps.append(traffic.longest_gap(None, moment))
                        traffic.progress(traffic.by_member)
                        if Syncs(victim).slower(sync_s) == before.slower(sync_s):
                            support.fail("with %s no sync took longer than %g s" % (limit, sync_s))
                    world.verify(traffic)
            world.report("slow disk of the leader %d times" % len(gaps))
        support.count("cluster faults: slow disk of the leader: longest time without a write: %s" % ", ".join(
            "%.2f s (%s)" % (gap, "stands still" if i % 2 else "%d writes a second" % SLOW_IOPS)
            for i, gap in enumerate(gaps)))
    finally:
        throttle.limit()
        throttle.remove()
        disk.unmount()


# ---- without power ----


class Disks:
    """A disk and a file system for each member."""

    KINDS = ("ext4", "xfs", "btrfs")

    def __init__(self, options, directory):
        own_mounts()
        self.options, self.directory = options, directory
        self.disks = {}

    def make(self, name):
        disk = power_cut.Disk(self.directory, self.KINDS[int(name[1:]) % len(self.KINDS)])
        disk.mount()
        server = placed(self.options, self.directory, name, disk.mount_point)
        self.disks[server] = disk
        return server

    def cut(self, world, *servers):
        """All at once, as far as that goes."""
        world.kill(*servers)
        for server in servers:
            self.disks[server].cut()

    def unmount(self):
        for disk in self.disks.values():
            disk.unmount()


def part_power(options, directory):
    """A member loses its power: a follower, the leader, all three. What was not synced is gone."""
    disks = Disks(options, directory)
    try:
        with World(options, directory, make=disks.make, extra=("--snapshot-count=100",)) as world:
            for _ in range(options.rounds):
                for victims in (lambda: [world.follower()], lambda: [world.leader()], world.servers):
                    with world.traffic() as traffic:
                        traffic.progress(traffic.by_member)
                        pause(options.rng.random() * 0.2)
                        servers = victims()
                        disks.cut(world, *servers)
                        world.restart(*servers)
                        traffic.progress(traffic.by_member)
                    world.verify(traffic)
            world.report("power cuts of a follower, the leader and all three on %s, %d times" % (
                ", ".join(Disks.KINDS), options.rounds))
    finally:
        disks.unmount()


def incoming(server):
    """Files and directories that are there only since a snapshot is being received: of quorald, a further generation of
    the store; of etcd, the file it is written to."""
    found = set(glob.glob(server.data_dir + "/member/store/[0-9]*"))
    for pattern in ("tmp*", "*.snap.db"):
        found |= set(glob.glob(server.data_dir + "/member/snap/" + pattern))
    return found


def receives(server):
    """Starts the server, and says at once when a snapshot begins to come: True; or when none comes any more: False."""
    before = incoming(server)
    server.start(wait=False)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.alive():
        now = incoming(server)
        if not now <= before:
            return True
        before &= now  # what an interrupted receipt has left is removed, and comes again under the same name
        if any(r in server.log_since_start() for r in support.READY):
            end = min(end, time.monotonic() + SNAPSHOT_S)
        time.sleep(0.001)
    if not server.alive():
        support.fail("%s has ended:\n%s" % (server.label, server.tail()))
    return False


def enlarge(world, server):
    """More state and more log than the members keep for one that is away."""
    load = Load(server.client_port, "S%d" % world.loads, world.loads, writers=1, inflight=16,
                value_bytes=BIG_VALUES).start()
    until("%d large writes" % STATE_WRITES, lambda: load.acked() >= STATE_WRITES or not load.running())
    load.stop()
    load.join()
    if load.acked() < STATE_WRITES:
        support.fail("only %d writes: %s" % (load.acked(), [w.error for w in load.writers]))
    world.observer.add(load)
    world.agreement.writers += load.writers


def part_snapshot(options, directory):
    """A member that was away too long loses its power while it receives a snapshot, at several moments."""
    disks = Disks(options, directory)
    cuts = 0
    try:
        with World(options, directory, make=disks.make, extra=SNAPSHOT) as world:
            for number in range(2 * options.rounds):
                victim = world.follower()
                with world.traffic(world.servers(victim)) as traffic:
                    world.kill(victim)
                    enlarge(world, world.leader(world.servers(victim)))
                    pause(ELECTION_S)  # quorald gives up its log once a second at most
                    traffic.progress(traffic.by_member, 100)
                    for moment in (0, options.rng.random() * 0.05, options.rng.random() * 0.5):
                        if not receives(victim):
                            break
                        pause(moment)
                        disks.cut(world, victim)
                        cuts += 1
                    if victim.process is None:
                        victim.start(wait=False)
                    until("%s serves" % victim.label, world.members[victim].serves)
                with world.traffic() as after:
                    after.progress(after.by_member)
                world.verify(after, traffic)
            if cuts < 2 * options.rounds:
                support.fail("only %d cuts fell into the receipt of a snapshot" % cuts)
            world.report("power cut while a snapshot comes %d times" % cuts)
    finally:
        disks.unmount()


PARTS = {"full": part_full, "slow": part_slow, "power": part_power, "snapshot": part_snapshot}
