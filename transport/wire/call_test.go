package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

var exampleCall = CallHead{Timeout: 1500 * time.Millisecond, Partition: 3, Topic: "quotes"}

// exampleRecord is the record of exampleLog.
func exampleRecord() []byte { return exampleLog(false)[core.FrameHeaderSize:] }

func callPayload(c CallHead) []byte { return AppendCall(nil, 7, &c, exampleRecord())[HeaderSize:] }

func TestCall(t *testing.T) {
	for _, want := range []CallHead{exampleCall, {Timeout: 1, Partition: AnyPartition, Gather: 1 << 63},
		{Timeout: MaxCallTimeout, Topic: strings.Repeat("t", core.MaxNameBytes)}} {
		frame := AppendCall([]byte("before"), 7, &want, exampleRecord())[6:]
		h := ParseHeader(frame)
		got, record, err := DecodeCall(frame[HeaderSize:])
		if err != nil || got != want || !bytes.Equal(record, exampleRecord()) || h.Type != Call || h.Arg != 7 ||
			h.Size() != len(frame) {
			t.Errorf("read %+v, %v; header %+v; want %+v", got, err, h, want)
		}
	}
}

func TestCallsAreChecked(t *testing.T) {
	change := func(f func(p []byte) []byte) []byte { return f(callPayload(exampleCall)) }
	put := func(at int, b byte) []byte { return change(func(p []byte) []byte { p[at] = b; return p }) }
	at := CallHeadSize + 8 // of the record
	for name, payload := range map[string][]byte{
		"nothing":                nil,
		"half a head":            callPayload(exampleCall)[:CallHeadSize-1],
		"no record":              callPayload(exampleCall)[:at],
		"half a record":          callPayload(exampleCall)[:at+24],
		"a second record":        change(func(p []byte) []byte { return append(p, exampleRecord()...) }),
		"no time left":           callPayload(CallHead{}),
		"negative time":          put(7, 0x80),
		"more than a day":        put(6, 1),
		"partition too large":    put(17, 0x40),
		"flags":                  put(20, 1),
		"a topic that is longer": put(19, 1),
		"padding that is not 0":  put(at-1, 1),
		"a removed record":       put(at+6, byte(core.FlagRemoved)),
		"an extension":           put(at+6, byte(core.FlagTTL)),
		"headers that are none":  put(at+20, 8),
	} {
		if _, _, err := DecodeCall(payload); !errors.Is(err, core.ErrProtocol) {
			t.Errorf("%s: %v, want a protocol error", name, err)
		}
	}
}

// FuzzCall: what reads well writes the same.
func FuzzCall(f *testing.F) {
	f.Add(callPayload(exampleCall))
	f.Add(callPayload(CallHead{Timeout: 1, Gather: 5, Partition: AnyPartition}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, record, err := DecodeCall(payload)
		if err != nil {
			return
		}
		if again := AppendCall(nil, 1, &c, record); !bytes.Equal(again[HeaderSize:], payload) {
			t.Errorf("%x writes as %x", payload, again[HeaderSize:])
		}
	})
}
