/* bench_wal: the log alone: what one durable batch costs.
 *
 * bench_wal DIRECTORY [WRITES [ENTRIES_PER_WRITE [PAYLOAD_BYTES [SEGMENT_MIB]]]]
 *
 * Prints the time from a core that gets APPEND_LOG to its LOG_DURABLE (median, 99 %, worst), the same
 * for the roll-overs alone, CPU time per entry, and how long opening the log takes. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/core/outbox.h"
#include "actors/wal_writer/wal_disk.h"
#include "actors/wal_writer/wal_writer.h"
#include "messages/xalloc.h"
#include "store/wal_dir.h"

typedef struct {
    const char *dir;
    uint64_t writes, entries, payload_len, segment_bytes;
    wal_recovered_t recovered;
    void *core;
    outbox_t *outbox;
    wal_disk_t *disk;
    bytes_t *payload;
    uint64_t index;
    bool has_rolled; /* the last write began a segment */
} bench_t;

static double now_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void need(int rc, const char *error)
{
    if (rc != 0) {
        fprintf(stderr, "bench_wal: %s\n", error ? error : "failed");
        exit(1);
    }
}

static void create(bench_t *self)
{
    bytes_t *configuration = bytes_new("c", 1);
    wal_initial_t initial = wal_initial_cluster((wal_identity_t){1, 1}, configuration);
    initial.segment_bytes = self->segment_bytes;
    char *error = NULL;
    need(wal_create(io_posix(), self->dir, &initial, &error), error);
    entries_deinit(&initial.entries);
    bytes_unref(&configuration);
}

static void start(bench_t *self)
{
    static const outbox_edge_t edges[] = {
        {.to = ACTOR_REPLICATOR, .policy = EDGE_FREE},
        {.to = PORT_DISK, .policy = EDGE_FREE},
    };
    char *error = NULL;
    need(wal_open(io_posix(), self->dir, &self->recovered, &error), error);
    need(wal_disk_new(io_posix(), self->dir, &self->recovered, self->segment_bytes, NULL,
                      &self->disk, &error),
         error);
    self->core = wal_writer_new(&self->recovered, self->segment_bytes);
    self->outbox = outbox_new(ACTOR_WAL_WRITER, edges, 2);
    self->index = wal_recovered_last_index(&self->recovered);
}

static void step(bench_t *self, msg_t *msg)
{
    step_in_t in = {.msg = msg};
    wal_writer_ops.step(self->core, &in, self->outbox);
    msg_free(&msg);
}

static void write_once(bench_t *self)
{
    msg_t *msg = msg_new(MSG_APPEND_LOG);
    msg_append_log_t *append = &msg->u.append_log;
    append->lsn = self->index;
    append->first = self->index + 1;
    append->commit = self->index;
    for (uint64_t i = 0; i < self->entries; i++) {
        entry_t entry = {.index = ++self->index, .term = 1, .payload = self->payload};
        entries_append(&append->entries, &entry);
    }
    step(self, msg);
    step(self, NULL);
    actor_id_t to;
    msg_t *request = outbox_take(self->outbox, &to);
    self->has_rolled = request->u.disk_write.segment_header != NULL;
    msg_t *done = NULL;
    char *error = NULL;
    need(wal_disk_port(self->disk, request, &done, &error), error);
    msg_free(&request);
    step(self, done);
    while ((msg = outbox_take(self->outbox, &to))) {
        msg_free(&msg);
    }
    while (outbox_next_line(self->outbox)) {
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *times, size_t count)
{
    if (count > 0) {
        qsort(times, count, sizeof *times, compare);
        printf("%-10s %8zu  median %8.0f us  99 %% %8.0f us  worst %8.0f us\n", name, count,
               times[count / 2], times[count * 99 / 100], times[count - 1]);
    }
}

static void run(bench_t *self)
{
    double *times = xcalloc(self->writes, sizeof *times);
    double *rolls = xcalloc(self->writes, sizeof *rolls);
    size_t time_count = 0;
    size_t roll_count = 0;
    double cpu = now_us(CLOCK_PROCESS_CPUTIME_ID);
    double begin = now_us(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < self->writes; i++) {
        double before = now_us(CLOCK_MONOTONIC);
        write_once(self);
        double took = now_us(CLOCK_MONOTONIC) - before;
        *(self->has_rolled ? &rolls[roll_count++] : &times[time_count++]) = took;
    }
    double all = (double)(self->writes * self->entries);
    double wall = now_us(CLOCK_MONOTONIC) - begin;
    cpu = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    print_times("writes", times, time_count);
    print_times("roll-overs", rolls, roll_count);
    printf("%.0f entries/s, %.2f us CPU each\n", all / wall * 1e6, cpu / all);
    free(times);
    free(rolls);
}

static void stop(bench_t *self)
{
    wal_writer_ops.destroy(&self->core);
    outbox_destroy(&self->outbox);
    wal_disk_destroy(&self->disk);
    wal_recovered_deinit(&self->recovered);
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_wal DIRECTORY [WRITES [ENTRIES [BYTES [SEGMENT_MIB]]]]\n");
        return 1;
    }
    bench_t self = {
        .dir = argv[1],
        .writes = argument(argc, argv, 2, 5000),
        .entries = argument(argc, argv, 3, 1),
        .payload_len = argument(argc, argv, 4, 150),
        .segment_bytes = argument(argc, argv, 5, 64) << 20,
    };
    uint8_t *data;
    self.payload = bytes_alloc((size_t)self.payload_len, &data);
    memset(data, 'x', (size_t)self.payload_len);
    create(&self);
    start(&self);
    run(&self);
    stop(&self);
    double begin = now_us(CLOCK_MONOTONIC);
    double cpu = now_us(CLOCK_PROCESS_CPUTIME_ID);
    start(&self);
    printf("opened %zu entries in %zu segments in %.0f ms, %.0f ms CPU\n",
           self.recovered.entries.count, self.recovered.segment_count,
           (now_us(CLOCK_MONOTONIC) - begin) / 1e3, (now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e3);
    stop(&self);
    bytes_unref(&self.payload);
    return 0;
}
