/* bench_store: the store alone, with the writes and reads a server makes of puts and gets.
 *
 * bench_store DIRECTORY [KEYS [VALUE_BYTES [PUTS_PER_SPAN]]]
 *
 * fill       KEYS puts of new keys in random order, through an overlay: a get of the key, a record in
 *            `latest`, a row in `log`; one batch per span
 * overwrite  KEYS / 4 puts of existing random keys: also a record in `history`
 * get        random keys, from one snapshot per 64 gets
 * scan       `latest` from end to end
 * Values cannot be compressed. CPU includes LevelDB's background thread. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"
#include "store/overlay.h"

typedef struct {
    kv_t *kv;
    overlay_t *overlay;
    kv_batch_t *batch;
    uint64_t keys;
    uint64_t span;
    uint64_t revision;
    size_t value_len;
    uint8_t *values; /* random bytes that values are cut from */
    prng_t prng;
} bench_t;

enum { VALUES_BYTES = 1 << 20, KEY_BYTES = 18, GETS_PER_SNAPSHOT = 64 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double memory_mib(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[200];
    double kib = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtod(line + strlen(name) + 1, NULL);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return kib / 1024;
}

typedef struct {
    const char *name;
    double wall;
    double cpu;
} phase_t;

static phase_t phase_begin(const char *name)
{
    return (phase_t){name, seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void phase_end(const phase_t *self, uint64_t count)
{
    double wall = seconds(CLOCK_MONOTONIC) - self->wall;
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - self->cpu;
    printf("%-10s %9llu  %8.0f /s  %6.2f us CPU each  RssAnon %5.1f MiB\n", self->name,
           (unsigned long long)count, (double)count / wall, cpu / (double)count * 1e6,
           memory_mib("RssAnon"));
    (void)fflush(stdout);
}

static void check(const bench_t *self, int error)
{
    if (error != 0) {
        fprintf(stderr, "failed: %d %s\n", error, kv_error(self->kv));
        exit(1);
    }
}

/* Column byte and a scattered number: neighbours in time are far apart in the store. */
static slice_t make_key(uint8_t *out, char column, uint64_t number)
{
    prng_t scatter = {.state = number};
    (void)snprintf((char *)out, KEY_BYTES + 1, "%c/%016llx", column,
                   (unsigned long long)prng_next(&scatter));
    return slice(out, KEY_BYTES);
}

static slice_t make_value(bench_t *self)
{
    uint64_t at = prng_below(&self->prng, VALUES_BYTES - self->value_len);
    return slice(self->values + at, self->value_len);
}

static void drain(bench_t *self)
{
    overlay_drain(self->overlay, self->batch);
    check(self, kv_write(self->kv, self->batch));
}

static void put(bench_t *self, uint64_t number)
{
    uint8_t key_bytes[KEY_BYTES + 1];
    slice_t key = make_key(key_bytes, 'k', number);
    kv_value_t old = {0};
    int found = kv_get(overlay_reader(self->overlay), key, &old);
    uint8_t row[9 + KEY_BYTES] = {'l'};
    uint64_t revision = ++self->revision;
    for (int i = 8; i > 0; i--, revision >>= 8) {
        row[i] = (uint8_t)revision;
    }
    if (found == 0) {
        uint8_t history[KEY_BYTES + 8];
        memcpy(history, key_bytes, KEY_BYTES);
        history[0] = 'h';
        memcpy(history + KEY_BYTES, row + 1, 8);
        overlay_put(self->overlay, slice(history, sizeof history), kv_value_slice(&old));
    } else if (found != KV_ABSENT) {
        check(self, found);
    }
    kv_value_deinit(&old);
    overlay_put(self->overlay, key, make_value(self));
    overlay_put(self->overlay, slice(row, 9), key);
    overlay_put(self->overlay, slice_str("m/head"), slice(row, 9));
    if (self->revision % self->span == 0) {
        drain(self);
    }
}

static void get_random(bench_t *self, uint64_t count)
{
    phase_t phase = phase_begin("get");
    kv_snapshot_t *snapshot = NULL;
    for (uint64_t i = 0; i < count; i++) {
        if (i % GETS_PER_SNAPSHOT == 0) {
            kv_snapshot_destroy(&snapshot);
            snapshot = kv_snapshot_new(self->kv);
        }
        uint8_t key[KEY_BYTES + 1];
        kv_value_t value = {0};
        check(self, kv_get(kv_snapshot_reader(snapshot),
                           make_key(key, 'k', prng_below(&self->prng, self->keys)), &value));
        kv_value_deinit(&value);
    }
    kv_snapshot_destroy(&snapshot);
    phase_end(&phase, count);
}

static void scan(bench_t *self)
{
    phase_t phase = phase_begin("scan");
    uint64_t count = 0;
    uint64_t sum = 0;
    kv_iter_t *iter = kv_iter_new(kv_latest(self->kv));
    for (iter->ops->seek(iter, slice_str("k")); iter->ops->valid(iter); iter->ops->next(iter)) {
        if (iter->ops->key(iter).data[0] != 'k') {
            break;
        }
        sum += iter->ops->value(iter).data[0];
        count++;
    }
    check(self, iter->ops->error(iter));
    kv_iter_destroy(&iter);
    phase_end(&phase, count);
    if (count != self->keys || sum == 0) {
        fprintf(stderr, "%llu keys expected\n", (unsigned long long)self->keys);
        exit(1);
    }
}

static void run(bench_t *self)
{
    phase_t phase = phase_begin("fill");
    for (uint64_t i = 0; i < self->keys; i++) {
        put(self, i);
    }
    drain(self);
    phase_end(&phase, self->keys);
    get_random(self, 300000);
    phase = phase_begin("overwrite");
    for (uint64_t i = 0; i < self->keys / 4; i++) {
        put(self, prng_below(&self->prng, self->keys));
    }
    drain(self);
    phase_end(&phase, self->keys / 4);
    get_random(self, 300000);
    phase = phase_begin("flush");
    check(self, kv_flush(self->kv));
    phase_end(&phase, 1);
    scan(self);
    get_random(self, 300000);
    printf("store %.1f MiB\n", (double)kv_size_bytes(self->kv) / (1 << 20));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIRECTORY [KEYS [VALUE_BYTES [PUTS_PER_SPAN]]]\n");
        return 2;
    }
    bench_t bench = {.keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000,
                     .value_len = argc > 3 ? strtoull(argv[3], NULL, 10) : 256,
                     .span = argc > 4 ? strtoull(argv[4], NULL, 10) : 256,
                     .values = xmalloc(VALUES_BYTES),
                     .prng = {.state = 1}};
    for (size_t i = 0; i < VALUES_BYTES; i++) {
        bench.values[i] = (uint8_t)prng_next(&bench.prng);
    }
    kv_leveldb_cfg_t cfg = {.path = argv[1]};
    char *text = NULL;
    if (kv_leveldb_open(&bench.kv, &cfg, &text) != 0) {
        fprintf(stderr, "%s\n", text);
        free(text);
        return 1;
    }
    bench.overlay = overlay_new(kv_latest(bench.kv));
    bench.batch = kv_batch_new(bench.kv);
    run(&bench);
    kv_batch_destroy(&bench.batch);
    overlay_destroy(&bench.overlay);
    kv_close(&bench.kv);
    free(bench.values);
    return 0;
}
