//go:build wasip1

package waft

import "unsafe"

// A string is passed as its address and length.

//go:wasmimport waft_v1 exec
func hostExec(request string) int32

//go:wasmimport waft_v1 facts
func hostFacts(request string) int32

//go:wasmimport waft_v1 file
func hostFile(request string) int32

//go:wasmimport waft_v1 net
func hostNet(request string) int32

//go:wasmimport waft_v1 task
func hostTask(request string) int32

//go:wasmimport waft_v1 blob
func hostBlob(request string) int32

//go:wasmimport waft_v1 secret
func hostSecret(request string) int32

//go:wasmimport waft_v1 emit
func hostEmit(request string) int32

//go:wasmimport waft_v1 take
func hostTake(buffer unsafe.Pointer, length uint32) int32

//go:wasmimport waft_v1 read
func hostRead(handle uint32, buffer unsafe.Pointer, length uint32) int32

//go:wasmimport waft_v1 write
func hostWrite(handle uint32, bytes unsafe.Pointer, length uint32) int32

var functions = map[string]func(string) int32{
	"exec": hostExec, "facts": hostFacts, "file": hostFile, "net": hostNet,
	"task": hostTask, "blob": hostBlob, "secret": hostSecret, "emit": hostEmit,
}

func ask(function, request string) int32 {
	call, found := functions[function]
	if !found {
		panic("waft_v1 has no function " + function)
	}
	return call(request)
}

func take(into []byte) int32 {
	return hostTake(unsafe.Pointer(unsafe.SliceData(into)), uint32(len(into)))
}

func read(handle uint32, into []byte) int32 {
	return hostRead(handle, unsafe.Pointer(unsafe.SliceData(into)), uint32(len(into)))
}

func write(handle uint32, from []byte) int32 {
	return hostWrite(handle, unsafe.Pointer(unsafe.SliceData(from)), uint32(len(from)))
}
