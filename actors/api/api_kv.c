/* Writes on keys. A request is validated here, as etcd does before it proposes; whatever depends on the
 * store is decided when the entry is applied. The client's bytes go into the entry as they came. */
#include "actors/api/api_state.h"

api_error_t api_check_range(const range_request_t *range)
{
    if (range->key.len == 0) {
        return API_EMPTY_KEY;
    }
    if (range->sort_order < SORT_NONE || range->sort_order > SORT_DESCEND ||
        range->sort_target < SORT_KEY || range->sort_target > SORT_VALUE) {
        return API_INVALID_SORT_OPTION;
    }
    return API_NONE;
}

api_error_t api_check_put(const put_request_t *put)
{
    if (put->key.len == 0) {
        return API_EMPTY_KEY;
    }
    if (put->ignore_value && put->value.len != 0) {
        return API_VALUE_PROVIDED;
    }
    return put->ignore_lease && put->lease != 0 ? API_LEASE_PROVIDED : API_NONE;
}

/* ---- handlers ---- */

void api_on_put(api_t *self, call_t *call, bytes_t **message_p)
{
    put_request_t put;
    if (decode_put(bytes_slice(*message_p), &put)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = api_check_put(&put);
    if (error) {
        api_fail(self, call, error);
        return;
    }
    api_propose(self, call, OP_PUT, bytes_slice(*message_p));
}

void api_on_delete_range(api_t *self, call_t *call, bytes_t **message_p)
{
    delete_range_request_t request;
    if (decode_delete_range(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
    } else if (request.key.len == 0) {
        api_fail(self, call, API_EMPTY_KEY);
    } else {
        api_propose(self, call, OP_DELETE_RANGE, bytes_slice(*message_p));
    }
}

void api_on_compact(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_compaction(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
    } else {
        api_propose(self, call, OP_COMPACTION, bytes_slice(*message_p));
    }
}
