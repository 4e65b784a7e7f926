/* bench_mvcc: what one put, one get, one page and one count cost in the state machine.
 *
 * bench_mvcc DIRECTORY|memory [KEYS [VALUE_BYTES [PUTS_PER_SPAN]]]
 *
 * hot        overwrites one key; `commit` is the part of it that writes the batch
 * fill       KEYS puts of new keys in random order
 * overwrite  KEYS / 4 puts of existing random keys
 * get        random single keys
 * range      1,000 keys, no limit: nothing is left to count
 * page       500 keys and the exact count of all keys behind them
 * first      limit=1 over all keys, with their count
 * count      count_only over all keys
 * old count  the same 100 revisions ago
 * events     the history of the last revisions, as a watch catches up
 * Reads are from a snapshot each. Values cannot be compressed. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"
#include "store/mvcc_write.h"

enum { VALUES_BYTES = 1 << 20, KEY_BYTES = 18 };

typedef struct {
    kv_t *kv;
    mvcc_t *mvcc;
    uint64_t keys, span, index, pending;
    size_t value_len;
    uint8_t *values;
    prng_t prng;
    double commit_cpu;
    buf_t out;
} bench_t;

static double seconds(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(const bench_t *self, int rc)
{
    if (rc < 0) {
        (void)fprintf(stderr, "bench_mvcc: %d %s\n", rc, kv_error(self->kv));
        exit(1);
    }
}

static void report(const char *name, uint64_t count, double wall, double cpu)
{
    printf("%-10s %9llu  %9.0f /s  %8.2f us CPU each\n", name, (unsigned long long)count,
           (double)count / wall, cpu / (double)count * 1e6);
    (void)fflush(stdout);
}

/* Keys in random order: a permutation of 0 .. 2^k-1, cut to `keys`. */
static size_t make_key(char *key, uint64_t number)
{
    return (size_t)snprintf(key, KEY_BYTES + 1, "key/%014llx", (unsigned long long)number);
}

static void commit(bench_t *self)
{
    double cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    size_t count = 0;
    mvcc_change_t *changes = mvcc_changes_take(self->mvcc, &count);
    check(self, mvcc_commit(self->mvcc));
    self->commit_cpu += seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    for (size_t i = 0; i < count; i++) {
        bytes_unref(&changes[i].kv);
        bytes_unref(&changes[i].prev_kv);
    }
    free(changes);
    self->pending = 0;
}

static void put(bench_t *self, uint64_t number)
{
    char key[KEY_BYTES + 1];
    size_t at = prng_below(&self->prng, VALUES_BYTES - self->value_len);
    mvcc_put_t request = {.key = slice(key, make_key(key, number)),
                          .value = slice(self->values + at, self->value_len)};
    bool existed = false;
    mvcc_entry_begin(self->mvcc, ++self->index, 1);
    check(self, mvcc_put(self->mvcc, &request, NULL, &existed));
    mvcc_entry_end(self->mvcc);
    if (++self->pending == self->span) {
        commit(self);
    }
}

static uint64_t scatter(uint64_t number)
{
    prng_t prng = {.state = number};
    return prng_next(&prng) >> 8;
}

typedef enum { ONE_KEY, NEW_KEYS, OLD_KEYS } which_t;

static void puts_phase(bench_t *self, const char *name, uint64_t count, which_t which)
{
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    self->commit_cpu = 0;
    for (uint64_t i = 0; i < count; i++) {
        put(self, which == ONE_KEY    ? 0
                  : which == NEW_KEYS ? scatter(i)
                                      : scatter(prng_below(&self->prng, self->keys)));
    }
    commit(self);
    report(name, count, seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    report("  commit", count, 1, self->commit_cpu);
}

static void read_phase(bench_t *self, const char *name, uint64_t count, mvcc_range_t range,
                       bool random_start)
{
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    char key[KEY_BYTES + 1];
    for (uint64_t i = 0; i < count; i++) {
        if (random_start) {
            size_t len = make_key(key, scatter(prng_below(&self->prng, self->keys)));
            range.interval.key = slice(key, len);
        }
        mvcc_head_t head;
        kv_snapshot_t *snapshot = kv_snapshot_new(self->kv);
        const kv_reader_t *reader = kv_snapshot_reader(snapshot);
        check(self, mvcc_head(reader, &head));
        buf_clear(&self->out);
        check(self, mvcc_range(reader, &head, &range, &self->out));
        kv_snapshot_destroy(&snapshot);
    }
    report(name, count, seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static int ignore_event(void *context, const mvcc_event_t *event)
{
    *(size_t *)context += event->kv.len;
    return 0;
}

static void events_phase(bench_t *self)
{
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    int64_t to = mvcc_current(self->mvcc)->revision;
    int64_t from = to - (int64_t)self->keys / 8;
    size_t bytes = 0;
    kv_snapshot_t *snapshot = kv_snapshot_new(self->kv);
    for (int64_t next = from; next <= to;) {
        check(self, mvcc_events(kv_snapshot_reader(snapshot), mvcc_current(self->mvcc), next, to,
                                NULL, 0, false, 1000, ignore_event, &bytes, &next));
    }
    kv_snapshot_destroy(&snapshot);
    report("events", (uint64_t)(to - from), seconds(CLOCK_MONOTONIC) - wall,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static uint64_t argument(int argc, char **argv, int at, uint64_t otherwise)
{
    return argc > at ? strtoull(argv[at], NULL, 10) : otherwise;
}

static kv_t *open_store(const char *path)
{
    if (strcmp(path, "memory") == 0) {
        return kv_memory_new();
    }
    kv_t *kv = NULL;
    char *error = NULL;
    if (kv_leveldb_open(&kv, &(kv_leveldb_cfg_t){.path = path}, &error)) {
        (void)fprintf(stderr, "bench_mvcc: %s\n", error);
        exit(1);
    }
    return kv;
}

/* The key behind the first thousand. */
static size_t thousandth_key(bench_t *self, char *key)
{
    mvcc_cursor_t *cursor = NULL;
    mvcc_range_t range = {.interval = {.key = slice("", 1), .range_end = slice("", 1)},
                          .limit = 1001};
    const kv_reader_t *reader = kv_latest(self->kv);
    check(self, mvcc_cursor_new(&cursor, reader, mvcc_current(self->mvcc), &range));
    check(self,
          mvcc_cursor_step(cursor, (mvcc_budget_t){.keys = 1001, .bytes = SIZE_MAX}, &self->out));
    slice_t last = mvcc_cursor_last_key(cursor);
    size_t len = last.len < KEY_BYTES ? last.len : KEY_BYTES;
    memcpy(key, last.data, len);
    mvcc_cursor_destroy(&cursor);
    return len;
}

static void reads(bench_t *self)
{
    const mvcc_interval_t all = {.key = slice("", 1), .range_end = slice("", 1)};
    const mvcc_interval_t one = {.key = slice("", 1)};
    int64_t old = mvcc_current(self->mvcc)->revision - 100;
    read_phase(self, "get", self->keys / 4, (mvcc_range_t){.interval = one}, true);
    char end[KEY_BYTES + 1];
    size_t end_len = thousandth_key(self, end);
    mvcc_interval_t thousand = {.key = slice("", 1), .range_end = slice(end, end_len)};
    read_phase(self, "range", 1000, (mvcc_range_t){.interval = thousand}, false);
    read_phase(self, "page", 200, (mvcc_range_t){.interval = all, .limit = 500}, true);
    read_phase(self, "first", 200, (mvcc_range_t){.interval = all, .limit = 1}, false);
    read_phase(self, "count", 200, (mvcc_range_t){.interval = all, .count_only = true}, false);
    read_phase(self, "old count", 200,
               (mvcc_range_t){.interval = all, .count_only = true, .revision = old}, false);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr,
                      "usage: bench_mvcc DIRECTORY|memory [KEYS [VALUE_BYTES [PUTS_PER_SPAN]]]\n");
        return 2;
    }
    bench_t self = {.keys = argument(argc, argv, 2, 1000000),
                    .value_len = argument(argc, argv, 3, 256),
                    .span = argument(argc, argv, 4, 256)};
    self.values = xmalloc(VALUES_BYTES);
    for (size_t i = 0; i < VALUES_BYTES; i++) {
        self.values[i] = (uint8_t)prng_next(&self.prng);
    }
    self.kv = open_store(argv[1]);
    char *error = NULL;
    if (mvcc_new(&self.mvcc, self.kv, &error)) {
        (void)fprintf(stderr, "bench_mvcc: %s\n", error);
        return 1;
    }
    self.index = mvcc_current(self.mvcc)->applied_index;
    puts_phase(&self, "hot", self.keys / 4, ONE_KEY);
    puts_phase(&self, "fill", self.keys, NEW_KEYS);
    puts_phase(&self, "overwrite", self.keys / 4, OLD_KEYS);
    reads(&self);
    events_phase(&self);
    mvcc_destroy(&self.mvcc);
    kv_close(&self.kv);
    buf_deinit(&self.out);
    free(self.values);
    return 0;
}
