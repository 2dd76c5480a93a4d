package core

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleOrigin() DeadLetterOrigin {
	return DeadLetterOrigin{Topic: "orders", Partition: 3, Offset: 1234, Time: 1767225600_000_000_001,
		Attempts: 16, Code: CodeHandlerFailed, Reason: "no such customer", Group: "billing"}
}

func TestDeadLetterNames(t *testing.T) {
	name, err := DeadLetterName("orders", "billing")
	if name != "orders.dlq.billing" || err != nil {
		t.Errorf("DeadLetterName = %q, %v", name, err)
	}
	long := strings.Repeat("x", 200)
	if name, err := DeadLetterName(long, strings.Repeat("g", 44)); err != nil || len(name) != MaxNameBytes {
		t.Errorf("a name of %d bytes: %v", len(name), err)
	}
	_, err = DeadLetterName(long, strings.Repeat("g", 45))
	wantCode(t, "DeadLetterName", err, CodeInvalidName)
	if !strings.Contains(err.Error(), "200") || !strings.Contains(err.Error(), "250, at most 249") {
		t.Errorf("the error says %v", err)
	}
	for name, want := range map[string][2]string{
		"orders.dlq.billing": {"orders", "billing"}, "a.dlq.b.dlq.c": {"a.dlq.b", "c"},
		"orders": {}, ".dlq.billing": {}, "orders.dlq.": {}, "orders.dlq": {},
	} {
		topic, group, ok := SplitDeadLetterName(name)
		if topic != want[0] || group != want[1] || ok != (want[0] != "") {
			t.Errorf("SplitDeadLetterName(%q) = %q, %q, %v", name, topic, group, ok)
		}
	}
}

// TestWrap: what a record was comes back, byte for byte, whatever room its headers left.
func TestWrap(t *testing.T) {
	many := make([]Header, MaxHeaders)
	for i := range many {
		many[i] = Header{fmt.Sprint("h", i), []byte{byte(i)}}
	}
	full := []Header{{"big", bytes.Repeat([]byte{7}, MaxHeaderBytes-9)}}
	tests := []struct {
		name    string
		value   []byte
		headers []Header
		packed  bool
	}{
		{"plain", []byte("v"), nil, false},
		{"headers", []byte("v"), []Header{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}}, false},
		{"tombstone", nil, []Header{{"a", []byte("1")}}, false},
		{"empty", []byte{}, nil, false},
		{"as many headers as may be", []byte("v"), many, true},
		{"headers as large as may be", []byte("v"), full, true},
		{"tombstone of many headers", nil, many, true},
		{"empty of many headers", []byte{}, many, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := sampleOrigin()
			value, headers := o.Wrap(tt.value, tt.headers)
			if size, err := EncodedRecordSize(nil, value, headers); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if was, _ := EncodedRecordSize(nil, tt.value, tt.headers); EncodedHeadersSize(headers)+len(value) >
				was+DeadLetterRoom {
				t.Errorf("it grew by more than %d", DeadLetterRoom)
			}
			if packed := headers[len(headers)-1].Key == deadLetterPacked; packed != tt.packed {
				t.Errorf("packed %v, want %v", packed, tt.packed)
			}
			got, back, own, err := UnwrapDeadLetter(value, headers)
			if err != nil || got != o || !bytes.Equal(back, tt.value) || (back == nil) != (tt.value == nil) ||
				len(own) != len(tt.headers) {
				t.Fatalf("Unwrap = %+v, %q, %d headers, %v", got, back, len(own), err)
			}
			for i := range own {
				if own[i].Key != tt.headers[i].Key || !bytes.Equal(own[i].Value, tt.headers[i].Value) {
					t.Errorf("header %d is %q %q", i, own[i].Key, own[i].Value)
				}
			}
		})
	}
}

// TestWrapAgain: a dead letter that dies again tells of its last death, and loses what else Leat had set.
func TestWrapAgain(t *testing.T) {
	first := sampleOrigin()
	value, headers := first.Wrap([]byte("v"), []Header{{"a", []byte("1")}, {"leat-id", []byte("x")}})
	second := sampleOrigin()
	second.Topic, second.Reason = "orders.dlq.billing", strings.Repeat("ü", 600)
	value, headers = second.Wrap(value, headers)
	got, value, own, err := UnwrapDeadLetter(value, headers)
	second.Reason = strings.Repeat("ü", 512)
	if err != nil || got != second || string(value) != "v" ||
		!reflect.DeepEqual(own, []Header{{"a", []byte("1")}}) {
		t.Errorf("Unwrap = %+v, %q, %v, %v", got, value, own, err)
	}
	second.Reason = strings.Repeat("x", 1023) + "ü"
	if _, headers = second.Wrap(nil, nil); len(headers[6].Value) != 1023 {
		t.Errorf("the reason was cut to %d bytes", len(headers[6].Value))
	}
}

func TestUnwrapRefuses(t *testing.T) {
	o := sampleOrigin()
	_, good := o.Wrap(nil, nil)
	with := func(name, value string) []Header {
		list := append([]Header{{"mine", []byte("m")}}, good...)
		for i := range list {
			if list[i].Key == name {
				list[i].Value = []byte(value)
				return list
			}
		}
		return append(list, Header{name, []byte(value)})
	}
	for _, tt := range []struct {
		what    string
		headers []Header
	}{
		{"no header", nil},
		{"one missing", good[1:]},
		{"one twice", append(good[:8:8], good[3])},
		{"topic", with(deadLetterTopic, "a/b")}, {"group", with(deadLetterGroup, "")},
		{"partition", with(deadLetterPartition, "16384")}, {"no number", with(deadLetterPartition, "x")},
		{"offset", with(deadLetterOffset, "-1")}, {"attempts", with(deadLetterAttempts, "2147483648")},
		{"code", with(deadLetterCode, "65536")}, {"time", with(deadLetterTime, "yesterday")},
		{"time out of range", with(deadLetterTime, "9999-01-01T00:00:00.000000000Z")},
		{"short time", with(deadLetterTime, "2026-01-01T00:00:00Z")},
		{"unknown", with("leat-dlq-colour", "red")},
		{"packed beyond the value", with(deadLetterPacked, "3")},
		{"packed damaged", with(deadLetterPacked, "2")},
		{"packed negative", with(deadLetterPacked, "-1")},
		{"tombstone with a value", with(deadLetterPacked, "0 tombstone")},
	} {
		got, value, own, err := UnwrapDeadLetter([]byte("ab"), tt.headers)
		wantCode(t, tt.what, err, CodeInvalidRecord)
		if got != (DeadLetterOrigin{}) || string(value) != "ab" || len(own) > 1 {
			t.Errorf("%s: %+v, %q, %v", tt.what, got, value, own)
		}
	}
}

func TestDeadLetterFilter(t *testing.T) {
	o, own := sampleOrigin(), []Header{{"region", []byte("eu")}, {"region", []byte("us")}, {"try", nil}}
	for _, tt := range []struct {
		what   string
		filter DeadLetterFilter
		want   bool
	}{
		{"all", DeadLetterFilter{}, true},
		{"its key", DeadLetterFilter{Key: []byte("k")}, true},
		{"another key", DeadLetterFilter{Key: []byte("kk")}, false},
		{"the empty key", DeadLetterFilter{Key: []byte{}}, false},
		{"its code", DeadLetterFilter{Code: CodeHandlerFailed}, true},
		{"another code", DeadLetterFilter{Code: 1}, false},
		{"since", DeadLetterFilter{Since: 100}, true}, {"since later", DeadLetterFilter{Since: 101}, false},
		{"until", DeadLetterFilter{Until: 101}, true}, {"until before", DeadLetterFilter{Until: 100}, false},
		{"a header", DeadLetterFilter{Headers: []Header{{"region", []byte("us")}, {"try", []byte{}}}}, true},
		{"a header with another value", DeadLetterFilter{Headers: []Header{{"region", []byte("u")}}}, false},
		{"one of two", DeadLetterFilter{Headers: []Header{{"region", []byte("us")}, {"x", nil}}}, false},
	} {
		if got := tt.filter.Matches([]byte("k"), 100, &o, own); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
	if (&DeadLetterFilter{Key: []byte{}}).Matches(nil, 0, &o, nil) {
		t.Error("no key is the empty key")
	}
}

// FuzzDeadLetter: whatever the headers say nothing panics, and what is read as a letter is wrapped and read
// the same.
func FuzzDeadLetter(f *testing.F) {
	o := sampleOrigin()
	add := func(value []byte, headers []Header) {
		raw := make([]byte, EncodedHeadersSize(headers))
		at := 0
		for i := range headers {
			at += putHeader(raw[at:], &headers[i])
		}
		f.Add(value, raw)
	}
	add(nil, nil)
	add(o.Wrap([]byte("v"), []Header{{"a", []byte("1")}}))
	add(o.Wrap(nil, make([]Header, MaxHeaders)))
	f.Fuzz(func(t *testing.T, value, raw []byte) {
		var d HeaderDecoder
		headers, err := d.Decode(raw, nil)
		if err != nil {
			return
		}
		o, back, own, err := UnwrapDeadLetter(value, headers)
		if err != nil {
			wantCode(t, "UnwrapDeadLetter", err, CodeInvalidRecord)
			return
		}
		o.Reason = CutReason(o.Reason)
		o2, back2, own2, err := UnwrapDeadLetter(o.Wrap(back, own))
		if err != nil || o2 != o || !bytes.Equal(back2, back) || len(own2) != len(own) {
			t.Fatalf("%+v, %q, %v became %+v, %q, %v, %v", o, back, own, o2, back2, own2, err)
		}
	})
}

func sampleDeadLetterRecord() DeadLetterRecord {
	return DeadLetterRecord{TopicID: 0x0102030405060708, Partition: 0x1112, Chunk: 2,
		Next: 2*DeadLetterChunk + 1, Redriven: 0x4142434445464748, Dropped: 0x5152535455565758,
		Bits: []byte{1, 0, 0x80}}
}

func TestDeadLetterRecordGolden(t *testing.T) {
	r := sampleDeadLetterRecord()
	key, value := r.EncodeKey(nil), r.EncodeValue(nil)
	goldenHex(t, "deadletter-key.hex", key)
	goldenHex(t, "deadletter-value.hex", value)
	if got, err := DecodeDeadLetterRecord(key, value); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("DecodeDeadLetterRecord = %+v, %v; want %+v", got, err, r)
	}
	if got, err := DecodeDeadLetterRecord(key, nil); err != nil || !got.Removed || got.Chunk != r.Chunk {
		t.Errorf("DecodeDeadLetterRecord without value = %+v, %v", got, err)
	}
	for _, tt := range []struct {
		what   string
		change func(key, value []byte) ([]byte, []byte)
		want   Code
	}{
		{"as it is", setBytes(0, 1, 0, 1), 0},
		{"key version 2", setBytes(0, 2, 0, 1), CodeVersionTooNew},
		{"value version 2", setBytes(0, 1, 0, 2), CodeVersionTooNew},
		{"kind 4", setBytes(1, 4, 0, 1), CodeCorrupt},
		{"reserved of the key", setBytes(3, 1, 0, 1), CodeCorrupt},
		{"reserved of the value", setBytes(0, 1, 7, 1), CodeCorrupt},
		{"partition 16384 and more", setBytes(5, 0x40, 0, 1), CodeCorrupt},
		{"negative chunk", setBytes(23, 0x80, 0, 1), CodeCorrupt},
		{"chunk beyond the last", setBytes(22, 4, 0, 1), CodeCorrupt},
		{"negative next", setBytes(0, 1, 15, 0xff), CodeCorrupt},
		{"negative redriven", setBytes(0, 1, 23, 0xff), CodeCorrupt},
		{"negative dropped", setBytes(0, 1, 31, 0xff), CodeCorrupt},
		{"longer key", func(k, v []byte) ([]byte, []byte) { return append(k, 0), v }, CodeCorrupt},
		{"short value", func(k, v []byte) ([]byte, []byte) { return k, v[:31] }, CodeCorrupt},
		{"too many bits", func(k, v []byte) ([]byte, []byte) { return k, make([]byte, 33+DeadLetterChunk/8) },
			CodeCorrupt},
	} {
		k, v := tt.change(bytes.Clone(key), bytes.Clone(value))
		_, err := DecodeDeadLetterRecord(k, v)
		wantCode(t, tt.what, err, tt.want)
	}
}

// FuzzDeadLetterRecord: what is read is written the same, and a state that restores it holds its invariant.
func FuzzDeadLetterRecord(f *testing.F) {
	r := sampleDeadLetterRecord()
	f.Add(r.EncodeKey(nil), r.EncodeValue(nil), false)
	f.Add(r.EncodeKey(nil), []byte{}, true)
	f.Fuzz(func(t *testing.T, key, value []byte, removed bool) {
		if removed {
			value = nil
		}
		r, err := DecodeDeadLetterRecord(key, value)
		if err != nil {
			if code := CodeOf(err); code != CodeCorrupt && code != CodeVersionTooNew {
				t.Fatalf("DecodeDeadLetterRecord(%x, %x) = %v", key, value, err)
			}
			return
		}
		if again := r.EncodeKey(nil); !bytes.Equal(again, key) {
			t.Fatalf("key encoded again: %x, want %x", again, key)
		}
		if again := r.EncodeValue(nil); !r.Removed && !bytes.Equal(again, value) {
			t.Fatalf("value encoded again: %x, want %x", again, value)
		}
		var s DeadLetterState
		s.Restore(&r, math.MaxInt64)
		if s.Settled(s.Next()) {
			t.Fatalf("%+v: the letter at next, %d, is settled", r, s.Next())
		}
	})
}

// settledModel says the same as DeadLetterState, letter by letter.
type settledModel struct {
	settled           map[int64]bool
	redriven, dropped int64
}

// settle gives how many letters of [lo, hi) were not settled before.
func (m *settledModel) settle(lo, hi int64, drop bool) (fresh int64) {
	for at := lo; at < hi; at++ {
		if !m.settled[at] {
			m.settled[at] = true
			fresh++
		}
	}
	if drop {
		m.dropped += fresh
	} else {
		m.redriven += fresh
	}
	return fresh
}

// TestDeadLetterModel settles at random, loses the memory at random, and compares with the model: produced =
// redriven + dropped + pending, at every moment. Half the seeds keep records as an append-only log does, and
// half replay them with a snapshot behind newer ones.
func TestDeadLetterModel(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 5))
		model := settledModel{settled: map[int64]bool{}}
		var s DeadLetterState
		var log []DeadLetterRecord
		store := func() {
			dirty := s.Dirty()
			log = append(log, dirty...)
			s.Stored(dirty)
		}
		end := int64(0)
		for step := range 200 {
			end += random.Int64N(1 + random.Int64N(400))
			lo := s.Next() + random.Int64N(1+random.Int64N(1+end-s.Next()))
			hi := lo + random.Int64N(1+random.Int64N(3000))
			drop := random.IntN(2) == 0
			want := model.settle(lo, min(hi, end), drop)
			if got := s.Settle(lo, hi, 0, end, drop); got != want {
				t.Fatalf("seed %d step %d: Settle(%d, %d) = %d, want %d", seed, step, lo, hi, got, want)
			}
			store()
			if random.IntN(20) == 0 {
				if seed%2 == 0 {
					log = append(log, s.Snapshot()...)
				}
				s = DeadLetterState{}
				for i := range log {
					s.Restore(&log[i], end)
				}
			}
			if random.IntN(40) == 0 {
				log = s.Snapshot() // the older segments go
			}
			if got, want := s.Pending(0, end), end-int64(len(model.settled)); got != want ||
				s.Redriven() != model.redriven || s.Dropped() != model.dropped {
				t.Fatalf("seed %d step %d: pending %d, redriven %d, dropped %d; want %d, %d, %d", seed, step, got,
					s.Redriven(), s.Dropped(), want, model.redriven, model.dropped)
			}
			if end != s.Redriven()+s.Dropped()+s.Pending(0, end) {
				t.Fatalf("seed %d step %d: %d letters are not accounted for", seed, step, end)
			}
			if s.Settled(s.Next()) {
				t.Fatalf("seed %d step %d: next is settled", seed, step)
			}
		}
	}
}

func TestDeadLetterStateAtTheEdges(t *testing.T) {
	var s DeadLetterState
	if n := s.Settle(0, math.MaxInt64, 0, 10, true); n != 10 || s.Next() != 10 {
		t.Errorf("settling beyond the end: %d, next %d", n, s.Next())
	}
	if n := s.Settle(-5, 3, 20, 30, true); n != 0 || s.Next() != 20 {
		t.Errorf("behind retention: %d, next %d", n, s.Next())
	}
	if n := s.Pending(20, 30); n != 10 {
		t.Errorf("pending %d", n)
	}
	if n := s.Pending(40, 30); n != 0 {
		t.Errorf("pending of nothing %d", n)
	}
	// The tail that was settled is lost, and its offsets are given again.
	s.Settle(24, 26, 20, 30, false)
	var again DeadLetterState
	for _, r := range s.Snapshot() {
		again.Restore(&r, 25)
	}
	if !again.Settled(24) || again.Settled(25) || again.Next() != 20 {
		t.Errorf("after the tail is lost: %v %v, next %d", again.Settled(24), again.Settled(25), again.Next())
	}
	// What is not stored stays to be stored; a chunk that is passed loses its record.
	var big DeadLetterState
	big.Settle(DeadLetterChunk-1, DeadLetterChunk+1, 0, 1e6, false)
	first := big.Dirty()
	if len(first) != 2 || len(big.Dirty()) != 2 {
		t.Errorf("dirty %+v", first)
	}
	big.Stored(first)
	big.Settle(0, DeadLetterChunk-1, 0, 1e6, false)
	dirty := big.Dirty()
	if len(dirty) != 2 || dirty[0].Chunk != 1 || dirty[0].Next != DeadLetterChunk+1 || !dirty[1].Removed ||
		dirty[1].Chunk != 0 {
		t.Errorf("dirty %+v", dirty)
	}
	big.Stored(dirty)
	if left := big.Dirty(); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}

func TestDeadLetterPace(t *testing.T) {
	unbound := DeadLetterPace{}
	if n, wait := unbound.Room(0); n != redriveStep || wait != 0 {
		t.Errorf("no limits: %d, %v", n, wait)
	}
	limited := DeadLetterPace{Limit: 3000}
	for _, want := range []int{2048, 952, 0} {
		n, wait := limited.Room(0)
		if n != want || wait != 0 {
			t.Errorf("limit: %d, %v; want %d", n, wait, want)
		}
		limited.Took(n)
	}
	// Whenever it is asked, no second has more than the rate and one.
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 6))
		p := DeadLetterPace{Rate: 100}
		now, begin, took := int64(5e9), int64(5e9), 0
		for now < begin+20e9 {
			n, wait := p.Room(now)
			if n == 0 {
				now += int64(wait)
				continue
			}
			n = 1 + random.IntN(n)
			p.Took(n)
			if took += n; float64(took) > 100*float64(now-begin)/1e9+1.5 {
				t.Fatalf("seed %d: %d letters after %v", seed, took, time.Duration(now-begin))
			}
			now += random.Int64N(30e6)
		}
		if took < 1900 {
			t.Errorf("seed %d: %d letters in 20 s", seed, took)
		}
	}
	slow := DeadLetterPace{Rate: 0.001}
	if n, _ := slow.Room(1); n != 1 {
		t.Errorf("the first: %d", n)
	}
	slow.Took(1)
	if n, wait := slow.Room(1); n != 0 || wait != 1000*time.Second {
		t.Errorf("the second: %d, %v", n, wait)
	}
	// After a pause of an hour it makes up for a second.
	late := DeadLetterPace{Rate: 100}
	late.Room(0)
	if n, _ := late.Room(3600e9); n != 101 {
		t.Errorf("after a pause: %d", n)
	}
}
