package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"example.com/calls/waft"
)

// The binding by itself, on this machine: parameters, requests, replies, answers.

type taken struct {
	Path  string `json:"path"`
	Count uint8  `json:"count"`
}

func says(p taken) (waft.Outcome, error) {
	return waft.Outcome{Msg: p.Path, Fields: map[string]any{"count": p.Count, "changed": "no", "a<b": nil}}, nil
}

func TestParameters(t *testing.T) {
	answer, code := waft.Answer(taken{Count: 3}, says, []byte(`{"path":"/x\u00e4"}`))
	if code != 0 || string(answer) != `{"a<b":null,"changed":false,"count":3,"msg":"/xä"}` {
		t.Errorf("%d %s", code, answer)
	}
	if answer, code := waft.Answer(taken{}, says, []byte(" \n")); code != 0 {
		t.Errorf("%d %s", code, answer)
	}
	for text, message := range map[string]string{
		`{"cuont":1}`:               "cuont",
		`{"path":7}`:                "path",
		`{"count":256}`:             "count",
		`[]`:                        "no JSON object",
		`null`:                      "no JSON object",
		`{} {}`:                     "no JSON",
		`{"path":`:                  "no JSON",
		"{\"path\":\"\xff\"}":       "no JSON",
		strings.Repeat("[", 100000): "no JSON",
		strings.Repeat(`{"path":`, 100000) + strings.Repeat("}", 100000): "no JSON",
	} {
		answer, code := waft.Answer(taken{}, says, []byte(text))
		if code != 2 || !strings.Contains(string(answer), message) || !strings.Contains(string(answer), "params.invalid") {
			t.Errorf("%.40s: %d %s", text, code, answer)
		}
	}
}

func TestFailuresAndExitCodes(t *testing.T) {
	for code, exit := range map[string]int{"grant.missing": 125, "params.path": 2, "paramsx": 1, "file.kind": 1} {
		answer, ended := waft.Answer(taken{}, func(taken) (waft.Outcome, error) {
			return waft.Outcome{}, waft.Errorf(code, "bad %q", "a")
		}, nil)
		expected := `{"changed":false,"msg":"bad \"a\"","error":{"code":"` + code + `","message":"bad \"a\"","hint":null}}`
		if ended != exit || string(answer) != expected {
			t.Errorf("%d %s", ended, answer)
		}
	}
	for _, run := range []func(taken) (waft.Outcome, error){
		func(taken) (waft.Outcome, error) { return waft.Outcome{}, errors.New("odd") },
		func(taken) (waft.Outcome, error) {
			return waft.Outcome{Fields: map[string]any{"f": func() {}}}, nil
		},
	} {
		if answer, code := waft.Answer(taken{}, run, nil); code != 1 || !strings.Contains(string(answer), `"code":"task.`) {
			t.Errorf("%d %s", code, answer)
		}
	}
}

func TestRequestsAndReplies(t *testing.T) {
	host := &waft.Fake{Input: []byte("abc")}
	waft.Use(host)
	host.Expect("exec", `{"argv":["/bin/id"],"env":{"A":"b\""},"stdin_base64":"/w==","stderr":"null","timeout_ms":50}`,
		`{"exit_code":null,"signal":9,"timed_out":true,"ms":5,"stdout":"a","stdout_truncated":true,"new":1}`)
	output, err := waft.Exec(waft.Program{Argv: []string{"/bin/id"}, Env: map[string]string{"A": `b"`}, Stdin: []byte{255}, TimeoutMs: 50, Stderr: "null"})
	if err != nil || output.OK() || *output.Signal != 9 || !output.TimedOut || !output.StdoutTruncated || string(output.Stdout) != "a" {
		t.Errorf("%+v, %v", output, err)
	}
	host.Expect("facts", `{}`, `{"error":{"code":"grant.missing","message":"No.","hint":"--allow facts"}}`)
	if err := waft.Facts(&struct{}{}); waft.Code(err) != "grant.missing" || err.Error() != "No.\n--allow facts" {
		t.Error(err)
	}
	host.Expect("file", `{"op":"setxattr","path":"/x","name":"user.a","base64":""}`, `{"changed":true}`)
	if changed, err := waft.SetXattr("/x", "user.a", nil); err != nil || !changed {
		t.Error(changed, err)
	}
	host.Expect("net", `{"op":"open","host":"db","port":5432}`, `{"handle":4294967295,"address":"10.0.0.5:5432"}`)
	connection, err := waft.Dial("db", 5432, 0)
	if err != nil || connection.Address != "10.0.0.5:5432" {
		t.Fatal(connection, err)
	}
	if text, err := io.ReadAll(connection); err != nil || string(text) != "abc" {
		t.Errorf("%s, %v", text, err)
	}
	if count, err := connection.Write(make([]byte, 100000)); err != nil || count != 100000 || len(host.Output) != 100000 {
		t.Error(count, err)
	}
	host.Expect("net", `{"op":"open","host":"db","port":1}`, `{}`)
	if _, err := waft.Dial("db", 1, 0); waft.Code(err) != "waft_v1.reply" {
		t.Error(err)
	}
	for _, reply := range []string{"", "{", "{}{}", "\xff", "[]", `{"value":1}`, `{"base64":"A"}`, "{}"} {
		host.Expect("secret", `{"name":"w"}`, reply)
		if _, err := waft.Secret("w"); waft.Code(err) != "waft_v1.reply" {
			t.Errorf("%q: %v", reply, err)
		}
	}
	for _, code := range []int32{-1, -2, -3, -4, -77} {
		host.Code = code
		host.Expect("emit", `{"log":"a"}`, "")
		if err := waft.Log("a"); waft.Code(err) != "waft_v1.call" {
			t.Error(err)
		}
		if _, err := connection.Read(make([]byte, 1)); waft.Code(err) != "waft_v1.call" {
			t.Error(err)
		}
	}
	if !host.Done() {
		t.Error("the host was asked less than expected")
	}
}
