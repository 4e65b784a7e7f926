/* mvcc_compare: does a record satisfy a Compare of a Txn (contract section 3.4)? Pure.
 * Shared by the applier and the gateways, which evaluate compares on different readers. */
#pragma once

#include <etcd/rpc.pb-c.h>

#include "store/mvcc.h"

/* record NULL: the key is missing. Then a compare of values never holds, not even "not equal", and
 * all numbers are zero. */
bool mvcc_compare_holds(const Etcdserverpb__Compare *compare, const mvcc_record_t *record);
