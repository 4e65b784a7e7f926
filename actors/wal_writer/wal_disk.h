/* wal_disk: the WAL writer's hands: carries out DISK_WRITE on the files of a log directory.
 * Not pure; used by one thread, between two steps of the core. A write of one batch is one pwrite
 * and one fdatasync into zeros that are already on the disk. The next segment's zeros are written in
 * small slices after the batches of the second half of a segment, so that changing segments never
 * waits for them. */
#pragma once

#include "actors/core/metrics.h"
#include "messages/msg.h"
#include "store/io.h"
#include "store/wal_recover.h"

typedef struct wal_disk wal_disk_t;

/* Opens the newest segment of `dir`, as recovery left it, for writing. `segment_bytes` as given to the
 * core; `metrics` may be NULL. 0 or < 0 with *error. */
int wal_disk_new(io_t *io, const char *dir, const wal_recovered_t *recovered,
                 uint64_t segment_bytes, metrics_t *metrics, wal_disk_t **self_p, char **error);
void wal_disk_destroy(wal_disk_t **self_p);

/* 0: everything in `request` is on the disk. That there is no room to prepare the next segment is no error
 * before the current one is full: done->lacks_room. < 0 with *error: the node must stop at once and
 * acknowledge nothing more; no second call is allowed. */
int wal_disk_execute(wal_disk_t *self, const msg_disk_write_t *request, msg_disk_done_t *done,
                     char **error) __attribute__((warn_unused_result));

/* The same as runtime_cfg_t.port wants it; context is a wal_disk_t. */
int wal_disk_port(void *context, const msg_t *request, msg_t **done_p, char **error_p);
