//go:build !wasip1

package waft

import "fmt"

// Fake is a host for tests on this machine: what it is asked has to be expected, in this order; anything else panics.
//
//	host := &waft.Fake{}
//	host.Expect("file", `{"op":"stat","path":"/x"}`, `{"kind":null}`)
//	waft.Use(host)
type Fake struct {
	expected []call
	pending  []byte
	// Input is what Read gives, whatever the handle; Output what was written.
	Input, Output []byte
	// Code is returned by calls in place of a length when it is negative.
	Code int32
}

type call struct{ function, request, reply string }

var host *Fake

// Use puts a host under all calls; nil: there is none.
func Use(fake *Fake) { host = fake }

// Expect says that the next call has to be this one, with this request (empty: any), and gets this reply.
func (f *Fake) Expect(function, request, reply string) {
	f.expected = append(f.expected, call{function, request, reply})
}

// Done says whether all calls were made that were expected.
func (f *Fake) Done() bool { return len(f.expected) == 0 }

func (f *Fake) move(from *[]byte, into []byte) int32 {
	count := copy(into, *from)
	*from = (*from)[count:]
	return int32(count)
}

func ask(function, request string) int32 {
	if host == nil {
		panic(fmt.Sprintf("no host: %s %s; waft.Use gives one", function, request))
	}
	if len(host.expected) == 0 {
		panic(fmt.Sprintf("not expected: %s %s", function, request))
	}
	next := host.expected[0]
	if next.function != function || next.request != "" && next.request != request {
		panic(fmt.Sprintf("expected %s %s, not %s %s", next.function, next.request, function, request))
	}
	host.expected = host.expected[1:]
	if host.Code < 0 {
		return host.Code
	}
	host.pending = []byte(next.reply)
	return int32(len(host.pending))
}

func take(into []byte) int32 { return host.move(&host.pending, into) }

func read(_ uint32, into []byte) int32 {
	if host.Code < 0 {
		return host.Code
	}
	return host.move(&host.Input, into)
}

func write(_ uint32, from []byte) int32 {
	host.Output = append(host.Output, from...)
	return int32(len(from))
}
