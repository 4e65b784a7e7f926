/* Stored keys. Integers are big-endian, so that bytes sort as numbers do; history inverts them, so
 * that the newest version of a key comes first. In history a key is escaped (00 -> 00 FF) and ends
 * with 00 01: no key's rows mix with another's, whatever bytes keys hold, and order is kept. */
#include "store/mvcc_internal.h"

#include <assert.h>

#include "messages/big_endian.h"

enum { ESCAPE = 0x00, ESCAPED_ZERO = 0xff, TERMINATOR = 0x01, BEHIND_TERMINATOR = 0x02 };
enum { POSITION_BYTES = 12, LOG_KEY_BYTES = 1 + POSITION_BYTES, LEASE_KEY_BYTES = 9 };

static void prefixed(buf_t *out, uint8_t column, slice_t rest)
{
    buf_clear(out);
    uint8_t *room = buf_reserve(out, 1 + rest.len);
    room[0] = column;
    if (rest.len) {
        memcpy(room + 1, rest.data, rest.len);
    }
    buf_advance(out, 1 + rest.len);
}

void mvcc_key_latest(buf_t *out, slice_t key)
{
    prefixed(out, COLUMN_LATEST, key);
}

void mvcc_key_count(buf_t *out, slice_t first)
{
    prefixed(out, COLUMN_COUNT, first);
}

void mvcc_key_meta(buf_t *out, const char *name)
{
    prefixed(out, COLUMN_META, slice_str(name));
}

/* Lease ids sort as unsigned numbers; any int64 is one. */
void mvcc_key_lease(buf_t *out, int64_t id)
{
    uint8_t bytes[8];
    write_be(bytes, (uint64_t)id, 8);
    prefixed(out, COLUMN_LEASE, slice(bytes, 8));
}

void mvcc_key_attached(buf_t *out, int64_t id, slice_t key)
{
    uint8_t bytes[8];
    write_be(bytes, (uint64_t)id, 8);
    prefixed(out, COLUMN_ATTACHED, slice(bytes, 8));
    buf_append(out, key.data, key.len);
}

static void write_position(uint8_t *out, mvcc_position_t at, uint64_t invert)
{
    assert(at.sub >= 0 && at.sub <= UINT32_MAX);
    write_be(out, (uint64_t)at.main ^ invert, 8);
    write_be(out + 8, (uint64_t)at.sub ^ invert, 4);
}

static mvcc_position_t read_position(const uint8_t *data, uint64_t invert)
{
    return (mvcc_position_t){
        .main = (int64_t)(read_be(data, 8) ^ invert),
        .sub = (int64_t)((read_be(data + 8, 4) ^ invert) & UINT32_MAX),
    };
}

void mvcc_key_log(buf_t *out, mvcc_position_t at)
{
    uint8_t bytes[POSITION_BYTES];
    write_position(bytes, at, 0);
    prefixed(out, COLUMN_LOG, slice(bytes, sizeof bytes));
}

static void history_prefix(buf_t *out, slice_t key, uint8_t last)
{
    buf_clear(out);
    uint8_t *start = buf_reserve(out, 1 + 2 * key.len + 2 + POSITION_BYTES);
    uint8_t *end = start;
    *end++ = COLUMN_HISTORY;
    if (key.len && !memchr(key.data, ESCAPE, key.len)) {
        memcpy(end, key.data, key.len);
        end += key.len;
    } else {
        for (size_t i = 0; i < key.len; i++) {
            *end++ = key.data[i];
            if (key.data[i] == ESCAPE) {
                *end++ = ESCAPED_ZERO;
            }
        }
    }
    *end++ = ESCAPE;
    *end++ = last;
    buf_advance(out, (size_t)(end - start));
}

void mvcc_key_history(buf_t *out, slice_t key, mvcc_position_t at)
{
    history_prefix(out, key, TERMINATOR);
    write_position(buf_reserve(out, POSITION_BYTES), at, UINT64_MAX);
    buf_advance(out, POSITION_BYTES);
}

void mvcc_key_history_first(buf_t *out, slice_t key)
{
    history_prefix(out, key, TERMINATOR);
}

void mvcc_key_history_behind(buf_t *out, slice_t key)
{
    history_prefix(out, key, BEHIND_TERMINATOR);
}

int mvcc_history_position(slice_t stored, mvcc_position_t *at)
{
    if (stored.len < 1 + 2 + POSITION_BYTES) {
        return KV_ECORRUPT;
    }
    *at = read_position(stored.data + stored.len - POSITION_BYTES, UINT64_MAX);
    return 0;
}

int mvcc_history_parse(slice_t stored, buf_t *key, mvcc_position_t *at)
{
    int rc = mvcc_history_position(stored, at);
    if (rc) {
        return rc;
    }
    const uint8_t *data = stored.data + 1;
    size_t len = stored.len - 1 - POSITION_BYTES;
    if (data[len - 2] != ESCAPE || data[len - 1] != TERMINATOR) {
        return KV_ECORRUPT;
    }
    len -= 2;
    buf_clear(key);
    uint8_t *out = buf_reserve(key, len);
    size_t out_len = 0;
    for (size_t i = 0; i < len; i++) {
        out[out_len++] = data[i];
        if (data[i] == ESCAPE) {
            i++;
            if (i == len || data[i] != ESCAPED_ZERO) {
                return KV_ECORRUPT;
            }
        }
    }
    buf_advance(key, out_len);
    return 0;
}

int mvcc_log_key_parse(slice_t stored, mvcc_position_t *at)
{
    if (stored.len != LOG_KEY_BYTES) {
        return KV_ECORRUPT;
    }
    *at = read_position(stored.data + 1, 0);
    return 0;
}

int mvcc_lease_key_parse(slice_t stored, int64_t *id)
{
    if (stored.len != LEASE_KEY_BYTES) {
        return KV_ECORRUPT;
    }
    *id = (int64_t)read_be(stored.data + 1, 8);
    return 0;
}

bool mvcc_interval_contains(const mvcc_interval_t *interval, slice_t key)
{
    if (mvcc_is_single(interval)) {
        return slice_equal(key, interval->key);
    }
    return slice_compare(key, interval->key) >= 0 &&
           (mvcc_is_unbounded(interval) || slice_compare(key, interval->range_end) < 0);
}
