package core

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func encodedRecord(t testing.TB, key, value []byte, headers ...Header) []byte {
	t.Helper()
	size, err := EncodedRecordSize(key, value, headers)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, size)
	var hash uint64
	if key != nil {
		hash = xxhash.Sum64(key)
	}
	PutRecord(dst, key, value, headers, hash, 0)
	return dst
}

func decodedRecord(t testing.TB, src []byte) Record {
	t.Helper()
	r, n, err := DecodeRecord(src)
	if err != nil || n != len(src) {
		t.Fatalf("DecodeRecord = %d bytes of %d, %v", n, len(src), err)
	}
	return r
}

var sampleDelayed = Delayed{Topic: 17, Partition: 3, Level: AckDisk, Due: 1_800_000_000_000_000_000,
	Replaces: -1}

func TestDelayRecordRoundTrip(t *testing.T) {
	key := DelayKey{0x1122334455667788, 7}
	m := sampleDelayed
	m.Record = encodedRecord(t, []byte("ACME"), []byte("110"), Header{"source", []byte("desk")})
	scheduled := m
	scheduled.Scheduled = true
	relative := m
	relative.Relative, relative.Due, relative.Replaces = true, 5_000_000, 99
	mark := DelayMarkAt{Topic: 17, Partition: 3, Offset: 1234}
	gone := DelayMarkAt{Topic: 17, Partition: 3, Removed: true}
	tests := []struct {
		name string
		raw  []byte
		want DelayRecord
	}{
		{"message", encodedRecord(t, key.Encode(nil), m.Encode(nil)), DelayRecord{Key: key, Message: m}},
		{"of a schedule", encodedRecord(t, key.Encode(nil), scheduled.Encode(nil)),
			DelayRecord{Key: key, Message: scheduled}},
		{"relative", encodedRecord(t, key.Encode(nil), relative.Encode(nil)), DelayRecord{Key: key,
			Message: relative}},
		{"end", encodedRecord(t, key.Encode(nil), nil, DelayedEnd{Offset: 5, Outcome: DelayFired}.Headers()...),
			DelayRecord{Kind: DelayEnd, Key: key, End: DelayedEnd{5, DelayFired, key.Tag()}}},
		{"mark", encodedRecord(t, mark.EncodeKey(nil), mark.EncodeValue(nil)), DelayRecord{Kind: DelayMark,
			Mark: mark}},
		{"mark of a deleted topic", encodedRecord(t, gone.EncodeKey(nil), nil), DelayRecord{Kind: DelayMark,
			Mark: gone}},
	}
	for _, tt := range tests {
		r := decodedRecord(t, tt.raw)
		got, err := DecodeDelayRecord(&r)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: DecodeDelayRecord = %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	if due := relative.DueAt(1000); due != 5_001_000 {
		t.Errorf("DueAt of a relative message = %d", due)
	}
}

func TestDelayGolden(t *testing.T) {
	m := sampleDelayed
	m.Replaces, m.Record = 41, encodedRecord(t, []byte("ACME"), []byte("110"))
	mark := DelayMarkAt{Topic: 17, Partition: 3, Offset: 1234}
	cancelled := DelayedEnd{Offset: 0x0102030405060708, Outcome: DelayCancelled}
	end := encodedRecord(t, nil, nil, cancelled.Headers()...)
	goldenHex(t, "delay-key.hex", DelayKey{0x1122334455667788, 0x0102030405060708}.Encode(nil))
	goldenHex(t, "delay-value.hex", m.Encode(nil))
	goldenHex(t, "delay-end-headers.hex", decodedRecord(t, end).RawHeaders)
	goldenHex(t, "delay-mark-key.hex", mark.EncodeKey(nil))
	goldenHex(t, "delay-mark-value.hex", mark.EncodeValue(nil))
}

func TestDelayRecordRefusesDamage(t *testing.T) {
	key := DelayKey{1, 2}.Encode(nil)
	m := sampleDelayed
	m.Record = encodedRecord(t, nil, []byte("x"))
	value := m.Encode(nil)
	change := func(src []byte, at int, to byte) []byte {
		c := slices.Clone(src)
		c[at] = to
		return c
	}
	mark := DelayMarkAt{Topic: 17, Offset: 1}
	tests := []struct {
		name       string
		key, value []byte
		headers    []Header
		code       Code
	}{
		{"no key", nil, value, nil, CodeCorrupt},
		{"newer key", change(key, 0, 2), value, nil, CodeVersionTooNew},
		{"kind 9", change(key, 1, 9), value, nil, CodeCorrupt},
		{"long key", append(slices.Clone(key), 0), value, nil, CodeCorrupt},
		{"key with more", change(key, 5, 1), value, nil, CodeCorrupt},
		{"newer value", key, change(value, 0, 2), nil, CodeVersionTooNew},
		{"short value", key, value[:39], nil, CodeCorrupt},
		{"level 0", key, change(value, 1, 0), nil, CodeCorrupt},
		{"level 9", key, change(value, 1, 9), nil, CodeCorrupt},
		{"flags", key, change(value, 2, 4), nil, CodeCorrupt},
		{"partition", key, change(value, 7, 0x80), nil, CodeCorrupt},
		{"internal topic", key, change(value, 8, 3), nil, CodeCorrupt},
		{"due before 1970", key, change(value, 23, 0x80), nil, CodeCorrupt},
		{"relative, for a century", key, change(value, 2, 1), nil, CodeCorrupt},
		{"zero at 32", key, change(value, 32, 1), nil, CodeCorrupt},
		{"half a record", key, value[:len(value)-8], nil, CodeCorrupt},
		{"two records", key, append(slices.Clone(value), m.Record...), nil, CodeCorrupt},
		{"removed record", key, change(value, 46, byte(FlagRemoved)), nil, CodeCorrupt},
		{"end without a header", key, nil, nil, CodeCorrupt},
		{"end with another header", key, nil, []Header{{"abc", make([]byte, 16)}}, CodeCorrupt},
		{"end without outcome", key, nil, DelayedEnd{Offset: 1, Outcome: DelayUnknown}.Headers(), CodeCorrupt},
		{"end of nothing", key, nil, DelayedEnd{Offset: -1, Outcome: DelayFired}.Headers(), CodeCorrupt},
		{"mark with a short value", mark.EncodeKey(nil), make([]byte, 15), nil, CodeCorrupt},
		{"newer mark", mark.EncodeKey(nil), change(mark.EncodeValue(nil), 0, 2), nil, CodeVersionTooNew},
		{"mark below 0", mark.EncodeKey(nil), change(mark.EncodeValue(nil), 15, 0x80), nil, CodeCorrupt},
		{"mark of an internal topic", change(mark.EncodeKey(nil), 8, 3), mark.EncodeValue(nil), nil,
			CodeCorrupt},
		{"mark with a long key", append(mark.EncodeKey(nil), 0), mark.EncodeValue(nil), nil, CodeCorrupt},
	}
	for _, tt := range tests {
		r := decodedRecord(t, encodedRecord(t, tt.key, tt.value, tt.headers...))
		if got, err := DecodeDelayRecord(&r); CodeOf(err) != tt.code || err == nil {
			t.Errorf("%s: DecodeDelayRecord = %+v, %v; want code %v", tt.name, got, err, tt.code)
		}
	}
}

func TestAppendFired(t *testing.T) {
	h := DelayHandle{Topic: 1<<64 - 1, Partition: MaxPartitions - 1, Offset: 1<<63 - 1, Tag: 1<<32 - 1}
	if len(h.String()) != maxDelayHandle {
		t.Errorf("the longest handle has %d bytes, want %d", len(h.String()), maxDelayHandle)
	}
	for name, record := range map[string][]byte{
		"plain": encodedRecord(t, []byte("key"), []byte("value")),
		"headers": encodedRecord(t, []byte("key"), []byte("value"), Header{"a", []byte("b")}, Header{"c",
			nil}),
		"null":      encodedRecord(t, nil, nil, Header{"a", []byte("b")}),
		"no key":    encodedRecord(t, nil, []byte("value")),
		"tombstone": encodedRecord(t, []byte("key"), nil),
		"with TTL":  encodeExtended(t, []byte("key"), []byte("value"), []Header{{"a", nil}}, Extras{TTL: MinTTL}),
	} {
		before := decodedRecord(t, record)
		fired := AppendFired([]byte("12345678"), record, h.String())[8:]
		after := decodedRecord(t, fired)
		var headers HeaderDecoder
		list, err := headers.Decode(after.RawHeaders, nil)
		if err != nil || len(list) == 0 || list[0].Key != DelayIDHeader ||
			string(list[0].Value) != h.String() {
			t.Errorf("%s: headers %v, %v", name, list, err)
		}
		if string(FiredHandle(after.RawHeaders)) != h.String() {
			t.Errorf("%s: FiredHandle = %q", name, FiredHandle(after.RawHeaders))
		}
		if !bytes.HasSuffix(after.RawHeaders, before.RawHeaders) || after.Flags != before.Flags ||
			after.KeyHash != before.KeyHash || !bytes.Equal(after.Key, before.Key) ||
			!bytes.Equal(after.Value, before.Value) || (after.Value == nil) != (before.Value == nil) {
			t.Errorf("%s: %+v became %+v", name, before, after)
		}
		if err := CheckDelayed(record, 1<<20); err != nil {
			t.Errorf("%s: CheckDelayed = %v", name, err)
		}
		if _, ok := producedRecordSize(fired, 1<<20); !ok {
			t.Errorf("%s: what is delivered could not be published: %v", name, refuseRecord(fired, 1<<20))
		}
	}
	if FiredHandle(nil) != nil || FiredHandle([]byte(DelayIDHeader)) != nil {
		t.Error("FiredHandle finds a handle where there is none")
	}
}

func TestCheckDelayed(t *testing.T) {
	many := make([]Header, MaxHeaders)
	bad := encodedRecord(t, []byte("key"), []byte("value"))
	bad[8] ^= 1 // the key's hash
	tests := []struct {
		name   string
		record []byte
		code   Code
	}{
		{"too many headers", encodedRecord(t, nil, nil, many...), CodeInvalidRecord},
		{"all but one header", encodedRecord(t, nil, nil, many[1:]...), 0},
		{"headers too long", encodedRecord(t, nil, nil, Header{"a", make([]byte, MaxHeaderBytes-50)}),
			CodeInvalidRecord},
		{"too large with the handle", encodedRecord(t, nil, make([]byte, 4096-RecordHeaderSize)),
			CodeRecordTooLarge},
		{"too large", encodedRecord(t, nil, make([]byte, 5000)), CodeRecordTooLarge},
		{"wrong hash", bad, CodeInvalidRecord},
		{"two records", append(encodedRecord(t, nil, nil), encodedRecord(t, nil, nil)...), CodeInvalidRecord},
		{"nothing", nil, CodeInvalidRecord},
	}
	for _, tt := range tests {
		most := 4096
		if tt.code == CodeInvalidRecord {
			most = 1 << 20
		}
		err := CheckDelayed(tt.record, most)
		if (err == nil) != (tt.code == 0) || err != nil && CodeOf(err) != tt.code {
			t.Errorf("%s: CheckDelayed = %v, want code %v", tt.name, err, tt.code)
		}
	}
}

func TestDelayHandle(t *testing.T) {
	h := DelayHandle{Topic: 17, Partition: 3, Offset: 12345, Tag: 0xab}
	if got := h.String(); got != "d1.17.3.12345.000000ab" {
		t.Errorf("String = %q", got)
	}
	if got, err := ParseDelayHandle(h.String()); got != h || err != nil {
		t.Errorf("ParseDelayHandle = %+v, %v", got, err)
	}
	for _, text := range []string{"", "d1.", "d2.17.3.1.000000ab", "d1.17.3.1", "d1.17.3.1.ab",
		"d1.017.3.1.000000ab",
		"d1.17.+3.1.000000ab", "d1.17.3.-1.000000ab", "d1.2.3.1.000000ab", "d1.17.16384.1.000000ab",
		"d1.17.3.1.000000AB", "d1.17.3.1.000000ab.1", "d1.17.3.1.000000ab" + strings.Repeat("0", 99)} {
		if got, err := ParseDelayHandle(text); CodeOf(err) != CodeInvalidRecord || err == nil {
			t.Errorf("ParseDelayHandle(%q) = %+v, %v; want CodeInvalidRecord", text, got, err)
		}
	}
}

// FuzzDelayRecord: nothing panics, what decodes is within bounds and encodes to what it was, and what passes
// CheckDelayed can be delivered.
func FuzzDelayRecord(f *testing.F) {
	key := DelayKey{1, 2}
	m := sampleDelayed
	m.Record = encodedRecord(f, []byte("key"), []byte("value"), Header{"a", []byte("b")})
	mark := DelayMarkAt{Topic: 17, Offset: 1}
	f.Add(key.Encode(nil), m.Encode(nil), []byte(nil))
	fired := encodedRecord(f, nil, nil, DelayedEnd{Offset: 1, Outcome: DelayFired}.Headers()...)
	f.Add(key.Encode(nil), []byte(nil), decodedRecord(f, fired).RawHeaders)
	f.Add(mark.EncodeKey(nil), mark.EncodeValue(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, key, value, rawHeaders []byte) {
		if len(value) == 0 {
			value = nil
		}
		d, err := DecodeDelayRecord(&Record{Key: key, Value: value, RawHeaders: rawHeaders})
		if err != nil {
			return
		}
		switch d.Kind {
		case DelayMessage:
			if !bytes.Equal(d.Message.Encode(nil), value) || !bytes.Equal(d.Key.Encode(nil), key) {
				t.Errorf("%x became %x", value, d.Message.Encode(nil))
			}
			if CheckDelayed(d.Message.Record, MaxRecordBytes) == nil {
				fired := AppendFired(nil, d.Message.Record, DelayHandle{Topic: 16}.String())
				if _, ok := producedRecordSize(fired, MaxRecordBytes); !ok {
					t.Errorf("%x is delivered as %x", d.Message.Record, fired)
				}
			}
		case DelayEnd:
			if d.End.Offset < 0 || d.End.Outcome == DelayUnknown {
				t.Errorf("end %+v", d.End)
			}
		case DelayMark:
			if !bytes.Equal(d.Mark.EncodeKey(nil), key) || value != nil &&
				!bytes.Equal(d.Mark.EncodeValue(nil), value) {
				t.Errorf("mark %+v of %x and %x", d.Mark, key, value)
			}
		}
	})
}

// FuzzDelayHandle: what is read is written in the same way.
func FuzzDelayHandle(f *testing.F) {
	f.Add("d1.17.3.12345.000000ab")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := ParseDelayHandle(text); err == nil && h.String() != text {
			t.Errorf("%q became %q", text, h.String())
		}
	})
}
