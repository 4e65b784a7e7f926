"""A prefix as a local map that equals the store, over plain ZeroMQ (docs/protocol.md): python3 native.py ENDPOINT PREFIX
Needs python3-zmq, and: protoc -I messages --python_out=. messages/native.proto messages/etcd/kv.proto messages/etcd/rpc.proto"""
import itertools, struct, sys, zmq
import native_pb2 as native, etcd.kv_pb2 as kv_pb2
HELLO, CALL, PING, PONG, WELCOME, REPLY, DONE, END_FLAG, LAST = 1, 2, 6, 7, 0x81, 0x82, 0x83, 1, 2**32 - 1
HEADER, EVENT, LINK, MARK = (struct.Struct(f) for f in (">2sBBB3xQIQ", ">4BIQQ", ">HBQI", ">4BIQQQI"))
class Client:
    def __init__(self, endpoint):
        self.ids, self.received = itertools.count(1), 0
        self.requests, self.events = (zmq.Context.instance().socket(kind) for kind in (zmq.DEALER, zmq.SUB))
        self.requests.connect(endpoint), self.send(HELLO, 1)
        welcome = native.Welcome.FromString(next(self.answers(1, WELCOME)))
        self.events.connect("%s:%d" % (endpoint.rsplit(":", 1)[0], welcome.publish_port))
    def send(self, command, call_id, *frames, flags=0):
        self.requests.send_multipart([HEADER.pack(b"QL", 1, command, flags, call_id, 0, self.received), *frames])
    def answers(self, wanted, last):  # the bodies of a call's answers, up to the last; heartbeats are answered on the way
        command = call_id = None
        while (command, call_id) != (last, wanted):
            header, *frames = self.requests.recv_multipart()
            _, _, command, _, call_id, code, _ = HEADER.unpack(header)
            self.received += len(header) + sum(map(len, frames)) if command in (REPLY, DONE) else 0
            if command == PING: self.send(PONG, 0)
            if command in (REPLY, last) and call_id == wanted:
                assert code == 0, frames[-1]
                yield from frames
    def call(self, method, request, answer):
        self.send(CALL, call_id := next(self.ids), method.encode(), request.SerializeToString(), flags=END_FLAG)
        return [answer.FromString(body) for body in self.answers(call_id, DONE)]
    def follow(self, prefix):  # yields (revision, map) whenever the map equals the store at that revision
        subscription = b"E" + prefix.replace(b"\0", b"\0\xff")
        self.events.subscribe(subscription), self.events.subscribe(b"M" + subscription + b"\0\2")
        pages = self.call("quoral.Native/Snapshot", native.SnapshotRequest(subscription=subscription), native.SnapshotResponse)
        cache, position = {kv.key: kv.value for page in pages for kv in page.kvs}, (pages[-1].header.revision, LAST)
        def change(event): cache.update({event.kv.key: event.kv.value}) if event.type == event.PUT else cache.pop(event.kv.key, 0)
        yield position[0], cache
        while True:
            while self.requests in zmq.select([self.requests, self.events], [], [])[0]: list(self.answers(0, PING))
            topic, header, *body = self.events.recv_multipart()
            if topic[:1] == b"M":  # all of this revision is published; the last event of ours was at `before`
                revision, *before = MARK.unpack(header)[6:]
                here, is_last = (revision, LAST), True
            else:
                _, _, omitted, _, sub, _, revision = EVENT.unpack(header[:EVENT.size])
                here, links = (revision, sub), LINK.iter_unpack(header[EVENT.size:])
                _, is_last, *before = next(link for link in links if link[0] == len(subscription))
                before = here if omitted else before
            if tuple(before) > position:  # something is missing here: from the history
                after, through = (native.Position(revision=p[0], sub=p[1]) for p in (position, before))
                pages = self.call("quoral.Native/Events", native.EventsRequest(
                    subscription=subscription, after=after, through=through), native.EventsResponse)
                for event in (found.event for page in pages for found in page.events): change(event)
                position = (pages[-1].complete.revision, pages[-1].complete.sub)
                yield position[0], cache
            if here > position:
                position = here
                for event in body: change(kv_pb2.Event.FromString(event))
                if is_last: yield revision, cache
if __name__ == "__main__":
    for at, found in Client(sys.argv[1]).follow(sys.argv[2].encode()): print(at, found)
