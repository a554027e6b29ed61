#!/usr/bin/env python3
"""A target that belongs to somebody else: it speaks the protocol, and says what it should not.

    hostile_target.py MANNER --link HOW

For tests/tests/e2e/attack/targets.rs. What is good of it comes from waft_reader.py.
"""

import json
import os
import sys

from waft_reader import LIMITS, Refused, Stub, encode_frame

# Sets a title, clears the screen, asks for the cursor, rings, begins a line of its own, turns text around.
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[6n\x9b31m\x08\r\nweb9: ok\n\x7f\u202etxt\u2066\u200b"
# What is far beyond its credit, and beyond what is kept of it: 8 MB.
FLOOD_FRAMES = 512
STREAMS = ["Stdout", "Stderr", "Log", "Progress", "Change", "Call"]


class Hostile(Stub):
    def __init__(self, manner):
        super().__init__()
        self.manner = manner

    def serve(self, how):
        if self.manner == "noise":
            os.write(2, (EVIL * 500).encode() + b"\xff\xfe" * 500)
            os.write(1, (EVIL * 500).encode())
            sys.exit(3)
        super().serve(how)

    def say(self, name, value=None):
        if name == "Hello" and self.manner == "long hello":
            value["release"] = "x" * (LIMITS.HELLO_BYTES_MAX + 1)
        elif name == "Hello" and self.manner == "old hello":
            value["version_min"], value["version_max"] = 7, 3
        elif name == "Hello" and self.manner != "good":
            for field in ("release", "hostname", "kernel", "user", "delivery"):
                value[field] = field + EVIL
            value["walls"] = [EVIL, "landlock" + EVIL, "seccomp"]
            value["policy"] = "Enforced"
        super().say(name, value)

    def problem(self):
        return {"code": "evil." + EVIL, "message": "it said " + EVIL, "hint": "do " + EVIL}

    def receive(self, lane, name, value):
        super().receive(lane, name, value)
        if name != "Welcome":
            return
        match self.manner:
            case "bye":
                self.say("Bye", self.problem())
                sys.exit(0)
            case "welcome":
                # What only a parent says.
                self.say("Welcome", value)
            case "unknown":
                self.link.write((3).to_bytes(2, "little") + b"\x00\xff\xff\x7f")
            case "long frame":
                self.link.write(b"\xff\xff\x00" + bytes(LIMITS.FRAME_BYTES_MAX))
            case "garbage":
                self.link.write(EVIL.encode() * 1000)
            case "others":
                for node in (0, self.node + 1, self.node - 1, 2**32 - 1):
                    self.say("Up", {"from": node, "report": {"Pong": {"nonce": 1}}})
                    self.say("Up", {"from": node, "report": {"DeadLetter": {
                        "to": [{"first": 0, "last": 2**32 - 1}], "problem": self.problem()}}})
                self.say("Up", {"from": self.node, "report": {"Gone": {"lost": True, "problem": self.problem()}}})
                self.say("Up", {"from": self.node, "report": {"Sign": {
                    "node": self.node, "host_key": EVIL.encode(), "session_id": b"x" * 32, "host_signature": b"",
                    "user": EVIL, "public_key": b"", "algorithm": EVIL, "to_sign": b"anything"}}})
                self.say("Up", {"from": self.node, "report": {"Violation": {"count": 1, "problem": self.problem()}}})

    def execute(self, run, artifact, data, *_):
        if self.manner == "flood":
            # What was never paid for, without end.
            chunk = encode_frame("bulk", [{"Up": {"from": self.node, "report": {"Output": {
                "run": run, "stream": "Stdout", "bytes": b"x" * LIMITS.CHUNK_BYTES_MAX}}}}])
            self.report("State", run=run, state="Running")
            for _ in range(FLOOD_FRAMES):
                self.link.write(chunk)
        lines = [
            {"call": EVIL, "subject": EVIL, "ok": False, "code": EVIL, "ms": 1},
            {"done": 1, "total": 2, "text": EVIL},
            {"path": "/etc/" + EVIL, "kind": "file", "change": "modified", "mode": ["0644", "0600"],
             "owner": [EVIL, EVIL], "bytes": [1, 2], "text": {"line": 1, "old": EVIL, "new": EVIL}},
            {"probe": EVIL},
        ]
        for stream in STREAMS:
            said = EVIL.encode() + b"\xff\x9b2J\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            said += json.dumps({"text": EVIL}, ensure_ascii=False).encode() + b"\n"
            self.report("Output", run=run, stream=stream, bytes=said)
        for state in ("Running", "Selected", "Ready", "Running", "Connecting", "Running"):
            self.report("State", run=run, state=state)
        if self.manner == "twice":
            self.report("Result", run=bytes(16), proof=b"", outcome=self.outcome("Ok"))
            self.report("Result", run=run, proof=EVIL.encode(), outcome=self.outcome("Ok"))
            self.report("Output", run=run, stream="Stdout", bytes=EVIL.encode())
            self.report("Result", run=run, proof=b"", outcome=self.outcome("Ok"))
        self.waiting.pop(run, None)
        self.report("Result", run=run, proof=b"", outcome=self.outcome("Failed"))

    def outcome(self, status):
        many = 600 if self.manner == "large" else 2
        return {
            "status": status, "exit_code": 2**32 - 1, "signal": -(2**31), "stdout_bytes": 2**64 - 1,
            "stderr_bytes": 0, "stdout_truncated": True, "stderr_truncated": False, "ms": 2**64 - 1,
            "walls": [EVIL] * many, "changes": 2**32 - 1, "audit": bytes(32), "problem": self.problem()}


if __name__ == "__main__":
    stub = Hostile(sys.argv[1])
    try:
        stub.serve(sys.argv[-1])
    except (Refused, BrokenPipeError) as why:
        sys.exit(f"refused: {why}")
