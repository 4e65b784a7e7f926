#!/usr/bin/python3
"""quoralctl and the reference's etcdctl print the same, against the reference etcd and against the server under test.

    quoralctl.py --server build/release/quorald --ctl build/release/quoralctl

The scenarios are in ctl_scenarios.py, the comparison is compare_ctl.py. They wait a lot (timeouts of commands), so both
servers are used at the same time.
"""

import os
import shutil
import subprocess
import sys

import support

# The comparison makes revisions relative; a store at a revision far from small numbers keeps it from taking others for
# revisions.
HEAD_START = 1500


def advance(server):
    rpc, _ = support.load_messages()
    calls = support.Calls(server.target)
    put = calls.unary("etcdserverpb.KV/Put")
    for _ in range(HEAD_START // 50):
        for future in [put.future(rpc.PutRequest(key=b"start").SerializeToString()) for _ in range(50)]:
            future.result()
    calls.close()


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--ctl", required=True)
    options = support.parse(parser)
    _, etcd, etcdctl = support.reference()
    failures = 0
    directory = support.scratch("quoralctl", in_memory=True)
    runs = []
    try:
        for label, binary in (("reference", etcd), ("server", options.server)):
            server = support.Server(binary, os.path.join(directory, label), label=label)
            # For `endpoint --cluster`, which goes where the member list says.
            server.extra.append("--advertise-client-urls=" + server.url)
            server.start()
            runs.append([label, server, None])
            advance(server)
            with open(server.data_dir + ".compare", "wb") as out:
                runs[-1][2] = subprocess.Popen(
                    [sys.executable, os.path.join(support.HERE, "compare_ctl.py"), "--ctl", options.ctl,
                     "--reference", etcdctl, "--endpoint", server.target], stdout=out)
        for label, server, process in runs:
            failures += process.wait() != 0
            with open(server.data_dir + ".compare", encoding="utf-8", errors="replace") as f:
                text = f.read()
            print(text)
            support.count("quoralctl against the %s: %s" % (label, (text.splitlines() or ["nothing"])[-1]))
            if not server.alive():
                failures += 1
                print("the %s ended:\n%s" % (label, server.tail()))
    finally:
        for _, server, process in runs:
            if process and process.poll() is None:
                process.kill()
            server.stop()
        shutil.rmtree(directory)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
