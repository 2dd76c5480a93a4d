package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// encodeRecord is the encoder as callers use it; it dirties the buffer to see the padding cleared.
func encodeRecord(t testing.TB, key, value []byte, headers []Header, delta int32) []byte {
	t.Helper()
	n, err := EncodedRecordSize(key, value, headers)
	if err != nil {
		t.Fatalf("EncodedRecordSize = %v", err)
	}
	dst := bytes.Repeat([]byte{0xa5}, n)
	var hash uint64
	if key != nil {
		hash = xxhash.Sum64(key)
	}
	PutRecord(dst, key, value, headers, hash, delta)
	return dst
}

func TestRecordGolden(t *testing.T) {
	headers := []Header{{"trace", []byte{1, 2, 3}}, {"trace", nil}, {"", []byte("x")}}
	tests := []struct {
		file       string
		key, value []byte
		headers    []Header
		delta      int32
	}{
		{"record-full.hex", []byte("key-1"), []byte("hello, world"), headers, 1_000_000},
		{"record-tombstone.hex", []byte("key-1"), nil, nil, 0},
		{"record-null-key.hex", nil, []byte("v"), nil, -1},
		{"record-nulls.hex", nil, nil, nil, 0},
		{"record-empties.hex", []byte{}, []byte{}, nil, 0},
	}
	for _, tt := range tests {
		goldenHex(t, tt.file, encodeRecord(t, tt.key, tt.value, tt.headers, tt.delta))
	}
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func TestRecordRoundTrip(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	var decoder HeaderDecoder
	for i := range 3_000 {
		key, value := randomBytes(random, 40), randomBytes(random, 300)
		var headers []Header
		for range random.Intn(5) {
			headers = append(headers, Header{fmt.Sprint("h", random.Intn(9)), randomBytes(random, 20)})
		}
		delta := int32(random.Uint32())
		src := encodeRecord(t, key, value, headers, delta)
		r, n, err := DecodeRecord(append(src, 1, 2, 3))
		if err != nil || n != len(src) || n%8 != 0 {
			t.Fatalf("record %d: DecodeRecord = %d bytes, %v; want %d", i, n, err, len(src))
		}
		if !sameBytes(r.Key, key) || !sameBytes(r.Value, value) || r.DeltaTime != delta {
			t.Fatalf("record %d: got %+v, want key %x, value %x, Δ %d", i, r, key, value, delta)
		}
		if key != nil && r.KeyHash != xxhash.Sum64(key) || key == nil && r.KeyHash != 0 {
			t.Fatalf("record %d: key hash %x", i, r.KeyHash)
		}
		got, err := decoder.Decode(r.RawHeaders, nil)
		if err != nil || len(got) != len(headers) {
			t.Fatalf("record %d: headers %v, %v; want %v", i, got, err, headers)
		}
		for j := range got {
			if got[j].Key != headers[j].Key || !bytes.Equal(got[j].Value, headers[j].Value) {
				t.Fatalf("record %d: header %d is %+v, want %+v", i, j, got[j], headers[j])
			}
		}
	}
}

// randomBytes gives nil, empty and longer slices.
func randomBytes(random *rand.Rand, most int) []byte {
	if random.Intn(8) == 0 {
		return nil
	}
	p := make([]byte, random.Intn(most))
	random.Read(p)
	return p
}

func TestNullIsNotEmpty(t *testing.T) {
	for _, key := range [][]byte{nil, {}} {
		for _, value := range [][]byte{nil, {}} {
			r, n, err := DecodeRecord(encodeRecord(t, key, value, nil, 0))
			if err != nil || n != RecordHeaderSize {
				t.Fatalf("DecodeRecord = %d, %v", n, err)
			}
			if !sameBytes(r.Key, key) || !sameBytes(r.Value, value) {
				t.Errorf("key %#v, value %#v; want %#v, %#v", r.Key, r.Value, key, value)
			}
			if (r.Flags&FlagNullKey != 0) != (key == nil) || (r.Flags&FlagNullValue != 0) != (value == nil) {
				t.Errorf("flags %b for key %#v, value %#v", r.Flags, key, value)
			}
		}
	}
}

func TestRecordLimits(t *testing.T) {
	manyHeaders := func(n int) []Header { return make([]Header, n) }
	oneHeader := func(n int) []Header { return []Header{{"k", make([]byte, n-7)}} }
	const room = MaxRecordBytes - RecordHeaderSize
	tests := []struct {
		what       string
		key, value int
		headers    []Header
		want       Code
	}{
		{"largest key", MaxKeyBytes, 0, nil, 0},
		{"key too long", MaxKeyBytes + 1, 0, nil, CodeInvalidRecord},
		{"most headers", 0, 0, manyHeaders(MaxHeaders), 0},
		{"too many headers", 0, 0, manyHeaders(MaxHeaders + 1), CodeInvalidRecord},
		{"largest headers", 0, 0, oneHeader(MaxHeaderBytes), 0},
		{"headers too long", 0, 0, oneHeader(MaxHeaderBytes + 1), CodeInvalidRecord},
		{"header name too long", 0, 0, []Header{{strings.Repeat("k", 1<<16), nil}}, CodeInvalidRecord},
		{"largest value", 0, room, nil, 0},
		{"value too long", 0, room + 1, nil, CodeRecordTooLarge},
		{"value over the limit alone", 0, MaxRecordBytes + 1, nil, CodeRecordTooLarge},
		{"largest together", 16, room - 16 - 24, oneHeader(24), 0},
		{"too long together", 17, room - 16 - 24, oneHeader(24), CodeRecordTooLarge},
	}
	big := make([]byte, MaxRecordBytes+1)
	for _, tt := range tests {
		n, err := EncodedRecordSize(big[:tt.key], big[:tt.value], tt.headers)
		wantCode(t, tt.what, err, tt.want)
		if err == nil && (n > MaxRecordBytes || n%8 != 0) {
			t.Errorf("%s: %d bytes", tt.what, n)
		}
	}
	if n := EncodedHeadersSize(oneHeader(100)); n != 100 {
		t.Errorf("EncodedHeadersSize = %d, want 100", n)
	}
}

// TestUnknownExtensionsAreSkipped inserts extensions a newer version might write.
func TestUnknownExtensionsAreSkipped(t *testing.T) {
	plain := encodeRecord(t, []byte("key"), []byte("value"), []Header{{"h", []byte("v")}}, 5)
	for _, flags := range []RecordFlags{1 << 3, 1 << 15, 1<<3 | 1<<7, extensionFlags &^ FlagID} {
		n := 8 * bits.OnesCount16(uint16(flags))
		src := append(bytes.Clone(plain[:RecordHeaderSize]), bytes.Repeat([]byte{0xee}, n)...)
		src = append(src, plain[RecordHeaderSize:]...)
		le := binary.LittleEndian
		le.PutUint32(src, le.Uint32(src)+uint32(n))
		le.PutUint16(src[6:], uint16(flags))
		r, size, err := DecodeRecord(src)
		if err != nil || size != len(src) {
			t.Fatalf("flags %b: %d bytes, %v; want %d", flags, size, err, len(src))
		}
		if string(r.Key) != "key" || string(r.Value) != "value" || r.Flags != flags {
			t.Errorf("flags %b: got %+v", flags, r)
		}
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	put := func(at int, v uint32) func([]byte) {
		return func(p []byte) { binary.LittleEndian.PutUint32(p[at:], v) }
	}
	tests := []struct {
		what   string
		change func([]byte)
	}{
		{"length 0", put(0, 0)},
		{"length below the fixed part", put(0, RecordHeaderSize-1)},
		{"length beyond the buffer", put(0, 1_000)},
		{"negative length", put(0, 0xffffffff)},
		{"length that wraps when it is aligned", put(0, 0xfffffff9)},
		{"key beyond the record", func(p []byte) { binary.LittleEndian.PutUint16(p[4:], 0xffff) }},
		{"headers beyond the record", put(20, 0xffffffff)},
		{"extensions beyond the record", func(p []byte) { binary.LittleEndian.PutUint16(p[6:], 0xfff8) }},
		{"null key with bytes", func(p []byte) { p[6] |= byte(FlagNullKey) }},
		{"null value with bytes", func(p []byte) { p[6] |= byte(FlagNullValue) }},
	}
	for _, tt := range tests {
		src := encodeRecord(t, []byte("key"), []byte("value"), nil, 0)
		tt.change(src)
		_, n, err := DecodeRecord(src)
		wantCode(t, tt.what, err, CodeCorrupt)
		if n != 0 {
			t.Errorf("%s: %d bytes to the next record, want 0", tt.what, n)
		}
	}
	src := encodeRecord(t, []byte("key"), []byte("value"), nil, 0)
	for n := range len(src) {
		_, _, err := DecodeRecord(src[:n])
		wantCode(t, fmt.Sprintf("cut to %d bytes", n), err, CodeCorrupt)
	}
}

// TestRecordViewsAreCapped: an append to a view must not write into the bytes after it.
func TestRecordViewsAreCapped(t *testing.T) {
	src := encodeRecord(t, []byte("key"), []byte("value"), []Header{{"h", []byte("v")}}, 0)
	r, _, err := DecodeRecord(src)
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range map[string][]byte{"key": r.Key, "value": r.Value, "headers": r.RawHeaders} {
		if cap(view) != len(view) {
			t.Errorf("%s: capacity %d, length %d", name, cap(view), len(view))
		}
	}
}

func TestHeaderDecoderRefuses(t *testing.T) {
	var d HeaderDecoder
	tests := []struct {
		what string
		raw  []byte
	}{
		{"five bytes", make([]byte, 5)},
		{"key beyond the end", []byte{1, 0, 0, 0, 0, 0}},
		{"value beyond the end", []byte{0, 0, 1, 0, 0, 0}},
		{"negative value", []byte{0, 0, 0xff, 0xff, 0xff, 0xff}},
		{"65 headers", make([]byte, 6*(MaxHeaders+1))},
		{"over 16 KiB", append([]byte{0, 0, 0xfb, 0x3f, 0, 0}, make([]byte, 0x3ffb)...)},
	}
	for _, tt := range tests {
		_, err := d.Decode(tt.raw, nil)
		wantCode(t, tt.what, err, CodeCorrupt)
	}
	got, err := d.Decode(make([]byte, 6*MaxHeaders), make([]Header, 3, 80))
	if err != nil || len(got) != MaxHeaders+3 {
		t.Errorf("64 headers after 3: %d, %v", len(got), err)
	}
}

func TestHeaderDecoderKeepsFewNames(t *testing.T) {
	var d HeaderDecoder
	raw := make([]byte, 100)
	for i := range 10 * headerNamesKept {
		name := fmt.Sprint("name-", i)
		n := putHeader(raw, &Header{Key: name, Value: []byte("v")})
		got, err := d.Decode(raw[:n], nil)
		if err != nil || got[0].Key != name {
			t.Fatalf("Decode = %v, %v; want %s", got, err, name)
		}
	}
	if len(d.names) != headerNamesKept {
		t.Errorf("%d names kept, want %d", len(d.names), headerNamesKept)
	}
}

func TestRecordCodecDoesNotAllocate(t *testing.T) {
	key, value := []byte("key-1"), make([]byte, 64)
	headers := []Header{{"trace", []byte("0123456789abcdef")}, {"kind", []byte("x")}}
	dst := encodeRecord(t, key, value, headers, 0)
	decoded := make([]Header, 0, 4)
	var d HeaderDecoder
	if _, err := d.Decode(dst[RecordHeaderSize+len(key):][:EncodedHeadersSize(headers)], nil); err != nil {
		t.Fatal(err)
	}
	wantNoAllocs(t, "record codec", func() {
		if n, err := EncodedRecordSize(key, value, headers); err != nil || n != len(dst) {
			t.Fatal(n, err)
		}
		PutRecord(dst, key, value, headers, 1, 2)
		r, _, err := DecodeRecord(dst)
		if err != nil {
			t.Fatal(err)
		}
		if decoded, err = d.Decode(r.RawHeaders, decoded[:0]); err != nil || len(decoded) != 2 {
			t.Fatal(err)
		}
	})
}

// FuzzRecord: no input panics; views lie within the record and add up to its length; a record
// without extensions that is encoded again decodes to the same; refusals are CodeCorrupt and say
// that nothing follows.
func FuzzRecord(f *testing.F) {
	f.Add(encodeRecord(f, []byte("k"), []byte("v"), []Header{{"h", []byte("x")}}, 1))
	f.Add(encodeRecord(f, nil, nil, nil, 0))
	f.Add(make([]byte, 24))
	f.Add(bytes.Repeat([]byte{0xff}, 48))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, n, err := DecodeRecord(src)
		if err != nil {
			if CodeOf(err) != CodeCorrupt || n != 0 {
				t.Fatalf("DecodeRecord(%x) = %d, %v", src, n, err)
			}
			return
		}
		if n < RecordHeaderSize || n > len(src) || n%8 != 0 {
			t.Fatalf("DecodeRecord(%x): next record at %d", src, n)
		}
		extensions := 8 * bits.OnesCount16(uint16(r.Flags&extensionFlags))
		length := RecordHeaderSize + extensions + len(r.Key) + len(r.RawHeaders) + len(r.Value)
		if len(r.ID) > 0 {
			length += idHeaderBytes + len(r.ID)
		}
		if length != int(binary.LittleEndian.Uint32(src)) {
			t.Fatalf("DecodeRecord(%x) = %+v: %d bytes", src, r, length)
		}
		var d HeaderDecoder
		headers, err := d.Decode(r.RawHeaders, nil)
		if err != nil || r.Flags&(extensionFlags|FlagRemoved) != 0 || len(r.Key) > MaxKeyBytes {
			return
		}
		again := encodeRecord(t, r.Key, r.Value, headers, r.DeltaTime)
		PutRecord(again, r.Key, r.Value, headers, r.KeyHash, r.DeltaTime)
		if !bytes.Equal(again[:length], src[:length]) {
			t.Fatalf("encoded again: %x, want %x", again[:length], src[:length])
		}
	})
}

// FuzzRecordHeaders: no input panics; at most MaxHeaders come out; headers that decode encode to
// the same bytes; a decoder that has seen other names gives the same.
func FuzzRecordHeaders(f *testing.F) {
	raw := make([]byte, 40)
	n := putHeader(raw, &Header{"a", []byte("bc")})
	n += putHeader(raw[n:], &Header{"", nil})
	f.Add(raw[:n])
	f.Add([]byte{})
	f.Add(make([]byte, 6*65))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	seen := HeaderDecoder{names: map[string]string{"a": "a", "": ""}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d HeaderDecoder
		headers, err := d.Decode(raw, nil)
		if len(headers) > MaxHeaders {
			t.Fatalf("%d headers", len(headers))
		}
		if err != nil {
			if CodeOf(err) != CodeCorrupt {
				t.Fatalf("Decode(%x) = %v", raw, err)
			}
			return
		}
		again := make([]byte, EncodedHeadersSize(headers))
		at := 0
		for i := range headers {
			at += putHeader(again[at:], &headers[i])
		}
		if !bytes.Equal(again, raw) {
			t.Fatalf("encoded again: %x, want %x", again, raw)
		}
		other, err := seen.Decode(raw, nil)
		if err != nil || fmt.Sprint(other) != fmt.Sprint(headers) {
			t.Fatalf("a used decoder gives %v, %v; want %v", other, err, headers)
		}
	})
}

func BenchmarkPutRecord(b *testing.B) {
	key, value := []byte("key-1234"), make([]byte, 64)
	dst := encodeRecord(b, key, value, nil, 0)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		PutRecord(dst, key, value, nil, 1, 2)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkDecodeRecord(b *testing.B) {
	src := encodeRecord(b, []byte("key-1234"), make([]byte, 64), nil, 0)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeRecord(src); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// TestPlainRecord holds PlainRecord against DecodeRecord, for records of every form and cut anywhere.
func TestPlainRecord(t *testing.T) {
	header := []Header{{Key: "a", Value: []byte("b")}}
	for _, tt := range []struct {
		name       string
		key, value []byte
		headers    []Header
		plain      bool
	}{
		{"usual", []byte("key"), []byte("value"), nil, true},
		{"empty", []byte{}, []byte{}, nil, true},
		{"null key", nil, []byte("value"), nil, false},
		{"tombstone", []byte("key"), nil, nil, false},
		{"headers", []byte("key"), []byte("value"), header, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			size, err := EncodedRecordSize(tt.key, tt.value, tt.headers)
			if err != nil {
				t.Fatal(err)
			}
			src := make([]byte, size)
			PutRecord(src, tt.key, tt.value, tt.headers, 7, 0)
			for cut := range len(src) + 1 {
				key, value, n := PlainRecord(src[:cut])
				if want := tt.plain && cut == len(src); n > 0 != want {
					t.Fatalf("PlainRecord of %d bytes of %d: n = %d", cut, len(src), n)
				}
				if n > 0 && (n != size || !bytes.Equal(key, tt.key) || !bytes.Equal(value, tt.value) ||
					key == nil || value == nil) {
					t.Fatalf("PlainRecord = %q, %q, %d", key, value, n)
				}
			}
		})
	}
}

func FuzzPlainRecord(f *testing.F) {
	record := make([]byte, 40)
	PutRecord(record, []byte("key"), []byte("value 1"), nil, 7, 0)
	f.Add(record)
	f.Fuzz(func(t *testing.T, src []byte) {
		key, value, n := PlainRecord(src)
		if n == 0 {
			return
		}
		r, size, err := DecodeRecord(src)
		if err != nil || size != n || !bytes.Equal(r.Key, key) || !bytes.Equal(r.Value, value) ||
			len(r.RawHeaders) > 0 {
			t.Errorf("PlainRecord = %q, %q, %d; DecodeRecord = %+v, %d, %v", key, value, n, r, size, err)
		}
	})
}
