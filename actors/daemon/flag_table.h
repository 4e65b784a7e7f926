/* flag_table: every command-line flag of the API's server (3.7), with what this program makes of it.
 * The one place that knows names, types, defaults and help; docs/configuration.md says the same for
 * readers. Pure.
 *
 * X(id, "name", type, "default", support, section, in_file, "detail", "help")
 *
 * support: ON     works
 *          LATER  its feature is missing: anything but the default is refused; detail names the feature
 *          INERT  tunes something that does not exist here: accepted with a warning; detail says why
 *          RULE   has a rule of its own in options_check.c
 * in_file: whether a configuration file may hold it under its own name (else it is nested, or unknown
 *          to files, as with etcd) */
#pragma once

/* clang-format off */
#define FLAG_TABLE(X) \
    X(NAME, "name", STRING, "default", ON, MEMBER, true, "", "Human-readable name for this member.") \
    X(DATA_DIR, "data-dir", STRING, "", ON, MEMBER, true, "", "Path to the data directory; ${name}.etcd when empty.") \
    X(WAL_DIR, "wal-dir", STRING, "", ON, MEMBER, true, "", "Path to a directory of its own for the write-ahead log.") \
    X(SNAPSHOT_COUNT, "snapshot-count", UINT, "10000", ON, MEMBER, true, "", "Number of entries between forced flushes of the store.") \
    X(SNAPSHOT_CATCHUP, "snapshot-catchup-entries", UINT, "5000", ON, MEMBER, true, "", "Number of entries kept in memory for slow followers.") \
    X(HEARTBEAT, "heartbeat-interval", UINT, "100", ON, MEMBER, true, "", "Time (in milliseconds) of a heartbeat interval.") \
    X(ELECTION, "election-timeout", UINT, "1000", ON, MEMBER, true, "", "Time (in milliseconds) for an election to timeout.") \
    X(TICK_ADVANCE, "initial-election-tick-advance", BOOL, "true", ON, MEMBER, true, "", "Whether a member that has just started and hears no leader stands for election early.") \
    X(LISTEN_PEER, "listen-peer-urls", URLS, "http://localhost:2380", RULE, MEMBER, true, "", "List of URLs to listen on for peer traffic.") \
    X(LISTEN_CLIENT, "listen-client-urls", URLS, "http://localhost:2379", RULE, MEMBER, true, "", "List of URLs to listen on for client traffic, gRPC and HTTP.") \
    X(LISTEN_NATIVE, "listen-native-urls", STRING, "", RULE, MEMBER, true, "", "List of URLs to listen on for native ZeroMQ clients; 'none' or empty for none. Left out: the first client URL's host, its port + 2.") \
    X(LISTEN_PUBLISH, "listen-publish-urls", STRING, "", RULE, MEMBER, true, "", "List of URLs to publish events on for native ZeroMQ subscribers; 'none' or empty for none. Left out: the first client URL's host, its port + 3.") \
    X(ADVERTISE_PUBLISH, "advertise-publish-urls", STRING, "", RULE, MEMBER, true, "", "List of URLs at which native clients find the published events, if not at the host they know.") \
    X(NATIVE_PROGRESS, "native-progress-interval", DURATION, "1s", RULE, MEMBER, true, "", "Time between two progress marks of a subscription.") \
    X(LISTEN_CLIENT_HTTP, "listen-client-http-urls", URLS, "", LATER, MEMBER, true, "a port for HTTP alone", "List of URLs to listen on for HTTP only client traffic.") \
    X(MAX_SNAPSHOTS, "max-snapshots", UINT, "5", INERT, MEMBER, true, "no snapshot files are kept", "Maximum number of snapshot files to retain.") \
    X(MAX_WALS, "max-wals", UINT, "5", INERT, MEMBER, true, "log files go as soon as the store no longer needs them", "Maximum number of log files to retain.") \
    X(MEMORY_MLOCK, "memory-mlock", BOOL, "false", LATER, MEMBER, true, "locking memory", "Keep all memory of the process in RAM.") \
    X(QUOTA, "quota-backend-bytes", INT, "0", RULE, MEMBER, true, "the space quota", "Size at which the store stops taking writes; there is no quota yet, so 0 and negative mean none.") \
    X(FREELIST, "backend-bbolt-freelist-type", STRING, "map", INERT, MEMBER, true, "the store is LevelDB, not bbolt", "Freelist type of bbolt.") \
    X(BATCH_INTERVAL, "backend-batch-interval", DURATION, "0", INERT, MEMBER, true, "the store is LevelDB, not bbolt", "Longest time before bbolt commits.") \
    X(BATCH_LIMIT, "backend-batch-limit", INT, "0", INERT, MEMBER, true, "the store is LevelDB, not bbolt", "Most operations before bbolt commits.") \
    X(MAX_TXN_OPS, "max-txn-ops", UINT, "128", ON, MEMBER, true, "", "Maximum number of operations permitted in a transaction.") \
    X(MAX_REQUEST_BYTES, "max-request-bytes", UINT, "1572864", ON, MEMBER, true, "", "Maximum client request size in bytes the server will accept.") \
    X(MAX_STREAMS, "max-concurrent-streams", UINT32, "4294967295", ON, MEMBER, true, "", "Maximum concurrent streams that each client can open at a time.") \
    X(KEEPALIVE_MIN, "grpc-keepalive-min-time", DURATION, "5s", ON, MEMBER, true, "", "Minimum interval between pings of a client (0 to allow any).") \
    X(KEEPALIVE_INTERVAL, "grpc-keepalive-interval", DURATION, "2h", ON, MEMBER, true, "", "How often an idle client is pinged (0 to disable).") \
    X(KEEPALIVE_TIMEOUT, "grpc-keepalive-timeout", DURATION, "20s", ON, MEMBER, true, "", "Wait before closing a connection that does not answer a ping (0 to disable).") \
    X(REUSE_PORT, "socket-reuse-port", BOOL, "false", ON, MEMBER, false, "", "Set SO_REUSEPORT on listeners.") \
    X(REUSE_ADDRESS, "socket-reuse-address", BOOL, "false", INERT, MEMBER, false, "listeners always set SO_REUSEADDR", "Set SO_REUSEADDR on listeners.") \
    X(GATEWAY, "enable-grpc-gateway", BOOL, "true", RULE, MEMBER, true, "the JSON gateway", "Enable the JSON gateway; it is not there yet, so only false may be given.") \
    X(RAFT_READ, "raft-read-timeout", DURATION, "5s", INERT, MEMBER, false, "peers speak ZeroMQ, which has no such timeout", "Read timeout of peer connections.") \
    X(RAFT_WRITE, "raft-write-timeout", DURATION, "5s", INERT, MEMBER, false, "peers speak ZeroMQ, which has no such timeout", "Write timeout of peer connections.") \
    X(FEATURE_GATES, "feature-gates", GATES, "", RULE, MEMBER, true, "", "Feature gates, as A=true,B=false; only their defaults are supported.") \
    \
    X(ADVERTISE_PEER, "initial-advertise-peer-urls", URLS, "http://localhost:2380", ON, CLUSTERING, true, "", "List of this member's peer URLs to advertise to the rest of the cluster.") \
    X(INITIAL_CLUSTER, "initial-cluster", STRING, "default=http://localhost:2380", ON, CLUSTERING, true, "", "Initial cluster configuration for bootstrapping.") \
    X(CLUSTER_STATE, "initial-cluster-state", CHOICE, "new", ON, CLUSTERING, true, "new,existing", "Initial cluster state ('new' or 'existing'); ignored on restarts.") \
    X(CLUSTER_TOKEN, "initial-cluster-token", STRING, "etcd-cluster", ON, CLUSTERING, true, "", "Initial cluster token during bootstrap.") \
    X(ADVERTISE_CLIENT, "advertise-client-urls", URLS, "http://localhost:2379", ON, CLUSTERING, true, "", "List of this member's client URLs to advertise to the public.") \
    X(DISCOVERY_TOKEN, "discovery-token", STRING, "", LATER, CLUSTERING, false, "discovery", "Token of the discovery service.") \
    X(DISCOVERY_ENDPOINTS, "discovery-endpoints", STRINGS, "", LATER, CLUSTERING, false, "discovery", "Endpoints of the discovery service.") \
    X(DISCOVERY_DIAL, "discovery-dial-timeout", DURATION, "2s", LATER, CLUSTERING, false, "discovery", "Dial timeout for discovery.") \
    X(DISCOVERY_REQUEST, "discovery-request-timeout", DURATION, "5s", LATER, CLUSTERING, false, "discovery", "Timeout for discovery requests.") \
    X(DISCOVERY_KA_TIME, "discovery-keepalive-time", DURATION, "2s", LATER, CLUSTERING, false, "discovery", "Keepalive time for discovery.") \
    X(DISCOVERY_KA_TIMEOUT, "discovery-keepalive-timeout", DURATION, "6s", LATER, CLUSTERING, false, "discovery", "Keepalive timeout for discovery.") \
    X(DISCOVERY_INSECURE, "discovery-insecure-transport", BOOL, "true", LATER, CLUSTERING, false, "discovery", "Discovery without transport security.") \
    X(DISCOVERY_SKIP, "discovery-insecure-skip-tls-verify", BOOL, "false", LATER, CLUSTERING, false, "discovery", "Discovery without verifying certificates.") \
    X(DISCOVERY_CERT, "discovery-cert", STRING, "", LATER, CLUSTERING, false, "discovery", "Certificate for discovery.") \
    X(DISCOVERY_KEY, "discovery-key", STRING, "", LATER, CLUSTERING, false, "discovery", "Key for discovery.") \
    X(DISCOVERY_CACERT, "discovery-cacert", STRING, "", LATER, CLUSTERING, false, "discovery", "CA bundle for discovery.") \
    X(DISCOVERY_USER, "discovery-user", STRING, "", LATER, CLUSTERING, false, "discovery", "User for discovery.") \
    X(DISCOVERY_PASSWORD, "discovery-password", STRING, "", LATER, CLUSTERING, false, "discovery", "Password for discovery.") \
    X(DISCOVERY_FALLBACK, "discovery-fallback", CHOICE, "exit", RULE, CLUSTERING, false, "exit,proxy", "What to do when discovery fails; only 'exit'.") \
    X(DISCOVERY_SRV, "discovery-srv", STRING, "", LATER, CLUSTERING, true, "discovery", "DNS srv domain used to bootstrap the cluster.") \
    X(DISCOVERY_SRV_NAME, "discovery-srv-name", STRING, "", LATER, CLUSTERING, true, "discovery", "Suffix to the dns srv name queried when bootstrapping.") \
    X(STRICT_RECONFIG, "strict-reconfig-check", BOOL, "true", ON, CLUSTERING, true, "", "Reject reconfiguration requests that would cause quorum loss.") \
    X(PRE_VOTE, "pre-vote", BOOL, "true", ON, CLUSTERING, true, "", "Ask for votes before raising the term.") \
    X(COMPACTION_RETENTION, "auto-compaction-retention", STRING, "0", RULE, CLUSTERING, true, "automatic compaction", "What automatic compaction keeps; 0 means there is none.") \
    X(COMPACTION_MODE, "auto-compaction-mode", STRING, "periodic", RULE, CLUSTERING, true, "", "How to read auto-compaction-retention: periodic|revision.") \
    X(V2_DEPRECATION, "v2-deprecation", CHOICE, "write-only", RULE, CLUSTERING, true, "write-only,write-only-skip-check,write-only-drop-data,gone", "Deprecated; the value is ignored.") \
    \
    X(CERT_FILE, "cert-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the client server TLS cert file.") \
    X(KEY_FILE, "key-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the client server TLS key file.") \
    X(CLIENT_CERT_AUTH, "client-cert-auth", BOOL, "false", LATER, SECURITY, false, "TLS", "Enable client cert authentication.") \
    X(CLIENT_CERT_FILE, "client-cert-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to an explicit client TLS cert file.") \
    X(CLIENT_KEY_FILE, "client-key-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to an explicit client TLS key file.") \
    X(CLIENT_CRL_FILE, "client-crl-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the client certificate revocation list file.") \
    X(CLIENT_HOSTNAME, "client-cert-allowed-hostname", STRINGS, "", LATER, SECURITY, false, "TLS", "List of SAN hostnames for client cert authentication.") \
    X(TRUSTED_CA_FILE, "trusted-ca-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the client server TLS trusted CA cert file.") \
    X(AUTO_TLS, "auto-tls", BOOL, "false", LATER, SECURITY, false, "TLS", "Client TLS using generated certificates.") \
    X(PEER_CERT_FILE, "peer-cert-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the peer server TLS cert file.") \
    X(PEER_KEY_FILE, "peer-key-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the peer server TLS key file.") \
    X(PEER_CERT_AUTH, "peer-client-cert-auth", BOOL, "false", LATER, SECURITY, false, "TLS", "Enable peer client cert authentication.") \
    X(PEER_CLIENT_CERT, "peer-client-cert-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to an explicit peer client TLS cert file.") \
    X(PEER_CLIENT_KEY, "peer-client-key-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to an explicit peer client TLS key file.") \
    X(PEER_CA_FILE, "peer-trusted-ca-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the peer server TLS trusted CA file.") \
    X(PEER_ALLOWED_CN, "peer-cert-allowed-cn", STRINGS, "", LATER, SECURITY, false, "TLS", "List of CNs allowed for peers.") \
    X(PEER_HOSTNAME, "peer-cert-allowed-hostname", STRINGS, "", LATER, SECURITY, false, "TLS", "List of SAN hostnames allowed for peers.") \
    X(PEER_AUTO_TLS, "peer-auto-tls", BOOL, "false", LATER, SECURITY, false, "TLS", "Peer TLS using generated certificates.") \
    X(CERT_VALIDITY, "self-signed-cert-validity", UINT, "1", LATER, SECURITY, true, "TLS", "Validity of generated certificates, in years.") \
    X(PEER_CRL_FILE, "peer-crl-file", STRING, "", LATER, SECURITY, false, "TLS", "Path to the peer certificate revocation list file.") \
    X(PEER_SKIP_SAN, "peer-skip-client-san-verification", BOOL, "false", LATER, SECURITY, false, "TLS", "Skip verification of SAN field in client certificate for peer connections.") \
    X(PEER_CURVE_SECRET, "peer-curve-secret-key", STRING, "", RULE, SECURITY, true, "", "Path to this member's CURVE certificate with the secret key: peers then speak CURVE and nothing else.") \
    X(PEER_CURVE_ALLOWED, "peer-curve-allowed-keys", STRING, "", RULE, SECURITY, true, "", "Path to a directory with the CURVE certificates of all members; read again when it changes.") \
    X(NATIVE_CURVE_SECRET, "native-curve-secret-key", STRING, "", RULE, SECURITY, true, "", "Path to the CURVE certificate with the secret key for native clients: they then have to speak CURVE.") \
    X(NATIVE_CURVE_ALLOWED, "native-curve-allowed-keys", STRING, "", RULE, SECURITY, true, "", "Path to a directory with the CURVE certificates of native clients; read again when it changes.") \
    X(CIPHER_SUITES, "cipher-suites", STRINGS, "", LATER, SECURITY, true, "TLS", "List of TLS cipher suites.") \
    X(TLS_MIN, "tls-min-version", STRING, "TLS1.2", LATER, SECURITY, true, "TLS", "Minimum TLS version: TLS1.2, TLS1.3.") \
    X(TLS_MAX, "tls-max-version", STRING, "", LATER, SECURITY, true, "TLS", "Maximum TLS version: TLS1.2, TLS1.3.") \
    X(CORS, "cors", STRING, "*", LATER, SECURITY, true, "restricting origins", "Origins allowed for cross-origin requests (* means all).") \
    X(HOST_WHITELIST, "host-whitelist", STRINGS, "*", LATER, SECURITY, true, "restricting host names", "Host names accepted in HTTP requests (* means all).") \
    \
    X(AUTH_TOKEN, "auth-token", STRING, "simple", LATER, AUTH, true, "authentication", "Token type and its options.") \
    X(BCRYPT_COST, "bcrypt-cost", UINT, "10", LATER, AUTH, true, "authentication", "Cost of hashing passwords.") \
    X(AUTH_TTL, "auth-token-ttl", UINT, "300", LATER, AUTH, true, "authentication", "Life of a token in seconds.") \
    \
    X(PPROF, "enable-pprof", BOOL, "false", ON, MONITORING, true, "", "Serve live diagnostics below \"/debug/\" on the client URLs.") \
    X(METRICS, "metrics", STRING, "basic", RULE, MONITORING, true, "", "Level of detail of metrics: basic, or extensive with the handling time of RPCs.") \
    X(LISTEN_METRICS, "listen-metrics-urls", URLS, "", LATER, MONITORING, true, "a port for metrics alone", "List of URLs to listen on for metrics and health.") \
    \
    X(LOGGER, "logger", STRING, "zap", RULE, LOGGING, true, "", "Only 'zap': structured lines.") \
    X(LOG_OUTPUTS, "log-outputs", STRINGS, "default", RULE, LOGGING, true, "", "List of stdout, stderr (= default) and file paths.") \
    X(LOG_LEVEL, "log-level", CHOICE, "info", RULE, LOGGING, true, "debug,info,warn,error,dpanic,panic,fatal", "debug, info, warn, error, panic, or fatal.") \
    X(LOG_FORMAT, "log-format", STRING, "json", RULE, LOGGING, true, "", "json or console.") \
    X(LOG_ROTATION, "enable-log-rotation", BOOL, "false", LATER, LOGGING, true, "log rotation", "Rotate the log file.") \
    X(LOG_ROTATION_JSON, "log-rotation-config-json", STRING, "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}", LATER, LOGGING, true, "log rotation", "How to rotate the log file.") \
    X(WARN_UNARY, "warning-unary-request-duration", DURATION, "300ms", LATER, LOGGING, true, "logging slow requests", "Time above which a request is logged.") \
    \
    X(TRACING, "enable-distributed-tracing", BOOL, "false", LATER, TRACING, true, "distributed tracing", "Enable distributed tracing.") \
    X(TRACING_ADDRESS, "distributed-tracing-address", STRING, "localhost:4317", LATER, TRACING, true, "distributed tracing", "Address of the collector.") \
    X(TRACING_SERVICE, "distributed-tracing-service-name", STRING, "etcd", LATER, TRACING, true, "distributed tracing", "Service name.") \
    X(TRACING_INSTANCE, "distributed-tracing-instance-id", STRING, "", LATER, TRACING, true, "distributed tracing", "Instance id.") \
    X(TRACING_RATE, "distributed-tracing-sampling-rate", INT, "0", LATER, TRACING, true, "distributed tracing", "Samples per million spans.") \
    \
    X(CORRUPT_CHECK, "corrupt-check-time", DURATION, "0s", LATER, FEATURES, true, "the corruption check", "Time between corruption checks.") \
    X(COMPACT_HASH, "compact-hash-check-time", DURATION, "1m", LATER, FEATURES, true, "the compaction hash check", "Time between checks of followers' compaction hashes.") \
    X(COMPACTION_BATCH, "compaction-batch-limit", INT, "1000", ON, FEATURES, true, "", "Most revisions deleted in one batch of compaction (0 for the default).") \
    X(COMPACTION_SLEEP, "compaction-sleep-interval", DURATION, "10ms", ON, FEATURES, true, "", "Pause between two batches of compaction (0 for the default).") \
    X(WATCH_PROGRESS, "watch-progress-notify-interval", DURATION, "10m", ON, FEATURES, true, "", "Time between progress notifications of idle watches, at least 100ms.") \
    X(WARN_APPLY, "warning-apply-duration", DURATION, "100ms", ON, FEATURES, true, "", "Time above which applying is logged and counted as slow.") \
    X(BOOT_DEFRAG, "bootstrap-defrag-threshold-megabytes", UINT, "0", INERT, FEATURES, true, "LevelDB needs no defragmentation", "Defragment at start when this much would be freed.") \
    X(MAX_LEARNERS, "max-learners", INT, "1", ON, FEATURES, true, "", "Maximum number of learners in the cluster.") \
    X(DOWNGRADE_CHECK, "downgrade-check-time", DURATION, "5s", LATER, FEATURES, true, "downgrading", "Time between checks of a downgrade.") \
    \
    X(FORCE_NEW, "force-new-cluster", BOOL, "false", ON, UNSAFE, true, "", "Go on alone with the data that is there, dropping all other members.") \
    X(NO_FSYNC, "unsafe-no-fsync", BOOL, "false", ON, UNSAFE, true, "", "Do not wait for the disk: a power cut loses acknowledged writes.") \
    \
    X(CONFIG_FILE, "config-file", STRING, "", ON, PROGRAM, false, "", "Path to the configuration file; other flags and the environment are then ignored.") \
    X(VERSION, "version", BOOL, "false", ON, PROGRAM, false, "", "Print the version and exit.") \
    X(PRINT_WIRING, "print-wiring", BOOL, "false", ON, PROGRAM, false, "", "Print who talks to whom as Graphviz and exit.")
/* clang-format on */
