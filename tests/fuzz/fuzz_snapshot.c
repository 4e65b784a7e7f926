/* Chunks of a snapshot from arbitrary bytes. The first byte says how many chunks the rest is cut into. Each
 * is refused without a trace, or its rows are in the store, in ascending order, and what is read from the
 * store again is the same bytes. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "store/snapshot_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_back(kv_t *kv, const buf_t *taken, const snapshot_writer_t *writer)
{
    snapshot_reader_t *reader = snapshot_reader_new(kv_latest(kv));
    buf_t chunk = {0};
    size_t at = 0;
    for (bool is_last = false; !is_last;) {
        int rc = snapshot_reader_next(reader, &chunk, &is_last);
        assert(rc == 0);
        (void)rc;
        at += chunk.len;
    }
    /* Lengths may have come in more bytes than needed; the rows are the same. */
    assert(snapshot_reader_rows(reader) == snapshot_writer_rows(writer));
    assert(at <= taken->len);
    if (at == taken->len) {
        assert(snapshot_reader_checksum(reader) == snapshot_writer_checksum(writer));
    }
    buf_deinit(&chunk);
    snapshot_reader_destroy(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    slice_t rest = slice(data + 1, len - 1);
    size_t size = rest.len / (1 + data[0] % 8) + 1;
    kv_t *kv = kv_memory_new();
    snapshot_writer_t *writer = snapshot_writer_new(kv);
    buf_t taken = {0};
    while (rest.len > 0) {
        slice_t chunk = slice(rest.data, size < rest.len ? size : rest.len);
        rest = slice(rest.data + chunk.len, rest.len - chunk.len);
        int rc = snapshot_writer_add(writer, chunk);
        assert(rc == 0 || rc == SNAPSHOT_MALFORMED);
        if (rc == 0) {
            buf_append(&taken, chunk.data, chunk.len);
        }
    }
    read_back(kv, &taken, writer);
    buf_deinit(&taken);
    snapshot_writer_destroy(&writer);
    kv_close(&kv);
    return 0;
}
