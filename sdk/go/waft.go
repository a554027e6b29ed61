// Package waft is for tasks in Go: parameters, results, and the host interface waft_v1. docs/waft-v1.md says what each
// function takes and answers; docs/task-authors.md what a task is.
//
//	type Params struct {
//		Path string `json:"path"`
//		Name string `json:"name"`
//	}
//
//	func run(p Params) (waft.Outcome, error) { .. }
//
//	func main() { waft.Main(Params{Name: "world"}, run) }
//
// Build: GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o task.wasm
//
// imports.go has the imports of a module, fake.go stands for them where tests run. A task uses one goroutine for calls.
package waft

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

const (
	// ParamsBytesMax is more than waft sends. Beyond it parameters travel as blobs.
	ParamsBytesMax = 1 << 20
	// moveBytesMax is what one read or write moves at most.
	moveBytesMax = 32 << 10
	// reasonBytesMax is more than the reason of a failed read or write.
	reasonBytesMax = 16 << 10
)

// failed is what read and write return when take has the reason.
const failed = -4

// Error is why something did not work: a stable code, a sentence, and what to do where that is known. Codes params.* make
// the exit code 2, grant.* 125, others 1.
type Error struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
}

func (e *Error) Error() string {
	if e.Hint == nil {
		return e.Message
	}
	return e.Message + "\n" + *e.Hint
}

// Errorf makes an Error: return waft.Errorf("greeting.kind", "%s is no file", path).
func Errorf(code, format string, words ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, words...)}
}

// Code is that of an Error in err, or nothing.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Outcome is what a task answers.
type Outcome struct {
	// Changed says whether anything was changed; in a dry run, whether it would have been.
	Changed bool
	// Msg is one sentence for people.
	Msg string
	// Fields are the task's own.
	Fields map[string]any
}

// IsCheck says whether this is a dry run: change nothing, and say what would be changed. What a task writes to files in
// spite of it is thrown away by the host, and is what --diff shows.
func IsCheck() bool {
	_, found := os.LookupEnv("WAFT_CHECK")
	return found
}

// Main is the main function of a task: it reads the parameters from stdin over those that are given here, runs the task,
// prints what it answers, and ends the program.
func Main[P any](defaults P, run func(P) (Outcome, error)) {
	var answer []byte
	var code int
	text, err := io.ReadAll(io.LimitReader(os.Stdin, ParamsBytesMax+1))
	switch {
	case err != nil:
		answer, code = failure(Errorf("params.read", "the parameters could not be read from stdin: %v", err))
	case len(text) > ParamsBytesMax:
		answer, code = failure(Errorf("params.size", "the parameters are larger than %d bytes", ParamsBytesMax))
	default:
		answer, code = Answer(defaults, run, text)
	}
	if _, err := os.Stdout.Write(append(answer, '\n')); err != nil && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// Answer is what a task prints, and its exit code, for these parameters, a JSON text. An empty one is {}.
func Answer[P any](defaults P, run func(P) (Outcome, error), text []byte) ([]byte, int) {
	params := defaults
	if err := Params(text, &params); err != nil {
		return failure(err)
	}
	outcome, err := run(params)
	if err != nil {
		return failure(err)
	}
	all := map[string]any{}
	for name, value := range outcome.Fields {
		all[name] = value
	}
	all["changed"] = outcome.Changed
	if outcome.Msg != "" {
		all["msg"] = outcome.Msg
	}
	answer, err := encode(all)
	if err != nil {
		return failure(Errorf("task.result", "the result is no JSON: %v", err))
	}
	return answer, 0
}

// Params reads parameters into a struct, and refuses what it has no field for.
func Params(text []byte, into any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	// An array or null would leave the struct as it is.
	if bytes.TrimSpace(text)[0] != '{' {
		return Errorf("params.invalid", "the parameters are no JSON object")
	}
	if !utf8.Valid(text) || !json.Valid(text) {
		return Errorf("params.invalid", "the parameters are no JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return Errorf("params.invalid", "there is no `%s` here", strings.Trim(name, `"`))
		}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return Errorf("params.invalid", "`%s` should be %s and is %s", wrong.Field, wrong.Type, wrong.Value)
		}
		return Errorf("params.invalid", "the parameters are not what this task takes: %v", err)
	}
	return nil
}

func failure(err error) ([]byte, int) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: "task.failed", Message: err.Error()}
	}
	code := 1
	switch class, _, _ := strings.Cut(e.Code, "."); class {
	case "params":
		code = 2
	case "grant":
		code = 125
	}
	text, encodeErr := encode(struct {
		Changed bool   `json:"changed"`
		Msg     string `json:"msg"`
		Error   *Error `json:"error"`
	}{false, e.Message, e})
	if encodeErr != nil {
		return []byte(`{"changed":false,"msg":"the task failed"}`), 1
	}
	return text, code
}

// encode is json.Marshal without the escapes for HTML.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// Call asks one of the host's functions, exec, facts, file, net, task, blob, secret or emit, and reads the reply into a
// struct; nil: nothing of it is wanted. A refusal is an *Error with the host's code, message and hint.
func Call(function string, request, reply any) error {
	text, err := encode(request)
	if err != nil {
		return Errorf(function+".request", "the request of `%s` is no JSON: %v", function, err)
	}
	length := ask(function, string(text))
	if length < 0 {
		why := "this host has a newer reason than this task knows"
		switch length {
		case -1:
			why = "it lies outside the memory of this task"
		case -2:
			why = "it is longer than 1 MiB"
		case -3:
			why = "it is no UTF-8"
		}
		return Errorf("waft_v1.call", "the host did not take the request of `%s`: %s (code %d)", function, why, length)
	}
	answer := make([]byte, length)
	for taken := 0; taken < len(answer); {
		more := int(take(answer[taken:]))
		if more <= 0 || more > len(answer)-taken {
			return Errorf("waft_v1.take", "the host's reply to `%s` came as %d of %d bytes", function, taken, length)
		}
		taken += more
	}
	if refusal := refused(answer); refusal != nil {
		return refusal
	}
	if !utf8.Valid(answer) || !json.Valid(answer) {
		return Errorf("waft_v1.reply", "the host's reply to `%s` is no JSON", function)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		return Errorf("waft_v1.reply", "the host's reply to `%s` is not what this task knows: %v", function, err)
	}
	return nil
}

// No reply but a refusal has a field `error`.
func refused(reply []byte) error {
	var refusal struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(reply, &refusal) != nil || refusal.Error == nil {
		return nil
	}
	return refusal.Error
}

// Facts reads those facts of the target that the struct names. Grant: facts.
func Facts(into any) error {
	return Call("facts", struct{}{}, into)
}

// Program is a program to start; docs/waft-v1.md says what each field does.
type Program struct {
	Argv  []string          `json:"argv"`
	Env   map[string]string `json:"env,omitempty"`
	Stdin []byte            `json:"stdin_base64,omitempty"`
	Cwd   string            `json:"cwd,omitempty"`
	User  string            `json:"user,omitempty"`
	// Stdout and Stderr: capture (also when empty), inherit or null.
	Stdout     string `json:"stdout,omitempty"`
	Stderr     string `json:"stderr,omitempty"`
	TimeoutMs  uint32 `json:"timeout_ms,omitempty"`
	LimitBytes uint32 `json:"limit_bytes,omitempty"`
	Confine    bool   `json:"confine,omitempty"`
	// Replace: the task becomes the program. Exec comes back only when that failed.
	Replace bool `json:"replace,omitempty"`
}

// Output is how a program ended, and what it wrote as far as that was captured.
type Output struct {
	// ExitCode is nil when a signal ended it.
	ExitCode        *int
	Signal          *int
	TimedOut        bool
	Ms              uint64
	Stdout          []byte
	Stderr          []byte
	StdoutTruncated bool
	StderrTruncated bool
}

// OK says whether the program ended with the exit code 0.
func (o *Output) OK() bool { return o.ExitCode != nil && *o.ExitCode == 0 }

// Exec starts a program and waits until it and all that it started are gone. That it ended badly is no error of Exec.
// Grant: exec: for these words.
func Exec(program Program) (*Output, error) {
	var reply struct {
		ExitCode        *int    `json:"exit_code"`
		Signal          *int    `json:"signal"`
		TimedOut        bool    `json:"timed_out"`
		Ms              uint64  `json:"ms"`
		Stdout          *string `json:"stdout"`
		StdoutBase64    *string `json:"stdout_base64"`
		StdoutTruncated bool    `json:"stdout_truncated"`
		Stderr          *string `json:"stderr"`
		StderrBase64    *string `json:"stderr_base64"`
		StderrTruncated bool    `json:"stderr_truncated"`
	}
	if err := Call("exec", program, &reply); err != nil {
		return nil, err
	}
	stdout, err := content(reply.Stdout, reply.StdoutBase64)
	if err != nil {
		return nil, err
	}
	stderr, err := content(reply.Stderr, reply.StderrBase64)
	if err != nil {
		return nil, err
	}
	return &Output{
		reply.ExitCode, reply.Signal, reply.TimedOut, reply.Ms,
		stdout, stderr, reply.StdoutTruncated, reply.StderrTruncated,
	}, nil
}

// Bytes that came as text or as base64; nil: neither.
func content(text, encoded *string) ([]byte, error) {
	switch {
	case encoded != nil:
		decoded, err := base64.StdEncoding.DecodeString(*encoded)
		if err != nil {
			return nil, Errorf("waft_v1.reply", "the host's reply holds base64 that is none")
		}
		return decoded, nil
	case text != nil:
		return []byte(*text), nil
	}
	return nil, nil
}

// FileRequest is one operation on a file; what is empty is not sent.
type FileRequest struct {
	Op     string `json:"op"`
	Path   string `json:"path"`
	To     string `json:"to,omitempty"`
	Target string `json:"target,omitempty"`
	Mode   string `json:"mode,omitempty"` // octal digits
	Owner  string `json:"owner,omitempty"`
	Group  string `json:"group,omitempty"`
	Mtime  string `json:"mtime,omitempty"` // seconds since 1970, or now
	Atime  string `json:"atime,omitempty"`
	Name   string `json:"name,omitempty"`
	// Value of an attribute; not nil is sent, also when it is empty.
	Value    *[]byte `json:"base64,omitempty"`
	Follow   bool    `json:"follow,omitempty"`
	Replace  *bool   `json:"replace,omitempty"`
	Exchange bool    `json:"exchange,omitempty"`
}

// Stat is what is there under a name; Kind is empty when nothing is.
type Stat struct {
	Kind   string `json:"kind"`
	Mode   string `json:"mode"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Owner  string `json:"owner"`
	Group  string `json:"group"`
	Size   uint64 `json:"size"`
	Mtime  string `json:"mtime"`
	Atime  string `json:"atime"`
	Ctime  string `json:"ctime"`
	Nlink  uint64 `json:"nlink"`
	Inode  uint64 `json:"inode"`
	Device string `json:"device"`
	Target string `json:"target"`
}

// File asks for an operation that changes something, and says whether it did. Grant: fs: for the directory.
func File(request FileRequest) (bool, error) {
	var reply struct {
		Changed bool `json:"changed"`
	}
	err := Call("file", request, &reply)
	return reply.Changed, err
}

func StatFile(path string) (Stat, error) {
	var stat Stat
	err := Call("file", FileRequest{Op: "stat", Path: path}, &stat)
	return stat, err
}

func Chmod(path, mode string) (bool, error) {
	return File(FileRequest{Op: "chmod", Path: path, Mode: mode})
}

// Chown takes names or numbers; an empty one is left as it is.
func Chown(path, owner, group string) (bool, error) {
	return File(FileRequest{Op: "chown", Path: path, Owner: owner, Group: group})
}

func Symlink(path, target string) (bool, error) {
	return File(FileRequest{Op: "symlink", Path: path, Target: target})
}

func Rename(path, to string) (bool, error) {
	return File(FileRequest{Op: "rename", Path: path, To: to})
}

func Link(path, to string) (bool, error) {
	return File(FileRequest{Op: "link", Path: path, To: to})
}

// Utime takes seconds since 1970 as text, with up to nine decimals, or now; an empty one is left as it is.
func Utime(path, mtime, atime string) (bool, error) {
	return File(FileRequest{Op: "utime", Path: path, Mtime: mtime, Atime: atime})
}

func Fsync(path string) error {
	return Call("file", FileRequest{Op: "fsync", Path: path}, nil)
}

// Space is that of a file system; AvailableBytes to others than root.
type Space struct {
	TotalBytes     uint64 `json:"total_bytes"`
	FreeBytes      uint64 `json:"free_bytes"`
	AvailableBytes uint64 `json:"available_bytes"`
	TotalInodes    uint64 `json:"total_inodes"`
	FreeInodes     uint64 `json:"free_inodes"`
}

func StatVfs(path string) (Space, error) {
	var space Space
	err := Call("file", FileRequest{Op: "statvfs", Path: path}, &space)
	return space, err
}

func ListXattr(path string) ([]string, error) {
	var reply struct {
		Names []string `json:"names"`
	}
	err := Call("file", FileRequest{Op: "listxattr", Path: path}, &reply)
	return reply.Names, err
}

func RemoveXattr(path, name string) (bool, error) {
	return File(FileRequest{Op: "removexattr", Path: path, Name: name})
}

// GetXattr gives nil when there is no such attribute.
func GetXattr(path, name string) ([]byte, error) {
	var reply struct {
		Value  *string `json:"value"`
		Base64 *string `json:"base64"`
	}
	if err := Call("file", FileRequest{Op: "getxattr", Path: path, Name: name}, &reply); err != nil {
		return nil, err
	}
	return content(reply.Value, reply.Base64)
}

func SetXattr(path, name string, value []byte) (bool, error) {
	if value == nil {
		value = []byte{}
	}
	return File(FileRequest{Op: "setxattr", Path: path, Name: name, Value: &value})
}

// Connection is a TCP connection, held by the host: an io.ReadWriteCloser.
type Connection struct {
	handle uint32
	// Address is what was connected to.
	Address string
}

// Dial connects. timeoutMs 0 is 10 seconds. Grant: net:HOST:PORT.
func Dial(host string, port uint16, timeoutMs uint32) (*Connection, error) {
	request := struct {
		Op        string `json:"op"`
		Host      string `json:"host"`
		Port      uint16 `json:"port"`
		TimeoutMs uint32 `json:"timeout_ms,omitempty"`
	}{"open", host, port, timeoutMs}
	var reply struct {
		Handle  *uint32 `json:"handle"`
		Address string  `json:"address"`
	}
	if err := Call("net", request, &reply); err != nil {
		return nil, err
	}
	if reply.Handle == nil {
		return nil, Errorf("waft_v1.reply", "the host's reply has no handle")
	}
	return &Connection{*reply.Handle, reply.Address}, nil
}

func (c *Connection) Read(into []byte) (int, error)  { return readFrom(c.handle, into) }
func (c *Connection) Write(from []byte) (int, error) { return writeTo(c.handle, from) }

// CloseWrite says that nothing more will be written: the other side reads the end.
func (c *Connection) CloseWrite() error { return c.say("shutdown") }
func (c *Connection) Close() error      { return c.say("close") }

func (c *Connection) say(op string) error {
	return Call("net", struct {
		Op     string `json:"op"`
		Handle uint32 `json:"handle"`
	}{op, c.handle}, nil)
}

// Resolve gives the addresses of a host that a grant names.
func Resolve(host string) ([]string, error) {
	var reply struct {
		Addresses []string `json:"addresses"`
	}
	err := Call("net", struct {
		Op   string `json:"op"`
		Host string `json:"host"`
	}{"resolve", host}, &reply)
	return reply.Addresses, err
}

// Blob is a file that was sent with the run: an io.ReadCloser.
type Blob struct {
	handle uint32
	// Size of all of it, bytes.
	Size uint64
}

// OpenBlob opens it from an offset on. As a parameter (-p NAME@FILE) it is a BlobParam. Grant: blob:HASH, which -p gives.
func OpenBlob(hash string, offset uint64) (*Blob, error) {
	var reply struct {
		Handle *uint32 `json:"handle"`
		Bytes  uint64  `json:"bytes"`
	}
	err := Call("blob", struct {
		Hash   string `json:"hash"`
		Offset uint64 `json:"offset,omitempty"`
	}{hash, offset}, &reply)
	if err != nil {
		return nil, err
	}
	if reply.Handle == nil {
		return nil, Errorf("waft_v1.reply", "the host's reply has no handle")
	}
	return &Blob{*reply.Handle, reply.Bytes}, nil
}

// BlobParam is the parameter that a file becomes.
type BlobParam struct {
	Hash  string `json:"hash"`
	Bytes uint64 `json:"bytes"`
	Name  string `json:"name"`
}

func (b *Blob) Read(into []byte) (int, error) { return readFrom(b.handle, into) }

func (b *Blob) Close() error {
	return Call("blob", struct {
		Close uint32 `json:"close"`
	}{b.handle}, nil)
}

// Called is how another task ended; Result when it printed one JSON object, else Stdout.
type Called struct {
	Status          string          `json:"status"`
	ExitCode        *int            `json:"exit_code"`
	Signal          *int            `json:"signal"`
	Ms              uint64          `json:"ms"`
	Problem         *Error          `json:"problem"`
	Result          json.RawMessage `json:"result"`
	Stdout          string          `json:"stdout"`
	StdoutTruncated bool            `json:"stdout_truncated"`
}

// CallTask runs another task. Grant: call:NAME.
func CallTask(name string, params any) (*Called, error) {
	var called Called
	err := Call("task", struct {
		Name   string `json:"name"`
		Params any    `json:"params"`
	}{name, params}, &called)
	if err != nil {
		return nil, err
	}
	return &called, nil
}

// Secret gives the value of a secret. Grant: secret:NAME.
func Secret(name string) ([]byte, error) {
	var reply struct {
		Value  *string `json:"value"`
		Base64 *string `json:"base64"`
	}
	err := Call("secret", struct {
		Name string `json:"name"`
	}{name}, &reply)
	if err != nil {
		return nil, err
	}
	value, err := content(reply.Value, reply.Base64)
	if value == nil && err == nil {
		err = Errorf("waft_v1.reply", "the host's reply has no value of the secret")
	}
	return value, err
}

// Log adds lines to the log of the run. stderr is as good; this one is a stream of its own.
func Log(text string) error {
	return Call("emit", struct {
		Log string `json:"log"`
	}{text}, nil)
}

// Progress says how far the task is; total 0: nobody knows. Cheap: one in 100 ms is passed on, and the last one.
func Progress(done, total uint64, text string) error {
	type progress struct {
		Done  uint64 `json:"done"`
		Total uint64 `json:"total,omitempty"`
		Text  string `json:"text,omitempty"`
	}
	return Call("emit", struct {
		Progress progress `json:"progress"`
	}{progress{done, total, text}}, nil)
}

func readFrom(handle uint32, into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	into = into[:min(len(into), moveBytesMax)]
	count, err := moved("read", read(handle, into), len(into))
	if count == 0 && err == nil {
		err = io.EOF
	}
	return count, err
}

func writeTo(handle uint32, from []byte) (int, error) {
	written := 0
	for written < len(from) {
		piece := from[written:min(len(from), written+moveBytesMax)]
		count, err := moved("write", write(handle, piece), len(piece))
		written += count
		if err != nil {
			return written, err
		}
		if count == 0 {
			return written, io.ErrShortWrite
		}
	}
	return written, nil
}

func moved(name string, count int32, most int) (int, error) {
	if count >= 0 && int(count) <= most {
		return int(count), nil
	}
	if count >= 0 {
		return 0, Errorf("waft_v1.reply", "the host moved %d bytes in a `%s` of %d", count, name, most)
	}
	if count == failed {
		reason := make([]byte, reasonBytesMax)
		if length := int(take(reason)); length > 0 && length <= len(reason) {
			if refusal := refused(reason[:length]); refusal != nil {
				return 0, refusal
			}
		}
	}
	return 0, Errorf("waft_v1.call", "the host refused a `%s` with the code %d", name, count)
}
