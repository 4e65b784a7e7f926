#include "actors/curve/noted.h"

enum { QUIET_US = 60000000, SECOND_US = 1000000 };

/* FNV-1a; a collision costs a line. */
static uint64_t hash_of(unsigned kind, slice_t address)
{
    uint64_t hash = (0xcbf29ce484222325u ^ kind) * 0x100000001b3u;
    for (size_t i = 0; i < address.len; i++) {
        hash = (hash ^ address.data[i]) * 0x100000001b3u;
    }
    return hash ? hash : 1;
}

/* Its place, or else the one that is free soonest. */
static size_t place_of(const noted_t *self, uint64_t what)
{
    size_t soonest = 0;
    for (size_t i = 0; i < LIMIT_HANDSHAKES_NOTED; i++) {
        if (self->places[i].what == what) {
            return i;
        }
        soonest = self->places[i].until_us < self->places[soonest].until_us ? i : soonest;
    }
    return soonest;
}

static bool has_room(noted_t *self, uint64_t now_us)
{
    if (now_us - self->second_us >= SECOND_US) {
        self->second_us = now_us;
        self->lines = 0;
    }
    return self->lines < LIMIT_HANDSHAKE_LINES_PER_S;
}

bool noted_admit(noted_t *self, unsigned kind, slice_t address, uint64_t now_us,
                 uint64_t *held_back)
{
    uint64_t what = hash_of(kind, address);
    size_t place = place_of(self, what);
    bool is_known = self->places[place].what == what && now_us < self->places[place].until_us;
    if (is_known || !has_room(self, now_us)) {
        self->held_back++;
        return false;
    }
    self->places[place].what = what;
    self->places[place].until_us = now_us + QUIET_US;
    self->lines++;
    *held_back = self->held_back;
    self->held_back = 0;
    return true;
}
