package wire

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// exampleEntries names one record of partition 3, and three of another grant.
var exampleEntries = []QueueEntry{
	{Partition: 3, Grant: core.QueueGrant{Lo: 1000, Left: 1, Epoch: 7, Slot: 5}},
	{Partition: core.MaxPartitions - 1,
		Grant: core.QueueGrant{Lo: 1 << 40, Left: 0b1011, Epoch: 1 << 60, Slot: 6}},
}

// exampleSettlement gives a SETTLE of any kind.
func exampleSettlement(kind SettleKind) *Settlement {
	s := &Settlement{Kind: kind, Entries: exampleEntries}
	switch kind {
	case SettleNack:
		s.Delay = 5e9
	case SettleReject:
		s.Reason = "no such ISO"
	case SettleNackBecause:
		s.Delay, s.Reason = -1, "no answer"
	}
	return s
}

func settlePayload(kind SettleKind) []byte {
	return AppendSettle(nil, exampleSettlement(kind))[HeaderSize:]
}

// exampleGrant is the record of exampleLog, granted.
func exampleGrant() (Header, []byte) {
	record := exampleLog(true)[core.FrameHeaderSize:]
	frame := BeginGrant(nil)
	at := len(frame)
	frame = append(BeginGrantRun(frame, exampleTime), record...)
	EndGrantRun(frame, at, 1)
	h := EndGrant(frame, 0, &GrantHead{Partition: 3, Grant: exampleEntries[0].Grant, Attempt: 1})
	return h, frame
}

func grantHeader() Header {
	h, _ := exampleGrant()
	h.Length = 0
	return h
}

func grantPayload() []byte {
	_, frame := exampleGrant()
	return frame[HeaderSize:]
}

func TestSettle(t *testing.T) {
	var got Settlement
	for kind := SettleAck; kind <= SettleNackBecause; kind++ {
		want := exampleSettlement(kind)
		frame := AppendSettle(nil, want)
		h := ParseHeader(frame)
		if err := DecodeSettle(&h, frame[HeaderSize:], &got); err != nil {
			t.Fatalf("kind %d: %v", kind, err)
		}
		if h.Type != Settle || h.Size() != len(frame) || got.Kind != kind || got.Delay != want.Delay ||
			got.Reason != want.Reason || !slices.Equal(got.Entries, want.Entries) {
			t.Errorf("kind %d: header %+v, read %+v, want %+v", kind, h, got, want)
		}
	}
}

// TestGrantOfManyRuns: records of several log frames, with others between them left out.
func TestGrantOfManyRuns(t *testing.T) {
	record := exampleLog(true)[core.FrameHeaderSize:]
	g := GrantHead{Partition: 2, Attempt: 3, Grant: core.QueueGrant{Lo: 10, Left: 0b110101, Epoch: 9, Slot: 1}}
	frame := BeginGrant([]byte("before"))
	for i, n := range []int{1, 2, 1} {
		at := len(frame)
		frame = append(BeginGrantRun(frame, int64(100+i)), slices.Repeat(record, n)...)
		EndGrantRun(frame, at, n)
	}
	h := EndGrant(frame, 6, &g)
	if parsed := ParseHeader(frame[6:]); parsed != h || h.Size() != len(frame)-6 {
		t.Fatalf("header %+v, written %+v, of %d bytes", parsed, h, len(frame)-6)
	}
	got, runs, err := DecodeGrant(&h, frame[6+HeaderSize:])
	if err != nil || got != g {
		t.Fatalf("read %+v, %v; want %+v", got, err, g)
	}
	for i, n := range []int{1, 2, 1} {
		var run GrantRun
		run, runs = NextGrantRun(runs)
		if run.Time != int64(100+i) || int(run.Count) != n || !bytes.Equal(run.Records, slices.Repeat(record, n)) {
			t.Errorf("run %d: %+v", i, run)
		}
	}
	if len(runs) != 0 {
		t.Errorf("%d bytes behind the last run", len(runs))
	}
	frame[len(frame)-1] ^= 1
	if _, _, err := DecodeGrant(&h, frame[6+HeaderSize:]); !errors.Is(err, core.ErrCorrupt) {
		t.Errorf("with a bit changed: %v, want a corrupt record", err)
	}
}

func TestQueueFramesAreChecked(t *testing.T) {
	entry := func(change func(e *QueueEntry)) []byte {
		e := exampleEntries[0]
		change(&e)
		return e.Append(nil)
	}
	good := exampleEntries[0].Append(nil)
	settle := func(kind uint16, arg uint64, payload []byte) error {
		return DecodeSettle(&Header{Type: Settle, Aux: kind, Arg: arg}, payload, new(Settlement))
	}
	entries := func(p []byte) error { _, err := DecodeQueueEntries(p, nil); return err }
	grant := func(change func(h *Header, g *GrantHead, frame []byte) []byte) error {
		h, frame := exampleGrant()
		g := GrantHead{Partition: 3, Grant: exampleEntries[0].Grant, Attempt: 1}
		frame = change(&h, &g, frame)
		if len(frame) >= HeaderSize+GrantHeadSize {
			h = EndGrant(frame, 0, &g)
		}
		_, _, err := DecodeGrant(&h, frame[min(HeaderSize, len(frame)):])
		return err
	}
	for name, err := range map[string]error{
		"no entries":          entries(nil),
		"half an entry":       entries(good[:QueueEntrySize-1]),
		"partition too large": entries(entry(func(e *QueueEntry) { e.Partition = core.MaxPartitions })),
		"partition below 0":   entries(entry(func(e *QueueEntry) { e.Partition = -1 })),
		"no records":          entries(entry(func(e *QueueEntry) { e.Grant.Left = 0 })),
		"slot below 0":        entries(entry(func(e *QueueEntry) { e.Grant.Slot = -1 })),
		"epoch below 0":       entries(entry(func(e *QueueEntry) { e.Grant.Epoch = -1 })),
		"offset below 0":      entries(entry(func(e *QueueEntry) { e.Grant.Lo = -1 })),
		"offset too large":    entries(entry(func(e *QueueEntry) { e.Grant.Lo = math.MaxInt64 })),
		"kind 0":              settle(0, 0, good),
		"kind 6":              settle(6, 0, good),
		"delay -2":            settle(uint16(SettleNack), math.MaxUint64-1, good),
		"reason too long":     settle(uint16(SettleReject), MaxReasonBytes+1, make([]byte, 2*MaxReasonBytes)),
		"reason cut short":    settle(uint16(SettleReject), 40, good),
		"reason alone":        settle(uint16(SettleReject), 32, good),
		"nothing settled":     settle(uint16(SettleAck), 0, nil),
		"no grant":            grant(func(_ *Header, _ *GrantHead, f []byte) []byte { return f[:HeaderSize+8] }),
		"attempt 0": grant(func(_ *Header, g *GrantHead, f []byte) []byte {
			g.Attempt = 0
			return f
		}),
		"grant of no record": grant(func(_ *Header, g *GrantHead, f []byte) []byte {
			g.Grant.Left = 0
			return f
		}),
		"a record too few": grant(func(_ *Header, g *GrantHead, f []byte) []byte {
			g.Grant.Left = 3
			return f
		}),
		"a run too few": grant(func(_ *Header, _ *GrantHead, f []byte) []byte {
			return f[:HeaderSize+GrantHeadSize]
		}),
		"a run cut short": grant(func(_ *Header, _ *GrantHead, f []byte) []byte { return f[:len(f)-8] }),
		"half a run": grant(func(_ *Header, _ *GrantHead, f []byte) []byte {
			return f[:HeaderSize+GrantHeadSize+GrantRunSize-1]
		}),
		"an empty run": grant(func(_ *Header, _ *GrantHead, f []byte) []byte {
			return append(f, make([]byte, GrantRunSize)...)
		}),
	} {
		if !errors.Is(err, core.ErrProtocol) {
			t.Errorf("%s: %v, want a protocol error", name, err)
		}
	}
}

// TestNackReasonIsChecked: the reason behind the entries of a nack is as long as it says, and is one.
func TestNackReasonIsChecked(t *testing.T) {
	good := exampleEntries[0].Append(nil)
	settle := func(delay uint64, tail ...byte) error {
		h := Header{Type: Settle, Aux: uint16(SettleNackBecause), Arg: delay}
		return DecodeSettle(&h, append(slices.Clone(good), tail...), new(Settlement))
	}
	if err := settle(5, 'n', 'o', 2, 0); err != nil {
		t.Errorf("a good one: %v", err)
	}
	long := append(make([]byte, 2*MaxReasonBytes), (MaxReasonBytes+1)&0xff, (MaxReasonBytes+1)>>8)
	for name, err := range map[string]error{
		"no reason":               settle(0, 0, 0),
		"no length":               settle(0, 1),
		"a longer reason":         settle(0, 'n', byte(len(good)+2), 0),
		"all of it is the reason": settle(0, 'n', byte(len(good)+1), 0),
		"a reason too long":       settle(0, long...),
		"a delay of -2":           settle(math.MaxUint64-1, 'n', 1, 0),
	} {
		if !errors.Is(err, core.ErrProtocol) {
			t.Errorf("%s: %v, want a protocol error", name, err)
		}
	}
}

func TestQueueHotPathDoesNotAllocate(t *testing.T) {
	buf, record := make([]byte, 0, 1024), exampleLog(true)[core.FrameHeaderSize:]
	var s Settlement
	in := exampleSettlement(SettleAck)
	g := GrantHead{Partition: 3, Grant: exampleEntries[0].Grant, Attempt: 1}
	if n := testing.AllocsPerRun(1000, func() {
		buf = AppendSettle(buf[:0], in)
		h := ParseHeader(buf)
		if err := DecodeSettle(&h, buf[HeaderSize:], &s); err != nil {
			t.Fatal(err)
		}
		buf = BeginGrant(buf[:0])
		at := len(buf)
		buf = append(BeginGrantRun(buf, 1), record...)
		EndGrantRun(buf, at, 1)
		h = EndGrant(buf, 0, &g)
		if _, _, err := DecodeGrant(&h, buf[HeaderSize:]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// FuzzSettle: what reads well writes the same.
func FuzzSettle(f *testing.F) {
	for kind := SettleAck; kind <= SettleNackBecause; kind++ {
		frame := AppendSettle(nil, exampleSettlement(kind))
		h := ParseHeader(frame)
		f.Add(h.Aux, h.Arg, frame[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, kind uint16, arg uint64, payload []byte) {
		var s Settlement
		h := Header{Type: Settle, Aux: kind, Arg: arg}
		if DecodeSettle(&h, payload, &s) != nil {
			return
		}
		if again := AppendSettle(nil, &s); !bytes.Equal(again[HeaderSize:], payload) {
			t.Errorf("%x writes as %x", payload, again[HeaderSize:])
		}
	})
}

// FuzzGrant: a grant that reads well has as many records as bits, and writes the same.
func FuzzGrant(f *testing.F) {
	h, frame := exampleGrant()
	f.Add(h.Aux, h.Arg, frame[HeaderSize:], true)
	f.Add(h.Aux, h.Arg, frame[HeaderSize:], false)
	f.Fuzz(func(t *testing.T, partition uint16, lo uint64, payload []byte, mend bool) {
		payload = bytes.Clone(payload)
		if mend && len(payload) >= GrantHeadSize { // so that what lies behind the checksum is reached
			sum := core.Checksum(payload[GrantHeadSize:])
			copy(payload[24:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
		}
		h := Header{Type: Grant, Aux: partition, Arg: lo, Length: uint32(len(payload))}
		g, runs, err := DecodeGrant(&h, payload)
		if err != nil {
			return
		}
		again := BeginGrant(nil)
		for len(runs) > 0 {
			var run GrantRun
			run, runs = NextGrantRun(runs)
			at := len(again)
			again = append(BeginGrantRun(again, run.Time), run.Records...)
			EndGrantRun(again, at, int(run.Count))
		}
		if EndGrant(again, 0, &g) != h || !bytes.Equal(again[HeaderSize:], payload) {
			t.Errorf("%x writes as %x", payload, again[HeaderSize:])
		}
	})
}
