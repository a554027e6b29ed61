// Gives waft.js its host in a component. Of its own, so that a test can load a task where there is none.

import environment from "wasi:cli/environment@0.2.12";
import exit from "wasi:cli/exit@0.2.12";
import preopens from "wasi:filesystem/preopens@0.2.12";
import random from "wasi:random/random@0.2.12";
import stderr from "wasi:cli/stderr@0.2.12";
import stdin from "wasi:cli/stdin@0.2.12";
import stdout from "wasi:cli/stdout@0.2.12";
import host from "waft:task/host@1.0.0";
import { use } from "./waft.js";

/** What a stream takes at once, bytes. */
const WRITE_BYTES_MAX = 4096;
const READ_BYTES_MAX = 65536;

function readAll() {
    const stream = stdin.getStdin();
    const bytes = [];
    for (;;) {
        try {
            const part = stream.blockingRead(READ_BYTES_MAX);
            for (const byte of part) bytes.push(byte);
        } catch (error) {
            if ((error?.payload ?? error)?.tag === "closed") return bytes;
            throw error;
        }
    }
}

function write(stream, bytes) {
    for (let at = 0; at < bytes.length; at += WRITE_BYTES_MAX) {
        stream.blockingWriteAndFlush(bytes.subarray(at, at + WRITE_BYTES_MAX));
    }
}

const all = {
    stdin: readAll,
    stdout: (bytes) => write(stdout.getStdout(), bytes),
    stderr: (bytes) => write(stderr.getStderr(), bytes),
    environment: () => environment.getEnvironment(),
    directories: () => preopens.getDirectories(),
    exit: (code) => exit.exitWithCode(code),
};
for (const name of ["exec", "facts", "file", "net", "task", "blob", "secret", "emit", "read", "write"]) {
    all[name] = (...words) => host[name](...words);
}
use(all);

// QuickJS seeds its own generator when the component is built: every run would have the same numbers.
Math.random = () => {
    // A number has 53 bits: five, and those of six bytes.
    const [first, ...others] = random.getRandomBytes(7);
    return others.reduce((number, byte) => number * 256 + byte, first & 31) / 2 ** 53;
};
