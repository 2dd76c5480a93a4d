package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

// fresh gives a new value of the type of body, to decode into.
func fresh(body any) any { return reflect.New(reflect.TypeOf(body)).Interface() }

func TestGoldenFrames(t *testing.T) {
	seen := make(map[Type]bool)
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			frame := e.encode()
			golden(t, e.name, frame)
			h, payload := ParseHeader(frame), frame[HeaderSize:]
			want := e.head
			want.Length = uint32(len(payload))
			if h != want || h.Size() != len(frame) {
				t.Errorf("header %+v of %d bytes, want %+v of %d", h, h.Size(), want, len(frame))
			}
			seen[h.Type] = true
			if e.body == nil {
				return
			}
			got := fresh(e.body)
			if err := Unmarshal(h.Type, payload, got); err != nil {
				t.Fatal(err)
			}
			if got = reflect.ValueOf(got).Elem().Interface(); !reflect.DeepEqual(got, e.body) {
				t.Errorf("decoded %+v, want %+v", got, e.body)
			}
		})
	}
	for kind, name := range typeNames {
		if !seen[kind] {
			t.Errorf("%s has no golden file", name)
		}
	}
}

// operations are all there are.
func operations() (list []Op) {
	for op := OpTopics; op <= OpSchedules; op++ {
		list = append(list, op)
	}
	return append(list, OpPull, OpAnswerLoans)
}

func TestGoldenRequests(t *testing.T) {
	for _, op := range operations() {
		bodies, ok := requests[op]
		if !ok {
			t.Errorf("operation %d has no golden file", op)
			continue
		}
		for i, name := range []string{"request", "answer"} {
			h := Header{Type: Request + Type(i), Arg: 7}
			if h.Type == Request {
				h.Aux = uint16(op)
			}
			frame := Marshal(nil, h, bodies[i])
			golden(t, fmt.Sprintf("op%d-%s", op, name), frame)
			got := fresh(bodies[i])
			if err := Unmarshal(h.Type, frame[HeaderSize:], got); err != nil {
				t.Fatal(err)
			}
			if got = reflect.ValueOf(got).Elem().Interface(); !reflect.DeepEqual(got, bodies[i]) {
				t.Errorf("operation %d, %s: decoded %+v, want %+v", op, name, got, bodies[i])
			}
		}
	}
}

// TestExampleIsStored: what the document shows as PRODUCE is what a node takes.
func TestExampleIsStored(t *testing.T) {
	for name, frame := range map[string][]byte{"produced": exampleLog(false), "stored": exampleLog(true)} {
		h := core.ParseFrameHeader(frame)
		if err := core.CheckProduced(&h, frame[core.FrameHeaderSize:], core.MaxRecordBytes, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := core.DecodeFrameHeader(exampleLog(true), core.HeaderSeed(1)); err != nil {
		t.Errorf("stored: %v", err)
	}
}

func TestTypesHaveTheNamesOfTheDocument(t *testing.T) {
	for kind, name := range typeNames {
		if !kind.Known() || kind.String() != name || strings.ToUpper(name) != name {
			t.Errorf("type %d is called %q", kind, kind)
		}
	}
	if got := Type(200).String(); got != "type 200" || Type(200).Known() {
		t.Errorf("an unknown type is called %q", got)
	}
}

func TestEntries(t *testing.T) {
	list, err := DecodeAcks(acksPayload())
	if err != nil || list.Len() != len(exampleAcks) {
		t.Fatalf("DecodeAcks: %d entries, %v", list.Len(), err)
	}
	for i, want := range exampleAcks {
		if got := list.At(i); got != want {
			t.Errorf("ack %d: %+v, want %+v", i, got, want)
		}
	}
	acked, err := DecodeAcked(ackedPayload(), nil)
	if err != nil || !slices.Equal(acked, exampleAcked) {
		t.Errorf("DecodeAcked = %+v, %v; want %+v", acked, err, exampleAcked)
	}
	if acked, err = DecodeAcked(nil, acked[:1]); err != nil || len(acked) != 1 {
		t.Errorf("DecodeAcked of nothing = %+v, %v; want what was there", acked, err)
	}
	if generation, err := DecodeAssign(AppendAssign(nil, 1<<31-1)); generation != 1<<31-1 || err != nil {
		t.Errorf("DecodeAssign = %d, %v", generation, err)
	}
}

func TestEntriesAreChecked(t *testing.T) {
	acked := func(e AckedEntry) []byte { return e.Append(nil) }
	decodeAcks := func(p []byte) error { _, err := DecodeAcks(p); return err }
	decodeAcked := func(p []byte) error { _, err := DecodeAcked(p, nil); return err }
	decodeAssign := func(p []byte) error { _, err := DecodeAssign(p); return err }
	tests := []struct {
		name    string
		decode  func([]byte) error
		payload []byte
	}{
		{"no ACKS", decodeAcks, nil},
		{"half an ACKS", decodeAcks, make([]byte, AckEntrySize+1)},
		{"half an ack", decodeAcked, make([]byte, AckedEntrySize-1)},
		{"partition too large", decodeAcked, acked(AckedEntry{Partition: core.MaxPartitions})},
		{"partition below 0", decodeAcked, acked(AckedEntry{Partition: -1})},
		{"generation below 0", decodeAcked, acked(AckedEntry{Generation: -1})},
		{"offset below 0", decodeAcked, acked(AckedEntry{Offset: -1})},
		{"no ASSIGN", decodeAssign, nil},
		{"long ASSIGN", decodeAssign, make([]byte, assignSize+1)},
		{"ASSIGN of generation below 0", decodeAssign, AppendAssign(nil, -1)},
	}
	for _, tt := range tests {
		if err := tt.decode(tt.payload); !errors.Is(err, core.ErrProtocol) {
			t.Errorf("%s: %v, want a protocol error", tt.name, err)
		}
	}
}

func TestBodiesAreChecked(t *testing.T) {
	for _, payload := range []string{
		"", "{", "[]", `"x"`, `{"version":"x"}`, `{"version":1}x`, `{"version":1e99}`,
	} {
		if err := Unmarshal(Hello, []byte(payload), new(HelloBody)); !errors.Is(err, core.ErrProtocol) {
			t.Errorf("Unmarshal of %q = %v, want a protocol error", payload, err)
		}
	}
	var body HelloBody
	if err := Unmarshal(Hello, []byte(`{"version":2,"newer":[1]}`), &body); err != nil || body.Version != 2 {
		t.Errorf("with an unknown field: %+v, %v", body, err)
	}
}

func TestErrorsTravel(t *testing.T) {
	hinted := core.NewError(core.CodeDenied, "publish", errors.New("no"))
	hinted.Hint = "ask"
	leader := core.NewError(core.CodeNotLeader, "publish", nil)
	leader.Node = 2
	for name, want := range map[string]*core.Error{
		"plain": core.NewError(core.CodeFull, "", nil), "hint": hinted, "node": leader,
		"a code of the future": core.Errorf(65000, "read", "new"),
	} {
		code, body := ErrorOf(fmt.Errorf("wrapped: %w", want))
		got := body.Error(code)
		if got.Error() != want.Error() || got.Hint != want.Hint || got.Node != want.Node || got.Code != want.Code ||
			got.Retryable != want.Retryable {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if code, body := ErrorOf(errors.New("bare")); code != core.CodeInternal || body.Cause != "bare" {
		t.Errorf("ErrorOf a foreign error = %v, %+v", code, body)
	}
	if _, body := ErrorOf(core.NewError(core.CodeFull, "", nil)); body != (ErrorBody{}) {
		t.Errorf("the hint of the table travels: %+v", body)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	buf, entries := make([]byte, 0, 256), make([]AckedEntry, 0, 4)
	payload, ack := ackedPayload(), exampleAcks[0]
	if n := testing.AllocsPerRun(1000, func() {
		h := Header{Type: Acks, Length: AckEntrySize}
		buf = h.Append(buf[:0])
		buf = ack.Append(buf)
		buf = exampleAcked[0].Append(buf)
		buf = AppendAssign(buf, 1)
		list, err := DecodeAcks(buf[HeaderSize : HeaderSize+AckEntrySize])
		if err != nil || list.At(0) != ack || ParseHeader(buf) != h {
			t.Fatal("decoded something else")
		}
		if entries, err = DecodeAcked(payload, entries[:0]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func FuzzHeader(f *testing.F) {
	for _, e := range examples {
		f.Add(e.encode())
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) < HeaderSize {
			return
		}
		h := ParseHeader(src)
		if got := h.Append(nil); !bytes.Equal(got, src[:HeaderSize]) {
			t.Errorf("%x reads as %+v, which writes as %x", src[:HeaderSize], h, got)
		}
		_ = h.Type.String()
	})
}

func FuzzAcks(f *testing.F) {
	f.Add(acksPayload())
	f.Fuzz(func(t *testing.T, payload []byte) {
		list, err := DecodeAcks(payload)
		if err != nil {
			return
		}
		var again []byte
		for i := range list.Len() {
			e := list.At(i)
			again = e.Append(again)
		}
		if !bytes.Equal(again, payload) {
			t.Errorf("%x writes as %x", payload, again)
		}
	})
}

func FuzzAcked(f *testing.F) {
	f.Add(ackedPayload())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		entries, err := DecodeAcked(payload, nil)
		if err != nil {
			return
		}
		var again []byte
		for i := range entries {
			again = entries[i].Append(again)
		}
		if !bytes.Equal(again, payload) {
			t.Errorf("%x writes as %x", payload, again)
		}
	})
}

func FuzzAssign(f *testing.F) {
	f.Add(AppendAssign(nil, 7))
	f.Fuzz(func(t *testing.T, payload []byte) {
		generation, err := DecodeAssign(payload)
		if err == nil && !bytes.Equal(AppendAssign(nil, generation)[:4], payload[:4]) {
			t.Errorf("%x reads as generation %d", payload, generation)
		}
	})
}

// bodies are all that travels as JSON.
func bodies() (all []any) {
	seen := make(map[reflect.Type]bool)
	add := func(body any) {
		if body != nil && !seen[reflect.TypeOf(body)] {
			seen[reflect.TypeOf(body)] = true
			all = append(all, body)
		}
	}
	for _, e := range examples {
		add(e.body)
	}
	for _, op := range operations() {
		add(requests[op][0])
		add(requests[op][1])
	}
	return all
}

// FuzzBodies: no bytes make a body panic, and what was read is written and read the same.
func FuzzBodies(f *testing.F) {
	all := bodies()
	for i, body := range all {
		text, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), text)
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		body := all[int(which)%len(all)]
		first := fresh(body)
		if Unmarshal(Hello, payload, first) != nil {
			return
		}
		once := Marshal(nil, Header{}, first)
		second := fresh(body)
		if err := Unmarshal(Hello, once[HeaderSize:], second); err != nil {
			t.Fatalf("%T: what it writes it does not read: %v", body, err)
		}
		if twice := Marshal(nil, Header{}, second); !bytes.Equal(twice, once) {
			t.Errorf("%T: written %s, then %s", body, once[HeaderSize:], twice[HeaderSize:])
		}
		if e, ok := first.(*ErrorBody); ok {
			code, again := ErrorOf(e.Error(core.Code(which)))
			if text := again.Error(code).Error(); text != e.Error(core.Code(which)).Error() {
				t.Errorf("the error %+v travels as %s", e, text)
			}
		}
	})
}
