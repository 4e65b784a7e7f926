/* A prefix as a local map: prints every change, in order and without gaps, until standard input ends.
 *   example_cache tcp://127.0.0.1:2381,tcp://127.0.0.1:2481 config/ */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <quoral.h>

static void on_change(void *arg, quoral_cache_t *cache, const quoral_change_t *change)
{
    (void)arg;
    (void)cache;
    printf("%" PRId64 " %s %.*s %.*s\n", change->revision, change->deleted ? "delete" : "put",
           (int)change->kv.key.len, (const char *)change->kv.key.data, (int)change->kv.value.len,
           (const char *)change->kv.value.data);
}

static void on_stale(void *arg, quoral_cache_t *cache, bool stale)
{
    (void)arg;
    printf("%s revision %" PRId64 "\n", stale ? "stale at" : "fresh at",
           quoral_cache_revision(cache));
}

static void on_log(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    char *error = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    quoral_client_t *client = quoral_client_new(
        &(quoral_client_options_t){.endpoints = argc > 1 ? argv[1] : "tcp://127.0.0.1:2381",
                                   .on_log = on_log},
        &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }
    quoral_cache_t *cache =
        quoral_cache_new(client, quoral_str(argc > 2 ? argv[2] : ""),
                         &(quoral_cache_options_t){.on_change = on_change, .on_stale = on_stale});
    if (!cache) {
        fprintf(stderr, "the prefix is too long\n");
        return 2;
    }
    while (getchar() != EOF) {
    }
    quoral_result_t *all = quoral_cache_range(cache, quoral_str(""));
    printf("at revision %" PRId64 ": %zu keys\n", quoral_result_revision(all),
           quoral_result_size(all));
    quoral_result_destroy(&all);
    quoral_cache_destroy(&cache);
    quoral_client_destroy(&client);
    return 0;
}
