#!/usr/bin/python3
"""Searches the models of consensus with Spin: every rule on, nothing may be found; one rule off, something must be.

    check.py [fence] [conf] [rules] [reach]     what ctest runs; without names all of it
    check.py --full                             the larger bounds, too; hours
    check.py --full --seconds 600 --seed 7      of the larger ones, in random order, what the time allows
    check.py --list
    check.py --trail rules/NOFENCE              the shortest counterexample, step by step
    check.py --exact fence                      whole states instead of 96-bit hashes of them (three times slower)

Needs Spin and a C compiler; ends with 77 without. A search never gets more than 4 GiB.
"""
import argparse
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cases import CASES

HERE = pathlib.Path(__file__).resolve().parent
MEMORY_MB = 3900          # what the search counts itself; the limit below is the wall behind it
ADDRESS_SPACE = 4 << 30
DEPTH_MAX = 20000         # of any run; the longest are below 200 steps
HUNT_SECONDS = 120


class Failure(Exception):
    pass


class Result:
    """What a generated program printed."""

    def __init__(self, output, cut):
        self.output = output
        self.cut = cut
        counts = re.search(r"errors: (\d+)\n\s*([\d.e+]+) states, stored", output)
        self.errors = int(counts[1]) if counts else None
        self.states = int(float(counts[2])) if counts else 0
        memory = re.search(r"([\d.]+)\s+total actual memory usage", output)
        self.memory = float(memory[1]) if memory else 0
        early = re.search(r"not completed|max search depth too small|out of memory", output)
        self.complete = bool(counts) and not early


def run(command, directory):
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failure("%s\n%s" % (" ".join(map(str, command)), done.stdout))
    return done.stdout


def defines(case):
    return ["-D" + name for name in case.defines.split()] + ["-DTRACE"]


def widen_hash(program):
    """Makes a generated search store 96 bits per state.

    -DHC4 means to store two hashes of a state, of 64 and 32 bits. For hash tables below 2^32 slots Spin 6.5.2
    computes them by a function that sets only 32 bits and leaves the rest 0, and some states in ten thousand
    were taken for known ones. The 64-bit function is in the program, too. False if this Spin writes another
    program: then states are stored whole.
    """
    text = program.read_text()
    if text.count("hasher = d_sfh;") != 1 or text.count("hasher = d_hash;") != 1:
        return False
    program.write_text(text.replace("hasher = d_sfh;", "hasher = d_hash;"))
    return True


def build(case, directory, options, shortest=False):
    for name in ("fence.pml", "conf.pml"):
        shutil.copy(HERE / name, directory)
    run(["spin", *defines(case), "-a", case.model], directory)
    compile_options = [case.optimize, "-w", "-DSAFETY", "-DMEMLIM=%d" % MEMORY_MB, *case.options.split()]
    if options.seconds and case.kind != "bite":
        compile_options += ["-DT_RAND", "-DP_RAND"]  # what is cut off has seen another part each time
    if case.kind == "hunt":
        compile_options += ["-DBITSTATE"]
    elif not shortest and not options.exact and widen_hash(directory / "pan.c"):
        compile_options += ["-DHC4"]
    else:
        compile_options += ["-DCOLLAPSE"]
    if shortest and "-DBFS" not in compile_options:
        compile_options += ["-DBFS"]
    run(["cc", *compile_options, "-o", "pan", "pan.c"], directory)


def search(case, directory, options, seconds):
    command = ["./pan", "-E", "-m%d" % DEPTH_MAX, "-w%d" % (33 if case.kind == "hunt" else case.slots)]
    command += ["-RS%d" % options.seed] if options.seconds else []
    if case.kind == "hunt":
        seconds = min(seconds or HUNT_SECONDS, HUNT_SECONDS)
    cut = False
    with open(directory / "out", "w+") as out:
        process = subprocess.Popen(command, cwd=directory, stdout=out, stderr=subprocess.STDOUT,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE,) * 2))
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            cut = True
            process.send_signal(signal.SIGINT)  # it says how far it came
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        out.seek(0)
        return Result(out.read(), cut)


def replay(case, directory):
    """The run that ended in an error: (its lines, the assertion's name)."""
    lines = run(["spin", "-t", "-B", *defines(case), "-k", case.model + ".trail", case.model], directory).splitlines()
    place = next((re.search(r"%s:(\d+), Error: assertion violated" % re.escape(case.model), line) for line in lines
                  if "Error: assertion violated" in line), None)
    if not place:
        raise Failure("the trail does not lead to an error:\n" + "\n".join(lines))
    source = (directory / case.model).read_text().splitlines()[int(place[1]) - 1]
    name = re.search(r"/\* (S\d|GOAL)", source)
    steps = [line.strip() for line in lines if re.match(r"\s+(CRASH|[ERW]\d:|member |its )", line)]
    return steps, name[1] if name else "the assertion of line " + place[1]


def judge(case, result, directory, timed):
    """What to print; raises Failure if it is not what the case demands."""
    if result.errors is None:
        raise Failure("the search ended early:\n" + result.output[-2000:])
    if result.errors:
        steps, name = replay(case, directory)
        if name != case.finds:
            raise Failure("%s does not hold%s:\n%s" % (
                name, ", but %s should have failed" % case.finds if case.finds else "", "\n".join(steps)))
        return "%s fails after %d steps" % (name, len(steps)) if case.kind == "bite" else "reached"
    if case.kind == "hunt":
        return "nothing found"
    if result.complete:
        if case.finds:
            raise Failure("%s should have failed, nothing was found" % case.finds)
        return "nothing found, all states"
    if timed and result.cut:
        return "cut off, nothing found so far"
    raise Failure("the search ended early:\n" + result.output[-2000:])


def check(case, options, deadline):
    """Runs one case and prints its line. Returns the number of states, or None if it failed."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="quoral-model-"))
    begin, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        build(case, directory, options)
        left = max(deadline - time.monotonic(), 1) if deadline else None
        result = search(case, directory, options, left)
        verdict, error = judge(case, result, directory, deadline), None
    except Failure as failure:
        result, verdict, error = None, "FAILED", failure
    finally:
        shutil.rmtree(directory)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    states, memory = (result.states, result.memory) if result else (0, 0)
    print("%-30s %11d states %5.0f MB %6.1f s (%5.1f CPU)  %s   [%s]" % (
        case.name, states, memory, time.monotonic() - begin, cpu, verdict, case.note), flush=True)
    if error:
        print("%s\ndefines: %s" % (error, case.defines), flush=True)
    return result.states if result else None


def print_trail(case, options):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="quoral-model-"))
    try:
        build(case, directory, options, shortest=True)
        result = search(case, directory, options, None)
        if not result.errors:
            raise Failure("nothing found:\n" + result.output[-2000:])
        steps, name = replay(case, directory)
        print("%s: %s\n%s does not hold after:\n" % (case.name, case.note, name))
        print("\n".join(steps))
    finally:
        shutil.rmtree(directory)


def choose(options):
    groups = {case.group for case in CASES}
    for name in options.names:
        if name not in groups and name not in {case.name for case in CASES}:
            sys.exit("no such group or case: %s" % name)
    chosen = [case for case in CASES
              if case.name in options.names or ((options.full or not case.full) and
                                                (not options.names or case.group in options.names))]
    if options.seconds:
        chosen = [case for case in chosen if case.full]
        random.Random(options.seed).shuffle(chosen)
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="groups or cases")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seconds", type=float, help="begin nothing after so long, and cut off what is running")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--trail", metavar="CASE")
    options = parser.parse_args()
    if options.list:
        for case in CASES:
            print("%-30s %-5s %s%s\n    %s" % (case.name, case.finds, case.note, " (--full)" if case.full else "",
                                              case.defines))
        return 0
    for program in ("spin", "cc"):
        if not shutil.which(program):
            print("%s is not installed" % program)
            return 77
    if options.trail:
        options.names = [options.trail]
        print_trail(choose(options)[0], options)
        return 0
    deadline = time.monotonic() + options.seconds if options.seconds else None
    states, done, failed = 0, 0, []
    for case in choose(options):
        if deadline and time.monotonic() > deadline:
            break
        found = check(case, options, deadline)
        done += 1
        if found is None:
            failed.append(case.name)
        else:
            states += found
    print("COUNT: consensus model: %d searches, %d states" % (done, states))
    if failed:
        print("FAILED: " + " ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
