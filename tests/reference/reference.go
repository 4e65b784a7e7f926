//go:build reference

// Package reference names the programs of the reference etcd. It is never built: main packages cannot be
// imported, and the build tag keeps the compiler away.
package reference

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
