#!/usr/bin/env python3
"""A second reader of waft's protocol, made from docs/protocol.md alone.

    waft_reader.py --golden FILE    decode every message of a golden file, compare, encode again, compare
    waft_reader.py --decode HEX     print one message as JSON
    waft_reader.py --stub           be a stub on stdin and stdout (runs nothing: it says what it was given)

It checks blake3 hashes. It does not check ed25519 signatures, and says so: it is a test, not a stub to use.
"""

import io
import json
import struct
import sys

PREAMBLE = b"\nWAFT-LINK\n"
BODY_BYTES_MAX = 65533
MESSAGES_PER_FRAME_MAX = 4096
WINDOW_INITIAL_BYTES = 262144
CHUNK_BYTES_MAX = 32768


class Malformed(Exception):
    pass


# --- Encoding: each type is a pair (read, write). Values are what JSON has; bytes are hex.


def take(source, count):
    data = source.read(count)
    if len(data) != count:
        raise Malformed("a message ends too early")
    return data


def varint(bits):
    def read(source):
        value = 0
        for at in range((bits + 6) // 7):
            byte = take(source, 1)[0]
            value |= (byte & 0x7F) << (7 * at)
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise Malformed(f"a number of more than {bits} bits")

    def write(out, value):
        while value >= 0x80:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        out += bytes([value])

    return read, write


u16, u32, u64 = varint(16), varint(32), varint(64)
length = u64


def read_i32(source):
    raw = u32[0](source)
    return (raw >> 1) ^ -(raw & 1)


i32 = (read_i32, lambda out, value: u32[1](out, (value << 1) ^ (value >> 31) if value >= 0 else (-value << 1) - 1))


def read_bool(source):
    byte = take(source, 1)[0]
    if byte > 1:
        raise Malformed("a bool that is neither 0 nor 1")
    return byte == 1


boolean = (read_bool, lambda out, value: out.append(int(value)))


def read_sized(source):
    return take(source, length[0](source))


def write_sized(out, data):
    length[1](out, len(data))
    out += data


octets = (lambda source: read_sized(source).hex(), lambda out, value: write_sized(out, bytes.fromhex(value)))


def read_text(source):
    try:
        return read_sized(source).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a text that is not UTF-8") from None


text = (read_text, lambda out, value: write_sized(out, value.encode("utf-8")))


def array(count):
    def write(out, value):
        out += bytes.fromhex(value)

    return lambda source: take(source, count).hex(), write


def many(item):
    def write(out, values):
        length[1](out, len(values))
        for value in values:
            item[1](out, value)

    return lambda source: [item[0](source) for _ in range(length[0](source))], write


def optional(item):
    def write(out, value):
        boolean[1](out, value is not None)
        if value is not None:
            item[1](out, value)

    return lambda source: item[0](source) if read_bool(source) else None, write


def record(**fields):
    def write(out, value):
        for name, kind in fields.items():
            kind[1](out, value[name])

    return lambda source: {name: kind[0](source) for name, kind in fields.items()}, write


def choice(*variants):
    """Variants are names, or (name, type) pairs, in order."""
    pairs = [variant if isinstance(variant, tuple) else (variant, None) for variant in variants]
    numbers = {name: number for number, (name, _) in enumerate(pairs)}

    def read(source):
        number = u32[0](source)
        if number >= len(pairs):
            raise Malformed(f"variant {number} of an enum that has {len(pairs)}")
        name, kind = pairs[number]
        return name if kind is None else {name: kind[0](source)}

    def write(out, value):
        name, inner = (value, None) if isinstance(value, str) else next(iter(value.items()))
        number = numbers[name]
        u32[1](out, number)
        if pairs[number][1] is not None:
            pairs[number][1][1](out, inner)

    return read, write


# --- Types and messages, in the order of the page.

node = u32
node_range = record(first=node, last=node)
hash32 = array(32)
run_id = array(16)
blob_kind = choice("Task", "Artifact", "File", "Stub")
stub_kind = choice("Leaf", "Hop")
arch = choice("X86_64", "Aarch64")
engine = record(arch=arch, profile=choice("Fast", "Small"))
policy = choice("Enforced", "Advisory", "None")
stream = choice("Stdout", "Stderr", "Log")
target_state = choice("Selected", "Connecting", "Ready", "Running")
status = choice("Ok", "Changed", "Skipped", "Failed", "TimedOut", "Unreachable", "Lost", "Refused", "Cancelled")
problem = record(code=text, message=text, hint=optional(text))

hello = record(
    version_min=u16, version_max=u16, kind=stub_kind, engine=engine, release=text, hostname=text, kernel=text,
    user=text, uid=u32, pid=u32, delivery=text, policy=policy, walls=many(text),
)  # fmt: skip
welcome = record(version_min=u16, version_max=u16, node=node, last=node, name=text, controller=array(32))
run = record(
    envelope=octets,
    signature=octets,
    input=choice(("Inline", octets), ("Blob", record(hash=hash32, bytes=u64))),
)
remembered = record(arch=arch, exact=boolean)
delivery = record(no_disk=boolean, dir=optional(text), installed=optional(text), remembered=optional(remembered))
dial_target = record(
    node=node, last=node, kind=stub_kind, name=text, host=text, port=u16, user=text,
    host_keys=many(octets), host_cas=many(octets), delivery=delivery,
)  # fmt: skip
stub_blob = record(arch=arch, kind=stub_kind, hash=hash32, bytes=u64, bytes_raw=u64)
dial = record(targets=many(dial_target), stubs=many(stub_blob), identities=many(octets), connect_ms=u32)
order = choice(
    ("Run", run),
    ("Cancel", record(run=run_id)),
    ("Dial", dial),
    ("Signed", record(node=node, signature=choice(("Ok", octets), ("Err", problem)))),
    "Stop",
    ("Ping", record(nonce=u32)),
)
sign_request = record(
    node=node, host_key=octets, session_id=octets, host_signature=octets, user=text, public_key=octets,
    algorithm=text, to_sign=octets,
)  # fmt: skip
outcome = record(
    status=status, exit_code=optional(u32), signal=optional(i32), stdout_bytes=u64, stderr_bytes=u64,
    stdout_truncated=boolean, stderr_truncated=boolean, ms=u64, walls=many(text), problem=optional(problem),
)  # fmt: skip
report = choice(
    ("Joined", hello),
    ("Gone", record(lost=boolean, problem=problem)),
    ("Silent", boolean),
    ("Learned", remembered),
    ("Sign", sign_request),
    ("State", record(run=run_id, state=target_state)),
    ("Output", record(run=run_id, stream=stream, bytes=octets)),
    ("Result", record(run=run_id, outcome=outcome)),
    ("NoArtifact", record(run=run_id, engine=engine)),
    ("DeadLetter", record(to=many(node_range), problem=problem)),
    ("Violation", record(count=u32, problem=problem)),
    ("Pong", record(nonce=u32)),
)
message = choice(
    ("Hello", hello),
    ("Welcome", welcome),
    "Ping",
    "Pong",
    ("Credit", u32),
    ("Bye", problem),
    ("Offer", record(hash=hash32, kind=blob_kind, bytes=u64)),
    ("Want", record(hash=hash32, kind=blob_kind)),
    ("Missing", record(hash=hash32)),
    ("Dropped", record(hash=hash32)),
    ("Chunk", record(hash=hash32, offset=u64, bytes=octets)),
    ("Down", record(to=many(node_range), order=order)),
    ("Up", record(**{"from": node, "report": report})),
)
envelope = record(
    run=run_id, task=text, targets=many(node_range), module=hash32,
    artifacts=many(record(engine=engine, hash=hash32, bytes=u64)), params=hash32, grants=many(text),
    check=boolean, timeout_ms=u64, expires=u64, nonce=array(8),
)  # fmt: skip


def encode(kind, value):
    out = bytearray()
    kind[1](out, value)
    return bytes(out)


def decode(kind, data):
    source = io.BytesIO(data)
    value = kind[0](source)
    if source.read(1):
        raise Malformed("bytes are left over")
    return value


# --- Frames.


def encode_frame(lane, messages):
    body = b"".join(encode(message, msg) for msg in messages)
    return struct.pack("<HB", len(body), {"control": 0, "bulk": 1}[lane]) + body


def read_frame(source):
    """The next (lane, [(message, size)]), or None at the end."""
    head = source.read(3)
    if not head:
        return None
    if len(head) < 3:
        raise Malformed("a frame ends in its header")
    size, lane = struct.unpack("<HB", head)
    if not 1 <= size <= BODY_BYTES_MAX or lane > 1:
        raise Malformed("an impossible frame")
    body = io.BytesIO(take(source, size))
    messages = []
    while body.tell() < size:
        begin = body.tell()
        msg = message[0](body)
        messages.append((msg, body.tell() - begin))
    if len(messages) > MESSAGES_PER_FRAME_MAX:
        raise Malformed("too many messages in one frame")
    return ("control", "bulk")[lane], messages


# --- blake3, plain hashing only.

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))  # fmt: skip
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def compress(chain, words, counter, size, flags):
    v = list(chain) + list(IV[:4]) + [counter & 0xFFFFFFFF, counter >> 32, size, flags]
    for _ in range(7):
        for at, (a, b, c, d) in enumerate(LANES):
            for word, turn, other in ((words[2 * at], 16, 12), (words[2 * at + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & 0xFFFFFFFF
                x = v[d] ^ v[a]
                v[d] = (x >> turn | x << (32 - turn)) & 0xFFFFFFFF
                v[c] = (v[c] + v[d]) & 0xFFFFFFFF
                x = v[b] ^ v[c]
                v[b] = (x >> other | x << (32 - other)) & 0xFFFFFFFF
        words = [words[at] for at in ORDER]
    return [v[at] ^ v[at + 8] for at in range(8)]


def blake3(data):
    def subtree(data, first, root):
        if len(data) <= 1024:
            chain = IV
            for at in range(0, max(len(data), 1), 64):
                block = data[at : at + 64]
                flags = (CHUNK_START if at == 0 else 0) | (CHUNK_END | root if at + 64 >= len(data) else 0)
                words = struct.unpack("<16I", block.ljust(64, b"\0"))
                chain = compress(chain, words, first, len(block), flags)
            return chain
        chunks = (len(data) - 1) // 1024
        left = 1 << (chunks.bit_length() - 1)
        halves = subtree(data[: left * 1024], first, 0) + subtree(data[left * 1024 :], first + left, 0)
        return compress(IV, halves, 0, 64, PARENT | root)

    return struct.pack("<8I", *subtree(data, 0, ROOT)).hex()


# --- The two things this program does.


def check_golden(path):
    lines = [line for line in open(path, encoding="utf-8") if line.strip() and not line.startswith("#")]
    wrong = 0
    for name, data, means in zip(lines[0::3], lines[1::3], lines[2::3]):
        name, data, means = name.strip(), bytes.fromhex(data.split()[1]), json.loads(means.split(None, 1)[1])
        try:
            if name.startswith("frame"):
                source = io.BytesIO(data)
                lane, messages = read_frame(source)
                value = {"lane": lane, "messages": [msg for msg, _ in messages]}
                again = encode_frame(lane, value["messages"]) + source.read()
            else:
                kind = envelope if name.startswith("envelope") else message
                value = decode(kind, data)
                again = encode(kind, value)
        except Malformed as error:
            value, again = str(error), data
        if value != means or again != data:
            wrong += 1
            print(f"{name}: read as {json.dumps(value)}, meant {json.dumps(means)}", file=sys.stderr)
    print(f"{len(lines) // 3} golden entries, {wrong} wrong")
    return 1 if wrong or not lines else 0


class Stub:
    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.node = None
        self.blobs = {}  # hash -> [kinds, size, bytes]
        self.waiting = []
        self.credit = WINDOW_INITIAL_BYTES
        self.bulk = []
        self.owed = 0
        self.engine = {"arch": "X86_64", "profile": "Small"}

    def send(self, msg):
        self.sink.write(encode_frame("control", [msg]))
        self.sink.flush()

    def say(self, kind, value, bulk=False):
        msg = {"Up": {"from": self.node, "report": {kind: value}}}
        if bulk:
            self.bulk.append(msg)
            self.send_bulk()
        else:
            self.send(msg)

    def send_bulk(self):
        while self.bulk and len(encode(message, self.bulk[0])) <= self.credit:
            msg = self.bulk.pop(0)
            self.credit -= len(encode(message, msg))
            self.sink.write(encode_frame("bulk", [msg]))
            self.sink.flush()

    def run(self):
        self.sink.write(PREAMBLE)
        self.send({"Hello": {
            "version_min": 1, "version_max": 1, "kind": "Leaf", "engine": self.engine, "release": "reader",
            "hostname": "reader", "kernel": "python", "user": "nobody", "uid": 65534, "pid": 1,
            "delivery": "local", "policy": "None", "walls": [],
        }})  # fmt: skip
        while frame := read_frame(self.source):
            lane, messages = frame
            for msg, size in messages:
                name, value = (msg, None) if isinstance(msg, str) else next(iter(msg.items()))
                if self.node is None and name not in ("Welcome", "Bye"):
                    raise Malformed(f"{name} before the welcome")
                if (name == "Chunk") != (lane == "bulk"):
                    raise Malformed(f"{name} in the {lane} lane")
                if lane == "bulk":
                    self.owed += size
                    if self.owed >= WINDOW_INITIAL_BYTES // 4:
                        self.send({"Credit": self.owed})
                        self.owed = 0
                if name == "Bye" or getattr(self, "on_" + name.lower())(value) is False:
                    return

    def on_welcome(self, value):
        if self.node is not None or not value["version_min"] <= 1 <= value["version_max"]:
            raise Malformed("a welcome that does not fit")
        self.node = value["node"]

    def on_ping(self, _):
        self.send("Pong")

    def on_pong(self, _):
        pass

    def on_credit(self, value):
        self.credit += value
        self.send_bulk()

    def on_offer(self, value):
        blob = self.blobs.setdefault(value["hash"], [set(), value["bytes"], bytearray()])
        if blob[1] != value["bytes"] or (value["bytes"] == 0 and blake3(b"") != value["hash"]):
            del self.blobs[value["hash"]]
            return self.send({"Dropped": {"hash": value["hash"]}})
        blob[0].add(value["kind"])
        self.start_ready()

    def on_chunk(self, value):
        blob = self.blobs.get(value["hash"])
        if blob is None or value["offset"] > len(blob[2]):
            return
        blob[2] += bytes.fromhex(value["bytes"])[len(blob[2]) - value["offset"] :]
        if len(blob[2]) > blob[1] or (len(blob[2]) == blob[1] and blake3(bytes(blob[2])) != value["hash"]):
            del self.blobs[value["hash"]]
            self.send({"Dropped": {"hash": value["hash"]}})
            return self.fail(value["hash"], "blob.damaged", "the blob was damaged on its way")
        self.start_ready()

    def on_missing(self, value):
        blob = self.blobs.get(value["hash"])
        if blob and len(blob[2]) < blob[1]:
            del self.blobs[value["hash"]]
        self.fail(value["hash"], "blob.missing", "the blob is not to be had")

    def on_down(self, value):
        if not any(part["first"] <= self.node <= part["last"] for part in value["to"]):
            return None
        if value["order"] == "Stop":
            return False
        name, order = next(iter(value["order"].items()))
        if name == "Run":
            self.accept(order)
        elif name == "Ping":
            self.say("Pong", order)
        elif name == "Cancel":
            for waiting in [run for run in self.waiting if run["run"] == order["run"]]:
                self.waiting.remove(waiting)
                self.result(order["run"], "Cancelled", None, "run.cancelled", "cancelled before it began")
        return None

    def accept(self, order):
        signed = decode(envelope, bytes.fromhex(order["envelope"]))
        name, input_ = next(iter(order["input"].items()))
        inline = name == "Inline"
        params = blake3(bytes.fromhex(input_)) if inline else input_["hash"]
        if not any(part["first"] <= self.node <= part["last"] for part in signed["targets"]):
            return self.result(signed["run"], "Refused", None, "envelope.target", "not for this target")
        if params != signed["params"]:
            return self.result(signed["run"], "Refused", None, "envelope.params", "not the signed parameters")
        artifact = next((a["hash"] for a in signed["artifacts"] if a["engine"] == self.engine), None)
        if artifact is None:
            return self.say("NoArtifact", {"run": signed["run"], "engine": self.engine})
        needs = [(artifact, "Artifact")] + ([] if inline else [(params, "File")])
        for blob, kind in needs:
            if kind not in self.blobs.get(blob, [()])[0]:
                self.send({"Want": {"hash": blob, "kind": kind}})
        self.waiting.append({"run": signed["run"], "needs": needs, "input": input_ if inline else None})
        return self.start_ready()

    def whole(self, blob, kind):
        kinds, size, data = self.blobs.get(blob, (set(), 1, b""))
        return bytes(data) if kind in kinds and len(data) == size else None

    def start_ready(self):
        for waiting in list(self.waiting):
            blobs = [self.whole(*need) for need in waiting["needs"]]
            if None in blobs:
                continue
            self.waiting.remove(waiting)
            code, data = blobs[0], blobs[1] if waiting["input"] is None else bytes.fromhex(waiting["input"])
            self.say("State", {"run": waiting["run"], "state": "Running"})
            said = f"artifact of {len(code)} bytes, input of {len(data)} bytes; no signature was checked\n".encode()
            self.say("Output", {"run": waiting["run"], "stream": "Stdout", "bytes": said.hex()}, bulk=True)
            for at in range(0, len(data), CHUNK_BYTES_MAX):
                part = data[at : at + CHUNK_BYTES_MAX].hex()
                self.say("Output", {"run": waiting["run"], "stream": "Stderr", "bytes": part}, bulk=True)
            self.result(waiting["run"], "Ok", 0)

    def fail(self, blob, code, words):
        for waiting in [run for run in self.waiting if blob in [need[0] for need in run["needs"]]]:
            self.waiting.remove(waiting)
            self.result(waiting["run"], "Failed", None, code, words)

    def result(self, run, status, exit_code, code=None, words=None):
        self.say("Result", {"run": run, "outcome": {
            "status": status, "exit_code": exit_code, "signal": None, "stdout_bytes": 0, "stderr_bytes": 0,
            "stdout_truncated": False, "stderr_truncated": False, "ms": 0, "walls": [],
            "problem": code and {"code": code, "message": words, "hint": None},
        }}, bulk=True)  # fmt: skip


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--golden":
        return check_golden(arguments[1])
    if len(arguments) == 2 and arguments[0] == "--decode":
        print(json.dumps(decode(message, bytes.fromhex(arguments[1])), ensure_ascii=False))
        return 0
    if arguments == ["--stub"]:
        try:
            Stub(sys.stdin.buffer, sys.stdout.buffer).run()
        except Malformed as error:
            print(f"waft_reader: the parent sent {error}", file=sys.stderr)
            return 1
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
