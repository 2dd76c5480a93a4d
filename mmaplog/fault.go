package mmaplog

import (
	"fmt"
	"runtime/debug"
	"unsafe"

	"github.com/leatbus/leat/core"
)

// A store or load through a map raises a signal when the disk below fails or the file was cut short
// by somebody else. Functions at the boundary of the package that touch a map begin with
//
//	defer l.endFault(debug.SetPanicOnFault(true), &err)
//
// which turns that signal into CodeIO and fences the log. Any other panic passes.
func (l *Log) endFault(before bool, err *error) {
	debug.SetPanicOnFault(before)
	cause := recover()
	if cause == nil {
		return
	}
	fault, ok := cause.(interface{ Addr() uintptr })
	if !ok || !l.ownsAddress(fault.Addr()) {
		panic(cause)
	}
	*err = core.NewError(core.CodeIO, l.name(),
		fmt.Errorf("a page of a mapped segment cannot be read or written (address %#x)", fault.Addr()))
	l.fenceWith(*err)
}

// ownsAddress reports whether addr lies in a map of the log.
func (l *Log) ownsAddress(addr uintptr) bool {
	for _, s := range l.segs.recent() {
		res := s.live.Load()
		if res == nil || res.region == nil {
			continue
		}
		b := res.region.Bytes()
		if base := uintptr(unsafe.Pointer(unsafe.SliceData(b))); addr >= base && addr-base < uintptr(len(b)) {
			return true
		}
	}
	return false
}
