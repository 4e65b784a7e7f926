#include "actors/grpc_gateway/gzip.h"

#include <stdlib.h>

#include <zlib.h>

#include "messages/xalloc.h"

/* The fastest level: the gateway's thread serves requests as well, and on metrics, which repeat
 * themselves, it saves nine tenths already. An 8 KiB window spans dozens of their lines, and takes
 * 64 KiB of memory instead of 256. */
enum { GZIP_WINDOW_BITS = 13, GZIP_HEADER = 16, GZIP_MEMORY = 6 };

bool gzip_text(buf_t *out, slice_t text)
{
    z_stream stream = {0};
    if (text.len > UINT32_MAX ||
        deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS + GZIP_HEADER, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return false;
    }
    uLong most = deflateBound(&stream, (uLong)text.len);
    uint8_t *room = xmalloc(most);
    stream.next_in = (z_const Bytef *)(uintptr_t)text.data;
    stream.avail_in = (uInt)text.len;
    stream.next_out = room;
    stream.avail_out = (uInt)most;
    bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    if (done) {
        buf_append(out, room, stream.total_out);
    }
    (void)deflateEnd(&stream);
    free(room);
    return done;
}
