/* Recovery of the write-ahead log from arbitrary bytes. The first byte chooses: the rest is a segment
 * as it stands; or commands that write one or two segments with right checksums and any content, and
 * then damage them. Whatever comes, recovery refuses it or gives a log that hangs together; and what it gives it
 * gives again once the torn end is zeroed. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"
#include "tests/support/wal_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SEGMENT = 8192, ROOM = 512 /* for the largest command */ };

static void check(const wal_recovered_t *log, slice_t file)
{
    uint64_t term = log->base_term;
    for (size_t i = 0; i < log->entries.count; i++) {
        const entry_t *entry = &log->entries.items[i];
        assert(entry->index == log->base_index + 1 + i);
        assert(entry->term >= term && entry->term <= log->term);
        assert(entry->type == ENTRY_NORMAL || bytes_len(entry->payload) > 0);
        term = entry->term;
    }
    assert(log->commit >= log->base_index && log->commit <= wal_recovered_last_index(log));
    assert(log->last_batch <= log->position && log->position <= file.len);
    assert(log->segment_count > 0 && !log->is_partial);
    uint64_t index;
    wal_recovered_configuration(log, &index);
    assert(index <= wal_recovered_last_index(log));
}

/* One segment, or two when `first` holds any. */
static int recover(wal_recovered_t *log, slice_t first, slice_t last, uint64_t sequence)
{
    *log = (wal_recovered_t){0};
    wal_fault_t fault = {0};
    int rc = first.len ? wal_recover_segment(log, first, sequence - 1, false, &fault) : 0;
    if (rc == 0) {
        rc = wal_recover_segment(log, last, sequence, true, &fault);
    }
    assert(rc == 0 || (rc == WAL_CORRUPT && fault.reason));
    return rc;
}

static void recover_twice(slice_t first, slice_t last, uint64_t sequence)
{
    wal_recovered_t log;
    if (recover(&log, first, last, sequence) != 0) {
        wal_recovered_deinit(&log);
        return;
    }
    check(&log, last);
    uint8_t *repaired = xmemdup(last.data, last.len);
    memset(repaired + log.position, 0, last.len - (size_t)log.position);
    wal_recovered_t again;
    int rc = recover(&again, first, slice(repaired, last.len), sequence);
    assert(rc == 0 && !again.is_torn);
    (void)rc;
    assert(again.position == log.position && again.entries.count == log.entries.count);
    assert(again.generation == log.generation && again.base_index == log.base_index);
    assert(again.term == log.term && again.vote == log.vote && again.commit == log.commit);
    wal_recovered_deinit(&log);
    wal_recovered_deinit(&again);
    free(repaired);
}

static uint8_t take(slice_t *in)
{
    if (in->len == 0) {
        return 0;
    }
    uint8_t byte = in->data[0];
    *in = slice(in->data + 1, in->len - 1);
    return byte;
}

static slice_t take_slice(slice_t *in, size_t len)
{
    len = len < in->len ? len : in->len;
    slice_t taken = slice(in->data, len);
    *in = slice(in->data + len, in->len - len);
    return taken;
}

/* Any header that is encoded, with small numbers so that they often fit together. */
static void begin(wal_bytes_t *log, slice_t *in)
{
    wal_bytes_init(log, SEGMENT);
    wal_header_t *header = &log->header;
    header->sequence = take(in);
    header->term = take(in);
    header->vote = take(in);
    header->base_index = take(in);
    header->base_term = take(in);
    header->commit = take(in);
    header->configuration_index = take(in);
    header->configuration = take_slice(in, take(in));
    wal_bytes_header(log);
}

/* The next index is most often the one that joins the log. */
static void command(wal_bytes_t *log, uint64_t *next, slice_t *in)
{
    uint8_t what = take(in);
    switch (what % 7) {
    case 0: wal_bytes_seal(log); break;
    case 1: wal_bytes_hardstate(log, log->header.term + take(in) % 4, take(in) % 4); break;
    case 2: *next = *next + 2 - take(in) % 4; break;
    case 3:
        log->lsn += (uint64_t)(take(in) % 8) - 1;
        log->commit += take(in) % 3;
        break;
    case 4: wal_bytes_raw(log, take_slice(in, take(in)), what / 6 % 3); break;
    case 5: { /* often one that a correct writer would write */
        uint64_t index = *next + take(in) % 8 - 5;
        uint64_t term = log->header.term - take(in) % 2;
        bool keeps = index < *next;
        wal_bytes_snapshot(log, index, term, 1 + take(in), keeps ^ (what / 7 % 4 == 3),
                           slice_str("members"));
        *next = keeps ? *next : index + 1;
        break;
    }
    default: {
        uint64_t term = log->header.term - what / 6 % 2;
        entry_type_t type = what / 12 % 4 == 0 ? ENTRY_CONFIGURATION : ENTRY_NORMAL;
        wal_bytes_entry(log, (*next)++, term, type, take_slice(in, take(in) % 64));
    }
    }
}

static void damage(wal_bytes_t *log, slice_t *in)
{
    size_t at = ((size_t)take(in) << 8 | take(in)) % (size_t)(log->position + 64);
    at = at < SEGMENT ? at : SEGMENT - 1;
    size_t len = (size_t)take(in) * 8 + 1;
    len = len < SEGMENT - at ? len : SEGMENT - at;
    uint8_t how = take(in);
    if (how % 2) {
        memset(log->data + at, 0, len);
    } else {
        log->data[at] ^= how;
    }
}

static void write_batches(wal_bytes_t *log, slice_t *in, size_t spare)
{
    uint64_t next = log->header.base_index + 1;
    for (size_t least = spare + 4; in->len > least && log->batch_start + ROOM < SEGMENT;) {
        command(log, &next, in);
    }
    wal_bytes_seal(log);
}

/* A second segment that continues the first, but for one field. */
static void continue_log(wal_bytes_t *second, const wal_bytes_t *first, slice_t *in)
{
    wal_bytes_init(second, SEGMENT);
    wal_header_t *header = &second->header;
    wal_recovered_t log = {0};
    wal_fault_t fault;
    int rc =
        wal_recover_segment(&log, wal_bytes_slice(first), first->header.sequence, false, &fault);
    if (rc == 0) {
        header->identity = log.identity;
        header->term = log.term;
        header->vote = log.vote;
        header->commit = log.commit;
        header->base_index = wal_recovered_last_index(&log);
        header->base_term = wal_recovered_last_term(&log);
        header->lsn = log.lsn;
        const bytes_t *configuration =
            wal_recovered_configuration(&log, &header->configuration_index);
        header->configuration = bytes_slice(configuration);
    }
    header->sequence = first->header.sequence + 1;
    header->previous_end = first->position;
    header->previous_crc = first->chain;
    uint64_t *const fields[] = {
        &header->sequence,
        &header->identity.cluster_id,
        &header->identity.member_id,
        &header->term,
        &header->vote,
        &header->commit,
        &header->base_index,
        &header->base_term,
        &header->lsn,
        &header->segment_bytes,
        &header->previous_end,
        &header->configuration_index,
    };
    uint8_t field = take(in);
    if (field < sizeof fields / sizeof *fields && fields[field] != &header->segment_bytes) {
        *fields[field] += (uint64_t)(take(in) % 4) - 1;
    }
    wal_bytes_header(second);
    if (field == 9) { /* says that the file should be longer */
        header->segment_bytes++;
        second->seed = wal_header_encode(header, second->data);
        second->chain = second->seed;
        header->segment_bytes--;
    }
    header->configuration = slice(NULL, 0); /* goes with `log` */
    wal_recovered_deinit(&log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    slice_t in = slice(data, len);
    uint8_t mode = take(&in);
    if (mode == 1) {
        uint8_t sequence = take(&in);
        recover_twice(slice(NULL, 0), in, sequence);
        return 0;
    }
    wal_bytes_t first;
    begin(&first, &in);
    write_batches(&first, &in, mode / 2 % 2 ? in.len / 2 : 0);
    wal_bytes_t second = {0};
    wal_bytes_t *last = &first;
    if (mode / 2 % 2) {
        continue_log(&second, &first, &in);
        write_batches(&second, &in, 0);
        last = &second;
    }
    if (mode % 2) {
        damage(mode / 4 % 2 ? last : &first, &in);
    }
    slice_t before = last == &first ? slice(NULL, 0) : wal_bytes_slice(&first);
    recover_twice(before, wal_bytes_slice(last), first.header.sequence + (last == &second));
    wal_bytes_deinit(&first);
    wal_bytes_deinit(&second);
    return 0;
}
