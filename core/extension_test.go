package core

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

// encodeExtended encodes a record with extras.
func encodeExtended(t testing.TB, key, value []byte, headers []Header, x Extras) []byte {
	t.Helper()
	n, err := ExtendedRecordSize(len(key), len(value), headers, x)
	if err != nil {
		t.Fatal(err)
	}
	dst := bytes.Repeat([]byte{0xa5}, n)
	hash := uint64(0)
	if key != nil {
		hash = xxhash.Sum64(key)
	}
	PutExtendedRecord(dst, key, value, headers, hash, 5, x)
	return dst
}

func TestExtendedRecordGolden(t *testing.T) {
	headers := []Header{{"trace", []byte{1, 2, 3}}}
	goldenHex(t, "record-ttl.hex",
		encodeExtended(t, []byte("key-1"), []byte("hello"), headers, Extras{TTL: 1500 * time.Millisecond}))
	goldenHex(t, "record-id.hex",
		encodeExtended(t, []byte("key-1"), []byte("hello"), headers, Extras{TTL: time.Second, ID: "order-1"}))
}

func TestExtendedRecord(t *testing.T) {
	headers := []Header{{"h", []byte("v")}, {"h", nil}}
	for _, x := range []Extras{{}, {TTL: MinTTL}, {TTL: MaxTTL}, {ID: "x"},
		{ID: strings.Repeat("y", MaxIDBytes)}, {TTL: MinTTL, ID: "order-1"}} {
		for _, key := range [][]byte{nil, {}, []byte("key"), []byte("8 bytes.")} {
			for _, value := range [][]byte{nil, {}, []byte("value")} {
				src := encodeExtended(t, key, value, headers, x)
				r, n, err := DecodeRecord(append(bytes.Clone(src), 1, 2, 3))
				if err != nil || n != len(src) || !sameBytes(r.Key, key) || !sameBytes(r.Value, value) ||
					r.TTL != x.TTL || string(r.ID) != x.ID || r.DeltaTime != 5 || r.KeyHash != keyHash(&r) {
					t.Fatalf("%+v: decoded %+v, %d bytes of %d, %v", x, r, n, len(src), err)
				}
				var d HeaderDecoder
				if got, err := d.Decode(r.RawHeaders, nil); err != nil || len(got) != 2 {
					t.Fatalf("%+v: headers %v, %v", x, got, err)
				}
				h, payload := producedFrame(t, src, src)
				wantCode(t, "CheckProduced", CheckProduced(&h, payload, DefaultRecordBytes, false), 0)
				if got := RecordsFlags(payload); got != r.Flags {
					t.Errorf("RecordsFlags = %b, want %b", got, r.Flags)
				}
			}
		}
	}
	x := Extras{TTL: time.Second}
	dst := encodeExtended(t, []byte("key"), []byte("value"), nil, x)
	wantNoAllocs(t, "PutExtendedRecord", func() {
		PutExtendedRecord(dst, []byte("key"), []byte("value"), nil, 1, 0, x)
	})
}

func TestExtendedRecordRefuses(t *testing.T) {
	for _, ttl := range []time.Duration{-1, 1, MinTTL - 1, MaxTTL + 1} {
		_, err := ExtendedRecordSize(1, 1, nil, Extras{TTL: ttl})
		wantCode(t, ttl.String(), err, CodeInvalidRecord)
		src := encodeExtended(t, nil, nil, nil, Extras{TTL: time.Second})
		binary.LittleEndian.PutUint64(src[RecordHeaderSize:], uint64(ttl))
		h, payload := producedFrame(t, src)
		err = CheckProduced(&h, payload, DefaultRecordBytes, false)
		wantCode(t, "a frame with "+ttl.String(), err, CodeInvalidRecord)
	}
	_, err := ExtendedRecordSize(1, 1, nil, Extras{ID: strings.Repeat("x", MaxIDBytes+1)})
	wantCode(t, "an id too long", err, CodeInvalidRecord)
	_, err = ExtendedRecordSize(1, 1, make([]Header, MaxHeaders), Extras{ID: "x"})
	wantCode(t, "a header too many", err, CodeInvalidRecord)
	_, err = ExtendedRecordSize(1, 1, []Header{{"k", make([]byte, MaxHeaderBytes-7)}}, Extras{ID: "x"})
	wantCode(t, "headers too long", err, CodeInvalidRecord)
	for what, change := range map[string]func([]byte){
		"another hash":        func(p []byte) { p[RecordHeaderSize]++ },
		"another header":      func(p []byte) { p[RecordHeaderSize+8+6] = 'L' },
		"a longer name":       func(p []byte) { p[RecordHeaderSize+8]++ },
		"an id without bytes": func(p []byte) { p[RecordHeaderSize+8+2] = 0 },
		"an id too long":      func(p []byte) { p[RecordHeaderSize+8+2] = 200 },
	} {
		src := encodeExtended(t, nil, []byte("value"), nil, Extras{ID: "order-1"})
		change(src)
		h, payload := producedFrame(t, src)
		wantCode(t, what, CheckProduced(&h, payload, DefaultRecordBytes, false), CodeInvalidRecord)
	}
	_, err = ExtendedRecordSize(0, MaxRecordBytes-RecordHeaderSize, nil, Extras{TTL: time.Second})
	wantCode(t, "8 bytes too many", err, CodeRecordTooLarge)
	_, err = ExtendedRecordSize(MaxKeyBytes+1, 0, nil, Extras{TTL: time.Second})
	wantCode(t, "a key too long", err, CodeInvalidRecord)
}

func TestExpired(t *testing.T) {
	const at = int64(1_000_000)
	for _, tt := range []struct {
		own, topic time.Duration
		age        int64
		want       bool
	}{
		{0, 0, 1 << 60, false},
		{10, 0, 9, false},
		{10, 0, 10, true},
		{0, 10, 9, false},
		{0, 10, 10, true},
		{10, 20, 15, true},   // its own counts
		{20, 10, 15, false},  // also if it is longer
		{10, 10, -50, false}, // a clock that was set back
		{MaxTTL, 0, int64(MaxTTL) - 1, false},
	} {
		r := Record{TTL: tt.own}
		if got := r.Expired(at, at+tt.age, tt.topic); got != tt.want {
			t.Errorf("TTL %d of a topic with %d at age %d: %v, want %v", tt.own, tt.topic, tt.age, got, tt.want)
		}
	}
}

// FuzzRecordsFlags: no input panics, and what decodes has its flags in the union.
func FuzzRecordsFlags(f *testing.F) {
	f.Add(encodeExtended(f, []byte("k"), []byte("v"), nil, Extras{TTL: time.Second}))
	f.Add(bytes.Join(sampleRecords(f), nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		union := RecordsFlags(src)
		for rest := src; len(rest) > 0; {
			r, n, err := DecodeRecord(rest)
			if err != nil {
				return
			}
			if r.Flags&^union != 0 {
				t.Fatalf("flags %b of a record are not in %b", r.Flags, union)
			}
			rest = rest[n:]
		}
	})
}
