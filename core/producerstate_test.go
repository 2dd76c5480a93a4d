package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// knownProducers is a partition that remembers a few producers, one of them with as many batches as are
// kept and one with a wrapped sequence.
func knownProducers() *Partition {
	p := NewPartition(AckPage, 1000, 1000)
	restore := func(id, lo, time int64, epoch int16, baseSeq int32, records uint16) {
		p.Restore(&FrameHeader{ProducerID: id, ProducerEpoch: epoch, BaseSeq: baseSeq, Records: records,
			BaseOffset: lo, Time: time})
	}
	for i := range int64(7) {
		restore(7, 10*i, 1_000+i, 3, int32(10*i), 10)
	}
	restore(0x0102030405060708, 100, 2_000, 32767, 1<<31-2, 4)
	restore(9, 104, 2_000, 0, 0, 1)
	return p
}

// TestProducerStateWithIDs: ids are behind the producers, those of a write under way left out.
func TestProducerStateWithIDs(t *testing.T) {
	withIDs := knownProducers()
	withIDs.AddID(MessageIDOf([]byte("order-1")), 3, 1_500)
	withIDs.AddID(MessageIDOf([]byte("order-2")), 90, 1_700)
	withIDs.KeepIDs()
	withIDs.AddID(MessageIDOf([]byte("pending")), 95, 1_800)
	state := withIDs.EncodeProducers(nil)
	goldenHex(t, "producers-ids.hex", state)
	again := NewPartition(AckPage, 200, 0)
	wantCode(t, "LoadProducers", again.LoadProducers(state), 0)
	offset, stored, known := again.FindID(MessageIDOf([]byte("order-2")), 1_900)
	if !known || offset != 90 || stored != 1_700 || again.IDCount() != 2 || again.ProducerCount() != 3 {
		t.Errorf("FindID = %d, %d, %v of %d ids, %d producers", offset, stored, known, again.IDCount(),
			again.ProducerCount())
	}
	for n := range len(state) {
		if code := CodeOf(again.LoadProducers(state[:n])); code != CodeCorrupt || again.IDCount() != 0 {
			t.Errorf("cut to %d bytes: %v, %d ids", n, code, again.IDCount())
		}
	}
}

func TestProducerStateGolden(t *testing.T) {
	state := knownProducers().EncodeProducers(nil)
	goldenHex(t, "producers.hex", state)
	goldenHex(t, "producers-none.hex", NewPartition(AckPage, 0, 0).EncodeProducers(nil))
	p := NewPartition(AckPage, 1000, 1000)
	wantCode(t, "LoadProducers", p.LoadProducers(state), 0)
	if again := p.EncodeProducers(nil); !bytes.Equal(again, state) {
		t.Errorf("encodes to\n%x, was\n%x", again, state)
	}
	if n := p.ProducerCount(); n != 3 {
		t.Errorf("%d producers, want 3", n)
	}
	r := &partitionRig{t: t, p: p, now: 3_000}
	p.Resume(r.now)
	stored := duplicate(60, 70)
	stored.Time = 1_006
	r.wantPublish("a retry", batch(7, 3, 60, 10), stored)
	r.wantPublish("the next", batch(7, 3, 70, 1), appended(1000, 1001))
	r.wantPublish("after the wrap", batch(0x0102030405060708, 32767, 2, 1), appended(1001, 1002))
	checkProducerTable(t, &p.producers)
}

func TestLoadProducersRefuses(t *testing.T) {
	le := binary.LittleEndian
	const second = 8 + 24 + 5*24 // position of the second producer
	tests := []struct {
		what   string
		change func(b []byte) []byte
		want   Code
	}{
		{"nothing", func([]byte) []byte { return nil }, CodeCorrupt},
		{"version 0", func(b []byte) []byte { b[0] = 0; return b }, CodeCorrupt},
		{"newer version", func(b []byte) []byte { b[0] = 3; return b }, CodeVersionTooNew},
		{"reserved", func(b []byte) []byte { b[3] = 1; return b }, CodeCorrupt},
		{"one producer more", func(b []byte) []byte { b[4]++; return b }, CodeCorrupt},
		{"one less", func(b []byte) []byte { b[4]--; return b }, CodeCorrupt},
		{"too many", func(b []byte) []byte { le.PutUint32(b[4:], MaxProducers+1); return b }, CodeCorrupt},
		{"cut", func(b []byte) []byte { return b[:len(b)-8] }, CodeCorrupt},
		{"a byte more", func(b []byte) []byte { return append(b, 0) }, CodeCorrupt},
		{"anonymous", func(b []byte) []byte { le.PutUint64(b[8:], 0); return b }, CodeCorrupt},
		{"the same twice", func(b []byte) []byte { le.PutUint64(b[second:], 7); return b }, CodeCorrupt},
		{"order", func(b []byte) []byte { le.PutUint64(b[second+8:], 5); return b }, CodeCorrupt},
		{"negative epoch", func(b []byte) []byte { b[second+17] = 0x80; return b }, CodeCorrupt},
		{"no batches", func(b []byte) []byte { b[second+18] = 0; return b }, CodeCorrupt},
		{"six batches", func(b []byte) []byte { b[8+18] = 6; return b }, CodeCorrupt},
		{"negative sequence", func(b []byte) []byte { b[second+24+19] = 0x80; return b }, CodeCorrupt},
		{"no records", func(b []byte) []byte { le.PutUint32(b[second+24+20:], 0); return b }, CodeCorrupt},
		{"beyond the log", func(b []byte) []byte { le.PutUint64(b[second+24:], 997); return b }, CodeCorrupt},
		{"negative offset", func(b []byte) []byte { b[second+24+7] = 0x80; return b }, CodeCorrupt},
		{"a gap", func(b []byte) []byte { b[8+24+24+16]++; return b }, CodeCorrupt},
		{"overlap", func(b []byte) []byte { b[8+24+24]--; return b }, CodeCorrupt},
	}
	for _, tt := range tests {
		p := knownProducers()
		wantCode(t, tt.what, p.LoadProducers(tt.change(p.EncodeProducers(nil))), tt.want)
		if p.ProducerCount() != 0 {
			t.Errorf("%s: %d producers are known after the error", tt.what, p.ProducerCount())
		}
	}
}

// TestEncodeProducersLeavesOutWhatIsPending, because it may never be written.
func TestEncodeProducersLeavesOutWhatIsPending(t *testing.T) {
	p := knownProducers()
	before := p.EncodeProducers(nil)
	in := batch(7, 3, 70, 1)
	in.Kind, in.Offset = InputAdded, 1001
	p.Step(&in, 5_000, &Effects{})
	if got := p.EncodeProducers(nil); !bytes.Equal(got, before) {
		t.Errorf("with a write under way\n%x, before\n%x", got, before)
	}
}

func TestProducerStateOfAFullTable(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	for id := range int64(MaxProducers) {
		r.publish(batch(id+1, 0, 0, 1))
	}
	p := NewPartition(AckPage, MaxProducers, 0)
	wantCode(t, "LoadProducers", p.LoadProducers(r.p.EncodeProducers(nil)), 0)
	if p.ProducerCount() != MaxProducers {
		t.Errorf("%d producers, want %d", p.ProducerCount(), MaxProducers)
	}
	checkProducerTable(t, &p.producers)
}

// FuzzProducerState: no input panics; what loads encodes to the same bytes and is a sound table.
func FuzzProducerState(f *testing.F) {
	f.Add(knownProducers().EncodeProducers(nil))
	f.Add(NewPartition(AckPage, 0, 0).EncodeProducers(nil))
	ids := NewPartition(AckPage, 9, 0)
	ids.AddID(MessageIDOf([]byte("order-1")), 3, 1_500)
	ids.KeepIDs()
	f.Add(ids.EncodeProducers(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		p := NewPartition(AckPage, 1<<40, 0)
		if err := p.LoadProducers(src); err != nil {
			if code := CodeOf(err); code != CodeCorrupt && code != CodeVersionTooNew {
				t.Fatalf("error %v", err)
			}
			return
		}
		if got := p.EncodeProducers(nil); !bytes.Equal(got, src) {
			t.Fatalf("encodes to\n%x, was\n%x", got, src)
		}
		if p.ProducerCount() > 0 {
			checkProducerTable(t, &p.producers)
		}
	})
}

func BenchmarkEncodeProducers(b *testing.B) {
	for _, n := range []int64{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := NewPartition(AckPage, 5*n, 0)
			for i := range 5 * n {
				p.Restore(&FrameHeader{ProducerID: 1 + i%n, BaseSeq: int32(i / n), Records: 1, BaseOffset: i})
			}
			var state []byte
			for b.Loop() {
				state = p.EncodeProducers(state[:0])
			}
			b.SetBytes(int64(len(state)))
		})
	}
}
