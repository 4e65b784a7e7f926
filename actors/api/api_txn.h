/* api_txn: Txn inside of api: what may be proposed, and those that only read. */
#pragma once

#include "actors/api/api_state.h"

/* etcd's checks before a Txn is proposed, in etcd's order, since the first one decides the text:
 * number of operations, keys and options of every operation, then keys written twice. */
api_error_t api_check_txn(const Etcdserverpb__TxnRequest *txn, size_t max_ops);
/* No two writes of one key in a branch (contract section 3.4). */
api_error_t api_check_txn_writes(const Etcdserverpb__TxnRequest *txn);
