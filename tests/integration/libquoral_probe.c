/* Caches of libquoral under load, held against the store: each must equal Range at its revision, and what it tells of
 * changes must add up to it. The faults are the business of who starts this (libquoral.py).
 *
 *   libquoral_probe ENDPOINTS SECONDS CACHES WRITERS
 *
 * Writes and compacts (every second, close to the newest revision) while it checks. After SECONDS it stops writing,
 * and every cache must reach the newest revision and be fresh. The last line of its output is a JSON object of
 * counts. Ends with 1 at the first difference. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <quoral.h>

enum {
    CACHES_MAX = 512,
    CACHES_PER_CLIENT = 10,
    WRITERS_MAX = 64,
    KEYS = 400,
    KEPT_REVISIONS = 500, /* by a compaction */
    SETTLE_S = 30,
    SUM_EVERY = 64, /* revisions, after which a cache adds up what it was told */
};

typedef struct {
    quoral_cache_t *cache;
    char key[16];
    bool exact;
    uint64_t told; /* the sum of what the changes leave */
    int64_t revision;
    unsigned revisions;
    atomic_uint_fast64_t checked;
} subject_t;

static subject_t subjects[CACHES_MAX];
static size_t subjects_n;
static atomic_bool is_over;
static atomic_uint_fast64_t writes, failed, unknown, compactions, sums;
static const char *endpoints;

static void die(const char *what, const subject_t *subject, int64_t revision)
{
    printf("DIFFERENT: %s, cache %s%s at revision %" PRId64 "\n", what, subject->key,
           subject->exact ? " (exact)" : "", revision);
    fflush(stdout);
    _exit(1);
}

static uint64_t hash(uint64_t sum, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    }
    return sum ^ (sum >> 29);
}

static uint64_t hash_kv(const quoral_kv_t *kv)
{
    uint64_t sum = hash(0xcbf29ce484222325u, kv->key.data, kv->key.len);
    sum = hash(sum, kv->value.data, kv->value.len);
    return hash(sum, &kv->mod_revision, sizeof kv->mod_revision);
}

static void on_change(void *arg, quoral_cache_t *cache, const quoral_change_t *change)
{
    (void)cache;
    subject_t *subject = arg;
    subject->told -= change->has_previous ? hash_kv(&change->previous) : 0;
    subject->told += change->deleted ? 0 : hash_kv(&change->kv);
}

static void on_revision(void *arg, quoral_cache_t *cache, int64_t revision)
{
    subject_t *subject = arg;
    if (revision < subject->revision || (revision == subject->revision && revision > 1)) {
        die("the revision does not grow", subject, revision);
    }
    subject->revision = revision;
    if (subject->revisions++ % SUM_EVERY == 0) {
        quoral_result_t *all = quoral_cache_range(cache, quoral_str(""));
        uint64_t sum = 0;
        for (size_t i = 0; i < quoral_result_size(all); i++) {
            sum += hash_kv(quoral_result_kv(all, i));
        }
        if (quoral_result_revision(all) != revision || sum != subject->told) {
            die("the changes do not add up", subject, revision);
        }
        quoral_result_destroy(&all);
        sums++;
    }
}

static void on_log(void *arg, const char *line)
{
    fprintf(stderr, "%s: %s\n", (const char *)arg, line);
}

static quoral_client_t *new_client(const char *name)
{
    char *error = NULL;
    quoral_client_options_t options = {.endpoints = endpoints,
                                       .timeout_ms = 3000,
                                       .on_log = on_log,
                                       .log_arg = (void *)(uintptr_t)name};
    quoral_client_t *client = quoral_client_new(&options, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        exit(2);
    }
    return client;
}

/* ---- load ---- */

static void count(quoral_result_t *result)
{
    writes += quoral_result_is_ok(result);
    failed += !quoral_result_is_ok(result);
    unknown += quoral_result_may_have_happened(result);
    quoral_result_destroy(&result);
}

static quoral_bytes_t random_key(unsigned *seed, char text[16])
{
    snprintf(text, 16, "g/%03d", rand_r(seed) % KEYS);
    return quoral_str(text);
}

static quoral_bytes_t random_value(unsigned *seed, char *room, size_t size)
{
    /* Some are too large to be published. */
    size_t len = rand_r(seed) % 200 == 0 ? 20000 : (size_t)(8 + rand_r(seed) % 100);
    len = len < size ? len : size;
    snprintf(room, 24, "%08d%08d", rand_r(seed) % 100000000, rand_r(seed) % 100000000);
    memset(room + 16, 'v', len > 16 ? len - 16 : 0);
    quoral_bytes_t value = {room, len};
    return value;
}

static quoral_result_t *write_several(quoral_client_t *client, unsigned *seed, char *room,
                                      size_t size)
{
    quoral_txn_t *txn = quoral_txn_new();
    int first = rand_r(seed) % (KEYS - 8);
    for (int i = 0; i < 2 + rand_r(seed) % 5; i++) {
        char key[24];
        snprintf(key, sizeof key, "g/%03d", first + i);
        if (rand_r(seed) % 4 == 0) {
            quoral_txn_delete(txn, QUORAL_THEN, quoral_str(key), NULL);
        } else {
            quoral_txn_put(txn, QUORAL_THEN, quoral_str(key), random_value(seed, room, size), NULL);
        }
    }
    quoral_result_t *result = quoral_commit(client, txn, 0);
    quoral_txn_destroy(&txn);
    return result;
}

static void *write_all(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    quoral_client_t *client = new_client("writer");
    static const size_t size = 32768;
    char *room = malloc(size);
    while (!is_over) {
        char key[16];
        int dice = rand_r(&seed) % 100;
        if (dice < 75) {
            count(
                quoral_put(client, random_key(&seed, key), random_value(&seed, room, size), NULL));
        } else if (dice < 88) {
            count(quoral_delete(client, random_key(&seed, key), NULL));
        } else {
            count(write_several(client, &seed, room, size));
        }
    }
    free(room);
    quoral_client_destroy(&client);
    return NULL;
}

/* etcdserverpb.CompactionRequest: revision = 1. */
static void compact(quoral_client_t *client, int64_t revision)
{
    unsigned char body[11] = {1 << 3};
    size_t len = 1;
    for (uint64_t rest = (uint64_t)revision; len == 1 || rest > 0; rest >>= 7) {
        body[len++] = (unsigned char)((rest & 0x7f) | (rest >= 0x80 ? 0x80 : 0));
    }
    quoral_bytes_t bytes = {body, len};
    quoral_result_t *result = quoral_call(client, "etcdserverpb.KV/Compact", bytes, false, 0);
    compactions += quoral_result_is_ok(result);
    quoral_result_destroy(&result);
}

static int64_t newest(quoral_client_t *client)
{
    quoral_result_t *result = quoral_get(client, quoral_str("x"), NULL);
    int64_t revision = quoral_result_is_ok(result) ? quoral_result_revision(result) : 0;
    quoral_result_destroy(&result);
    return revision;
}

static void *compact_all(void *arg)
{
    (void)arg;
    quoral_client_t *client = new_client("compactor");
    while (!is_over) {
        sleep(1);
        int64_t revision = newest(client);
        if (revision > KEPT_REVISIONS) {
            compact(client, revision - KEPT_REVISIONS);
        }
    }
    quoral_client_destroy(&client);
    return NULL;
}

/* ---- checks ---- */

static bool same(const quoral_kv_t *a, const quoral_kv_t *b)
{
    return a->key.len == b->key.len && memcmp(a->key.data, b->key.data, a->key.len) == 0 &&
           a->value.len == b->value.len &&
           memcmp(a->value.data, b->value.data, a->value.len) == 0 &&
           a->create_revision == b->create_revision && a->mod_revision == b->mod_revision &&
           a->version == b->version && a->lease == b->lease;
}

/* False: the store could not be asked. */
static bool check(quoral_client_t *client, subject_t *subject)
{
    quoral_result_t *here = quoral_cache_range(subject->cache, quoral_str(""));
    int64_t revision = quoral_result_revision(here);
    quoral_get_options_t options = {.prefix = !subject->exact, .revision = revision};
    quoral_result_t *there =
        revision > 0 ? quoral_get(client, quoral_str(subject->key), &options) : NULL;
    bool is_asked = there && quoral_result_is_ok(there);
    if (is_asked) {
        if (quoral_result_size(here) != quoral_result_size(there)) {
            die("the number of keys", subject, revision);
        }
        for (size_t i = 0; i < quoral_result_size(here); i++) {
            if (!same(quoral_result_kv(here, i), quoral_result_kv(there, i))) {
                die("a key-value", subject, revision);
            }
        }
        subject->checked++;
    } else if (there && quoral_result_code(there) == QUORAL_OUT_OF_RANGE &&
               strstr(quoral_result_text(there), "future")) {
        die("a revision that the store does not have", subject, revision);
    }
    if (there) {
        quoral_result_destroy(&there);
    }
    quoral_result_destroy(&here);
    return is_asked;
}

static void *check_all(void *arg)
{
    (void)arg;
    quoral_client_t *client = new_client("checker");
    while (!is_over) {
        for (size_t i = 0; i < subjects_n && !is_over; i++) {
            check(client, &subjects[i]);
        }
    }
    quoral_client_destroy(&client);
    return NULL;
}

static void make_caches(quoral_client_t **clients, size_t n)
{
    subjects_n = n;
    for (size_t i = 0; i < n; i++) {
        subject_t *subject = &subjects[i];
        subject->exact = i % 7 == 6;
        static const char *const forms[] = {"g/", "g/%d", "g/%d%d"};
        const char *form = subject->exact ? "g/%d%d%d" : forms[i % 3];
        snprintf(subject->key, sizeof subject->key, form, (int)(i % 4), (int)(i / 4 % 10),
                 (int)(i / 8 % 10));
        quoral_cache_options_t options = {.exact = subject->exact,
                                          .on_change = on_change,
                                          .on_revision = on_revision,
                                          .arg = subject};
        subject->cache =
            quoral_cache_new(clients[i / CACHES_PER_CLIENT], quoral_str(subject->key), &options);
    }
}

static void settle(quoral_client_t *client)
{
    int64_t revision = 0;
    for (int i = 0; i < SETTLE_S && revision == 0; i++) {
        revision = newest(client);
    }
    for (size_t i = 0; i < subjects_n; i++) {
        subject_t *subject = &subjects[i];
        if (revision == 0 || !quoral_cache_wait(subject->cache, revision, SETTLE_S * 1000)) {
            die("it does not get to the end", subject, quoral_cache_revision(subject->cache));
        }
        bool is_checked = false;
        for (int k = 0; k < SETTLE_S && !is_checked; k++) {
            is_checked = check(client, subject);
        }
        if (!is_checked || quoral_cache_is_stale(subject->cache)) {
            die("it is not confirmed at the end", subject, revision);
        }
    }
}

static void report(int64_t revision)
{
    quoral_cache_counts_t sum = {0};
    uint64_t checked = 0;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < subjects_n; i++) {
        quoral_cache_counts_t counts = quoral_cache_counts(subjects[i].cache);
        sum.snapshots += counts.snapshots;
        sum.resets += counts.resets;
        sum.repairs += counts.repairs;
        sum.events += counts.events;
        checked += subjects[i].checked;
        least = subjects[i].checked < least ? subjects[i].checked : least;
    }
    printf("{\"revision\": %" PRId64 ", \"writes\": %" PRIuFAST64 ", \"failed\": %" PRIuFAST64
           ", \"unknown\": %" PRIuFAST64 ", \"compactions\": %" PRIuFAST64 ", \"checked\": %" PRIu64
           ", \"least_checked\": %" PRIu64 ", \"added_up\": %" PRIuFAST64 ", \"events\": %" PRIu64
           ", \"snapshots\": %" PRIu64 ", \"resets\": %" PRIu64 ", \"repairs\": %" PRIu64 "}\n",
           revision, writes, failed, unknown, compactions, checked, least, sums, sum.events,
           sum.snapshots, sum.resets, sum.repairs);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s ENDPOINTS SECONDS CACHES WRITERS\n", argv[0]);
        return 2;
    }
    endpoints = argv[1];
    size_t caches = strtoul(argv[3], NULL, 10);
    size_t writers = strtoul(argv[4], NULL, 10);
    if (caches > CACHES_MAX || writers > WRITERS_MAX) {
        return 2;
    }
    quoral_client_t *clients[CACHES_MAX / CACHES_PER_CLIENT + 1];
    size_t clients_n = (caches + CACHES_PER_CLIENT - 1) / CACHES_PER_CLIENT;
    for (size_t i = 0; i < clients_n; i++) {
        clients[i] = new_client("caches");
    }
    make_caches(clients, caches);
    pthread_t threads[WRITERS_MAX + 2];
    size_t threads_n = 0;
    for (size_t i = 0; i < writers; i++) {
        pthread_create(&threads[threads_n++], NULL, write_all, (void *)(uintptr_t)(i + 1));
    }
    pthread_create(&threads[threads_n++], NULL, compact_all, NULL);
    pthread_create(&threads[threads_n++], NULL, check_all, NULL);
    sleep((unsigned)strtoul(argv[2], NULL, 10));
    is_over = true;
    for (size_t i = 0; i < threads_n; i++) {
        pthread_join(threads[i], NULL);
    }
    quoral_client_t *client = new_client("last");
    settle(client);
    report(newest(client));
    quoral_client_destroy(&client);
    for (size_t i = 0; i < caches; i++) {
        quoral_cache_destroy(&subjects[i].cache);
    }
    for (size_t i = 0; i < clients_n; i++) {
        quoral_client_destroy(&clients[i]);
    }
    return 0;
}
