#!/usr/bin/env python3
"""A second implementation of docs/protocol.md, made from that page alone: a codec and a small leaf stub.

    waft_reader.py --golden FILE   decode every entry of a file of golden bytes, compare, encode again
    waft_reader.py --link HOW      be a stub; the link is standard input and standard output

Types and limits are read from the page itself. The stub verifies and fetches what a run needs, but has no
engine: its "execution" logs what came, copies the input, and ends with the `exit_code` that stands in it. It
bounds neither what it keeps nor how long a run waits. What a parent may not send, it refuses.
"""

import json
import os
import re
import select
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

from blake3 import blake3
from ed25519 import verify

PAGE = (Path(__file__).resolve().parents[2] / "docs/protocol.md").read_text(encoding="utf-8")
TYPES = dict(re.findall(r"^    (\w+) = (.+)", re.sub(r"\n {6,}", " ", PAGE), re.M))
ROWS = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.M)
LIMITS = SimpleNamespace(**{name: int(number) for name, number in ROWS})
VERSION, ENGINE, LANES = 1, {"arch": "X86_64", "profile": "Small"}, ["control", "bulk"]
PIECES = ("Chunk", "Packed", "Copy")


class Refused(Exception):
    """What the peer sent is not allowed; the text says why."""


def demand(allowed, otherwise):
    if not allowed:
        raise Refused(otherwise)


class Source(bytearray):
    """Bytes to decode: what is asked for is taken from the front."""

    def raw(self, count, _=None):
        demand(count <= len(self), f"truncated: {count} bytes are needed where {len(self)} are left")
        taken = bytes(self[:count])
        del self[:count]
        return taken

    def number(self, kind, _=None):
        bits, number = int(kind[1:]), 0
        for shift in range(0, bits, 7):
            byte = self.raw(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80 and number >> bits == 0:
                return number
        raise Refused(f"a number too large for {kind}")


class Sink(bytearray):
    """Bytes being encoded: the same methods append what they are given."""

    def raw(self, _, value):
        self.extend(value)
        return value

    def number(self, _, value):
        for shift in range(0, max(value.bit_length(), 1), 7):
            self.append(value >> shift & 0x7F | (value >> shift > 0x7F) << 7)
        return value


def variant(value):
    """Name and payload of a value of an enum, which is a name or a dict of both. (A struct is a dict.)"""
    return next(iter(value.items())) if isinstance(value, dict) else (value, None)


def code(kind, wire, value=None):
    """Decodes a value of this type from a source, or encodes this one into a sink; gives it either way."""
    def choice(number, options=(False, True)):
        demand(number < len(options), f"unknown tag {number} of {kind}: there are {len(options)}")
        return options[number]

    form = TYPES.get(kind, kind)
    if " | " in form:
        variants = [option.rstrip(")").partition("(")[::2] for option in form.split(" | ")]
        own, payload = variant(value)
        number = [name for name, _ in variants].index(own) if own else 0
        name, of = choice(wire.number("u32", number), variants)
        return {name: code(of, wire, payload)} if of else name
    if ": " in form:
        fields = [field.split(": ") for field in form.split(", ")]
        return {name: code(of, wire, value and value[name]) for name, of in fields}
    if form.startswith("[u8; "):
        return wire.raw(int(form[5:-1]), value)
    if form.startswith("["):
        count = wire.number("u64", len(value or ()))
        return [code(form[1:-1], wire, value and value[index]) for index in range(count)]
    if form.endswith("?"):
        there = choice(wire.raw(1, bytes([value is not None]))[0])
        return code(form[:-1], wire, value) if there else None
    if form == "bool":
        return choice(wire.raw(1, bytes([value is True]))[0])
    if form == "i32":
        number = wire.number("u32", ((value or 0) << 1 ^ (value or 0) >> 31) & 0xFFFFFFFF)
        return number >> 1 ^ -(number & 1)
    if form.startswith("u"):
        return wire.number(form, value)
    data = value.encode() if form == "string" and value else value or b""
    data = wire.raw(wire.number("u64", len(data)), data)
    try:
        return data.decode() if form == "string" else data
    except UnicodeDecodeError:
        raise Refused("a string that is not UTF-8") from None


def decode_frame(source):
    size, lane = int.from_bytes(source.raw(2), "little"), source.raw(1)[0]
    demand(1 <= size <= LIMITS.BODY_BYTES_MAX and lane < 2, f"a frame of {size} bytes in lane {lane}")
    body, messages = Source(source.raw(size)), []
    while body:
        messages.append(code("Msg", body))
    demand(len(messages) <= LIMITS.MESSAGES_PER_FRAME_MAX, f"{len(messages)} messages in one frame")
    return {"lane": LANES[lane], "messages": messages}


def encode_frame(lane, messages):
    body = Sink()
    for message in messages:
        code("Msg", body, message)
    return len(body).to_bytes(2, "little") + bytes([LANES.index(lane)]) + body


def golden(path):
    """Every entry means what the file says (as text: to Python 1 is True), and is written as it was."""
    entries = re.findall(r"^(\w.*)\n  hex (\w+)\n  means (.*)", Path(path).read_text("utf-8"), re.M)
    for name, hexed, means in entries:
        source, again, kind = Source.fromhex(hexed), Sink(), "Envelope" if name == "envelope" else "Msg"
        framed = name.startswith("frame")
        value = decode_frame(source) if framed else code(kind, source)
        again.extend(encode_frame(**value)) if framed else code(kind, again, value)
        same = json.dumps(value, default=bytes.hex) == json.dumps(json.loads(means))
        demand(same and not source, f"{name} is read as {value}, with {len(source)} left")
        demand(again.hex() == hexed, f"{name} is written as {again.hex()}")
    print(f"{len(entries)} golden entries, 0 wrong")


class Stub(Source):
    """A leaf. Its writes may block: the parent has room for control, and for bulk that is paid."""

    def serve(self, how):
        self.node, self.blobs, self.waiting, self.known = None, {}, {}, set()
        self.unpaid, self.credit = [], LIMITS.WINDOW_INITIAL_BYTES
        self.link = open(1, "wb", buffering=0)
        self.link.write(b"\nWAFT-LINK\n")
        system = os.uname()
        self.say("Hello", {
            "version_min": VERSION, "version_max": VERSION, "kind": "Leaf", "engine": ENGINE,
            "release": "reader", "hostname": system.nodename, "kernel": system.release, "user": "reader",
            "uid": os.getuid(), "pid": os.getpid(), "delivery": how, "policy": "None", "walls": [],
            "seal_key": bytes(32), "identity": None, "compiles": False})
        while True:
            frame = decode_frame(self)
            for message in frame["messages"]:
                self.receive(frame["lane"], *variant(message))
                while self.unpaid and len(self.unpaid[0]) - LIMITS.FRAME_HEADER_BYTES <= self.credit:
                    self.credit -= len(self.unpaid[0]) - LIMITS.FRAME_HEADER_BYTES
                    self.link.write(self.unpaid.pop(0))
            if frame["lane"] == "bulk":
                self.say("Credit", len(encode_frame(**frame)) - LIMITS.FRAME_HEADER_BYTES)

    def raw(self, count, _=None):
        """Waits for so many bytes of the link, and pings a parent that says nothing."""
        silent = 0
        while len(self) < count:
            silent = 0 if select.select([0], [], [], LIMITS.KEEPALIVE_INTERVAL_MS / 1000)[0] else silent + 1
            demand(silent < LIMITS.KEEPALIVE_LOST, "the parent has said nothing for too long")
            if silent:
                self.say("Ping")
            else:
                self.extend(os.read(0, LIMITS.FRAME_BYTES_MAX) or sys.exit("the link has ended"))
        return super().raw(count)

    def say(self, name, value=None):
        self.link.write(encode_frame("control", [{name: value}]))

    def report(self, name, **payload):
        report = {"from": self.node, "report": {name: payload}}
        if name in ("Output", "Result"):
            self.unpaid.append(encode_frame("bulk", [{"Up": report}]))
        else:
            self.say("Up", report)

    def receive(self, lane, name, value):
        when = "before" if self.node is None else "after"
        demand((name == "Welcome") == (when == "before") or name == "Bye", f"a {name} {when} the welcome")
        demand((name in PIECES) == (lane == "bulk"), f"a {name} in the {lane} lane")
        match name:
            case "Welcome":
                self.node, self.key, oldest = value["node"], value["controller"], value["version_min"]
                demand(oldest <= VERSION <= value["version_max"], f"a welcome without version {VERSION}")
                demand(1 <= self.node <= value["last"], f"a welcome to node {self.node} to {value['last']}")
            case "Ping":
                self.say("Pong")
            case "Credit":
                self.credit += value
                demand(self.credit <= LIMITS.CREDIT_MAX, f"a credit of {self.credit} bytes in all")
            case "Bye":
                sys.exit(f"the parent ended the link: {value['message']}")
            case "Offer" | "Chunk" | "Packed" | "Copy" | "Down":
                getattr(self, name.lower())(*value.values())
            case "Missing":
                self.settle(value["hash"], "is not to be had")
            case _:
                demand(name == "Pong", f"a parent does not say {name}")

    def offer(self, name, kind, size):
        self.blobs.setdefault(name, SimpleNamespace(size=size, kinds=set(), data=b"")).kinds.add(kind)
        self.chunk(name, 0, b"", size)

    def chunk(self, name, offset, data, size=None):
        """The next bytes of a blob; with an offer none, but its size."""
        blob = self.blobs.get(name)
        if not blob or offset > len(blob.data) or size is None and offset + len(data) <= len(blob.data):
            return
        blob.data += data[len(blob.data) - offset:]
        left = blob.size - len(blob.data)
        if size not in (None, blob.size) or left < 0 or left == 0 and blake3(blob.data) != name:
            return self.damaged(name)
        self.settle()

    def packed(self, name, offset, size, dictionary, data):
        """Pieces of which something is new, and before which nothing is missing, are inflated."""
        known = self.known_bytes(name, offset, size, LIMITS.CHUNK_BYTES_MAX, **dictionary or {})
        if known is not None:
            inflate = zlib.decompressobj(-15, zdict=known)
            try:
                plain = inflate.decompress(data, size + 1)
            except zlib.error:
                plain = b""
            good = len(plain) == size and inflate.eof and not inflate.unused_data
            self.chunk(name, offset, plain) if good else self.damaged(name)

    def copy(self, name, offset, source, at, size):
        known = self.known_bytes(name, offset, size, LIMITS.COPY_BYTES_MAX, source, at, size)
        if known is not None:
            self.chunk(name, offset, known)

    def known_bytes(self, name, offset, size, most, source=None, at=0, bytes=0, **renamed):
        """What a piece refers to; None when it has nothing to give, or must not be looked at."""
        source, blob = renamed.get("from", source), self.blobs.get(name)
        have = len(blob.data) if blob else 0
        if not blob or have == blob.size or offset > have or size and offset + size <= have:
            return None
        if not 0 < size <= most or bytes > max(LIMITS.DICTIONARY_BYTES_MAX, most):
            return self.damaged(name)
        other = self.blobs.get(source) if source else None
        if source and (not other or len(other.data) != other.size):
            kinds = self.blobs.pop(name).kinds
            self.say("Dropped", {"hash": name})
            return self.say("Want", {"hash": name, "kind": min(kinds)})
        if source and at + bytes > other.size:
            return self.damaged(name)
        return other.data[at:at + bytes] if source else b""

    def damaged(self, name):
        del self.blobs[name]
        self.say("Dropped", {"hash": name})
        self.settle(name, "was damaged on its way")

    def settle(self, lost=None, why=None):
        """Executes the runs that have all they need, and ends those that wait for what is lost."""
        whole = {name: blob.kinds for name, blob in self.blobs.items() if len(blob.data) == blob.size}
        if lost not in whole:
            self.blobs.pop(lost, None)
        for run, (needs, given) in list(self.waiting.items()):
            wanted = [name for name, kind in needs if kind not in whole.get(name, ())]
            if not wanted:
                self.execute(run, *[self.blobs[name].data for name, _ in needs], given)
            elif lost in wanted:
                self.end(run, "Failed", f"the blob {lost.hex()} {why}")

    def down(self, to, order):
        demand(len(to) <= LIMITS.RANGES_MAX, f"an order for {len(to)} ranges")
        match variant(order) if self.inside(to) else None:
            case "Run", order:
                self.run(order["envelope"], order["signature"], *variant(order["input"]))
            case "Cancel", {"run": run} if run in self.waiting:
                self.end(run, "Cancelled", "the run was cancelled")
            case "Ping", ping:
                self.report("Pong", **ping)
            case "Stop", _:
                sys.exit()

    def inside(self, ranges):
        return any(part["first"] <= self.node <= part["last"] for part in ranges)

    def run(self, signed, signature, form, given):
        """The life of a run, up to the wait for blobs."""
        envelope = None
        try:
            demand(len(signed) <= LIMITS.ENVELOPE_BYTES_MAX, f"an envelope of {len(signed)} bytes")
            envelope = code("Envelope", Source(signed))
            run, once = envelope["run"], (envelope["run"], envelope["nonce"])
            if run in self.waiting:
                return
            demand(verify(self.key, signed, signature), "the envelope is not signed by the controller")
            demand(int(time.time()) <= envelope["expires"], "the envelope has expired")
            if once in self.known:
                return
            self.known.add(once)
            demand(self.inside(envelope["targets"]), "the envelope is for other nodes")
            params = given["hash"] if form == "Blob" else blake3(given)
            demand(params == envelope["params"], "the input is not what the envelope names")
            demand(envelope["wall"] != "Required" and not envelope["grants"], "no walls and no grants here")
        except Refused as why:
            if envelope:
                return self.end(run, "Refused", why)
            problem = {"code": "reader.envelope", "message": str(why), "hint": None}
            return self.report("DeadLetter", to=[{"first": self.node, "last": self.node}], problem=problem)
        artifacts = [one["hash"] for one in envelope["artifacts"] if one["engine"] == ENGINE]
        if not artifacts:
            self.known.remove(once)
            return self.report("NoArtifact", run=run, engine=ENGINE)
        needs = [(artifacts[0], "Artifact")] + ([(params, "File")] if form == "Blob" else [])
        self.waiting[run] = needs, given
        for name, kind in needs:
            if name not in self.blobs or kind not in self.blobs[name].kinds:
                self.say("Want", {"hash": name, "kind": kind})
        self.settle()

    def execute(self, run, artifact, data, *_):
        for state in ("Ready", "Running"):
            self.report("State", run=run, state=state)
        log = f"artifact of {len(artifact)} bytes, {blake3(artifact).hex()}; input of {len(data)} bytes\n"
        self.report("Output", run=run, stream="Log", bytes=log.encode())
        for at in range(0, len(data), LIMITS.CHUNK_BYTES_MAX):
            self.report("Output", run=run, stream="Stdout", bytes=data[at:at + LIMITS.CHUNK_BYTES_MAX])
        named = re.search(rb'"exit_code": *(\d{1,2})\b', data)
        exit_code = int(named[1]) if named else 0
        self.end(run, "Failed" if exit_code else "Ok", None, exit_code, len(data))

    def end(self, run, status, why=None, exit_code=None, stdout_bytes=0):
        self.waiting.pop(run, None)
        self.report("Result", run=run, proof=b"", outcome={
            "status": status, "exit_code": exit_code, "signal": None, "stdout_bytes": stdout_bytes,
            "stderr_bytes": 0, "stdout_truncated": False, "stderr_truncated": False, "ms": 0, "walls": [],
            "changes": 0, "audit": None,
            "problem": {"code": "reader.run", "message": str(why), "hint": None} if why else None})


if __name__ == "__main__":
    mode, argument = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
    stub = Stub()
    try:
        golden(argument) if mode == "--golden" else stub.serve(argument)
    except Refused as why:
        if mode == "--link":
            stub.say("Bye", {"code": "link.protocol", "message": str(why), "hint": None})
        sys.exit(f"refused: {why}")
