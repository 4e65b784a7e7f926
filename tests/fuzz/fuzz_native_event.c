/* What a subscriber or the server reads from the publish socket, from arbitrary bytes. The first byte
 * chooses the reader, and whether the layout's number is put in front. What is taken is within its limits,
 * and written again it is the same. */
#include <assert.h>
#include <stdint.h>

#include "messages/native_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void subscription(slice_t in)
{
    native_subscription_t read;
    buf_t key = {0};
    buf_t end = {0};
    buf_t again = {0};
    if (native_subscription_read(in, &read, &key) == 0) {
        native_subscription(&again, read.space, buf_slice(&key), read.exact);
        assert(slice_equal(buf_slice(&again), in));
        buf_clear(&again);
        if (key.len) { /* the key itself is one that it is for */
            native_topic(&again, read.space, buf_slice(&key));
            assert(slice_starts_with(buf_slice(&again), in));
        }
        int rc = native_subscription_interval(in, &key, &end);
        assert(rc == 0 && key.len > 0 && (end.len > 0) != read.exact);
        bool no_end = end.len == 1 && end.data[0] == 0;
        assert(read.exact || no_end || slice_compare(buf_slice(&key), buf_slice(&end)) < 0);
    }
    buf_deinit(&key);
    buf_deinit(&end);
    buf_deinit(&again);
}

static void event(slice_t in)
{
    native_event_t read;
    if (native_event_read(in, &read)) {
        return;
    }
    assert(read.link_count <= LIMIT_NATIVE_LINKS && read.position.revision >= 0);
    buf_t out = {0};
    native_event_write(&out, &read);
    assert(out.len <= in.len);
    native_event_t again;
    int rc = native_event_read(buf_slice(&out), &again);
    assert(rc == 0 && again.link_count == read.link_count);
    assert(native_position_compare(again.position, read.position) == 0);
    for (size_t i = 0; i < read.link_count; i++) {
        assert(native_position_compare(again.links[i].previous, read.links[i].previous) == 0);
        assert(native_event_link(&again, read.links[i].subscription_len));
    }
    buf_deinit(&out);
}

static void mark(slice_t in)
{
    native_mark_t read;
    if (native_mark_read(in, &read)) {
        return;
    }
    assert(read.last.revision <= read.revision && read.last.revision >= 0);
    buf_t out = {0};
    native_mark_write(&out, &read);
    native_mark_t again;
    int rc = native_mark_read(buf_slice(&out), &again);
    assert(rc == 0 && again.revision == read.revision && again.cluster_id == read.cluster_id);
    buf_deinit(&out);
}

static bool is_inside(slice_t part, slice_t whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void change(slice_t in)
{
    native_change_t read;
    if (native_change_read(in, &read)) {
        return;
    }
    assert(read.kv.key.len && read.kv.mod_revision > 0);
    assert(is_inside(read.kv.key, in) && is_inside(read.kv.value, in));
    assert(is_inside(read.previous.key, in) && is_inside(read.previous.value, in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    enum { LAYOUT = 1 };
    uint8_t kind = data[0] % 4;
    buf_t input = {0};
    if (data[0] & 4) {
        buf_byte(&input, LAYOUT);
        buf_byte(&input, kind);
    }
    buf_append(&input, data + 1, len - 1);
    switch (kind) {
    case 0: subscription(buf_slice(&input)); break;
    case 1: event(buf_slice(&input)); break;
    case 2: mark(buf_slice(&input)); break;
    default: change(buf_slice(&input));
    }
    buf_deinit(&input);
    return 0;
}
