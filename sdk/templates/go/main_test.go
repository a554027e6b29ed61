package main

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/{{name}}/waft"
)

func TestKeepsTheGreeting(t *testing.T) {
	host := &waft.Fake{}
	waft.Use(host)
	path := filepath.Join(t.TempDir(), "greetings")
	for _, step := range []struct {
		stat    string
		changed bool
	}{
		{`{"kind": null}`, true},
		{`{"kind": "file", "size": 12}`, false},
	} {
		host.Expect("file", "", step.stat)
		outcome, err := run(Params{Path: path, Name: "you"})
		if err != nil || outcome.Changed != step.changed || outcome.Fields["line"] != "Hello, you!" {
			t.Fatalf("%+v, %v", outcome, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "Hello, you!\n" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if !host.Done() {
		t.Error("the host was asked less than expected")
	}
}

func TestRefusesWhatItCannotUse(t *testing.T) {
	for _, params := range []string{`{"paht": "/x"}`, `{"path": 7}`, `{"path": "x"}`, `{"name": ""}`, `[]`, `{`} {
		if answer, code := waft.Answer(defaults, run, []byte(params)); code != 2 {
			t.Errorf("%s: %d %s", params, code, answer)
		}
	}
}

func TestSaysWhatTheHostRefused(t *testing.T) {
	host := &waft.Fake{}
	host.Expect("file", `{"op":"stat","path":"/tmp/{{name}}.txt"}`, `{"error": {"code": "grant.missing", "message": "No."}}`)
	waft.Use(host)
	if answer, code := waft.Answer(defaults, run, nil); code != 125 {
		t.Errorf("%d %s", code, answer)
	}
}
