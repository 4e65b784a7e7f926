/* kv_requests: the requests of get, put and del from their flags and arguments, for the commands
 * themselves and for the lines of a transaction. */
#pragma once

#include "cli/cli.h"

/* The flags of the three commands. */
extern const flag_def_t kv_get_flags[];
extern const flag_def_t kv_put_flags[];
extern const flag_def_t kv_del_flags[];

/* 0: *request_p is the caller's (…__free_unpacked). Otherwise an exit code; the error is printed. */
int kv_range_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                     Etcdserverpb__RangeRequest **request_p) __attribute__((warn_unused_result));
int kv_put_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                   Etcdserverpb__PutRequest **request_p) __attribute__((warn_unused_result));
int kv_del_request(cli_t *cli, const flags_t *flags, const strings_t *args,
                   Etcdserverpb__DeleteRangeRequest **request_p)
    __attribute__((warn_unused_result));

/* Bytes that protobuf-c can free. */
ProtobufCBinaryData kv_bytes(const void *data, size_t size);
/* The end of the range of all keys that begin with `prefix`; "\0" when there is none. */
ProtobufCBinaryData kv_prefix_end(const char *prefix);
