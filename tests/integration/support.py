"""What the integration tests share: servers on loopback ports, the API's messages, plain gRPC calls.

Needs python3 with grpc and protobuf (Debian: python3-grpcio, python3-protobuf; both come with python3-etcd3) and
protoc. The server under test is a parameter (--server or $QUORALD), so that every test can also be run against etcd
itself; the reference comes from tests/reference/build.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MESSAGES = os.path.join(ROOT, "messages")
# ctest shows a test that ends with this code as skipped, never as passed (SKIP_RETURN_CODE).
SKIPPED = 77

# grpc waits for its threads before a fork; servers are started in a process of their own at once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# Without clients of its own protocol a server needs no ports beside those that a test has chosen.
NATIVE_OFF = {"QUORAL_LISTEN_NATIVE_URLS": "none", "QUORAL_LISTEN_PUBLISH_URLS": "none"}
for _name, _value in NATIVE_OFF.items():
    os.environ.setdefault(_name, _value)

# The second one is what etcd 3.4 says.
READY = (b"ready to serve client requests", b"serving client traffic insecurely")


def fail(text):
    """Ends the test as failed."""
    print("FAILED: " + text, flush=True)
    sys.exit(1)


def skip(text):
    """Ends the test as not run, and says why."""
    print("SKIPPED: " + text, flush=True)
    sys.exit(SKIPPED)


def count(text):
    """The line with what a test has done; ./dev test prints them all at its end."""
    print("COUNT: " + text, flush=True)


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("QUORAL_CACHE") or os.path.join(base, "quoral")


def load_messages():
    """Generates the Python form of the clients' messages (once per content) and returns the modules (rpc, kv)."""
    names = ["etcd/" + n for n in sorted(os.listdir(os.path.join(MESSAGES, "etcd"))) if n.endswith(".proto")]
    names.append("native.proto")
    digest = hashlib.sha256()
    for name in names:
        with open(os.path.join(MESSAGES, name), "rb") as f:
            digest.update(name.encode() + b"\0" + f.read())
    out = os.path.join(cache_dir(), "python-" + digest.hexdigest()[:16])
    if not os.path.isdir(out):
        os.makedirs(cache_dir(), exist_ok=True)
        new = tempfile.mkdtemp(dir=cache_dir())
        subprocess.run(["protoc", "-I", MESSAGES, "--python_out=" + new] + names, check=True)
        try:
            os.rename(new, out)
        except OSError:  # another test was faster
            shutil.rmtree(new)
    sys.path.insert(0, out)
    # pylint: disable=import-error,import-outside-toplevel
    from etcd import kv_pb2, rpc_pb2

    return rpc_pb2, kv_pb2


def load_native():
    """The messages of the native protocol."""
    load_messages()
    # pylint: disable=import-error,import-outside-toplevel
    import native_pb2

    return native_pb2


# Not the ports that the kernel hands out itself, to connections and to who asks for any: between choosing one of those and
# listening on it somebody else may get it. Nor those of the Procfile.
PORTS = range(13000, 22000)
_port_locks = []


def _take_port(port, directory):
    """A lock on the port, which goes with this process; None if it is another's."""
    lock = os.open(os.path.join(directory, str(port)), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
    except OSError:
        os.close(lock)
        return None
    return lock


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on, and no other test will, as long as this process lives."""
    directory = os.path.join(tempfile.gettempdir(), "quoral-ports-%d" % os.getuid())
    os.makedirs(directory, mode=0o700, exist_ok=True)
    ports = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        lock = _take_port(port, directory)
        if lock is not None:
            _port_locks.append(lock)
            ports.append(port)
        if len(ports) == count:
            return ports
    fail("all ports from %d to %d are taken" % (PORTS[0], PORTS[-1]))


def scratch(prefix, in_memory=False):
    """A new directory; in memory where durability is not what is tested. The caller removes it."""
    base = os.environ.get("QUORAL_SCRATCH")
    if not base and in_memory and os.access("/dev/shm", os.W_OK):
        base = "/dev/shm"
    return tempfile.mkdtemp(prefix="quoral-" + prefix + "-", dir=base)


def reference():
    """The reference's (version, etcd, etcdctl); tests/reference/build prints which one it is."""
    if os.environ.get("QUORAL_REFERENCE_ETCD"):
        etcd = os.environ["QUORAL_REFERENCE_ETCD"]
        out = subprocess.run([etcd, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
        version = out.split("etcd Version: ", 1)[1].split()[0]
        return version, etcd, os.environ.get("QUORAL_REFERENCE_ETCDCTL", "etcdctl")
    out = subprocess.run([os.path.join(ROOT, "tests", "reference", "build")], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    values = dict(line.split("=", 1) for line in out.splitlines())
    return values["reference"], values["etcd"], values["etcdctl"]


def arguments(description):
    """The argument parser with --server, which all tests have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", default=os.environ.get("QUORALD"),
                        help="the server under test (default: $QUORALD)")
    return parser


def parse(parser):
    options = parser.parse_args()
    if not options.server:
        parser.error("give --server or set QUORALD")
    options.server = os.path.abspath(shutil.which(options.server) or options.server)
    if not os.access(options.server, os.X_OK):
        parser.error("no such program: " + options.server)
    return options


def system_call(name, *arguments):
    """One of the C library's, for the calling thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, "%s: %s" % (name, os.strerror(code)))


def own_mounts():
    """What the calling thread and its children mount from now on goes when they do, however they end. Needs root."""
    system_call("unshare", 0x00020000)  # CLONE_NEWNS
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def die_with_parent():
    """In the child: a test that is killed (ctest's timeout) leaves no server behind."""
    system_call("prctl", 1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Server:
    """One member on free loopback ports. The advertised URLs are etcd's defaults, so that two servers have equal
    member and cluster ids. start() from the main thread only (the child dies with the thread that made it)."""

    def __init__(self, binary, data_dir, extra=(), label=None):
        self.binary = binary
        self.data_dir = data_dir
        self.extra = list(extra)
        self.label = label or os.path.basename(binary)
        self.client_port, self.peer_port = free_ports(2)
        self.host = "127.0.0.1"
        self.in_child = [die_with_parent]  # called in the process that is to become the server
        self.log_path = data_dir.rstrip("/") + ".log"
        self.process = None
        self.starts = 0

    @property
    def target(self):
        return "%s:%d" % (self.host, self.client_port)

    @property
    def url(self):
        return "http://" + self.target

    @property
    def listen_peer_url(self):
        return "http://%s:%d" % (self.host, self.peer_port)

    @property
    def peer_url(self):
        """What the others are told."""
        return self.listen_peer_url

    def prepare_child(self):
        for function in self.in_child:
            function()

    def command(self):
        return shlex.split(os.environ.get("QUORAL_WRAP", "")) + [
            self.binary,
            "--name=default",
            "--data-dir=" + self.data_dir,
            "--listen-client-urls=" + self.url,
            "--advertise-client-urls=http://localhost:2379",
            "--listen-peer-urls=" + self.listen_peer_url,
            "--initial-advertise-peer-urls=http://localhost:2380",
            "--initial-cluster=default=http://localhost:2380",
            "--logger=zap",
            "--log-outputs=stderr",
        ] + self.extra

    def environment(self):
        """A flag and a variable that say the same are an error."""
        given = [name for name in NATIVE_OFF
                 if any(a.startswith("--" + name[7:].lower().replace("_", "-")) for a in self.extra)]
        return {name: value for name, value in os.environ.items() if name not in given}

    def start(self, timeout=30.0, wait=True):
        assert self.process is None
        self.starts += 1
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment(), preexec_fn=self.prepare_child)
        if wait:
            self.wait_ready(timeout)
        return self

    def log_since_start(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_from)
            return log.read()

    def wait_ready(self, timeout):
        end = time.monotonic() + timeout
        while True:
            log = self.log_since_start()
            if any(r in log for r in READY):
                return
            if self.process.poll() is not None:
                fail("%s ended with %d before it was ready:\n%s" % (self.label, self.process.returncode, self.tail()))
            if time.monotonic() > end:
                fail("%s is not ready after %g s:\n%s" % (self.label, timeout, self.tail()))
            time.sleep(0.005)

    def tail(self, lines=15):
        return b"\n".join(self.log_since_start().splitlines()[-lines:]).decode("utf-8", "replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and wait for the end."""
        self.process.send_signal(signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        return code

    def terminate(self, timeout=10.0):
        """SIGTERM; returns (exit code, seconds it took). Fails the test if it takes longer than the timeout."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            text = self.tail()
            self.kill()
            fail("%s does not end within %g s after SIGTERM:\n%s" % (self.label, timeout, text))
        self.process = None
        return code, time.monotonic() - begin

    def stop(self):
        """For the end of a test, whatever the state."""
        if self.process is not None:
            self.kill()

    def log_fatal(self):
        """The messages of the log's lines of level fatal, error or panic since the start."""
        found = []
        for line in self.log_since_start().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("level") in ("fatal", "panic", "error"):
                found.append(entry.get("msg", "") + " " + str(entry.get("error", "")))
        return found


class Calls:
    """Unary and stream calls over one channel, with the messages as bytes."""

    OPTIONS = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
        # A server that is started again is found again at once.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
        ("grpc.use_local_subchannel_pool", 1),  # a channel of its own connection, not a shared one
    ]

    def __init__(self, target):
        import grpc  # pylint: disable=import-outside-toplevel

        self.grpc = grpc
        self.channel = grpc.insecure_channel(target, options=self.OPTIONS)
        self.unary_calls = {}

    def unary(self, method):
        """The callable of a method given as Service/Method, e.g. etcdserverpb.KV/Put."""
        call = self.unary_calls.get(method)
        if call is None:
            call = self.unary_calls[method] = self.channel.unary_unary("/" + method)
        return call

    def server_stream(self, method):
        return self.channel.unary_stream("/" + method)

    def stream(self, method):
        return self.channel.stream_stream("/" + method)

    def close(self):
        self.channel.close()
