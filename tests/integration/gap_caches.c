/* Caches of libquoral on overlapping prefixes, held against the store while somebody else (gaps.py) writes and lets
 * things fail:
 *
 *   - At every mark, and at least once per CHECK_US, a copy of the map is compared with Range at its revision: keys,
 *     values, revisions, versions, leases.
 *   - A revision never goes back, nor does the history begin anew.
 *   - Each change that is told is the successor of what was told of this key before, unless a snapshot
 *     came between; so no change is left out. What was told adds up to the map, at each of these copies.
 *
 *   gap_caches ENDPOINTS FIRST CACHES
 *
 * makes caches number FIRST and up. A line "settle REVISION" on its standard input says that no more is written: each
 * cache must get there, be fresh, and equal the store. Then it prints a JSON object of counts. Ends with 1 at the
 * first difference. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <quoral.h>

enum {
    CACHES_MAX = 128,
    CACHES_PER_CLIENT = 5,
    CHECK_US = 500000,
    COPIES_MAX = 1024, /* that wait for their comparison */
    CHECKERS = 2,
    SETTLE_MS = 60000,
};

typedef struct {
    quoral_cache_t *cache;
    char key[16];
    bool exact;
    /* Of the client's thread. */
    uint64_t told; /* the sum of what the changes leave */
    int64_t revision;
    uint64_t snapshots; /* taken when the last revision was told */
    bool has_changes;   /* were told since the last revision */
    uint64_t summed_us;
    _Atomic int64_t copied; /* the newest revision of which there is a copy */
    atomic_uint_fast64_t compared;
} subject_t;

typedef struct {
    subject_t *subject;
    quoral_result_t *map;
} copy_t;

static struct {
    subject_t subjects[CACHES_MAX];
    size_t subjects_n;
    const char *endpoints;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    copy_t copies[COPIES_MAX]; /* a ring */
    size_t first;
    size_t copies_n;
    bool is_over;
    atomic_bool is_settled;
    atomic_uint_fast64_t marks, compared, late, skipped, changes, connections;
} probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void differ(const char *what, const subject_t *subject, int64_t revision)
{
    printf("DIFFERENT: %s, cache %s%s at revision %" PRId64 "\n", what, subject->key,
           subject->exact ? " (exact)" : "", revision);
    fflush(stdout);
    _exit(1);
}

static void on_log(void *arg, const char *line)
{
    (void)arg;
    probe.connections += strncmp(line, "connected", 9) == 0;
}

static quoral_client_t *new_client(void)
{
    char *error = NULL;
    quoral_client_options_t options = {
        .endpoints = probe.endpoints, .timeout_ms = 3000, .on_log = on_log};
    quoral_client_t *client = quoral_client_new(&options, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        exit(2);
    }
    return client;
}

/* ---- what a cache tells ---- */

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

/* There is nothing between the key-value that was there and this one. */
static bool is_successor(const quoral_change_t *change)
{
    if (change->deleted) {
        return change->has_previous;
    }
    return change->has_previous ? change->kv.version == change->previous.version + 1 &&
                                      change->kv.create_revision == change->previous.create_revision
                                : change->kv.version == 1;
}

static void on_change(void *arg, quoral_cache_t *cache, const quoral_change_t *change)
{
    subject_t *subject = arg;
    probe.changes++;
    subject->has_changes = true;
    subject->told -= change->has_previous ? hash_kv(&change->previous) : 0;
    subject->told += change->deleted ? 0 : hash_kv(&change->kv);
    if (change->reset && subject->snapshots > 0) {
        differ("the history begins anew", subject, change->revision);
    }
    bool is_snapshot = quoral_cache_counts(cache).snapshots != subject->snapshots;
    if (!is_snapshot && !is_successor(change)) {
        differ("a change is left out", subject, change->revision);
    }
}

/* Takes the map, for comparison. */
static void hand_over(subject_t *subject, quoral_result_t *map)
{
    subject->copied = quoral_result_revision(map);
    pthread_mutex_lock(&probe.lock);
    if (probe.copies_n < COPIES_MAX) {
        probe.copies[(probe.first + probe.copies_n++) % COPIES_MAX] = (copy_t){subject, map};
        pthread_cond_signal(&probe.changed);
        map = NULL;
    }
    pthread_mutex_unlock(&probe.lock);
    probe.skipped += map != NULL;
    quoral_result_destroy(&map);
}

static void add_up(subject_t *subject, const quoral_result_t *map, int64_t revision)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < quoral_result_size(map); i++) {
        sum += hash_kv(quoral_result_kv(map, i));
    }
    if (quoral_result_revision(map) != revision || sum != subject->told) {
        differ("the changes do not add up", subject, revision);
    }
    subject->summed_us = now_us();
}

static void on_revision(void *arg, quoral_cache_t *cache, int64_t revision)
{
    subject_t *subject = arg;
    uint64_t snapshots = quoral_cache_counts(cache).snapshots;
    bool is_snapshot = snapshots != subject->snapshots;
    if (revision < subject->revision || (revision == subject->revision && !is_snapshot)) {
        differ("the revision does not grow", subject, revision);
    }
    bool is_mark = !subject->has_changes && !is_snapshot;
    probe.marks += is_mark;
    subject->revision = revision;
    subject->snapshots = snapshots;
    subject->has_changes = false;
    if (is_mark || now_us() >= subject->summed_us + CHECK_US) {
        quoral_result_t *map = quoral_cache_range(cache, quoral_str(""));
        add_up(subject, map, revision);
        hand_over(subject, map);
    }
}

/* A quarter of the keys and ten of them in turns; one in ten is of all, one in seven of a single key. Range at an old
 * revision is dear, and what is asked too late is compacted. */
static void name_subject(subject_t *subject, unsigned number)
{
    unsigned digits[] = {number % 4, number / 4 % 10, number / 8 % 10};
    subject->exact = number % 7 == 6;
    size_t digits_n = subject->exact ? 3 : number % 10 == 0 ? 0 : 1 + number % 2;
    size_t len = (size_t)snprintf(subject->key, sizeof subject->key, "g/");
    for (size_t i = 0; i < digits_n; i++) {
        subject->key[len++] = (char)('0' + digits[i]);
    }
}

static void make_caches(quoral_client_t **clients, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        subject_t *subject = &probe.subjects[i];
        name_subject(subject, (unsigned)(first + i));
        quoral_cache_options_t options = {.exact = subject->exact,
                                          .on_change = on_change,
                                          .on_revision = on_revision,
                                          .arg = subject};
        subject->cache =
            quoral_cache_new(clients[i / CACHES_PER_CLIENT], quoral_str(subject->key), &options);
    }
    probe.subjects_n = n;
}

/* ---- comparison ---- */

static bool same(const quoral_kv_t *a, const quoral_kv_t *b)
{
    return a->key.len == b->key.len && memcmp(a->key.data, b->key.data, a->key.len) == 0 &&
           a->value.len == b->value.len &&
           memcmp(a->value.data, b->value.data, a->value.len) == 0 &&
           a->create_revision == b->create_revision && a->mod_revision == b->mod_revision &&
           a->version == b->version && a->lease == b->lease;
}

static void compare(subject_t *subject, const quoral_result_t *here, const quoral_result_t *there)
{
    int64_t revision = quoral_result_revision(here);
    if (quoral_result_size(here) != quoral_result_size(there)) {
        differ("the number of keys", subject, revision);
    }
    for (size_t i = 0; i < quoral_result_size(here); i++) {
        if (!same(quoral_result_kv(here, i), quoral_result_kv(there, i))) {
            differ("a key-value", subject, revision);
        }
    }
    subject->compared++;
    probe.compared++;
}

/* False: nobody can answer now. What is compacted meanwhile is too late, which is an answer. */
static bool check(quoral_client_t *client, subject_t *subject, const quoral_result_t *here)
{
    quoral_get_options_t options = {.prefix = !subject->exact,
                                    .revision = quoral_result_revision(here)};
    quoral_result_t *there = quoral_get(client, quoral_str(subject->key), &options);
    bool is_ok = quoral_result_is_ok(there);
    bool is_out = quoral_result_code(there) == QUORAL_OUT_OF_RANGE;
    if (is_ok) {
        compare(subject, here, there);
    } else if (is_out && strstr(quoral_result_text(there), "future")) {
        differ("a revision that the store does not have", subject, options.revision);
    }
    probe.late += is_out;
    quoral_result_destroy(&there);
    return is_ok || is_out;
}

static void *check_all(void *arg)
{
    (void)arg;
    quoral_client_t *client = new_client();
    pthread_mutex_lock(&probe.lock);
    while (!probe.is_over || probe.copies_n > 0) {
        if (probe.copies_n == 0) {
            pthread_cond_wait(&probe.changed, &probe.lock);
            continue;
        }
        copy_t copy = probe.copies[probe.first];
        probe.first = (probe.first + 1) % COPIES_MAX;
        probe.copies_n--;
        pthread_mutex_unlock(&probe.lock);
        while (!check(client, copy.subject, copy.map)) {
        }
        quoral_result_destroy(&copy.map);
        pthread_mutex_lock(&probe.lock);
    }
    pthread_mutex_unlock(&probe.lock);
    quoral_client_destroy(&client);
    return NULL;
}

/* What the last event of a while has left, which a mark then confirms without a word. */
static void *look_all(void *arg)
{
    (void)arg;
    while (!probe.is_settled) {
        usleep(CHECK_US);
        for (size_t i = 0; i < probe.subjects_n; i++) {
            subject_t *subject = &probe.subjects[i];
            if (quoral_cache_revision(subject->cache) > subject->copied) {
                hand_over(subject, quoral_cache_range(subject->cache, quoral_str("")));
            }
        }
    }
    return NULL;
}

/* ---- the end ---- */

static void settle(int64_t revision)
{
    quoral_client_t *client = new_client();
    uint64_t until_us = now_us() + (uint64_t)SETTLE_MS * 1000;
    for (size_t i = 0; i < probe.subjects_n; i++) {
        subject_t *subject = &probe.subjects[i];
        if (!quoral_cache_wait(subject->cache, revision, SETTLE_MS)) {
            differ("it does not get to the end", subject, quoral_cache_revision(subject->cache));
        }
        uint64_t compared = subject->compared;
        bool is_confirmed = false;
        while (!is_confirmed && now_us() < until_us) {
            quoral_result_t *here = quoral_cache_range(subject->cache, quoral_str(""));
            bool is_answered = check(client, subject, here);
            quoral_result_destroy(&here);
            is_confirmed = is_answered && subject->compared > compared &&
                           !quoral_cache_is_stale(subject->cache);
        }
        if (!is_confirmed) {
            differ("it is not confirmed at the end", subject, revision);
        }
    }
    quoral_client_destroy(&client);
}

static void report(void)
{
    quoral_cache_counts_t sum = {0};
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < probe.subjects_n; i++) {
        quoral_cache_counts_t counts = quoral_cache_counts(probe.subjects[i].cache);
        sum.snapshots += counts.snapshots;
        sum.repairs += counts.repairs;
        sum.unanswered += counts.unanswered;
        least = probe.subjects[i].compared < least ? probe.subjects[i].compared : least;
    }
    printf("{\"marks\": %" PRIuFAST64 ", \"compared\": %" PRIuFAST64 ", \"least\": %" PRIu64
           ", \"late\": %" PRIuFAST64 ", \"skipped\": %" PRIuFAST64 ", \"changes\": %" PRIuFAST64
           ", \"snapshots\": %" PRIu64 ", \"repairs\": %" PRIu64 ", \"unanswered\": %" PRIu64
           ", \"connections\": %" PRIuFAST64 "}\n",
           probe.marks, probe.compared, least, probe.late, probe.skipped, probe.changes,
           sum.snapshots, sum.repairs, sum.unanswered, probe.connections);
}

int main(int argc, char **argv)
{
    size_t first = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    size_t caches = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (caches == 0 || caches > CACHES_MAX) {
        fprintf(stderr, "usage: %s ENDPOINTS FIRST CACHES (at most %d)\n", argv[0], CACHES_MAX);
        return 2;
    }
    probe.endpoints = argv[1];
    quoral_client_t *clients[CACHES_MAX / CACHES_PER_CLIENT + 1];
    size_t clients_n = (caches + CACHES_PER_CLIENT - 1) / CACHES_PER_CLIENT;
    for (size_t i = 0; i < clients_n; i++) {
        clients[i] = new_client();
    }
    pthread_t checkers[CHECKERS];
    for (size_t i = 0; i < CHECKERS; i++) {
        pthread_create(&checkers[i], NULL, check_all, NULL);
    }
    make_caches(clients, first, caches);
    pthread_t looker;
    pthread_create(&looker, NULL, look_all, NULL);
    int64_t revision = 0;
    if (scanf("settle %" SCNd64, &revision) != 1) {
        return 2;
    }
    settle(revision);
    probe.is_settled = true;
    pthread_join(looker, NULL);
    pthread_mutex_lock(&probe.lock);
    probe.is_over = true;
    pthread_cond_broadcast(&probe.changed);
    pthread_mutex_unlock(&probe.lock);
    for (size_t i = 0; i < CHECKERS; i++) {
        pthread_join(checkers[i], NULL);
    }
    report();
    for (size_t i = 0; i < caches; i++) {
        quoral_cache_destroy(&probe.subjects[i].cache);
    }
    for (size_t i = 0; i < clients_n; i++) {
        quoral_client_destroy(&clients[i]);
    }
    return 0;
}
