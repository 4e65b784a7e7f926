/* Load for caches (gap_caches.c): changes of KEYS keys below "g/", in turns of bursts, of a trickle and of silence, in
 * which nothing but marks can show what was lost before; and a compaction every second.
 *
 *   gap_load ENDPOINTS RATE SEED
 *
 * A burst is transactions of BURST_CHANGES, as many as there are answers for but no more than RATE changes per second.
 * It ends with its standard input and prints a JSON object of counts. A change is a key that was put, or deleted
 * while it existed; `peak` is the highest number of them within one second. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <quoral.h>

enum {
    WRITERS = 4,
    KEYS = 400,
    BURST_CHANGES = 100, /* of a transaction; a server takes 128 operations */
    LARGE_BYTES = 20000, /* too large to be published */
    KEPT_S = 3,          /* seconds of history that a compaction leaves */
    TICK_MS = 100,
    TICKS_PER_S = 1000 / TICK_MS,
};

typedef enum { BURST, TRICKLE, SILENCE, PHASES } phase_t;

typedef struct {
    unsigned seed;
    uint64_t puts; /* of the last write */
    char room[LARGE_BYTES];
} writer_t;

static struct {
    const char *endpoints;
    uint64_t rate;
    atomic_bool is_over;
    _Atomic phase_t phase;
    atomic_int_fast64_t allowed; /* changes of this burst that may still be made */
    atomic_uint_fast64_t writes, changes, failed, unknown, compactions;
    uint64_t peak;
} load;

static void sleep_ms(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static quoral_client_t *new_client(void)
{
    char *error = NULL;
    quoral_client_t *client = quoral_client_new(
        &(quoral_client_options_t){.endpoints = load.endpoints, .timeout_ms = 3000}, &error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        exit(2);
    }
    return client;
}

/* ---- writes ---- */

static quoral_bytes_t key_at(int number, char text[24])
{
    snprintf(text, 24, "g/%03d", number % KEYS);
    return quoral_str(text);
}

static quoral_bytes_t new_value(writer_t *writer, unsigned large_one_in)
{
    bool is_large = (unsigned)rand_r(&writer->seed) % large_one_in == 0;
    size_t len = is_large ? LARGE_BYTES : (size_t)(16 + rand_r(&writer->seed) % 50);
    memset(writer->room, 'v', len);
    int digits = snprintf(writer->room, len, "%08x%04x", (unsigned)rand_r(&writer->seed),
                          (unsigned)rand_r(&writer->seed) & 0xffff);
    writer->room[digits] = 'v';
    quoral_bytes_t value = {writer->room, len};
    return value;
}

static quoral_result_t *write_several(quoral_client_t *client, writer_t *writer, int n)
{
    static const int strides[] = {
        1, 3, 7, 9}; /* without a divisor in common with KEYS: no key comes twice */
    int stride = strides[rand_r(&writer->seed) % 4];
    int first = rand_r(&writer->seed) % KEYS;
    quoral_txn_t *txn = quoral_txn_new();
    for (int i = 0; i < n; i++) {
        char key[24];
        if (rand_r(&writer->seed) % 4 == 0) {
            quoral_txn_delete(txn, QUORAL_THEN, key_at(first + i * stride, key), NULL);
        } else {
            quoral_txn_put(txn, QUORAL_THEN, key_at(first + i * stride, key),
                           new_value(writer, 2000), NULL);
            writer->puts++;
        }
    }
    quoral_result_t *result = quoral_commit(client, txn, 0);
    quoral_txn_destroy(&txn);
    return result;
}

static quoral_result_t *write_little(quoral_client_t *client, writer_t *writer)
{
    char key[24];
    key_at(rand_r(&writer->seed) % KEYS, key);
    int dice = rand_r(&writer->seed) % 100;
    if (dice < 75) {
        writer->puts++;
        return quoral_put(client, quoral_str(key), new_value(writer, 200), NULL);
    }
    return dice < 88 ? quoral_delete(client, quoral_str(key), NULL)
                     : write_several(client, writer, 2 + rand_r(&writer->seed) % 5);
}

/* Puts say nothing of themselves; deletions, how many keys there were. */
static uint64_t changes_of(const writer_t *writer, const quoral_result_t *result)
{
    uint64_t changes = writer->puts + (uint64_t)quoral_result_count(result);
    const quoral_result_t *part = NULL;
    for (size_t i = 0; (part = quoral_result_response(result, i)); i++) {
        changes += (uint64_t)quoral_result_count(part);
    }
    return changes;
}

static quoral_result_t *write_some(quoral_client_t *client, writer_t *writer)
{
    phase_t phase = load.phase;
    if (phase == TRICKLE) {
        return write_little(client, writer);
    }
    if (phase == BURST && load.allowed >= BURST_CHANGES) {
        load.allowed -= BURST_CHANGES;
        return write_several(client, writer, BURST_CHANGES);
    }
    return NULL;
}

static void *write_all(void *arg)
{
    writer_t *writer = calloc(1, sizeof *writer);
    writer->seed = (unsigned)(uintptr_t)arg;
    quoral_client_t *client = new_client();
    while (!load.is_over) {
        writer->puts = 0;
        quoral_result_t *result = write_some(client, writer);
        if (!result) {
            sleep_ms(1);
            continue;
        }
        bool is_ok = quoral_result_is_ok(result);
        load.writes += is_ok;
        load.changes += is_ok ? changes_of(writer, result) : 0;
        load.failed += !is_ok;
        load.unknown += quoral_result_may_have_happened(result);
        quoral_result_destroy(&result);
    }
    quoral_client_destroy(&client);
    free(writer);
    return NULL;
}

/* ---- compaction ---- */

static int64_t newest(quoral_client_t *client)
{
    quoral_result_t *result = quoral_get(client, quoral_str("x"), NULL);
    int64_t revision = quoral_result_is_ok(result) ? quoral_result_revision(result) : 0;
    quoral_result_destroy(&result);
    return revision;
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
    load.compactions += quoral_result_is_ok(result);
    quoral_result_destroy(&result);
}

static void *compact_all(void *arg)
{
    (void)arg;
    quoral_client_t *client = new_client();
    int64_t past[KEPT_S] = {0}; /* the newest revision of each of the last seconds */
    for (unsigned second = 0; !load.is_over; second++) {
        int64_t *oldest = &past[second % KEPT_S];
        if (*oldest > 0) {
            compact(client, *oldest);
        }
        *oldest = newest(client);
        sleep_ms(1000);
    }
    quoral_client_destroy(&client);
    return NULL;
}

/* ---- phases ---- */

typedef struct {
    unsigned seed;
    unsigned ticks_left;               /* of this phase */
    uint64_t changes[TICKS_PER_S + 1]; /* at the last ticks */
    size_t ticks;
} phases_t;

static void begin_phase(phases_t *self)
{
    static const unsigned ticks_max[PHASES] = {[BURST] = 20, [TRICKLE] = 15, [SILENCE] = 12};
    phase_t next = (load.phase + 1) % PHASES;
    self->ticks_left = ticks_max[next] / 2 + (unsigned)rand_r(&self->seed) % ticks_max[next] / 2;
    load.allowed = 0;
    load.phase = next;
}

/* The rate's share of a tick, and what the last second had. */
static void tick(phases_t *self)
{
    if (self->ticks_left == 0) {
        begin_phase(self);
    }
    self->ticks_left--;
    if (load.phase == BURST) {
        load.allowed = (int_fast64_t)(load.rate / TICKS_PER_S);
    }
    enum { ROOM = TICKS_PER_S + 1 };
    uint64_t now = load.changes;
    self->changes[self->ticks % ROOM] = now;
    self->ticks++;
    uint64_t second_ago = self->ticks < ROOM ? 0 : self->changes[self->ticks % ROOM];
    load.peak = now - second_ago > load.peak ? now - second_ago : load.peak;
}

static bool is_input_over(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char octet;
    return poll(&input, 1, TICK_MS) > 0 && read(STDIN_FILENO, &octet, 1) <= 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s ENDPOINTS RATE SEED\n", argv[0]);
        return 2;
    }
    load.endpoints = argv[1];
    load.rate = strtoull(argv[2], NULL, 10);
    load.phase = TRICKLE;
    unsigned seed = (unsigned)strtoul(argv[3], NULL, 10);
    phases_t phases = {.seed = seed, .ticks_left = TICKS_PER_S};
    pthread_t threads[WRITERS + 1];
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_create(&threads[i], NULL, write_all, (void *)(uintptr_t)(seed * WRITERS + i + 1));
    }
    pthread_create(&threads[WRITERS], NULL, compact_all, NULL);
    while (!is_input_over()) {
        tick(&phases);
    }
    load.is_over = true;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("{\"writes\": %" PRIuFAST64 ", \"changes\": %" PRIuFAST64 ", \"peak\": %" PRIu64
           ", \"failed\": %" PRIuFAST64 ", \"unknown\": %" PRIuFAST64
           ", \"compactions\": %" PRIuFAST64 "}\n",
           load.writes, load.changes, load.peak, load.failed, load.unknown, load.compactions);
    return 0;
}
