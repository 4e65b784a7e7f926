/* Planted bugs: does the simulator bite, and by the rule that is there for it? Each seed runs in a process of
 * its own, so that whatever the bug does to it, a crash included, ends that seed alone. */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

enum { FAILED = 3 };

/* 0, or the process's status: what it has found is in *finding. */
static int run_alone(const bug_hunt_t *hunt, uint64_t seed, sim_finding_t *finding)
{
    *finding = (sim_finding_t){0};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        sim_wishes_t wishes = {.finding = finding};
        sim_t *sim = sim_new(seed, &wishes);
        sim_run(sim, hunt->steps, hunt->seconds * 1000000);
        sim_finish(sim);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        fprintf(stderr, "sim: no process for seed %" PRIu64 "\n", seed);
        exit(2);
    }
    if (status && finding->why[0] == '\0') { /* it had no time to say anything */
        snprintf(finding->why, sizeof finding->why, "ends with status 0x%x", (unsigned)status);
    }
    return status;
}

static regex_t compile(const char *pattern)
{
    regex_t compiled;
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "sim: %s is not a regular expression\n", pattern);
        exit(2);
    }
    return compiled;
}

int sim_hunt_bug(const bug_hunt_t *hunt)
{
    regex_t rule = compile(hunt->rule);
    sim_finding_t *finding =
        mmap(NULL, sizeof *finding, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (finding == MAP_FAILED) {
        perror("sim: mmap");
        return 2;
    }
    uint64_t found = 0;
    uint64_t others = 0;
    uint64_t runs = 0;
    for (; runs < hunt->seeds && (hunt->all || found == 0); runs++) {
        uint64_t seed = hunt->first + runs;
        if (run_alone(hunt, seed, finding) == 0) {
            continue;
        }
        bool is_it = regexec(&rule, finding->why, 0, NULL, 0) == 0;
        found += is_it;
        others += !is_it;
        printf("%splanted bug %s %s by seed %" PRIu64 ", number %" PRIu64 " of %" PRIu64
               ", step %" PRIu64 ": %s\n",
               is_it && !hunt->all ? "COUNT: " : "", hunt->name,
               is_it ? "is found" : "breaks something else", seed, runs + 1, hunt->seeds,
               finding->step, finding->why);
    }
    if (hunt->all || found == 0) {
        printf("%splanted bug %s is found by %" PRIu64 " of %" PRIu64 " seeds; %" PRIu64
               " break something else\n",
               found ? "" : "FAILED: ", hunt->name, found, runs, others);
    }
    regfree(&rule);
    munmap(finding, sizeof *finding);
    return found ? 0 : FAILED;
}
