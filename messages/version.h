/* version: what this program calls itself, and which level of the API it speaks. Pure. */
#pragma once

#define QUORAL_VERSION "0.1.0"

/* What clients and tools see: they compare it with the versions of etcd. */
#define API_VERSION         "3.7.1"
#define API_CLUSTER_VERSION "3.7.0"
#define API_STORAGE_VERSION "3.7.0"
#define API_CLUSTER_MINOR   "3.7" /* the label of etcd_cluster_version */
