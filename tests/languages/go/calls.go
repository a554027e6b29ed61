// Every function of waft_v1, once or more; tests/tests/languages/calls.rs says what has to come back.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"example.com/calls/waft"
)

type Params struct {
	Dir  string         `json:"dir"`
	Port uint16         `json:"port"`
	Blob waft.BlobParam `json:"blob"`
}

// The first error ends the task.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func done(err error) { must(0, err) }

func run(p Params) (outcome waft.Outcome, err error) {
	defer func() {
		if failure, is := recover().(error); is {
			err = failure
		}
	}()
	fields := map[string]any{"check": waft.IsCheck()}
	programs(fields)
	files(p.Dir, fields)
	connections(p.Port, fields)
	blobs(p.Blob.Hash, fields)
	others(fields)
	return waft.Outcome{Changed: true, Msg: "all calls made", Fields: fields}, nil
}

func programs(fields map[string]any) {
	cat := must(waft.Exec(waft.Program{Argv: []string{"/bin/cat"}, Stdin: []byte("a\xff\x00b")}))
	fields["exec"] = map[string]any{"exit_code": cat.ExitCode, "bytes": numbers(cat.Stdout)}
	env := must(waft.Exec(waft.Program{Argv: []string{"/usr/bin/env"}, Env: map[string]string{"GREETING": "hi there"}}))
	fields["env"] = bytes.Contains(env.Stdout, []byte("GREETING=hi there\n"))
	sleep := must(waft.Exec(waft.Program{Argv: []string{"/bin/sleep", "60"}, TimeoutMs: 50}))
	fields["timed_out"] = sleep.TimedOut
}

func files(dir string, fields map[string]any) {
	file, link := dir+"/file", dir+"/link"
	stat := must(waft.StatFile(file))
	fields["stat"] = map[string]any{"kind": stat.Kind, "size": stat.Size, "mode": stat.Mode}
	if missing := must(waft.StatFile(dir + "/missing")); missing.Kind == "" {
		fields["missing"] = nil
	}
	fields["chmod"] = []bool{must(waft.Chmod(file, "0600")), must(waft.Chmod(file, "0600"))}
	fields["symlink"] = []any{must(waft.Symlink(link, "file")), must(waft.StatFile(link)).Target}
	fields["rename"] = must(waft.Rename(link, dir+"/new"))
	must(waft.SetXattr(file, "user.waft", []byte("a\xff")))
	fields["xattr"] = numbers(must(waft.GetXattr(file, "user.waft")))
	fields["attributes"] = must(waft.ListXattr(file))
	fields["removed"] = must(waft.RemoveXattr(file, "user.waft"))
	linked := must(waft.Link(file, dir+"/other"))
	set := []any{must(waft.Utime(file, "1767225600.5", "")), must(waft.Utime(file, "1767225600.5", ""))}
	stat = must(waft.StatFile(file))
	fields["link"] = linked && stat.Nlink == 2
	fields["utime"] = append(set, stat.Mtime)
	done(waft.Fsync(file))
	space := must(waft.StatVfs(dir))
	fields["space"] = space.TotalBytes >= space.FreeBytes && space.TotalBytes > 0
}

func connections(port uint16, fields map[string]any) {
	fields["addresses"] = must(waft.Resolve("127.0.0.1"))
	connection := must(waft.Dial("127.0.0.1", port, 5000))
	must(connection.Write([]byte("hello over there")))
	done(connection.CloseWrite())
	fields["net"] = string(must(io.ReadAll(connection)))
	done(connection.Close())
}

func blobs(hash string, fields map[string]any) {
	blob := must(waft.OpenBlob(hash, 0))
	tail := must(waft.OpenBlob(hash, blob.Size-5))
	sum := 0
	for _, number := range must(io.ReadAll(blob)) {
		sum += int(number)
	}
	fields["blob"] = map[string]any{"bytes": blob.Size, "sum": sum, "tail": len(must(io.ReadAll(tail)))}
	done(blob.Close())
	done(tail.Close())
	// A read that fails has a reason.
	_, err := blob.Read(make([]byte, 1))
	fields["wrong"] = waft.Code(err)
}

func others(fields map[string]any) {
	var facts struct {
		Kernel string `json:"kernel"`
	}
	done(waft.Facts(&facts))
	fields["facts"] = facts.Kernel

	called := must(waft.CallTask("facts", map[string]any{"filter": []string{"kernel"}}))
	var result struct {
		Facts struct {
			Kernel string `json:"kernel"`
		} `json:"facts"`
	}
	done(json.Unmarshal(called.Result, &result))
	fields["task"] = map[string]any{"status": called.Status, "kernel": result.Facts.Kernel}

	// Backwards: the word itself would be taken out of the output.
	word := []rune(string(must(waft.Secret("word"))))
	slices.Reverse(word)
	fields["secret"] = string(word)

	done(waft.Log("calls: log"))
	done(waft.Progress(1, 2, ""))
	done(waft.Progress(2, 2, "all"))

	_, err := waft.Exec(waft.Program{Argv: []string{"/bin/false"}})
	refused, is := err.(*waft.Error)
	if !is {
		panic(waft.Errorf("calls.exec", "a program ran that was not given"))
	}
	fields["refused"] = map[string]any{"code": refused.Code, "hint": refused.Hint != nil}
}

func numbers(from []byte) []int {
	list := []int{}
	for _, number := range from {
		list = append(list, int(number))
	}
	return list
}

func main() { waft.Main(Params{}, run) }
