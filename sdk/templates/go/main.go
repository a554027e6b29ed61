// Keeps a greeting in a file: appends the line when it is not there.
package main

import (
	"os"
	"slices"
	"strings"

	"example.com/{{name}}/waft"
)

// The file, bytes: it is read as a whole.
const fileBytesMax = 1 << 20

type Params struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

var defaults = Params{Path: "/tmp/{{name}}.txt", Name: "world"}

func run(p Params) (waft.Outcome, error) {
	if !strings.HasPrefix(p.Path, "/") {
		return waft.Outcome{}, waft.Errorf("params.path", "`path` should be the absolute path of a file")
	}
	if p.Name == "" || strings.ContainsAny(p.Name, "\r\n") {
		return waft.Outcome{}, waft.Errorf("params.name", "`name` should be one line of text")
	}
	line := "Hello, " + p.Name + "!"
	text, err := contents(p.Path)
	if err != nil {
		return waft.Outcome{}, err
	}
	fields := map[string]any{"line": line}
	if slices.Contains(strings.Split(text, "\n"), line) {
		return waft.Outcome{Msg: "was greeted before", Fields: fields}, nil
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	// In a dry run the host throws away what is written, and shows it.
	if err := os.WriteFile(p.Path, []byte(text+line+"\n"), 0o644); err != nil {
		return waft.Outcome{}, waft.Errorf("greeting.write", "cannot write %s: %v", p.Path, err)
	}
	return waft.Outcome{Changed: true, Msg: "greeted", Fields: fields}, nil
}

// What is in the file, nothing if it is not there.
func contents(path string) (string, error) {
	// What was not given the host refuses here, with the line to paste.
	stat, err := waft.StatFile(path)
	if err != nil || stat.Kind == "" {
		return "", err
	}
	if stat.Size > fileBytesMax {
		return "", waft.Errorf("greeting.read", "%s is longer than %d bytes", path, fileBytesMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", waft.Errorf("greeting.read", "cannot read %s: %v", path, err)
	}
	return string(text), nil
}

func main() { waft.Main(defaults, run) }
