// The AssemblyScript binding of a waft task, in one file.
//
// A task reads one JSON object from stdin, prints one, and logs to stderr; `start(run)` does that around its work. What
// WASI has no word for are the calls of `waft_v1` (docs/waft-v1.md), wrapped here. AssemblyScript cannot catch what is
// thrown, so a call that was refused or failed answers with a `problem`, which is null when all is well.
//
//     import { Json, Outcome, start } from "./waft";
//     function run(params: Json): Outcome { return Outcome.ok().say("Hello, " + params.get("name").text + "!"); }
//     start(run);

// ---- what the host has

// @ts-ignore: decorator
@external("waft_v1", "exec") declare function waft_exec(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "facts") declare function waft_facts(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "file") declare function waft_file(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "net") declare function waft_net(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "task") declare function waft_task(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "blob") declare function waft_blob(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "secret") declare function waft_secret(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "emit") declare function waft_emit(request: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "take") declare function waft_take(buffer: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "read") declare function waft_read(handle: u32, buffer: usize, length: usize): i32;
// @ts-ignore: decorator
@external("waft_v1", "write") declare function waft_write(handle: u32, bytes: usize, length: usize): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read") declare function fd_read(fd: u32, vectors: usize, count: usize, done: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write") declare function fd_write(fd: u32, vectors: usize, count: usize, done: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close") declare function fd_close(fd: u32): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_get") declare function fd_prestat_get(fd: u32, into: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_dir_name") declare function fd_prestat_dir_name(fd: u32, path: usize, length: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_open") declare function path_open(
  dir: u32, follow: u32, path: usize, length: usize, open: u16, rights: u64, inheriting: u64, flags: u16, fd: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "environ_sizes_get") declare function environ_sizes_get(count: usize, bytes: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "environ_get") declare function environ_get(names: usize, text: usize): u16;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "proc_exit") declare function proc_exit(code: u32): void;

/** A `read` or `write` moves no more at once, bytes. */
const PART_BYTES_MAX: i32 = 32 * 1024;
/** Values in each other that JSON may have here. */
const DEPTH_MAX: i32 = 128;
/** Exit codes that the tasks shipped with waft agree on. */
const FAILED: u32 = 1;
const USAGE: u32 = 2;
const REFUSED: u32 = 125;
/** `read` or `write` failed: `take` gives the reason. */
const HAS_REASON: i32 = -4;

// ---- JSON

export enum Kind { Missing, Null, Bool, Number, Text, List, Object }

/** A value of JSON. Of what is not there every part is `Missing`, so that paths need no checks on their way. */
export class Json {
  kind: Kind = Kind.Missing;
  bool: bool = false;
  /** Of a text what it says, of a number its digits. */
  text: string = "";
  /** Of a list its values, of an object those of `names`. */
  items: Array<Json> = [];
  names: Array<string> = [];

  static of(kind: Kind): Json {
    const made = new Json();
    made.kind = kind;
    return made;
  }
  static from(text: string): Json {
    const made = Json.of(Kind.Text);
    made.text = text;
    return made;
  }
  static number(value: f64): Json {
    // JSON has no word for these.
    if (!isFinite(value)) return Json.of(Kind.Null);
    const made = Json.of(Kind.Number);
    made.text = value == Math.trunc(value) && Math.abs(value) < 9e15 ? (<i64>value).toString() : value.toString();
    return made;
  }
  static integer(value: i64): Json {
    const made = Json.of(Kind.Number);
    made.text = value.toString();
    return made;
  }
  static truth(value: bool): Json {
    const made = Json.of(Kind.Bool);
    made.bool = value;
    return made;
  }
  static texts(words: Array<string>): Json {
    const made = Json.of(Kind.List);
    for (let i = 0; i < words.length; i++) made.items.push(Json.from(words[i]));
    return made;
  }
  static object(): Json {
    return Json.of(Kind.Object);
  }

  /** In an object; another value of that name is gone. Returns the object. */
  set(name: string, value: Json): Json {
    const at = this.names.indexOf(name);
    if (at >= 0) {
      this.items[at] = value;
    } else {
      this.names.push(name);
      this.items.push(value);
    }
    return this;
  }
  get(name: string): Json {
    const at = this.kind == Kind.Object ? this.names.indexOf(name) : -1;
    return at >= 0 ? this.items[at] : new Json();
  }
  at(index: i32): Json {
    return this.kind == Kind.List && index >= 0 && index < this.items.length ? this.items[index] : new Json();
  }
  get isThere(): bool {
    return this.kind != Kind.Missing && this.kind != Kind.Null;
  }
  get value(): f64 {
    return this.kind == Kind.Number ? F64.parseFloat(this.text) : NaN;
  }
  get whole(): i64 {
    return this.kind == Kind.Number ? I64.parseInt(this.text) : 0;
  }

  toString(): string {
    const parts: Array<string> = [];
    this.put(parts);
    return parts.join("");
  }
  private put(parts: Array<string>): void {
    switch (this.kind) {
      case Kind.Bool:
        parts.push(this.bool ? "true" : "false");
        break;
      case Kind.Number:
        parts.push(this.text);
        break;
      case Kind.Text:
        parts.push(quoted(this.text));
        break;
      case Kind.List:
      case Kind.Object: {
        const isObject = this.kind == Kind.Object;
        parts.push(isObject ? "{" : "[");
        for (let i = 0; i < this.items.length; i++) {
          if (i > 0) parts.push(",");
          if (isObject) parts.push(quoted(this.names[i]) + ":");
          this.items[i].put(parts);
        }
        parts.push(isObject ? "}" : "]");
        break;
      }
      default:
        parts.push("null");
    }
  }

  /** One value and nothing else; null when it is none. */
  static parse(text: string): Json | null {
    const reader = new Reader(text);
    const read = reader.value(0);
    reader.blanks();
    return reader.broken || reader.at < text.length ? null : read;
  }
}

function quoted(text: string): string {
  const parts: Array<string> = ['"'];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const sign = text.charCodeAt(i);
    if (sign >= 0x20 && sign != 0x22 && sign != 0x5c) continue;
    parts.push(text.substring(from, i));
    from = i + 1;
    if (sign == 0x22) parts.push('\\"');
    else if (sign == 0x5c) parts.push("\\\\");
    else if (sign == 0x0a) parts.push("\\n");
    else if (sign == 0x09) parts.push("\\t");
    else parts.push("\\u00" + (sign < 16 ? "0" : "") + sign.toString(16));
  }
  parts.push(text.substring(from));
  parts.push('"');
  return parts.join("");
}

class Reader {
  at: i32 = 0;
  broken: bool = false;
  constructor(private text: string) {}

  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }
  blanks(): void {
    for (let sign = this.peek(); sign == 0x20 || sign == 0x0a || sign == 0x0d || sign == 0x09; sign = this.peek()) this.at++;
  }
  private fail(): Json {
    this.broken = true;
    return new Json();
  }
  private word(word: string, made: Json): Json {
    if (!this.text.startsWith(word, this.at)) return this.fail();
    this.at += word.length;
    return made;
  }
  private is(sign: i32): bool {
    this.blanks();
    if (this.peek() != sign) return false;
    this.at++;
    return true;
  }

  value(depth: i32): Json {
    this.blanks();
    if (depth > DEPTH_MAX) return this.fail();
    switch (this.peek()) {
      case 0x6e: // n
        return this.word("null", Json.of(Kind.Null));
      case 0x74: // t
        return this.word("true", Json.truth(true));
      case 0x66: // f
        return this.word("false", Json.truth(false));
      case 0x22: // "
        return Json.from(this.string());
      case 0x5b: { // [
        this.at++;
        const list = Json.of(Kind.List);
        if (this.is(0x5d)) return list;
        do {
          list.items.push(this.value(depth + 1));
        } while (!this.broken && this.is(0x2c));
        return !this.broken && this.is(0x5d) ? list : this.fail();
      }
      case 0x7b: { // {
        this.at++;
        const object = Json.object();
        if (this.is(0x7d)) return object;
        do {
          this.blanks();
          if (this.peek() != 0x22) return this.fail();
          const name = this.string();
          if (this.broken || !this.is(0x3a)) return this.fail();
          object.set(name, this.value(depth + 1));
        } while (!this.broken && this.is(0x2c));
        return !this.broken && this.is(0x7d) ? object : this.fail();
      }
      default:
        return this.number();
    }
  }

  private digits(): bool {
    const from = this.at;
    for (let sign = this.peek(); sign >= 0x30 && sign <= 0x39; sign = this.peek()) this.at++;
    return this.at > from;
  }
  private number(): Json {
    const from = this.at;
    if (this.peek() == 0x2d) this.at++;
    if (this.peek() == 0x30) this.at++;
    else if (!this.digits()) return this.fail();
    if (this.peek() == 0x2e) {
      this.at++;
      if (!this.digits()) return this.fail();
    }
    if ((this.peek() | 0x20) == 0x65) {
      this.at++;
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.at++;
      if (!this.digits()) return this.fail();
    }
    const made = Json.of(Kind.Number);
    made.text = this.text.substring(from, this.at);
    return made;
  }

  private string(): string {
    this.at++;
    const parts: Array<string> = [];
    let from = this.at;
    while (true) {
      const sign = this.peek();
      if (sign < 0x20) {
        this.broken = true;
        return "";
      }
      if (sign == 0x22) break;
      this.at++;
      if (sign != 0x5c) continue;
      parts.push(this.text.substring(from, this.at - 1));
      parts.push(this.escaped());
      from = this.at;
      if (this.broken) return "";
    }
    parts.push(this.text.substring(from, this.at));
    this.at++;
    return parts.join("");
  }
  private escaped(): string {
    const sign = this.peek();
    this.at++;
    switch (sign) {
      case 0x22: return '"';
      case 0x5c: return "\\";
      case 0x2f: return "/";
      case 0x62: return "\b";
      case 0x66: return "\f";
      case 0x6e: return "\n";
      case 0x72: return "\r";
      case 0x74: return "\t";
      case 0x75: {
        let code = 0;
        for (let i = 0; i < 4; i++) {
          const digit = this.peek() | 0x20;
          const number = digit >= 0x30 && digit <= 0x39 ? digit - 0x30 : digit >= 0x61 && digit <= 0x66 ? digit - 0x57 : -1;
          if (number < 0) this.broken = true;
          code = (code << 4) | (number & 15);
          this.at++;
        }
        return String.fromCharCode(code);
      }
      default:
        this.broken = true;
        return "";
    }
  }
}

// ---- bytes and texts

/** UTF-8 of a text; half of a surrogate pair, as `decode` makes of what is no UTF-8, becomes U+FFFD. */
export function encode(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE));
}

export function decode(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function toBase64(bytes: Uint8Array): string {
  const parts: Array<string> = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const three = (<u32>bytes[i] << 16) | (left > 1 ? <u32>bytes[i + 1] << 8 : 0) | (left > 2 ? <u32>bytes[i + 2] : 0);
    parts.push(DIGITS.charAt(three >> 18) + DIGITS.charAt((three >> 12) & 63));
    parts.push(left > 1 ? DIGITS.charAt((three >> 6) & 63) : "=");
    parts.push(left > 2 ? DIGITS.charAt(three & 63) : "=");
  }
  return parts.join("");
}

/** What is no digit of it is passed over. */
export function fromBase64(text: string): Uint8Array {
  const bytes = new Uint8Array((text.length * 3) / 4 + 1);
  let at = 0;
  let value: u32 = 0;
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = DIGITS.indexOf(text.charAt(i));
    if (digit < 0) continue;
    value = (value << 6) | <u32>digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = <u8>(value >> bits);
    }
  }
  return bytes.slice(0, at);
}

// ---- calls

/** Why a call came to nothing: a stable code, a sentence, and what to do ("" when that is not known). */
export class Problem {
  constructor(public code: string, public message: string, public hint: string = "") {}
  toString(): string {
    return this.code + ": " + this.message + (this.hint == "" ? "" : "\nhint: " + this.hint);
  }
  static of(error: Json): Problem {
    return new Problem(error.get("code").text, error.get("message").text, error.get("hint").text);
  }
}

/** What came of a call. */
export class Answer {
  constructor(public json: Json, public problem: Problem | null) {}
}

/** Bytes, or why there are none. */
export class Bytes {
  constructor(public bytes: Uint8Array, public problem: Problem | null) {}
}

type Import = (request: usize, length: usize) => i32;

function taken(length: i32): string {
  const buffer = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const some = waft_take(buffer.dataStart + at, length - at);
    if (some <= 0) break;
    at += some;
  }
  return String.UTF8.decodeUnsafe(buffer.dataStart, at);
}

function ask(name: string, call: Import, request: Json): Answer {
  const text = String.UTF8.encode(request.toString());
  const length = call(changetype<usize>(text), text.byteLength);
  if (length < 0) {
    const why = length == -2 ? "it is longer than 1 MiB" : "the host answered " + length.toString();
    return new Answer(new Json(), new Problem("waft_v1.call", "the request of `" + name + "` was not taken: " + why));
  }
  const json = Json.parse(taken(length));
  if (json == null) return new Answer(new Json(), new Problem("waft_v1.reply", "the answer to `" + name + "` is no JSON"));
  const error = json.get("error");
  return new Answer(json, error.isThere ? Problem.of(error) : null);
}

function reason(name: string): Problem {
  const json = Json.parse(taken(16 * 1024));
  return json == null ? new Problem("waft_v1.call", "a `" + name + "` failed") : Problem.of(json.get("error"));
}

/** What the target is. Needs the grant `facts`. */
export function facts(): Answer {
  return ask("facts", waft_facts, Json.object());
}

/** Starts a program and waits for it; further fields of the request, as in docs/waft-v1.md, may be in `fields`. The answer
 *  has `exit_code`, `stdout`, .. Needs `exec:`. */
export function exec(argv: Array<string>, fields: Json = Json.object()): Answer {
  return ask("exec", waft_exec, fields.set("argv", Json.texts(argv)));
}

/** Modes, owners, links, times, attributes: what WASI lacks. Needs `fs:`. */
export function file(op: string, path: string, fields: Json = Json.object()): Answer {
  return ask("file", waft_file, fields.set("op", Json.from(op)).set("path", Json.from(path)));
}

/** Runs another task that was sent with the run: `status`, `result` or `stdout`, `problem`. Needs `call:NAME`. */
export function call(name: string, params: Json = Json.object()): Answer {
  return ask("task", waft_task, Json.object().set("name", Json.from(name)).set("params", params));
}

/** The value of a secret. Needs `secret:NAME`. */
export function secret(name: string): Bytes {
  const answer = ask("secret", waft_secret, Json.object().set("name", Json.from(name)));
  const base64 = answer.json.get("base64");
  return new Bytes(base64.isThere ? fromBase64(base64.text) : encode(answer.json.get("value").text), answer.problem);
}

/** Lines for the log of the run. */
export function log(text: string): void {
  ask("emit", waft_emit, Json.object().set("log", Json.from(text)));
}

/** How far the task is. A total of 0, and an empty text, are not said. Cheap to call often. */
export function progress(done: i64, total: i64 = 0, text: string = ""): void {
  const said = Json.object().set("done", Json.integer(done));
  if (total > 0) said.set("total", Json.integer(total));
  if (text != "") said.set("text", Json.from(text));
  ask("emit", waft_emit, Json.object().set("progress", said));
}

/** The addresses of a host that a grant names: `addresses`. */
export function resolve(host: string): Answer {
  return ask("net", waft_net, Json.object().set("op", Json.from("resolve")).set("host", Json.from(host)));
}

/** Something behind a handle. Look at `problem` first. */
class Handle {
  handle: u32 = 0;
  problem: Problem | null = null;

  /** The next bytes; none at the end, or when `problem` says why. */
  read(limit: i32 = PART_BYTES_MAX): Uint8Array {
    const room = min(limit, PART_BYTES_MAX);
    const buffer = new Uint8Array(room);
    const count = waft_read(this.handle, buffer.dataStart, room);
    if (count < 0) this.problem = count == HAS_REASON ? reason("read") : new Problem("waft_v1.call", "a `read` failed");
    return buffer.slice(0, max(count, 0));
  }
  /** All that comes. */
  readAll(): Uint8Array {
    let all = new Uint8Array(0);
    for (let part = this.read(); part.length > 0; part = this.read()) {
      const longer = new Uint8Array(all.length + part.length);
      longer.set(all);
      longer.set(part, all.length);
      all = longer;
    }
    return all;
  }
  /** All of the bytes; false when `problem` says why not. */
  write(bytes: Uint8Array): bool {
    for (let at = 0; at < bytes.length; ) {
      const count = waft_write(this.handle, bytes.dataStart + at, min(bytes.length - at, PART_BYTES_MAX));
      if (count <= 0) {
        this.problem = count == HAS_REASON ? reason("write") : new Problem("waft_v1.call", "a `write` failed");
        return false;
      }
      at += count;
    }
    return true;
  }
}

/** A file that was sent with the run, by its parameter (`-p NAME@FILE`). Needs `blob:HASH`, which `-p` gives. */
export class Blob extends Handle {
  /** Bytes, all of it. */
  size: i64 = 0;
  constructor(blob: Json) {
    super();
    const hash = blob.kind == Kind.Object ? blob.get("hash") : blob;
    const answer = ask("blob", waft_blob, Json.object().set("hash", hash));
    this.problem = answer.problem;
    this.handle = <u32>answer.json.get("handle").whole;
    this.size = answer.json.get("bytes").whole;
  }
  close(): void {
    ask("blob", waft_blob, Json.object().set("close", Json.integer(this.handle)));
  }
}

/** A TCP connection, which the host holds. Needs `net:HOST:PORT`. */
export class Connection extends Handle {
  /** What was connected to. */
  address: string = "";
  constructor(host: string, port: i32) {
    super();
    const request = Json.object().set("op", Json.from("open")).set("host", Json.from(host)).set("port", Json.integer(port));
    const answer = ask("net", waft_net, request);
    this.problem = answer.problem;
    this.handle = <u32>answer.json.get("handle").whole;
    this.address = answer.json.get("address").text;
  }
  private done(op: string): void {
    this.problem = ask("net", waft_net, Json.object().set("op", Json.from(op)).set("handle", Json.integer(this.handle))).problem;
  }
  /** Nothing more is written, and the other side reads the end. */
  shutdown(): void {
    this.done("shutdown");
  }
  close(): void {
    this.done("close");
  }
}

// ---- files of granted directories, by WASI. Paths are absolute.

/** Room for what WASI writes: two vectors, numbers. */
const SCRATCH = memory.data(32);
const FIRST_GRANTED_FD: u32 = 3;
const FOLLOW: u32 = 1;
const CREATE: u16 = 1;
const TRUNCATE: u16 = 8;
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const NO_SUCH_FILE: u16 = 44;

function opened(path: string, open: u16, rights: u64): u16 {
  let best: u32 = 0;
  let length = -1;
  for (let fd = FIRST_GRANTED_FD; fd_prestat_get(fd, SCRATCH) == 0; fd++) {
    const bytes = new Uint8Array(load<u32>(SCRATCH, 4));
    if (fd_prestat_dir_name(fd, bytes.dataStart, bytes.length) != 0) continue;
    const name = decode(bytes);
    if ((name == "/" || path == name || path.startsWith(name + "/")) && name.length > length) {
      best = fd;
      length = name.length;
    }
  }
  if (length < 0) return NO_SUCH_FILE;
  const rest = path == "/" || path.length == length ? "." : path.substring(length == 1 ? 1 : length + 1);
  const text = String.UTF8.encode(rest);
  return path_open(best, FOLLOW, changetype<usize>(text), text.byteLength, open, rights, 0, 0, SCRATCH);
}

function inFile(what: string, path: string, error: u16): Problem {
  const why = error == NO_SUCH_FILE ? "there is no such file in a granted directory" : "WASI says " + error.toString();
  return new Problem(error == NO_SUCH_FILE ? "file.not_found" : "file.failed", what + " " + path + ": " + why);
}

/** Why the last `readFd` has not come to the end; 0 when it has. */
let readError: u16 = 0;

function readFd(fd: u32): Uint8Array {
  let all = new Uint8Array(0);
  const part = new Uint8Array(PART_BYTES_MAX);
  while (true) {
    store<usize>(SCRATCH, part.dataStart);
    store<usize>(SCRATCH, part.length, 4);
    readError = fd_read(fd, SCRATCH, 1, SCRATCH + 8);
    if (readError != 0) return all;
    const count = load<i32>(SCRATCH, 8);
    if (count <= 0) return all;
    const longer = new Uint8Array(all.length + count);
    longer.set(all);
    longer.set(part.subarray(0, count), all.length);
    all = longer;
  }
}

function writeFd(fd: u32, bytes: Uint8Array): u16 {
  for (let at = 0; at < bytes.length; ) {
    store<usize>(SCRATCH, bytes.dataStart + at);
    store<usize>(SCRATCH, bytes.length - at, 4);
    const error = fd_write(fd, SCRATCH, 1, SCRATCH + 8);
    if (error != 0) return error;
    at += load<i32>(SCRATCH, 8);
  }
  return 0;
}

export function readFile(path: string): Bytes {
  const error = opened(path, 0, RIGHT_READ);
  if (error != 0) return new Bytes(new Uint8Array(0), inFile("cannot read", path, error));
  const fd = load<u32>(SCRATCH);
  const bytes = readFd(fd);
  fd_close(fd);
  return readError == 0 ? new Bytes(bytes, null) : new Bytes(new Uint8Array(0), inFile("cannot read", path, readError));
}

/** Makes the file, or writes it anew. */
export function writeFile(path: string, bytes: Uint8Array): Problem | null {
  let error = opened(path, CREATE | TRUNCATE, RIGHT_WRITE);
  if (error == 0) {
    const fd = load<u32>(SCRATCH);
    error = writeFd(fd, bytes);
    fd_close(fd);
  }
  return error == 0 ? null : inFile("cannot write", path, error);
}

// ---- a task

/** What a task answers: `changed`, `msg`, and fields of its own. */
export class Outcome {
  json: Json = Json.object();
  problem: Problem | null = null;

  static changed(changed: bool): Outcome {
    const outcome = new Outcome();
    outcome.json.set("changed", Json.truth(changed));
    return outcome;
  }
  /** Nothing had to be done. */
  static ok(): Outcome {
    return Outcome.changed(false);
  }
  /** It failed, or was refused. */
  static failed(problem: Problem): Outcome {
    const outcome = Outcome.ok();
    outcome.problem = problem;
    const error = Json.object().set("code", Json.from(problem.code)).set("message", Json.from(problem.message));
    error.set("hint", problem.hint == "" ? Json.of(Kind.Null) : Json.from(problem.hint));
    outcome.json.set("msg", Json.from(problem.message)).set("error", error);
    return outcome;
  }
  /** One sentence for people. */
  say(msg: string): Outcome {
    this.json.set("msg", Json.from(msg));
    return this;
  }
  with(name: string, value: Json): Outcome {
    this.json.set(name, value);
    return this;
  }
}

/** A variable of the task: `WAFT_TASK`, `WAFT_RUN`, `WAFT_TARGET`, `WAFT_CHECK`; null when there is none. */
export function variable(name: string): string | null {
  if (environ_sizes_get(SCRATCH, SCRATCH + 4) != 0) return null;
  const count = load<u32>(SCRATCH);
  const names = new Uint8Array(count * 4 + 4);
  const text = new Uint8Array(load<u32>(SCRATCH, 4) + 1);
  if (environ_get(names.dataStart, text.dataStart) != 0) return null;
  for (let i: u32 = 0; i < count; i++) {
    const line = String.UTF8.decodeUnsafe(load<u32>(names.dataStart + i * 4), text.length, true);
    if (line.startsWith(name + "=")) return line.substring(name.length + 1);
  }
  return null;
}

/** Whether this is a dry run: change nothing, and say what would be changed. */
export function isCheck(): bool {
  return variable("WAFT_CHECK") != null;
}

/** A line on stderr, which is the log of a task. */
export function printError(text: string): void {
  writeFd(2, encode(text + "\n"));
}

function exitCode(problem: Problem): u32 {
  if (problem.code.startsWith("params.")) return USAGE;
  return problem.code.startsWith("grant.") ? REFUSED : FAILED;
}

/** The whole of a task: reads the parameters, runs it, prints what it answers, and ends. */
export function start(run: (params: Json) => Outcome): void {
  const text = decode(readFd(0)).trim();
  const params = text == "" ? Json.object() : Json.parse(text);
  let outcome: Outcome;
  if (readError != 0) {
    const why = "the parameters could not be read from stdin: WASI says " + readError.toString();
    outcome = Outcome.failed(new Problem("params.read", why));
  } else if (params == null || params.kind != Kind.Object) {
    outcome = Outcome.failed(new Problem("params.invalid", "the parameters are no JSON object"));
  } else {
    outcome = run(params);
  }
  const problem = outcome.problem;
  const error = writeFd(1, encode(outcome.json.toString() + "\n"));
  proc_exit(problem != null ? exitCode(problem) : error != 0 ? FAILED : 0);
}
