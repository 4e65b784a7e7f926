/* usage: sim [--seeds N] [--first SEED] [--steps N] [--seconds N]   many seeds; counts at the end
 *        sim --seed SEED [--trace]                                  one, with its trace on demand
 *        --members N, --without-snapshots                           whatever the seed says
 *        sim --bug NAME --rule REGEX [--seeds N] …                  NAME is planted: a seed must break the rule
 *        … --all                                                    and how many do?
 * Each seed runs twice; unequal traces mean that something is not deterministic. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *const count_names[] = {
#define X(name) #name,
    SIM_COUNTS(X)
#undef X
};

typedef struct {
    uint64_t seeds, first, steps, seconds;
    bool one, all;
    const char *bug, *rule;
    sim_wishes_t wishes;
} arguments_t;

typedef struct {
    uint64_t counts[SIM_COUNT];
    uint64_t simulated_us;
    uint64_t lively; /* seeds that committed ten entries and changed the leader */
} totals_t;

static uint64_t number(const char *text)
{
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 0);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "sim: %s is not a number\n", text);
        exit(2);
    }
    return value;
}

static arguments_t parse(int argc, char **argv)
{
    arguments_t arguments = {.seeds = 100, .first = 1, .steps = 3000, .seconds = 20};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            arguments.wishes.trace = true;
            continue;
        }
        if (strcmp(argv[i], "--without-snapshots") == 0) {
            arguments.wishes.without_snapshots = true;
            continue;
        }
        if (strcmp(argv[i], "--all") == 0) {
            arguments.all = true;
            continue;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "sim: %s needs a value\n", argv[i]);
            exit(2);
        }
        const char *name = argv[i++];
        if (strcmp(name, "--bug") == 0 || strcmp(name, "--rule") == 0) {
            *(name[2] == 'b' ? &arguments.bug : &arguments.rule) = argv[i];
            continue;
        }
        uint64_t value = number(argv[i]);
        if (strcmp(name, "--seeds") == 0) {
            arguments.seeds = value;
        } else if (strcmp(name, "--first") == 0) {
            arguments.first = value;
        } else if (strcmp(name, "--steps") == 0) {
            arguments.steps = value;
        } else if (strcmp(name, "--seconds") == 0) {
            arguments.seconds = value;
        } else if (strcmp(name, "--members") == 0) {
            arguments.wishes.members = value < SIM_MEMBERS_MAX ? value : SIM_MEMBERS_MAX;
        } else if (strcmp(name, "--seed") == 0) {
            arguments.one = true;
            arguments.first = value;
            arguments.seeds = 1;
        } else {
            fprintf(stderr, "sim: unknown option %s\n", name);
            exit(2);
        }
    }
    if (!arguments.bug != !arguments.rule || (arguments.all && !arguments.bug)) {
        fprintf(stderr, "sim: --bug NAME, --rule REGEX: both, or neither, and --all with them\n");
        exit(2);
    }
    return arguments;
}

static uint64_t run(const arguments_t *arguments, uint64_t seed, totals_t *totals)
{
    sim_t *sim = sim_new(seed, &arguments->wishes);
    sim_run(sim, arguments->steps, arguments->seconds * 1000000);
    sim_finish(sim);
    uint64_t hash = sim->trace_hash;
    if (totals) {
        for (size_t i = 0; i < SIM_COUNT; i++) {
            totals->counts[i] += sim->counts[i];
        }
        totals->simulated_us += sim->now_us;
        totals->lively += sim->counts[COUNT_COMMITTED] >= 10 && sim->counts[COUNT_ELECTIONS] >= 2;
    }
    sim_destroy(&sim);
    return hash;
}

/* What was done to members, disks and network; restarts are no fault, and how a crash leaves its disk is
 * counted apart. */
static uint64_t faults(const totals_t *totals)
{
    static const sim_count_t kinds[] = {COUNT_FRAMES_LOST,      COUNT_FRAMES_DUPLICATED,
                                        COUNT_FRAMES_REORDERED, COUNT_CONNECTIONS_CLOSED,
                                        COUNT_CRASHES,          COUNT_PAUSES,
                                        COUNT_PARTITIONS,       COUNT_ONE_WAY_CUTS,
                                        COUNT_BRIDGES,          COUNT_BLINKS,
                                        COUNT_LATE_HANDOVERS,   COUNT_DISK_STALLS,
                                        COUNT_DISK_FAILURES,    COUNT_DISK_FULL,
                                        COUNT_CLOCK_DRIFTS};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        sum += totals->counts[kinds[i]];
    }
    return sum;
}

static void report(const arguments_t *arguments, const totals_t *totals)
{
    printf("COUNT: %" PRIu64 " seeds, each twice with the same trace, %" PRIu64
           " with ten entries and a new leader\n",
           arguments->seeds, totals->lively);
    printf("COUNT: %.1f simulated hours, %" PRIu64 " faults injected\n",
           (double)totals->simulated_us / 3.6e9, faults(totals));
    for (size_t i = 0; i < SIM_COUNT; i++) {
        printf("COUNT: %s %" PRIu64 "\n", count_names[i], totals->counts[i]);
    }
}

/* Many seeds that pass say something only if a lot has happened in them. */
static int judge(const arguments_t *arguments, const totals_t *totals)
{
    if (totals->lively * 100 < arguments->seeds * 95) {
        fprintf(stderr, "FAILED: too few seeds commit ten entries and change the leader\n");
        return 3;
    }
    for (size_t i = 0; i < SIM_COUNT; i++) {
        bool excused = i == COUNT_SNAPSHOTS && arguments->wishes.without_snapshots;
        if (totals->counts[i] == 0 && !excused && arguments->wishes.members == 0) {
            fprintf(stderr, "FAILED: no %s in all seeds\n", count_names[i]);
            return 3;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    arguments_t arguments = parse(argc, argv);
    totals_t totals = {0};
    if (arguments.bug) {
        return sim_hunt_bug(&(bug_hunt_t){.name = arguments.bug,
                                          .rule = arguments.rule,
                                          .first = arguments.first,
                                          .seeds = arguments.seeds,
                                          .steps = arguments.steps,
                                          .seconds = arguments.seconds,
                                          .all = arguments.all});
    }
    for (uint64_t seed = arguments.first; seed < arguments.first + arguments.seeds; seed++) {
        uint64_t first = run(&arguments, seed, &totals);
        if (arguments.one && arguments.wishes.trace) {
            break;
        }
        uint64_t second = run(&arguments, seed, NULL);
        if (first != second) {
            fprintf(stderr, "FAILED seed=%" PRIu64 ": two runs differ\n", seed);
            return 3;
        }
    }
    report(&arguments, &totals);
    return arguments.seeds >= 100 ? judge(&arguments, &totals) : 0;
}
