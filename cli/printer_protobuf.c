/* -w protobuf: the answer as it came over the wire. */
#include <stdlib.h>

#include "cli/printer.h"
#include "messages/xalloc.h"

static void print_message(printer_t *self, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = xmalloc(size + 1);
    protobuf_c_message_pack(message, packed);
    fwrite(packed, 1, size, self->out);
    free(packed);
}

static void protobuf_range(printer_t *self, const Etcdserverpb__RangeResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_put(printer_t *self, const Etcdserverpb__PutResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_del(printer_t *self, const Etcdserverpb__DeleteRangeResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_txn(printer_t *self, const Etcdserverpb__TxnResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_members(printer_t *self, const Etcdserverpb__MemberListResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_member_add(printer_t *self, const Etcdserverpb__MemberAddResponse *answer)
{
    print_message(self, &answer->base);
}

static void protobuf_member_change(printer_t *self, const member_change_t *change)
{
    print_message(self, &change->answer->base);
}

static void protobuf_move_leader(printer_t *self, uint64_t from, uint64_t to,
                                 const Etcdserverpb__MoveLeaderResponse *answer)
{
    (void)from;
    (void)to;
    print_message(self, &answer->base);
}

static void protobuf_watch(printer_t *self, const watch_view_t *view)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    if (view->header != NULL) {
        header = *view->header;
    }
    Etcdserverpb__WatchResponse answer;
    etcdserverpb__watch_response__init(&answer);
    answer.header = &header;
    answer.events = view->events;
    answer.n_events = view->events_n;
    answer.compact_revision = view->compact_revision;
    answer.canceled = view->canceled;
    print_message(self, &answer.base);
}

/* etcdctl embeds the header in its lease answers and so marshals nothing but the header; scripts
 * that decode its output depend on that. */
static void print_only_header(printer_t *self, const Etcdserverpb__ResponseHeader *header)
{
    if (header != NULL) {
        print_message(self, &header->base);
    }
}

static void protobuf_grant(printer_t *self, const Etcdserverpb__LeaseGrantResponse *answer)
{
    print_only_header(self, answer->header);
}

static void protobuf_keep_alive(printer_t *self, const Etcdserverpb__LeaseKeepAliveResponse *answer)
{
    print_only_header(self, answer->header);
}

static void protobuf_time_to_live(printer_t *self,
                                  const Etcdserverpb__LeaseTimeToLiveResponse *answer, bool keys)
{
    (void)keys;
    print_only_header(self, answer->header);
}

static void protobuf_leases(printer_t *self, const Etcdserverpb__LeaseLeasesResponse *answer)
{
    print_only_header(self, answer->header);
}

const printer_ops_t printer_protobuf = {
    .range = protobuf_range,
    .put = protobuf_put,
    .del = protobuf_del,
    .txn = protobuf_txn,
    .watch = protobuf_watch,
    .lease_grant = protobuf_grant,
    .lease_keep_alive = protobuf_keep_alive,
    .lease_time_to_live = protobuf_time_to_live,
    .leases = protobuf_leases,
    .members = protobuf_members,
    .member_add = protobuf_member_add,
    .member_change = protobuf_member_change,
    .move_leader = protobuf_move_leader,
};
