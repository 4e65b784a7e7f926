/* Recovery from bytes: whole, torn at every byte and sector, flipped at every byte, and well-formed
 * bytes that no correct writer leaves. What was acknowledged is recovered or refused, never wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"
#include "tests/support/wal_bytes.h"

enum { SEGMENT = 8192, BATCHES = 6 };

/* Entry i of the sample log has i * 40 bytes, none of them zero. */
static size_t sample_len(uint64_t index)
{
    return (size_t)index * 40;
}

static uint8_t sample_byte(uint64_t index, size_t at)
{
    return (uint8_t)(1 + (index * 17 + at) % 255);
}

static void add_sample(wal_bytes_t *log, uint64_t index)
{
    uint8_t payload[1024];
    for (size_t i = 0; i < sample_len(index); i++) {
        payload[i] = sample_byte(index, i);
    }
    entry_type_t type = index % 4 == 1 ? ENTRY_CONFIGURATION : ENTRY_NORMAL;
    wal_bytes_entry(log, index, 5, type, slice(payload, sample_len(index)));
}

/* Batch b (from 1) holds entries 2b - 1 and 2b and says 2b - 2 is committed. */
static void build_sample(wal_bytes_t *log, uint64_t ends[BATCHES + 1])
{
    wal_bytes_init(log, SEGMENT);
    ends[0] = log->position;
    for (uint64_t b = 1; b <= BATCHES; b++) {
        log->lsn = b;
        log->commit = 2 * b - 2;
        add_sample(log, 2 * b - 1);
        add_sample(log, 2 * b);
        wal_bytes_seal(log);
        ends[b] = log->position;
    }
}

static int recover(slice_t file, wal_recovered_t *out, wal_fault_t *fault)
{
    *out = (wal_recovered_t){0};
    *fault = (wal_fault_t){0};
    return wal_recover_segment(out, file, 1, true, fault);
}

/* Exactly the first `batches` batches. */
static void check_sample(const wal_recovered_t *recovered, uint64_t batches, const uint64_t *ends)
{
    assert_int_equal(recovered->entries.count, 2 * batches);
    assert_int_equal(recovered->lsn, batches);
    assert_int_equal(recovered->commit, batches ? 2 * batches - 2 : 0);
    assert_int_equal(recovered->position, ends[batches]);
    assert_int_equal(recovered->last_batch, ends[batches ? batches - 1 : 0]);
    assert_int_equal(recovered->term, 5);
    for (uint64_t i = 1; i <= 2 * batches; i++) {
        const entry_t *entry = &recovered->entries.items[i - 1];
        slice_t payload = bytes_slice(entry->payload);
        assert_int_equal(entry->index, i);
        assert_int_equal(payload.len, sample_len(i));
        for (size_t at = 0; at < payload.len; at++) {
            assert_int_equal(payload.data[at], sample_byte(i, at));
        }
    }
}

static void a_whole_log_comes_back(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    wal_recovered_t recovered;
    wal_fault_t fault;
    assert_int_equal(recover(wal_bytes_slice(&log), &recovered, &fault), 0);
    check_sample(&recovered, BATCHES, ends);
    assert_false(recovered.is_torn);
    assert_int_equal(recovered.identity.cluster_id, 1);
    assert_int_equal(recovered.identity.member_id, 2);
    assert_int_equal(recovered.segments[0].lowest, 1);
    uint64_t index;
    assert_int_equal(bytes_len(wal_recovered_configuration(&recovered, &index)), sample_len(9));
    assert_int_equal(index, 9);
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&log);
}

/* A write that stopped at byte p, over zeros: what was complete before it comes back. */
static void every_torn_end_is_cut(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    uint8_t *copy = xmalloc(SEGMENT);
    uint64_t whole = BATCHES;
    for (uint64_t p = ends[BATCHES]; p >= ends[0]; p--) {
        memcpy(copy, log.data, SEGMENT);
        memset(copy + p, 0, (size_t)(ends[BATCHES] - p));
        if (p < ends[whole]) {
            whole--;
        }
        wal_recovered_t recovered;
        wal_fault_t fault;
        assert_int_equal(recover(slice(copy, SEGMENT), &recovered, &fault), 0);
        check_sample(&recovered, whole, ends);
        bool left_something = false;
        for (uint64_t at = ends[whole]; at < p; at++) {
            left_something |= copy[at] != 0;
        }
        assert_int_equal(recovered.is_torn, left_something);
        wal_recovered_deinit(&recovered);
    }
    free(copy);
    wal_bytes_deinit(&log);
}

/* A last write of which any set of sectors is missing. */
static void every_set_of_missing_sectors_is_cut(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    uint8_t *copy = xmalloc(SEGMENT);
    size_t from = (size_t)ends[BATCHES - 1] / WAL_SECTOR_BYTES;
    size_t to = ((size_t)ends[BATCHES] - 1) / WAL_SECTOR_BYTES + 1;
    assert_in_range(to - from, 3, 10);
    for (unsigned set = 1; set < 1u << (to - from); set++) {
        memcpy(copy, log.data, SEGMENT);
        for (size_t s = from; s < to; s++) {
            size_t start = s * WAL_SECTOR_BYTES;
            start = start > ends[BATCHES - 1] ? start : (size_t)ends[BATCHES - 1];
            if (set >> (s - from) & 1) {
                memset(copy + start, 0, (s + 1) * WAL_SECTOR_BYTES - start);
            }
        }
        wal_recovered_t recovered;
        wal_fault_t fault;
        assert_int_equal(recover(slice(copy, SEGMENT), &recovered, &fault), 0);
        check_sample(&recovered, BATCHES - 1, ends);
        wal_recovered_deinit(&recovered);
    }
    free(copy);
    wal_bytes_deinit(&log);
}

/* Each bit, and all bits, of every byte: in use, it is refused, also in the very last batch; in the
 * zeros behind, it costs nothing. */
static void every_flipped_byte_is_refused(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    for (size_t p = 0; p < SEGMENT; p++) {
        for (int bit = 0; bit <= 8; bit++) {
            uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xffu);
            log.data[p] ^= mask;
            wal_recovered_t recovered;
            wal_fault_t fault;
            int rc = recover(wal_bytes_slice(&log), &recovered, &fault);
            /* The last byte of the mark that the next batch would have looks like a batch that lost
             * its beginning; refusing is the safe side. */
            bool is_mark = p == ends[BATCHES] + WAL_BATCH_HEADER_BYTES - 1;
            if (p < ends[BATCHES] || is_mark) {
                assert_int_equal(rc, WAL_CORRUPT);
                assert_non_null(fault.reason);
                assert_true(fault.offset <= p);
            } else {
                assert_int_equal(rc, 0);
                check_sample(&recovered, BATCHES, ends);
            }
            wal_recovered_deinit(&recovered);
            log.data[p] ^= mask;
        }
    }
    wal_bytes_deinit(&log);
}

/* A hole of zeros that ends before a valid batch is no torn write. */
static void a_lost_batch_in_the_middle_is_refused(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    memset(log.data + ends[2], 0, (size_t)(ends[3] - ends[2]));
    wal_recovered_t recovered;
    wal_fault_t fault;
    assert_int_equal(recover(wal_bytes_slice(&log), &recovered, &fault), WAL_CORRUPT);
    assert_int_equal(fault.offset, ends[2]);
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&log);
}

static void a_shorter_file_is_refused(void **state)
{
    (void)state;
    wal_bytes_t log;
    uint64_t ends[BATCHES + 1];
    build_sample(&log, ends);
    for (size_t len = 0; len < SEGMENT; len++) {
        uint8_t *exact = xmemdup(log.data, len ? len : 1); /* so that reading beyond is seen */
        wal_recovered_t recovered;
        wal_fault_t fault;
        assert_int_equal(recover(slice(exact, len), &recovered, &fault), WAL_CORRUPT);
        wal_recovered_deinit(&recovered);
        free(exact);
    }
    wal_bytes_deinit(&log);
}

/* ---- a second segment ---- */

static void continue_sample(wal_bytes_t *second, const wal_bytes_t *first)
{
    wal_bytes_init(second, SEGMENT);
    second->header.sequence = 2;
    second->header.commit = 2 * BATCHES - 2;
    second->header.base_index = 2 * BATCHES;
    second->header.base_term = 5;
    second->header.lsn = BATCHES;
    second->header.previous_end = first->position;
    second->header.previous_crc = first->chain;
    second->header.configuration_index = 9;
    uint8_t *configuration = xmalloc(sample_len(9));
    for (size_t i = 0; i < sample_len(9); i++) {
        configuration[i] = sample_byte(9, i);
    }
    second->header.configuration = slice(configuration, sample_len(9)); /* freed by the caller */
    wal_bytes_header(second);
}

static int recover_two(const wal_bytes_t *first, const wal_bytes_t *second, wal_recovered_t *out,
                       wal_fault_t *fault)
{
    *out = (wal_recovered_t){0};
    int rc = wal_recover_segment(out, wal_bytes_slice(first), 1, false, fault);
    return rc ? rc : wal_recover_segment(out, wal_bytes_slice(second), 2, true, fault);
}

static void an_older_segment_has_no_torn_end(void **state)
{
    (void)state;
    wal_bytes_t first;
    wal_bytes_t second;
    uint64_t ends[BATCHES + 1];
    build_sample(&first, ends);
    continue_sample(&second, &first);
    wal_recovered_t recovered;
    wal_fault_t fault;
    assert_int_equal(recover_two(&first, &second, &recovered, &fault), 0);
    assert_int_equal(recovered.entries.count, 2 * BATCHES);
    assert_int_equal(recovered.segment_count, 2);
    assert_int_equal(recovered.segments[1].base_index, 2 * BATCHES);
    wal_recovered_deinit(&recovered);
    for (uint64_t p = ends[BATCHES] - 1; p >= ends[0]; p--) {
        first.data[p] = 0;
        assert_int_equal(recover_two(&first, &second, &recovered, &fault), WAL_CORRUPT);
        wal_recovered_deinit(&recovered);
    }
    free((void *)(uintptr_t)second.header.configuration.data);
    wal_bytes_deinit(&first);
    wal_bytes_deinit(&second);
}

/* A second header that differs in any one field from what the first segment says. */
static void segments_must_fit_together(void **state)
{
    (void)state;
    wal_bytes_t first;
    uint64_t ends[BATCHES + 1];
    build_sample(&first, ends);
    for (int field = 0; field < 13; field++) {
        wal_bytes_t second;
        continue_sample(&second, &first);
        const uint8_t *configuration = second.header.configuration.data;
        wal_header_t *header = &second.header;
        switch (field) {
        case 0: header->sequence++; break;
        case 1: header->identity.cluster_id++; break;
        case 2: header->identity.member_id++; break;
        case 3: header->term++; break;
        case 4: header->vote++; break;
        case 5: header->commit--; break;
        case 6: header->base_index++; break;
        case 7: header->base_term--; break;
        case 8: header->lsn++; break;
        case 9: header->previous_end -= 8; break;
        case 10: header->previous_crc++; break;
        case 11: header->configuration_index--; break;
        default: header->configuration.len--; break;
        }
        wal_bytes_header(&second);
        wal_recovered_t recovered;
        wal_fault_t fault;
        assert_int_equal(recover_two(&first, &second, &recovered, &fault), WAL_CORRUPT);
        wal_recovered_deinit(&recovered);
        wal_bytes_deinit(&second);
        free((void *)(uintptr_t)configuration);
    }
    wal_bytes_deinit(&first);
}

/* ---- snapshots ---- */

/* What the log says after each of these batches. */
typedef struct {
    uint64_t end, base_index, base_term, last, commit, generation, configuration_index;
} snapshot_state_t;

enum { SNAPSHOT_BATCHES = 5 };

static void build_snapshots(wal_bytes_t *log, snapshot_state_t states[SNAPSHOT_BATCHES + 1])
{
    wal_bytes_init(log, SEGMENT);
    states[0] = (snapshot_state_t){.end = log->position};
    for (uint64_t i = 1; i <= 4; i++) {
        add_sample(log, i);
    }
    wal_bytes_seal(log);
    states[1] = (snapshot_state_t){log->position, 0, 0, 4, 0, 0, 1};
    wal_bytes_snapshot(log, 2, 5, 2, true, slice_str("two")); /* keeps 3 and 4 */
    add_sample(log, 5);
    wal_bytes_seal(log);
    states[2] = (snapshot_state_t){log->position, 2, 5, 5, 2, 2, 5};
    wal_bytes_snapshot(log, 50, 4, 3, false, slice_str("fifty")); /* beyond the end */
    wal_bytes_seal(log);
    states[3] = (snapshot_state_t){log->position, 50, 4, 50, 50, 3, 50};
    wal_bytes_entry(log, 51, 5, ENTRY_NORMAL, slice_str("x"));
    wal_bytes_entry(log, 52, 5, ENTRY_NORMAL, slice_str("y"));
    wal_bytes_seal(log);
    states[4] = (snapshot_state_t){log->position, 50, 4, 52, 50, 3, 50};
    wal_bytes_snapshot(log, 51, 4, 7, false, slice_str("other")); /* 51 is of another term there */
    wal_bytes_seal(log);
    states[5] = (snapshot_state_t){log->position, 51, 4, 51, 51, 7, 51};
}

static void check_snapshots(const wal_recovered_t *recovered, const snapshot_state_t *expected)
{
    assert_int_equal(recovered->base_index, expected->base_index);
    assert_int_equal(recovered->base_term, expected->base_term);
    assert_int_equal(wal_recovered_last_index(recovered), expected->last);
    assert_int_equal(recovered->commit, expected->commit);
    assert_int_equal(recovered->generation, expected->generation);
    uint64_t index;
    wal_recovered_configuration(recovered, &index);
    assert_int_equal(index, expected->configuration_index);
    size_t bytes = 0;
    for (size_t i = 0; i < recovered->entries.count; i++) {
        const entry_t *entry = &recovered->entries.items[i];
        assert_int_equal(entry->index, expected->base_index + 1 + i);
        bytes += bytes_len(entry->payload);
    }
    assert_int_equal(recovered->entries.bytes, bytes);
}

static void the_log_begins_after_a_snapshot(void **state)
{
    (void)state;
    wal_bytes_t log;
    snapshot_state_t states[SNAPSHOT_BATCHES + 1];
    build_snapshots(&log, states);
    uint8_t *copy = xmalloc(SEGMENT);
    int whole = SNAPSHOT_BATCHES;
    for (uint64_t p = states[SNAPSHOT_BATCHES].end; p >= states[0].end; p--) {
        memcpy(copy, log.data, SEGMENT);
        memset(copy + p, 0, (size_t)(states[SNAPSHOT_BATCHES].end - p));
        whole -= p < states[whole].end;
        wal_recovered_t recovered;
        wal_fault_t fault;
        assert_int_equal(recover(slice(copy, SEGMENT), &recovered, &fault), 0);
        check_snapshots(&recovered, &states[whole]);
        wal_recovered_deinit(&recovered);
    }
    free(copy);
    wal_bytes_deinit(&log);
}

static void every_flipped_byte_of_a_snapshot_is_refused(void **state)
{
    (void)state;
    wal_bytes_t log;
    snapshot_state_t states[SNAPSHOT_BATCHES + 1];
    build_snapshots(&log, states);
    for (size_t p = 0; p < states[SNAPSHOT_BATCHES].end; p++) {
        for (int bit = 0; bit <= 8; bit++) {
            uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xffu);
            log.data[p] ^= mask;
            wal_recovered_t recovered;
            wal_fault_t fault;
            assert_int_equal(recover(wal_bytes_slice(&log), &recovered, &fault), WAL_CORRUPT);
            wal_recovered_deinit(&recovered);
            log.data[p] ^= mask;
        }
    }
    wal_bytes_deinit(&log);
}

/* ---- well-formed and wrong ---- */

static void gap(wal_bytes_t *log)
{
    wal_bytes_entry(log, 5, 5, ENTRY_NORMAL, slice_str("x"));
}

static void index_zero(wal_bytes_t *log)
{
    wal_bytes_entry(log, 0, 5, ENTRY_NORMAL, slice_str("x"));
}

static void term_back(wal_bytes_t *log)
{
    wal_bytes_entry(log, 4, 3, ENTRY_NORMAL, slice_str("x"));
}

static void term_zero(wal_bytes_t *log)
{
    wal_bytes_entry(log, 3, 0, ENTRY_NORMAL, slice_str("x"));
}

static void term_above(wal_bytes_t *log)
{
    wal_bytes_entry(log, 4, 6, ENTRY_NORMAL, slice_str("x"));
}

static void committed(wal_bytes_t *log)
{
    wal_bytes_entry(log, 2, 5, ENTRY_NORMAL, slice_str("x"));
}

static void empty_configuration(wal_bytes_t *log)
{
    wal_bytes_entry(log, 4, 5, ENTRY_CONFIGURATION, slice(NULL, 0));
}

static void hardstate_back(wal_bytes_t *log)
{
    wal_bytes_hardstate(log, 4, 0);
}

static void second_vote(wal_bytes_t *log)
{
    wal_bytes_hardstate(log, 5, 8);
}

static void commit_beyond(wal_bytes_t *log)
{
    log->commit = 4;
}

static void lsn_back(wal_bytes_t *log)
{
    log->lsn = 6;
}

static void too_few_records(wal_bytes_t *log)
{
    log->records = 1;
}

static void too_many_records(wal_bytes_t *log)
{
    wal_bytes_entry(log, 4, 5, ENTRY_NORMAL, slice_str("x"));
    log->records = 0;
}

static void half_a_record(wal_bytes_t *log)
{
    wal_bytes_raw(log, slice("abcdefgh", 8), 1);
}

static void unknown_record(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES] = {0, 0, 0, 0, 9};
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void unknown_entry_type(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES] = {0, 0, 0, 0, WAL_RECORD_ENTRY, 2, 0, 0, 5};
    record[16] = 4;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void unknown_flags(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES] = {0, 0, 0, 0, WAL_RECORD_HARDSTATE, 0, 1, 0, 5};
    record[16] = 7;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void bogus_length(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES] = {0xff, 0xff, 0xff, 0xff, WAL_RECORD_ENTRY,
                                               0,    0,    0,    5};
    record[16] = 4;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void hardstate_with_payload(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES + 1] = {1, 0, 0, 0, WAL_RECORD_HARDSTATE, 0, 0, 0, 5};
    record[16] = 7;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void snapshot_of_committed(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 2, 4, 6, true, slice_str("c"));
}

static void snapshot_term_above(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 9, 6, 6, false, slice_str("c"));
}

static void snapshot_term_zero(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 9, 0, 6, false, slice_str("c"));
}

static void generation_back(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 9, 5, 6, false, slice_str("c"));
    wal_bytes_snapshot(log, 10, 5, 6, false, slice_str("c"));
}

static void snapshot_keeps_beyond(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 4, 5, 6, true, slice_str("c"));
}

static void snapshot_keeps_another(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 3, 4, 6, true, slice_str("c"));
}

static void snapshot_drops_its_own(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 3, 5, 6, false, slice_str("c"));
}

static void entry_below_snapshot(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 9, 5, 6, false, slice_str("c"));
    wal_bytes_entry(log, 9, 5, ENTRY_NORMAL, slice_str("x"));
}

static void gap_after_snapshot(wal_bytes_t *log)
{
    wal_bytes_snapshot(log, 9, 5, 6, false, slice_str("c"));
    wal_bytes_entry(log, 11, 5, ENTRY_NORMAL, slice_str("x"));
}

static void snapshot_without_configuration(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES + 8] = {8, 0, 0, 0, WAL_RECORD_SNAPSHOT, 0, 0, 0, 5};
    record[16] = 9;
    record[WAL_RECORD_HEADER_BYTES] = 6;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void snapshot_without_generation(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES + 9] = {9, 0, 0, 0, WAL_RECORD_SNAPSHOT, 0, 0, 0, 5};
    record[16] = 9;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static void snapshot_with_unknown_flag(wal_bytes_t *log)
{
    uint8_t record[WAL_RECORD_HEADER_BYTES + 9] = {9, 0, 0, 0, WAL_RECORD_SNAPSHOT, 2, 0, 0, 5};
    record[16] = 9;
    record[WAL_RECORD_HEADER_BYTES] = 6;
    wal_bytes_raw(log, slice(record, sizeof record), 1);
}

static const struct {
    void (*spoil)(wal_bytes_t *log);
    const char *reason;
} spoilt[] = {
    {gap, "an entry's index leaves a gap"},
    {index_zero, "an entry replaces a committed one"},
    {term_back, "an entry's term is lower than that of the entry before"},
    {term_zero, "an entry's term is above the member's"},
    {term_above, "an entry's term is above the member's"},
    {committed, "an entry replaces a committed one"},
    {empty_configuration, "a configuration entry is empty"},
    {hardstate_back, "the member's term goes back"},
    {second_vote, "the member's vote changes within a term"},
    {commit_beyond, "the commit index is beyond the end of the log"},
    {lsn_back, "the log sequence number goes back"},
    {too_few_records, "the batch does not hold as many records as it says"},
    {too_many_records, "the batch does not hold as many records as it says"},
    {half_a_record, "a record's header crosses the end of its batch"},
    {unknown_record, "a record is of an unknown type"},
    {unknown_entry_type, "an entry is of an unknown type"},
    {unknown_flags, "a record has unknown flags"},
    {bogus_length, "a record is longer than its batch"},
    {hardstate_with_payload, "a hard state record has a payload"},
    {snapshot_of_committed, "a snapshot replaces committed entries"},
    {snapshot_term_above, "a snapshot's term is above the member's"},
    {snapshot_term_zero, "a snapshot's term is above the member's"},
    {generation_back, "the store's generation goes back"},
    {snapshot_keeps_beyond,
     "a snapshot keeps entries that do not follow it, or drops those that do"},
    {snapshot_keeps_another,
     "a snapshot keeps entries that do not follow it, or drops those that do"},
    {snapshot_drops_its_own,
     "a snapshot keeps entries that do not follow it, or drops those that do"},
    {entry_below_snapshot, "an entry replaces a committed one"},
    {gap_after_snapshot, "an entry's index leaves a gap"},
    {snapshot_without_configuration, "a snapshot record has no configuration of a possible length"},
    {snapshot_without_generation, "a snapshot record has an unknown flag or no generation"},
    {snapshot_with_unknown_flag, "a snapshot record has an unknown flag or no generation"},
    {NULL, NULL},
};

/* After entries 1 to 3 (terms 4, 4, 5; 1 and 2 committed), vote 7 in term 5 and lsn 7. */
static void what_no_correct_writer_leaves_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        wal_bytes_t log;
        wal_bytes_init(&log, 4096);
        log.lsn = 7;
        log.commit = 2;
        wal_bytes_entry(&log, 1, 4, ENTRY_NORMAL, slice_str("a"));
        wal_bytes_entry(&log, 2, 4, ENTRY_NORMAL, slice_str("b"));
        wal_bytes_entry(&log, 3, 5, ENTRY_NORMAL, slice_str("c"));
        wal_bytes_hardstate(&log, 5, 7);
        wal_bytes_seal(&log);
        uint64_t end = log.position;
        if (spoilt[i].spoil) {
            spoilt[i].spoil(&log);
        }
        wal_bytes_seal(&log);
        wal_recovered_t recovered;
        wal_fault_t fault;
        int rc = recover(wal_bytes_slice(&log), &recovered, &fault);
        if (spoilt[i].reason) {
            assert_int_equal(rc, WAL_CORRUPT);
            assert_string_equal(fault.reason, spoilt[i].reason);
            assert_int_equal(fault.offset, end);
        } else {
            assert_int_equal(rc, 0); /* unspoilt it is fine */
        }
        wal_recovered_deinit(&recovered);
        wal_bytes_deinit(&log);
    }
}

/* The later record wins, from its index on. */
static void later_records_replace_earlier_ones(void **state)
{
    (void)state;
    wal_bytes_t log;
    wal_bytes_init(&log, 4096);
    wal_bytes_entry(&log, 1, 4, ENTRY_CONFIGURATION, slice_str("old"));
    wal_bytes_entry(&log, 2, 4, ENTRY_CONFIGURATION, slice_str("new"));
    wal_bytes_entry(&log, 3, 4, ENTRY_NORMAL, slice_str("x"));
    wal_bytes_seal(&log);
    wal_bytes_entry(&log, 2, 5, ENTRY_NORMAL, slice_str("y"));
    wal_bytes_seal(&log);
    wal_recovered_t recovered;
    wal_fault_t fault;
    assert_int_equal(recover(wal_bytes_slice(&log), &recovered, &fault), 0);
    assert_int_equal(wal_recovered_last_index(&recovered), 2);
    assert_int_equal(wal_recovered_last_term(&recovered), 5);
    assert_int_equal(recovered.entries.bytes, 4);
    uint64_t index;
    slice_t configuration = bytes_slice(wal_recovered_configuration(&recovered, &index));
    assert_int_equal(index, 1);
    assert_true(slice_equal(configuration, slice_str("old")));
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&log);
}

/* Segments 1 and 2 were to go, only 1 went; 2 replaces entries of 1. The log is told from 3 on. */
static void an_interrupted_purge_is_no_damage(void **state)
{
    (void)state;
    wal_bytes_t second;
    wal_bytes_t third;
    wal_bytes_init(&second, 4096);
    second.header.sequence = 2;
    second.header.base_index = 10;
    second.header.base_term = 4;
    second.header.commit = 7;
    wal_bytes_header(&second);
    wal_bytes_entry(&second, 9, 5, ENTRY_NORMAL, slice_str("x"));
    wal_bytes_entry(&second, 10, 5, ENTRY_NORMAL, slice_str("y"));
    wal_bytes_seal(&second);
    wal_bytes_init(&third, 4096);
    third.header.sequence = 3;
    third.header.base_index = 10;
    third.header.base_term = 5;
    third.header.commit = 10;
    third.header.previous_end = second.position;
    third.header.previous_crc = second.chain;
    wal_bytes_header(&third);
    wal_bytes_entry(&third, 11, 5, ENTRY_NORMAL, slice_str("z"));
    wal_bytes_seal(&third);

    wal_recovered_t recovered = {0};
    wal_fault_t fault;
    assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&second), 2, false, &fault),
                     0);
    assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&third), 3, true, &fault), 0);
    assert_int_equal(recovered.base_index, 10);
    assert_int_equal(recovered.base_term, 5);
    assert_int_equal(recovered.entries.count, 1);
    assert_int_equal(recovered.segment_count, 2);
    wal_recovered_deinit(&recovered);
    /* Without the third there is no telling. */
    assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&second), 2, true, &fault),
                     WAL_CORRUPT);
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&second);
    wal_bytes_deinit(&third);
}

/* Segment 1 is gone; segment 2 begins after (10, 4) and holds a snapshot below that. */
static void begin_second(wal_bytes_t *second)
{
    wal_bytes_init(second, 4096);
    second->header.sequence = 2;
    second->header.base_index = 10;
    second->header.base_term = 4;
    second->header.commit = 7;
    second->header.configuration_index = 3;
    second->header.configuration = slice_str("three");
    wal_bytes_header(second);
}

static void a_purge_interrupted_before_a_snapshot_that_keeps(void **state)
{
    (void)state;
    wal_bytes_t second;
    begin_second(&second);
    wal_bytes_entry(&second, 11, 5, ENTRY_NORMAL, slice_str("x"));
    wal_bytes_snapshot(&second, 8, 4, 2, true, slice_str("eight"));
    wal_bytes_entry(&second, 12, 5, ENTRY_NORMAL, slice_str("y"));
    wal_bytes_seal(&second);
    wal_recovered_t recovered = {0};
    wal_fault_t fault;
    assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&second), 2, true, &fault), 0);
    assert_int_equal(recovered.base_index, 10);
    assert_int_equal(recovered.commit, 10);
    assert_int_equal(recovered.entries.count, 2);
    assert_int_equal(recovered.generation, 2);
    assert_int_equal(recovered.base_configuration_index, 8); /* as the next header will say */
    assert_true(slice_equal(bytes_slice(recovered.base_configuration), slice_str("eight")));
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&second);

    /* Where the log can't be told, it can't be told after the snapshot either. */
    begin_second(&second);
    wal_bytes_entry(&second, 9, 5, ENTRY_NORMAL, slice_str("x"));
    wal_bytes_snapshot(&second, 9, 5, 2, true, slice_str("nine"));
    wal_bytes_seal(&second);
    assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&second), 2, true, &fault),
                     WAL_CORRUPT);
    wal_recovered_deinit(&recovered);
    wal_bytes_deinit(&second);
}

static void a_purge_interrupted_before_a_snapshot_that_keeps_nothing(void **state)
{
    (void)state;
    for (int replaces = 0; replaces < 2; replaces++) {
        wal_bytes_t second;
        begin_second(&second);
        if (replaces) { /* what it follows is gone */
            wal_bytes_entry(&second, 9, 5, ENTRY_NORMAL, slice_str("x"));
        }
        wal_bytes_snapshot(&second, 9, 4, 2, false, slice_str("nine"));
        wal_bytes_entry(&second, 10, 5, ENTRY_NORMAL, slice_str("y"));
        wal_bytes_seal(&second);
        wal_recovered_t recovered = {0};
        wal_fault_t fault;
        assert_int_equal(wal_recover_segment(&recovered, wal_bytes_slice(&second), 2, true, &fault),
                         0);
        assert_int_equal(recovered.base_index, 9);
        assert_int_equal(recovered.base_term, 4);
        assert_int_equal(recovered.commit, 9);
        assert_int_equal(recovered.entries.count, 1);
        wal_recovered_deinit(&recovered);
        wal_bytes_deinit(&second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_comes_back),
        cmocka_unit_test(every_torn_end_is_cut),
        cmocka_unit_test(every_set_of_missing_sectors_is_cut),
        cmocka_unit_test(every_flipped_byte_is_refused),
        cmocka_unit_test(a_lost_batch_in_the_middle_is_refused),
        cmocka_unit_test(a_shorter_file_is_refused),
        cmocka_unit_test(an_older_segment_has_no_torn_end),
        cmocka_unit_test(segments_must_fit_together),
        cmocka_unit_test(what_no_correct_writer_leaves_is_refused),
        cmocka_unit_test(later_records_replace_earlier_ones),
        cmocka_unit_test(an_interrupted_purge_is_no_damage),
        cmocka_unit_test(the_log_begins_after_a_snapshot),
        cmocka_unit_test(every_flipped_byte_of_a_snapshot_is_refused),
        cmocka_unit_test(a_purge_interrupted_before_a_snapshot_that_keeps),
        cmocka_unit_test(a_purge_interrupted_before_a_snapshot_that_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
