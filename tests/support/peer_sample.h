/* peer_sample: peer messages of any content, and what protobuf-c makes of them: for tests that hold the
 * hand-written codec against it. */
#pragma once

#include "actors/core/prng.h"
#include "messages/peer_codec.h"

/* An encoded configuration of members 1 to `count`, all voters but the last when `learner`. */
bytes_t *peer_sample_members(unsigned count, bool learner);
/* A message of this kind that a correct program may send; its numbers are of all sizes, also zero. */
peer_msg_t *peer_sample(peer_kind_t kind, prng_t *prng);
/* The frame as protobuf-c packs it. */
bytes_t *peer_sample_pack(const peer_header_t *header, const peer_msg_t *msg);
/* A frame around any bytes: version and a right checksum. */
bytes_t *peer_sample_wrap(slice_t packed);
