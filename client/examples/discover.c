/* Who works for a service: prints each change, and whom it would choose, until standard input ends.
 *   example_discover tcp://127.0.0.1:2381 resize */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <quoral.h>

static void on_event(void *arg, quoral_discovery_t *discovery, quoral_event_t event,
                     const quoral_instance_t *instance)
{
    static const char *const events[] = {"added", "changed", "removed"};
    static const char *const states[] = {"ready", "unready", "draining"};
    (void)arg;
    (void)discovery;
    printf("%s %s %s %s weight %u\n", events[event], instance->name, instance->address,
           states[instance->state], instance->weight);
}

static void on_stale(void *arg, quoral_discovery_t *discovery, bool stale)
{
    (void)arg;
    printf("%s %" PRId64 "\n", stale ? "stale at" : "fresh at",
           quoral_discovery_revision(discovery));
}

static void on_log(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINTS SERVICE\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    char *error = NULL;
    quoral_client_t *client = quoral_client_new(
        &(quoral_client_options_t){.endpoints = argv[1], .on_log = on_log}, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }
    quoral_discovery_options_t options = {
        .on_event = on_event, .on_stale = on_stale, .announce = true};
    quoral_discovery_t *discovery = quoral_discovery_new(client, argv[2], &options);
    if (!discovery) {
        fprintf(stderr, "that cannot be the name of a service\n");
        return 2;
    }
    for (int c = getchar(); c != EOF; c = getchar()) { /* each line: choose one */
        if (c == '\n') {
            quoral_instances_t *chosen = quoral_discovery_choose(discovery);
            const quoral_instance_t *instance = quoral_instances_at(chosen, 0);
            printf("chosen %s\n", instance ? instance->address : "nobody");
            quoral_instances_destroy(&chosen);
        }
    }
    quoral_discovery_destroy(&discovery);
    quoral_client_destroy(&client);
    return 0;
}
