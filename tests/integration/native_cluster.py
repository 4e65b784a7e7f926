"""A cluster whose members serve the native protocol on ports of their own, for tests."""

import cluster
import support


class NativeCluster(cluster.Cluster):
    """Members with a native side on ports of their own."""

    def new_server(self, name):
        server = super().new_server(name)
        requests, publish = support.free_ports(2)
        server.native = "tcp://127.0.0.1:%d" % requests
        server.publish = "tcp://127.0.0.1:%d" % publish
        server.extra += ["--listen-native-urls=" + server.native, "--listen-publish-urls=" + server.publish]
        return server

    @property
    def native(self):
        return ",".join(m.native for m in self.members)
