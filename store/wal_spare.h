/* wal_spare: the file that becomes the next segment. Not pure: writes through io.
 * It is filled with zeros ahead of time, so that a later write into it changes no metadata and
 * costs one fdatasync without a journal commit. It bears a temporary name until its header and first
 * batch are on the disk: a segment with a proper name is complete, whatever happens. */
#pragma once

#include "store/io.h"

typedef struct {
    io_t *io;        /* borrowed */
    const char *dir; /* borrowed */
    io_file_t *file; /* NULL: nothing prepared */
    uint64_t filled; /* zeros written from the start */
    bool is_synced;  /* all of them are on the disk */
} wal_spare_t;

/* Writes up to `slice_bytes` more zeros towards `segment_bytes`; when they are all there, one call
 * syncs them. Nothing to do once that has happened. < 0 with *error. */
int wal_spare_prepare(wal_spare_t *self, uint64_t segment_bytes, uint64_t slice_bytes,
                      char **error);
bool wal_spare_is_ready(const wal_spare_t *self, uint64_t segment_bytes);
/* Makes it the segment `sequence`: fills what is missing, writes header and batch, syncs, renames,
 * syncs the directory. The open file is yours. < 0 with *error. */
int wal_spare_publish(wal_spare_t *self, uint64_t sequence, uint64_t segment_bytes, slice_t header,
                      slice_t batch, io_file_t **file_p, char **error);
/* Closes and removes it, so that its room is free again; the next wal_spare_prepare begins anew. < 0 with
 * *error. */
int wal_spare_drop(wal_spare_t *self, char **error);
/* Closes and forgets the file; the next start removes it. */
void wal_spare_deinit(wal_spare_t *self);

/* Names in the directory; yours. */
char *wal_spare_path(const char *dir);
char *wal_segment_path(const char *dir, uint64_t sequence);
