"""A prefix as a local map that equals the store, over plain ZeroMQ (docs/protocol.md): python3 native.py ENDPOINT PREFIX
Needs python3-zmq, and: protoc -I messages --python_out=. messages/native.proto messages/etcd/kv.proto messages/etcd/rpc.proto"""
import itertools, struct, sys, zmq
import native_pb2 as native, etcd.kv_pb2 as kv_pb2, etcd.rpc_pb2 as rpc
HELLO, CALL, PING, PONG, WELCOME, REPLY, DONE, END_FLAG, LAST = 1, 2, 6, 7, 0x81, 0x82, 0x83, 1, 2**32 - 1
HEADER, EVENT, LINK, MARK = (struct.Struct(f) for f in (">2sBBB3xQIQ", ">4BIQQ", ">HBQI", ">4BIQQQI"))
endpoint, prefix, ids, received = sys.argv[1], sys.argv[2].encode(), itertools.count(1), 0
requests, events = (zmq.Context.instance().socket(kind) for kind in (zmq.DEALER, zmq.SUB))
requests.connect(endpoint)
def send(command, call_id, *frames, flags=0):
    requests.send_multipart([HEADER.pack(b"QL", 1, command, flags, call_id, 0, received), *frames])
def answers(call_id, *commands):  # the bodies of a call's answers; heartbeats are answered on the way
    global received
    while True:
        frames = requests.recv_multipart()
        _, _, command, _, answered, code, _ = HEADER.unpack(frames[0])
        received += sum(map(len, frames)) if command in (REPLY, DONE) else 0
        if command == PING:
            send(PONG, 0)
        elif command in commands and answered == call_id:
            assert code == 0, frames[-1]
            yield from frames[1:]
            if command != REPLY: return
def call(method, request, answer):
    call_id = next(ids)
    send(CALL, call_id, method.encode(), request.SerializeToString(), flags=END_FLAG)
    return [answer.FromString(body) for body in answers(call_id, REPLY, DONE)]
def show(position, event):  # one change
    deleted, key = event.type == kv_pb2.Event.DELETE, event.kv.key
    print(position[0], key.decode(), "deleted" if deleted else "= " + event.kv.value.decode())
    cache.pop(key, None) if deleted else cache.update({key: event.kv.value})
send(HELLO, 1)
welcome = native.Welcome.FromString(next(answers(1, WELCOME)))
events.connect("%s:%d" % (endpoint.rsplit(":", 1)[0], welcome.publish_port))
subscription = b"E" + prefix.replace(b"\0", b"\0\xff")
events.subscribe(subscription), events.subscribe(b"M" + subscription + b"\0\2")
call("etcdserverpb.KV/Put", rpc.PutRequest(key=prefix + b"example", value=b"1"), rpc.PutResponse)
pages = call("quoral.Native/Snapshot", native.SnapshotRequest(subscription=subscription), native.SnapshotResponse)
cache, position = {kv.key: kv.value for page in pages for kv in page.kvs}, (pages[-1].header.revision, LAST)
print("snapshot at %d: %s" % (position[0], cache))
while True:
    topic, header, *body = events.recv_multipart()
    if topic[:1] == b"M":  # all of this revision is published; the last event of ours was at `before`
        revision, *before = MARK.unpack(header)[6:]
        here = (revision, LAST)
    else:
        _, _, omitted, _, sub, _, revision = EVENT.unpack(header[:EVENT.size])
        here, links = (revision, sub), LINK.iter_unpack(header[EVENT.size:])
        before = here if omitted else next(link[2:] for link in links if link[0] == len(subscription))
    if tuple(before) > position:  # something is missing here: from the history
        after, through = (native.Position(revision=p[0], sub=p[1]) for p in (position, before))
        for page in call("quoral.Native/Events", native.EventsRequest(
                subscription=subscription, after=after, through=through), native.EventsResponse):
            for found in page.events:
                show((found.position.revision, found.position.sub), found.event)
            position = max(position, (page.complete.revision, page.complete.sub))
    if here > position:
        position = here
        show(here, kv_pb2.Event.FromString(body[0])) if body else print(here[0], "confirmed:", cache)
