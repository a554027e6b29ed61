// The JavaScript binding of a waft task, in one file.
//
// A task reads its parameters with params(), prints one JSON object (result() does), logs to stderr. What WASI has no word
// for are the calls of waft:task/host (docs/waft-v1.md), wrapped here. Each throws a Problem when it was refused or
// failed: `code`, `message` and `hint` are the host's.
//
//     import { task } from "./waft.js";
//     export const run = task((params) => ({ changed: false, msg: `Hello, ${params.name}` }));
//
// Where the host comes from: use() is given it by what the component is built from (main.js of a project), and by a test,
// with fake().

/** A `read` or `write` moves no more at once, bytes. */
const PART_BYTES_MAX = 32 * 1024;
/** Exit codes that the tasks shipped with waft agree on. */
const FAILED = 1;
const USAGE = 2;
const REFUSED = 125;

/** Why a call, or a task, came to nothing: a stable code, a sentence, and what to do when that is known. */
export class Problem extends Error {
    constructor(code, message, hint = null) {
        super(message);
        this.name = "Problem";
        this.code = code;
        this.hint = hint;
    }
    toString() {
        return `${this.code}: ${this.message}${this.hint === null ? "" : `\nhint: ${this.hint}`}`;
    }
}

/** Ends the task as failed. */
export function fail(message, code = "task.failed", hint = null) {
    throw new Problem(code, message, hint);
}

let host = null;

/** Takes another host, and returns the one before. It has the functions of `waft:task/host`, and of WASI what the files
 *  main.js and fake() show: `stdin()`, `stdout(bytes)`, `stderr(bytes)`, `exit(code)`,
 *  `environment()` and `directories()`. */
export function use(other) {
    const before = host;
    host = other;
    given = null;
    return before;
}

function called(name, ...words) {
    if (host === null) {
        throw new Problem("waft.host", "there is no host: this is no target, and no test has put a fake here");
    }
    try {
        return host[name](...words);
    } catch (error) {
        if (error instanceof Problem) throw error;
        // A `problem` of the component model: the record itself, or an error that has it.
        const why = error?.payload ?? error;
        if (typeof why?.code !== "string" || typeof why?.message !== "string") throw error;
        throw new Problem(why.code, why.message, why.hint ?? null);
    }
}

function ask(name, request) {
    return JSON.parse(called(name, JSON.stringify(request)));
}

// ---- texts and bytes

/** UTF-8 of a text. */
export function encode(text) {
    const bytes = [];
    for (const sign of String(text)) {
        let code = sign.codePointAt(0);
        // Half of a surrogate pair is no character.
        if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
        if (code < 0x80) bytes.push(code);
        else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
        else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
        else {
            bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
        }
    }
    return new Uint8Array(bytes);
}

/** The text of UTF-8; what is none becomes U+FFFD. */
export function decode(bytes) {
    const parts = [];
    let text = "";
    for (let at = 0; at < bytes.length; ) {
        const first = bytes[at++];
        let more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
        let code = more < 0 ? 0xfffd : more === 0 ? first : first & (0x3f >> more);
        // The second byte is what keeps out surrogates, long forms and what is beyond Unicode.
        let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
        let high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
        for (; more > 0; more--) {
            const next = bytes[at];
            if (!(next >= low && next <= high)) {
                code = 0xfffd;
                break;
            }
            code = (code << 6) | (next & 63);
            at++;
            low = 0x80;
            high = 0xbf;
        }
        text += String.fromCodePoint(code);
        if (text.length > 8192) {
            parts.push(text);
            text = "";
        }
    }
    return parts.join("") + text;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function toBase64(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; at += 3) {
        const [a, b, c] = [bytes[at], bytes[at + 1], bytes[at + 2]];
        text += DIGITS[a >> 2] + DIGITS[((a & 3) << 4) | ((b ?? 0) >> 4)];
        text += b === undefined ? "=" : DIGITS[((b & 15) << 2) | ((c ?? 0) >> 6)];
        text += c === undefined ? "=" : DIGITS[c & 63];
    }
    return text;
}

export function fromBase64(text) {
    const bytes = [];
    let [value, bits] = [0, 0];
    for (const digit of text.replace(/=+$/, "")) {
        const number = DIGITS.indexOf(digit);
        if (number < 0) throw new Problem("waft.base64", "this is no base64");
        value = ((value << 6) | number) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push((value >> bits) & 255);
        }
    }
    return new Uint8Array(bytes);
}

const bytesOf = (data) => (typeof data === "string" ? encode(data) : data);

// ---- what the task was given, and what it answers

let given = null;

/** The parameters, an object. What was read from stdin once is kept. */
export function params() {
    if (given === null) {
        const text = decode(called("stdin")).trim();
        let value;
        try {
            value = text === "" ? {} : JSON.parse(text);
        } catch (error) {
            throw new Problem("params.invalid", `the parameters are no JSON: ${error.message}`);
        }
        if (value === null || typeof value !== "object" || Array.isArray(value)) {
            throw new Problem("params.invalid", "the parameters are no JSON object");
        }
        given = value;
    }
    return given;
}

/** The variables of the task: `WAFT_TASK`, `WAFT_RUN`, `WAFT_TARGET`, `WAFT_CHECK`. */
export function environment() {
    return Object.fromEntries(called("environment"));
}

/** Whether this is a dry run: change nothing, and say what would be changed. */
export function isCheck() {
    return "WAFT_CHECK" in environment();
}

/** A line on stdout. */
export function print(text) {
    called("stdout", encode(`${text}\n`));
}

/** A line on stderr, which is the log of a task. */
export function printError(text) {
    called("stderr", encode(`${text}\n`));
}

/** JSON as waft reads it: half of a surrogate pair, as a cut text may end with, becomes U+FFFD. Of a text JSON.stringify
 *  escapes as \udXXX nothing else. */
export function json(value) {
    return JSON.stringify(value).replace(/\\(?:(ud[89a-f]..)|.)/g, (escaped, half) => (half ? "\ufffd" : escaped));
}

/** Prints the result: `changed`, `msg`, and fields of the task's own. To be called once. */
export function result(changed = false, msg = null, fields = {}) {
    print(json({ changed: Boolean(changed), ...(msg === null ? {} : { msg: String(msg) }), ...fields }));
}

/** Ends the task here and now, with this code. */
export function exit(code) {
    called("exit", code);
}

/** Runs `main(params)`, prints the result that it returns, and returns the exit code. */
export function start(main) {
    try {
        const answer = main(params()) ?? {};
        print(json({ changed: false, ...answer }));
        return 0;
    } catch (error) {
        if (!(error instanceof Problem)) {
            printError(`${error}\n${error?.stack ?? ""}`.trimEnd());
            return FAILED;
        }
        const { code, message, hint } = error;
        result(false, message, { error: { code, message, hint } });
        return { params: USAGE, grant: REFUSED }[code.split(".")[0]] ?? FAILED;
    }
}

/** What a component exports as `run`. */
export function task(main) {
    return {
        main,
        run() {
            const code = start(main);
            if (code !== 0) {
                exit(code);
            }
        },
    };
}

// ---- the calls

/** What the target is. Needs the grant `facts`. */
export function facts() {
    return ask("facts", {});
}

/** Starts a program and waits for it. `options`: `input` (text or bytes), `env`, `cwd`, `user`, `timeoutMs`, `stdout`,
 *  `stderr` ("capture", "inherit", "null"), `limitBytes`, `confine`; with `check`, another exit code than 0 is a Problem.
 *  Answers `exitCode` (null when a signal ended it), `ok`, `signal`, `timedOut`, `stdout`, `stderr` (texts),
 *  `stdoutBytes`, `stderrBytes`, `stdoutTruncated`, `stderrTruncated`, `ms`. Needs `exec:`. */
export function run(argv, options = {}) {
    const { input, env, cwd, user, timeoutMs, stdout, stderr, limitBytes, confine, check } = options;
    const request = { argv, env, cwd, user, timeout_ms: timeoutMs, stdout, stderr, limit_bytes: limitBytes, confine };
    if (input !== undefined) request.stdin_base64 = toBase64(bytesOf(input));
    const answer = ask("exec", request);
    const captured = (name) => answer[name] !== undefined ? encode(answer[name]) : fromBase64(answer[`${name}_base64`] ?? "");
    const [out, err] = [captured("stdout"), captured("stderr")];
    const program = {
        exitCode: answer.exit_code ?? null,
        ok: answer.exit_code === 0,
        signal: answer.signal ?? null,
        timedOut: Boolean(answer.timed_out),
        stdout: answer.stdout ?? decode(out),
        stderr: answer.stderr ?? decode(err),
        stdoutBytes: out,
        stderrBytes: err,
        stdoutTruncated: Boolean(answer.stdout_truncated),
        stderrTruncated: Boolean(answer.stderr_truncated),
        ms: answer.ms,
    };
    if (check && !program.ok) {
        const how = program.timedOut ? "its time was over"
            : program.exitCode === null ? `signal ${program.signal}` : `exit code ${program.exitCode}`;
        throw new Problem("exec.failed", `${argv[0]} failed (${how}): ${program.stderr.trim().slice(-2000)}`);
    }
    return program;
}

/** Modes, owners, links, times, attributes: what WASI lacks. `op` and fields as in docs/waft-v1.md. Needs `fs:`. */
export function file(op, path, fields = {}) {
    return ask("file", { op, path, ...fields });
}

/** Runs another task that was sent with the run: `status`, `result` or `stdout`, `problem`. Needs `call:NAME`. */
export function call(name, parameters = {}) {
    return ask("task", { name, params: parameters });
}

/** The value of a secret: text, or bytes when it is no UTF-8. Needs `secret:NAME`. */
export function secret(name) {
    const { value, base64 } = ask("secret", { name });
    return base64 === undefined ? value : fromBase64(base64);
}

/** Lines for the log of the run. */
export function log(...words) {
    ask("emit", { log: words.map(String).join(" ") });
}

/** How far the task is; whole numbers. Cheap to call often. */
export function progress(done, total, text) {
    ask("emit", { progress: { done, total, text } });
}

class Handle {
    /** At most `limit` bytes; none at the end. */
    read(limit = PART_BYTES_MAX) {
        return Uint8Array.from(called("read", this.handle, Math.min(limit, PART_BYTES_MAX)));
    }
    /** All that comes. */
    readAll() {
        const parts = [];
        for (let part = this.read(); part.length > 0; part = this.read()) parts.push(part);
        return joined(parts);
    }
}

function joined(parts) {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        all.set(part, at);
        at += part.length;
    }
    return all;
}

/** A file that was sent with the run, by its parameter (`-p NAME@FILE`) or hash. `size` is all of it, bytes. Needs
 *  `blob:HASH`, which `-p` gives. */
export class Blob extends Handle {
    constructor(blob, { offset, length } = {}) {
        super();
        const answer = ask("blob", { hash: blob?.hash ?? blob, offset, length });
        this.handle = answer.handle;
        this.size = answer.bytes;
    }
    close() {
        ask("blob", { close: this.handle });
    }
}

/** A TCP connection, which the host holds. `address` is what was connected to. Needs `net:HOST:PORT`. */
export class Connection extends Handle {
    constructor(name, port, { timeoutMs } = {}) {
        super();
        const answer = ask("net", { op: "open", host: name, port, timeout_ms: timeoutMs });
        this.handle = answer.handle;
        this.address = answer.address;
    }
    /** All of a text, or bytes. */
    write(data) {
        let bytes = bytesOf(data);
        while (bytes.length > 0) {
            bytes = bytes.subarray(called("write", this.handle, bytes.subarray(0, PART_BYTES_MAX)));
        }
    }
    /** Nothing more is written, and the other side reads the end. */
    shutdown() {
        ask("net", { op: "shutdown", handle: this.handle });
    }
    close() {
        ask("net", { op: "close", handle: this.handle });
    }
}

export function connect(name, port, options) {
    return new Connection(name, port, options);
}

/** The addresses of a host that a grant names. */
export function resolve(name) {
    return ask("net", { op: "resolve", host: name }).addresses;
}

// ---- files of granted directories, by WASI. Paths are absolute. Those of one granted directory end there.

function beneath(path) {
    const parts = String(path).split("/").filter((part) => part !== "" && part !== ".");
    const clean = `/${parts.join("/")}`;
    let best = null;
    for (const [directory, name] of called("directories")) {
        const inside = clean === name || name === "/" || clean.startsWith(`${name}/`);
        if (inside && (best === null || name.length > best.name.length)) best = { directory, name };
    }
    if (best === null || !String(path).startsWith("/")) {
        throw new Problem("grant.missing", `${path} is in no granted directory`, `waft run .. --allow fs:${clean}:rw`);
    }
    return [best.directory, clean.slice(best.name === "/" ? 1 : best.name.length + 1) || "."];
}

/** `no-entry`, `exist`, `read-only` and the like become a Problem `file.no-entry`. */
function inFile(path, work) {
    try {
        return work(...beneath(path));
    } catch (error) {
        if (error instanceof Problem) throw error;
        const why = error?.payload ?? error;
        if (typeof why !== "string") throw error;
        throw new Problem(`file.${why}`, `${path}: ${why.replaceAll("-", " ")}`);
    }
}

const FOLLOW = { symlinkFollow: true };

/** The bytes of a file. */
export function readBytes(path) {
    return inFile(path, (directory, rest) => {
        const file = directory.openAt(FOLLOW, rest, {}, { read: true });
        const parts = [];
        for (let at = 0, end = false; !end; ) {
            const [part, last] = file.read(PART_BYTES_MAX, at);
            parts.push(Uint8Array.from(part));
            at += part.length;
            end = last || part.length === 0;
        }
        return joined(parts);
    });
}

/** The text of a file. */
export function readFile(path) {
    return decode(readBytes(path));
}

function put(path, data, open, from) {
    inFile(path, (directory, rest) => {
        const file = directory.openAt(FOLLOW, rest, open, { write: true });
        let bytes = bytesOf(data);
        let at = from(file);
        while (bytes.length > 0) {
            const wrote = Number(file.write(bytes.subarray(0, PART_BYTES_MAX), at));
            bytes = bytes.subarray(wrote);
            at += wrote;
        }
    });
}

/** Makes the file, or writes it anew. `data` is text or bytes. */
export function writeFile(path, data) {
    put(path, data, { create: true, truncate: true }, () => 0);
}

/** Writes behind what is there. */
export function appendFile(path, data) {
    put(path, data, { create: true }, (file) => Number(file.stat().size));
}

export function exists(path) {
    try {
        inFile(path, (directory, rest) => directory.statAt(FOLLOW, rest));
        return true;
    } catch (error) {
        if (error instanceof Problem && error.code === "file.no-entry") return false;
        throw error;
    }
}

/** Names in a directory, sorted. */
export function listDir(path) {
    return inFile(path, (directory, rest) => {
        const opened = directory.openAt(FOLLOW, rest, { directory: true }, { read: true });
        const entries = opened.readDirectory();
        const names = [];
        for (let entry = entries.readDirectoryEntry(); entry; entry = entries.readDirectoryEntry()) names.push(entry.name);
        return names.sort();
    });
}

export function makeDir(path) {
    inFile(path, (directory, rest) => directory.createDirectoryAt(rest));
}

export function removeDir(path) {
    inFile(path, (directory, rest) => directory.removeDirectoryAt(rest));
}

export function removeFile(path) {
    inFile(path, (directory, rest) => directory.unlinkFileAt(rest));
}

// ---- tests

/** A host for tests: `fake({ facts: {..}, exec: [{..}, ..], file: (request) => ({..}) })` says what each call answers: one
 *  answer for all times, several in their order, or a function of the request; an answer may be a Problem. `read` are the
 *  bytes that reads return. What was asked is in `asked`, what was written in `written`. */
export function fake(answers = {}) {
    const self = { asked: [], written: [], out: "", err: "", stdinText: "", variables: [] };
    let bytes = bytesOf(answers.read ?? "");
    for (const name of ["exec", "facts", "file", "net", "task", "blob", "secret", "emit"]) {
        self[name] = (text) => {
            const request = JSON.parse(text);
            self.asked.push([name, request]);
            if (name === "emit") return "{}";
            let answer = answers[name] ?? new Problem("grant.missing", `the test gives no ${name}`);
            if (Array.isArray(answer)) answer = answer.shift();
            if (typeof answer === "function") answer = answer(request);
            if (answer instanceof Problem) throw answer;
            return JSON.stringify(answer);
        };
    }
    self.read = (_, limit) => {
        const part = bytes.slice(0, limit);
        bytes = bytes.slice(limit);
        return part;
    };
    self.write = (_, part) => {
        self.written.push(...part);
        return part.length;
    };
    self.stdin = () => encode(self.stdinText);
    self.stdout = (part) => { self.out += decode(part); };
    self.stderr = (part) => { self.err += decode(part); };
    self.environment = () => self.variables;
    self.directories = () => [];
    /** Runs a task with these parameters: its exit code and its result. */
    self.run = (tried, parameters = {}, { check = false } = {}) => {
        const before = use(self);
        self.stdinText = JSON.stringify(parameters);
        self.variables = check ? [["WAFT_CHECK", "1"]] : [];
        self.out = "";
        try {
            const code = start(tried.main);
            return { code, result: JSON.parse(self.out || "{}") };
        } finally {
            use(before);
        }
    };
    return self;
}
