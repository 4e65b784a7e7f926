/* peer_codec: peer messages as frames and back (messages/peer.proto says what is on the wire). Pure.
 * Reading is in two steps, so that a frame from who has no business here costs no memory: its head says
 * who speaks to whom; only then are the contents taken out. Whatever comes is checked here, so that
 * receivers need not: numbers fit arithmetic, entries follow each other, configurations can be decoded. */
#pragma once

#include "messages/peer_msg.h"

typedef struct {
    uint64_t cluster_id;
    uint64_t from, to;    /* to: 0 = whoever listens there */
    uint64_t incarnation; /* of the sending process */
} peer_header_t;

/* NULL when it would be larger than LIMIT_PEER_FRAME_BYTES. Yours. msg->incarnation is not looked at. */
bytes_t *peer_frame_encode(const peer_header_t *header, const peer_msg_t *msg);

enum {
    PEER_FRAME_DAMAGED = 1,  /* the checksum is wrong */
    PEER_FRAME_VERSION = 2,  /* made by a program of another version */
    PEER_FRAME_MALFORMED = 3 /* no program of ours says this */
};
const char *peer_frame_error(int outcome);

/* A frame whose head has been read. */
typedef struct {
    peer_header_t header;
    peer_kind_t kind;
    uint64_t term;
    slice_t content; /* borrowed from the frame */
} peer_frame_t;

/* 0 or PEER_FRAME_…. */
int peer_frame_open(slice_t bytes, peer_frame_t *frame) __attribute__((warn_unused_result));
/* 0 = *msg_p is yours, its incarnation set; or PEER_FRAME_MALFORMED. */
int peer_frame_decode(const peer_frame_t *frame, peer_msg_t **msg_p)
    __attribute__((warn_unused_result));
