#!/usr/bin/env python3
"""A second implementation of docs/protocol.md, made from that page: a codec and a small leaf stub.

    waft_reader.py --golden FILE   decode every entry of a file of golden bytes, compare, encode again
    waft_reader.py --stub          be a stub; the link is standard input and standard output

The stub checks and fetches what a run asks for, but has no engine: its "execution" says how large the artifact is and
copies the input. What a peer may not send is refused with a sentence on standard error, and exit code 1.
"""

import json
import os
import select
import sys
import time
from types import SimpleNamespace

from blake3 import blake3
from ed25519 import verify

VERSION, ENGINE = 1, {"arch": "X86_64", "profile": "Small"}
BODY_BYTES_MAX, MESSAGES_PER_FRAME_MAX, RANGES_MAX = 65533, 4096, 4096
CHUNK_BYTES_MAX, ENVELOPE_BYTES_MAX = 32768, 24576
WINDOW_INITIAL_BYTES, CREDIT_MAX = 262144, 67108864
STORE_BYTES_DEFAULT, STORE_BLOBS_MAX, WAITING_RUNS_MAX, ENDED_RUNS_MAX = 268435456, 1024, 256, 1024
KEEPALIVE_INTERVAL_S, KEEPALIVE_LOST, HELLO_DEADLINE_S, FETCH_IDLE_S = 5, 6, 20, 60

# The page's types in the page's notation; a list is an enum, each variant with its payload after its name. A value is
# what the golden file's JSON says: byte strings are in hex, a variant is its name, or an object of name and payload.
TYPES = {
    "NodeId": "u32", "Hash": "[u8; 32]", "RunId": "[u8; 16]",
    "NodeRange": "first: NodeId, last: NodeId",
    "BlobKind": ["Task", "Artifact", "File", "Stub"], "StubKind": ["Leaf", "Hop"],
    "Arch": ["X86_64", "Aarch64"], "Profile": ["Fast", "Small"], "Engine": "arch: Arch, profile: Profile",
    "Policy": ["Enforced", "Advisory", "None"],
    "Wall": ["Off", "Best", "Required"],
    "Stream": ["Stdout", "Stderr", "Log"],
    "TargetState": ["Selected", "Connecting", "Ready", "Running"],
    "Status": ["Ok", "Changed", "Skipped", "Failed", "TimedOut", "Unreachable", "Lost", "Refused", "Cancelled"],
    "Problem": "code: string, message: string, hint: string?",
    "Hello": "version_min: u16, version_max: u16, kind: StubKind, engine: Engine, release: string, hostname: string, "
             "kernel: string, user: string, uid: u32, pid: u32, delivery: string, policy: Policy, walls: [string]",
    "Welcome": "version_min: u16, version_max: u16, node: NodeId, last: NodeId, name: string, controller: [u8; 32]",
    "Msg": ["Hello Hello", "Welcome Welcome", "Ping", "Pong", "Credit u32", "Bye Problem",
            "Offer hash: Hash, kind: BlobKind, bytes: u64", "Want hash: Hash, kind: BlobKind",
            "Missing hash: Hash", "Dropped hash: Hash", "Chunk hash: Hash, offset: u64, bytes: bytes",
            "Down to: [NodeRange], order: Order", "Up from: NodeId, report: Report"],
    "Order": ["Run envelope: bytes, signature: bytes, input: Input", "Cancel run: RunId",
              "Dial targets: [DialTarget], stubs: [StubBlob], identities: [bytes], connect_ms: u32",
              "Signed node: NodeId, signature: Signature", "Stop", "Ping nonce: u32"],
    "Input": ["Inline bytes", "Blob hash: Hash, bytes: u64"],
    "DialTarget": "node: NodeId, last: NodeId, kind: StubKind, name: string, host: string, port: u16, user: string, "
                  "host_keys: [bytes], host_cas: [bytes], delivery: Delivery",
    "Delivery": "no_disk: bool, dir: string?, installed: string?, remembered: Remembered?",
    "Remembered": "arch: Arch, exact: bool",
    "StubBlob": "arch: Arch, kind: StubKind, hash: Hash, bytes: u64, bytes_raw: u64",
    "Signature": ["Ok bytes", "Err Problem"],
    "Report": ["Joined Hello", "Gone lost: bool, problem: Problem", "Silent bool", "Learned Remembered",
               "Sign SignRequest", "State run: RunId, state: TargetState",
               "Output run: RunId, stream: Stream, bytes: bytes", "Result run: RunId, outcome: Outcome",
               "NoArtifact run: RunId, engine: Engine", "DeadLetter to: [NodeRange], problem: Problem",
               "Violation count: u32, problem: Problem", "Pong nonce: u32"],
    "SignRequest": "node: NodeId, host_key: bytes, session_id: bytes, host_signature: bytes, user: string, "
                   "public_key: bytes, algorithm: string, to_sign: bytes",
    "Outcome": "status: Status, exit_code: u32?, signal: i32?, stdout_bytes: u64, stderr_bytes: u64, "
               "stdout_truncated: bool, stderr_truncated: bool, ms: u64, walls: [string], problem: Problem?",
    "Envelope": "run: RunId, task: string, targets: [NodeRange], module: Hash, artifacts: [Artifact], params: Hash, "
                "grants: [string], check: bool, timeout_ms: u64, expires: u64, nonce: [u8; 8], wall: Wall",
    "Artifact": "engine: Engine, hash: Hash, bytes: u64",
}
VARINTS = {"u16": (16, 3), "u32": (32, 5), "u64": (64, 10)}  # bits, and bytes at most


class Refused(Exception):
    """What the peer sent is not allowed; the text says why."""


def demand(allowed, otherwise):
    if not allowed:
        raise Refused(otherwise)


class Source:
    """Bytes that are read from the front."""

    def __init__(self, data=b""):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        demand(count <= self.left(), f"truncated: {count} bytes are needed where {self.left()} are left")
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self, kind):
        (bits, longest), number = VARINTS[kind], 0
        for index in range(longest):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << (7 * index)
            if byte < 0x80 and number >> bits == 0:
                return number
        raise Refused(f"a number too large for {kind}")


def one_of(number, count, kind):
    demand(number < count, f"unknown tag {number} of {kind}: there are {count}")
    return number


def fields(struct):
    return [field.split(": ") for field in struct.split(", ")]


def decode(kind, source):
    form = TYPES.get(kind, kind)
    if isinstance(form, list):
        name, _, payload = form[one_of(source.varint("u32"), len(form), kind)].partition(" ")
        return {name: decode(payload, source)} if payload else name
    if form.startswith("[u8; "):
        return source.take(int(form[5:-1])).hex()
    if ": " in form:
        return {name: decode(of, source) for name, of in fields(form)}
    if form.endswith("?"):
        return decode(form[:-1], source) if one_of(source.take(1)[0], 2, kind) else None
    if form.startswith("["):
        return [decode(form[1:-1], source) for _ in range(source.varint("u64"))]
    if form == "bool":
        return one_of(source.take(1)[0], 2, kind) == 1
    if form == "i32":
        number = source.varint("u32")
        return number >> 1 ^ -(number & 1)
    if form in VARINTS:
        return source.varint(form)
    data = source.take(source.varint("u64"))
    try:
        return data.hex() if form == "bytes" else data.decode()
    except UnicodeDecodeError:
        raise Refused("a string that is not UTF-8") from None


def varint(number):
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def encode(kind, value):
    form = TYPES.get(kind, kind)
    if isinstance(form, list):
        name, payload = variant(value)
        number, of = next((n, of) for n, (own, _, of) in enumerate(v.partition(" ") for v in form) if own == name)
        return varint(number) + (encode(of, payload) if of else b"")
    if form.startswith("[u8; "):
        return bytes.fromhex(value)
    if ": " in form:
        return b"".join(encode(of, value[name]) for name, of in fields(form))
    if form.endswith("?"):
        return b"\0" if value is None else b"\1" + encode(form[:-1], value)
    if form.startswith("["):
        return varint(len(value)) + b"".join(encode(form[1:-1], item) for item in value)
    if form == "i32":
        return varint((value << 1 ^ value >> 31) & 0xFFFFFFFF)
    if form == "bool" or form in VARINTS:
        return varint(int(value))
    data = value.encode() if form == "string" else bytes.fromhex(value)
    return varint(len(data)) + data


def variant(value):
    """The name of a variant and its payload."""
    return next(iter(value.items())) if isinstance(value, dict) else (value, None)


def decode_frame(source):
    """The next frame as golden files write it, and the size of its body."""
    size, lane = int.from_bytes(source.take(2), "little"), source.take(1)[0]
    demand(1 <= size <= BODY_BYTES_MAX and lane <= 1, f"a frame of {size} bytes in lane {lane}")
    body, messages = Source(source.take(size)), []
    while body.left():
        messages.append(decode("Msg", body))
    demand(len(messages) <= MESSAGES_PER_FRAME_MAX, f"{len(messages)} messages in one frame")
    return {"lane": ["control", "bulk"][lane], "messages": messages}, size


def encode_frame(lane, body):
    return len(body).to_bytes(2, "little") + bytes([lane == "bulk"]) + body


def decode_whole(kind, data):
    source = Source(data)
    value = decode_frame(source)[0] if kind == "frame" else decode(kind, source)
    demand(not source.left(), f"{source.left()} bytes too many after a {kind}")
    return value


def golden(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    for name, hexed, means in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        data = bytes.fromhex(hexed.removeprefix("hex "))
        kind = "frame" if name.startswith("frame") else "Envelope" if name == "envelope" else "Msg"
        value = decode_whole(kind, data)
        again = data if kind == "frame" else encode(kind, value)
        demand(value == json.loads(means.removeprefix("means ")), f"{name} is read as {value}")
        demand(again == data, f"{name} is written as {again.hex()}")
        for wrong in [data[:size] for size in range(len(data))] + [data + b"\0"]:
            try:
                decode_whole(kind, wrong)
            except Refused:
                continue
            raise Refused(f"{name}: {len(wrong)} bytes of {len(data)} are taken for a whole one")
    print(f"{len(lines) // 3} golden entries, 0 wrong")


class Stub(Source):
    """A leaf that takes runs. A write may block: the parent has room for control, and for bulk that is paid for."""

    def __init__(self):
        super().__init__()
        self.node, self.bulk, self.blobs, self.waiting, self.ended = None, [], {}, {}, []
        self.credit, self.used = WINDOW_INITIAL_BYTES, 0
        self.heard, self.tick_at = time.monotonic(), time.monotonic() + HELLO_DEADLINE_S

    def serve(self):
        sys.stdout.buffer.write(b"\nWAFT-LINK\n")
        self.say({"Hello": {
            "version_min": VERSION, "version_max": VERSION, "kind": "Leaf", "engine": ENGINE, "release": "reader",
            "hostname": os.uname().nodename, "kernel": os.uname().release, "user": "reader", "uid": os.getuid(),
            "pid": os.getpid(), "delivery": "local", "policy": "None", "walls": []}})
        while True:
            frame, size = decode_frame(self)
            for message in frame["messages"]:
                self.receive(frame["lane"], *variant(message))
            self.used += size if frame["lane"] == "bulk" else 0
            if self.used >= WINDOW_INITIAL_BYTES // 4:
                self.say({"Credit": self.used})
                self.used = 0

    def take(self, count):
        while self.left() < count:
            if time.monotonic() >= self.tick_at:
                self.tick()
            if select.select([0], [], [], max(0, self.tick_at - time.monotonic()))[0]:
                data = os.read(0, 65536)
                if not data:
                    sys.exit("the link ends inside a frame" if self.left() else "the link has ended")
                self.data, self.at, self.heard = self.data[self.at:] + data, 0, time.monotonic()
        return super().take(count)

    def tick(self):
        now = time.monotonic()
        lost = self.node is None or now - self.heard >= KEEPALIVE_LOST * KEEPALIVE_INTERVAL_S
        demand(not lost, "the parent has said nothing for too long")
        self.say("Ping")
        self.tick_at = now + KEEPALIVE_INTERVAL_S
        for run in [run for run, wait in self.waiting.items() if now - wait.fed >= FETCH_IDLE_S]:
            self.end(run, "Failed", "no byte came of the blobs that it needs")

    def say(self, message, lane="control"):
        body = encode("Msg", message)
        if lane == "bulk":
            self.bulk.append(body)
        else:
            sys.stdout.buffer.write(encode_frame(lane, body))
        self.flush()

    def flush(self):
        while self.bulk and len(self.bulk[0]) <= self.credit:
            self.credit -= len(self.bulk[0])
            sys.stdout.buffer.write(encode_frame("bulk", self.bulk.pop(0)))
        sys.stdout.buffer.flush()

    def report(self, name, payload, lane="control"):
        self.say({"Up": {"from": self.node, "report": {name: payload}}}, lane)

    def receive(self, lane, name, value):
        first = self.node is None
        demand(first == (name == "Welcome") or name == "Bye", f"a {name} {'before' if first else 'after'} the welcome")
        demand((name == "Chunk") == (lane == "bulk"), f"a {name} in the {lane} lane")
        match name:
            case "Welcome":
                self.node, self.last, self.key = value["node"], value["last"], bytes.fromhex(value["controller"])
                self.tick_at = time.monotonic() + KEEPALIVE_INTERVAL_S
                demand(value["version_min"] <= VERSION <= value["version_max"], f"a welcome without version {VERSION}")
                demand(1 <= self.node <= self.last, f"a welcome to node {self.node} of {self.node} to {self.last}")
            case "Ping":
                self.say("Pong")
            case "Pong":
                pass
            case "Credit":
                self.credit += value
                demand(self.credit <= CREDIT_MAX, f"a credit of {self.credit} bytes in all")
                self.flush()
            case "Bye":
                sys.exit(f"the parent ended the link: {value['message']}")
            case "Offer":
                self.offer(value["hash"], value["kind"], value["bytes"])
            case "Chunk":
                self.chunk(value["hash"], value["offset"], bytes.fromhex(value["bytes"]))
            case "Missing":
                if not self.whole(value["hash"]):
                    self.lose(value["hash"], "is not to be had")
            case "Down":
                self.down(value["to"], *variant(value["order"]))
            case _:
                raise Refused(f"a parent does not say {name}")

    def whole(self, name, kind=None):
        blob = self.blobs.get(name)
        return blob and len(blob.data) == blob.size and (kind is None or kind in blob.kinds)

    def offer(self, name, kind, size):
        blob = self.blobs.setdefault(name, SimpleNamespace(size=size, kinds=set(), data=b""))
        blob.kinds.add(kind)
        if sum(one.size for one in self.blobs.values()) > STORE_BYTES_DEFAULT or len(self.blobs) > STORE_BLOBS_MAX:
            self.drop(name, "has no room here")
        elif blob.size != size or size == 0 and name != blake3(b"").hex():
            self.drop(name, "has not the size that was offered")
        self.settle()

    def chunk(self, name, offset, data):
        demand(len(data) <= CHUNK_BYTES_MAX, f"a chunk of {len(data)} bytes")
        blob = self.blobs.get(name)
        if blob is None or offset > len(blob.data):
            return
        fresh = data[len(blob.data) - offset:]
        blob.data += fresh
        for wait in self.waiting.values():
            wait.fed = time.monotonic() if fresh and name in dict(wait.needs) else wait.fed
        if len(blob.data) > blob.size or fresh and self.whole(name) and name != blake3(blob.data).hex():
            self.drop(name, "was damaged on its way")
        self.settle()

    def drop(self, name, why):
        self.say({"Dropped": {"hash": name}})
        self.lose(name, why)

    def lose(self, name, why):
        self.blobs.pop(name, None)
        for run in [run for run, wait in self.waiting.items() if name in dict(wait.needs)]:
            self.end(run, "Failed", f"the blob {name} {why}")

    def inside(self, ranges):
        return any(part["first"] <= self.node <= part["last"] for part in ranges)

    def down(self, to, name, order):
        demand(len(to) <= RANGES_MAX, f"an order for {len(to)} ranges")
        if self.inside(to):
            if name == "Run":
                self.run(bytes.fromhex(order["envelope"]), bytes.fromhex(order["signature"]), *variant(order["input"]))
            elif name == "Cancel" and order["run"] in self.waiting:
                self.end(order["run"], "Cancelled", "the run was cancelled")
            elif name == "Ping":
                self.report("Pong", order)
            elif name == "Stop":
                sys.exit()
        if name == "Dial" or name not in ("Stop", "Cancel") and any(part["last"] > self.node for part in to):
            self.dead([], f"node {self.node} is a leaf: nothing of {to} is behind it")

    def dead(self, to, why):
        self.report("DeadLetter", {"to": to, "problem": {"code": "reader.order", "message": why, "hint": None}})

    def run(self, signed, signature, form, given):
        """The steps of "The life of a run" up to the wait for blobs."""
        try:
            demand(len(signed) <= ENVELOPE_BYTES_MAX, f"it has {len(signed)} bytes")
            envelope = decode("Envelope", Source(signed))
        except Refused as why:
            return self.dead([{"first": self.node, "last": self.node}], f"the envelope of a run is malformed: {why}")
        run, once = envelope["run"], (envelope["run"], envelope["nonce"])
        params = given["hash"] if form == "Blob" else blake3(bytes.fromhex(given)).hex()
        artifact = next((one["hash"] for one in envelope["artifacts"] if one["engine"] == ENGINE), None)
        if run in self.waiting:
            return
        if not verify(self.key, signed, signature):
            self.end(run, "Refused", "the envelope is not signed by the controller")
        elif int(time.time()) > envelope["expires"]:
            self.end(run, "Refused", "the envelope has expired")
        elif once in self.ended:
            return
        elif not self.inside(envelope["targets"]):
            self.end(run, "Refused", "the envelope is for other nodes", once)
        elif params != envelope["params"]:
            self.end(run, "Refused", "the input is not what the envelope names", once)
        elif artifact is None:
            self.report("NoArtifact", {"run": run, "engine": ENGINE})
        elif len(self.waiting) >= WAITING_RUNS_MAX:
            self.end(run, "Failed", "too many runs wait here", once)
        else:
            needs = [(artifact, "Artifact")] + ([(params, "File")] if form == "Blob" else [])
            self.waiting[run] = SimpleNamespace(once=once, needs=needs, given=given, fed=time.monotonic())
            for name, kind in needs:
                if name not in self.blobs or kind not in self.blobs[name].kinds:
                    self.say({"Want": {"hash": name, "kind": kind}})
            self.settle()

    def settle(self):
        """Executes the runs that have all they need."""
        for run, wait in list(self.waiting.items()):
            if all(self.whole(name, kind) for name, kind in wait.needs):
                code, *files = [self.blobs[name].data for name, _ in wait.needs]
                data = files[0] if files else bytes.fromhex(wait.given)
                for state in ("Ready", "Running"):
                    self.report("State", {"run": run, "state": state})
                said = f"artifact of {len(code)} bytes, input of {len(data)} bytes\n".encode()
                self.report("Output", {"run": run, "stream": "Log", "bytes": said.hex()}, "bulk")
                for at in range(0, len(data), CHUNK_BYTES_MAX):
                    part = data[at:at + CHUNK_BYTES_MAX].hex()
                    self.report("Output", {"run": run, "stream": "Stdout", "bytes": part}, "bulk")
                self.end(run, "Ok", None, stdout=len(data))

    def end(self, run, status, why, once=None, stdout=0):
        """Says the run's one result. `once` is remembered, so that a repeated order is not obeyed again."""
        once = self.waiting.pop(run).once if run in self.waiting else once
        self.ended = (self.ended + [once])[-ENDED_RUNS_MAX:] if once else self.ended
        self.report("Result", {"run": run, "outcome": {
            "status": status, "exit_code": None if why else 0, "signal": None, "stdout_bytes": stdout,
            "stderr_bytes": 0, "stdout_truncated": False, "stderr_truncated": False, "ms": 0, "walls": [],
            "problem": {"code": "reader.run", "message": why, "hint": None} if why else None}}, "bulk")


def main(arguments):
    match arguments:
        case ["--golden", path]:
            golden(path)
        case ["--stub"]:
            stub = Stub()
            try:
                stub.serve()
            except Refused as why:
                stub.say({"Bye": {"code": "link.protocol", "message": str(why), "hint": None}})
                raise
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as why:
        sys.exit(f"refused: {why}")
