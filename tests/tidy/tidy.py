#!/usr/bin/env python3
"""Rules that no compiler checks: who may include whom, pure cores, sizes, one list of messages.

usage: tidy.py SOURCE_DIR BUILD_DIR
Prints every violation and the longest functions; exits 1 if there is a violation.
"""
import pathlib
import re
import subprocess
import sys

# Folder -> folders it may include (architecture: dependencies point one way).
MAY_INCLUDE = {
    "messages": {"messages"},
    "store": {"store", "messages"},
    "actors/core": {"actors/core", "messages"},
    "actors/election": {"actors/election", "actors/core", "messages"},
    "actors/replicator": {"actors/replicator", "actors/core", "messages"},
    "actors/lease": {"actors/lease", "actors/core", "messages"},
    "actors/wal_writer": {"actors/wal_writer", "actors/core", "messages", "store"},
    "actors/applier": {"actors/applier", "actors/core", "messages", "store"},
    "actors/keeper": {"actors/keeper", "actors/core", "messages", "store"},
    "actors/curve": {"actors/curve", "actors/core", "messages"},
    "actors/peer": {"actors/peer", "actors/core", "messages"},
    "actors/watch": {"actors/watch", "actors/core", "messages", "store"},
    "actors/api": {"actors/api", "actors/core", "messages", "store"},
    "actors/grpc_gateway": {"actors/grpc_gateway", "actors/api", "actors/core", "messages"},
    "actors/zmq_gateway": {"actors/zmq_gateway", "actors/api", "actors/core", "messages"},
    "actors/runtime": {"actors/runtime", "actors/core", "actors", "messages"},
    "actors/daemon": {"actors/daemon", "actors/api", "actors/keeper", "actors/peer", "actors/core", "messages"},
    "client": {"client", "messages"},
    "cli": {"cli", "client", "messages"},
}
# A shell may use the runtime; that is what makes it a shell. Those with sockets to other machines give them keys.
SHELL_EXTRA = {"actors/runtime", "actors/curve"}

# Libraries whose undefined symbols prove that they touch nothing outside.
PURE = ["messages/libmessages", "actors/core/libactors_core", "actors/libwiring",
        "actors/election/libelection", "actors/replicator/libreplicator", "actors/lease/liblease",
        "actors/peer/libpeer", "actors/curve/libcurve",
        "actors/wal_writer/libwal_writer", "actors/applier/libapplier", "actors/keeper/libkeeper",
        "actors/watch/libwatch", "actors/api/libapi", "actors/grpc_gateway/libgrpc_gateway",
        "actors/zmq_gateway/libzmq_gateway",
        "client/native/libnative_client"]
IMPURE = re.compile(
    r"^(zmq_|zsock_|zactor_|zstr_|zpoller_|zclock_|pthread_|clock_gettime|gettimeofday|time$|sleep|usleep|nanosleep|"
    r"rand$|random$|srand|getrandom|getenv|setenv|open$|open64|fopen|read$|write$|pread|pwrite|fsync|fdatasync|rename$|"
    r"unlink|socket$|bind$|connect$|accept|send$|recv$|poll$|epoll_|fork$|exec|system$|printf$|puts$|perror|syslog)")
# Tables are constants (those with pointers end up in .data.rel.ro); writable data would be state
# that all instances share.
WRITABLE = re.compile(r"^\S+ .{7} (\.data|\.bss|\.data\.(?!rel\.ro)\S*|\.bss\.\S*)\s+(\S+)\s+(\S+)$", re.M)

# Not bounded by the buffer they write to, not for programs with threads, or without a report of overflow.
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|asctime|ctime|gmtime|localtime|setlocale|"
                    r"rand|srand|tmpnam|mktemp|ttyname|gethostbyname|getpwnam|getpwuid|inet_ntoa|atoi|atol|atoll|atof|"
                    r"alloca|setjmp|longjmp)\(")

FILE_LINES_MAX = 600
TEST_FILE_LINES_MAX = 1000  # a list of cases
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 120  # of comments; clang-format holds code to 100

problems = []


def complain(text):
    problems.append(text)


def sources(root):
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "*.c", "*.h"], capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [root / name for name in listed.stdout.split()]
    return [p for p in root.rglob("*.[ch]") if "build" not in p.relative_to(root).parts]


def folder_of(name):
    parts = name.split("/")
    if parts[0] == "actors" and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0]


def check_includes(name, text):
    folder = folder_of(name)
    allowed = MAY_INCLUDE.get(folder)
    if allowed is None:
        return  # actors/ itself (main, node, wiring) and tests see everything
    if name.endswith(("_shell.c", "_shell.h")) or name == "actors/grpc_gateway/gateway.h":
        allowed = allowed | SHELL_EXTRA
    for included in re.findall(r'^#include "([^"]+)"', text, re.M):
        if included.endswith(".pb-c.h"):
            continue
        if folder_of(included) not in allowed:
            complain(f"{name}: may not include {included}")


def functions(lines):
    """(name, first line, length) of each function: formatted code opens and closes it in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            head = start - 1
            while head > 0 and lines[head - 1] and not lines[head - 1].startswith(("}", "#", "/", " *", "\t")):
                if not lines[head - 1].startswith(" "):
                    break
                head -= 1
            match = re.search(r"(\w+)\(", lines[head - 1])
            yield (match.group(1) if match else "?", start, number - start + 1)
            start = None


def check_sizes(name, lines, longest):
    if len(lines) > (TEST_FILE_LINES_MAX if name.startswith("tests/") else FILE_LINES_MAX):
        complain(f"{name}: {len(lines)} lines, is it still one job?")
    for function, line, length in functions(lines):
        longest.append((length, f"{name}:{line} {function}"))
        if length > FUNCTION_LINES_MAX:
            complain(f"{name}:{line}: {function} has {length} lines, at most {FUNCTION_LINES_MAX}")
    table = False
    for number, line in enumerate(lines, 1):
        if "clang-format o" in line:  # off ... on: a table, whose rows stay lines
            table = "clang-format off" in line
        if len(line) > LINE_LENGTH_MAX and not table:
            complain(f"{name}:{number}: {len(line)} columns, at most {LINE_LENGTH_MAX}")
        banned = BANNED.search(line.split("/*")[0])
        if banned and not name.startswith("tests/"):
            complain(f"{name}:{number}: {banned[1]} is banned")
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            complain(f"{name}:{number}: unfinished work belongs into an issue")


def check_header(name, text):
    if name.endswith(".h") and "#pragma once" not in text:
        complain(f"{name}: no #pragma once")
    if not name.startswith("tests/") and name.endswith(".h") and not text.startswith("/*"):
        complain(f"{name}: a header begins by saying what it is")


def check_purity(build):
    for library in PURE:
        archive = build / f"{library}.a"
        if not archive.exists():
            complain(f"{archive}: not built, so its purity is not proved")
            continue
        symbols = subprocess.run(["nm", str(archive)], capture_output=True, text=True, check=True).stdout
        for symbol in re.findall(r"^\s+U (\S+)$", symbols, re.M):
            if IMPURE.match(symbol):
                complain(f"{library}: uses {symbol}, but cores are pure")
        table = subprocess.run(["objdump", "-t", str(archive)], capture_output=True, text=True, check=True).stdout
        for section, size, name in WRITABLE.findall(table):
            if int(size, 16) and name != section and not name.startswith("__"):  # __: the sanitizers' own
                complain(f"{library}: writable global {name}")


def check_messages(root):
    kinds = set(re.findall(r"X\((\w+)\)", (root / "messages/kinds.h").read_text())) - {"kind"}
    wired = set(re.findall(r"MSG_(\w+)", (root / "actors/wiring.c").read_text()))
    runtime = {"CREDIT", "STOP", "DISK_WRITE", "DISK_DONE", "LINK", "FRAME", "CLOSED"}
    for kind in sorted(kinds - wired - runtime):
        complain(f"messages/kinds.h: {kind} has no edge in actors/wiring.c")
    for kind in sorted(wired - kinds):
        complain(f"actors/wiring.c: {kind} is not in messages/kinds.h")


def main():
    root, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    longest = []
    for path in sources(root):
        if not path.exists():
            continue
        name = str(path.relative_to(root))
        text = path.read_text()
        lines = text.splitlines()
        check_includes(name, text)
        check_header(name, text)
        check_sizes(name, lines, longest)
    check_purity(build)
    check_messages(root)
    print("longest functions:")
    for length, where in sorted(longest, reverse=True)[:10]:
        print(f"  {length:3} {where}")
    for problem in problems:
        print(problem)
    print(f"{len(longest)} functions, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
