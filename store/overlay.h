/* overlay: the writes of a span that are not in the store yet, and a reader that sees them over it.
 * LevelDB shows nothing of an unwritten batch; the applier reads through this. Pure; one owner. */
#pragma once

#include "store/kv.h"

typedef struct overlay overlay_t;

/* `base` must outlive the overlay and not change while the overlay holds writes. */
overlay_t *overlay_new(const kv_reader_t *base);
void overlay_destroy(overlay_t **self_p);
void overlay_put(overlay_t *self, slice_t key, slice_t value);
void overlay_delete(overlay_t *self, slice_t key);
/* Reads as if the writes were done: gets and iterators (also backwards). An iterator is invalidated
 * by a write to the overlay. */
const kv_reader_t *overlay_reader(const overlay_t *self);
size_t overlay_bytes(const overlay_t *self); /* keys and values held */
size_t overlay_count(const overlay_t *self);
/* Moves all writes into `batch`, each key once, in key order, and empties the overlay. */
void overlay_drain(overlay_t *self, kv_batch_t *batch);
