/* noted: which of many like events deserve a line in the log: each kind and address once a minute, and all together a
 * few a second, so that who knocks at a port does not fill a disk. Pure; one owner. */
#pragma once

#include "messages/limits.h"
#include "messages/slice.h"

typedef struct {
    struct {
        uint64_t what;     /* a hash; 0 = free */
        uint64_t until_us; /* nothing more is said before */
    } places[LIMIT_HANDSHAKES_NOTED];
    uint64_t second_us; /* when the current second began */
    unsigned lines;     /* admitted in it */
    uint64_t held_back; /* since the last line */
} noted_t;              /* zero-initialised is new */

/* True = say it, and that *held_back others before it were not said. `kind`: a number below 256. */
bool noted_admit(noted_t *self, unsigned kind, slice_t address, uint64_t now_us,
                 uint64_t *held_back);
