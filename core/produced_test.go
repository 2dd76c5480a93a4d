package core

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// producedFrame is a right frame of identified records.
func producedFrame(t testing.TB, records ...[]byte) (FrameHeader, []byte) {
	t.Helper()
	payload := bytes.Join(records, nil)
	return FrameHeader{
		Length: uint32(FrameHeaderSize + len(payload)), ProducerID: 7, ProducerEpoch: 3, BaseSeq: 9,
		PayloadCRC: Checksum(payload), Records: uint16(len(records)), Version: FrameVersion,
	}, payload
}

func sampleRecords(t testing.TB) [][]byte {
	headers := []Header{{"trace", []byte{1, 2, 3}}, {"trace", nil}, {"", []byte("x")}}
	return [][]byte{
		encodeRecord(t, []byte("key-1"), []byte("hello, world"), headers, 1),
		encodeRecord(t, nil, []byte("v"), nil, -1),
		encodeRecord(t, []byte("k"), nil, nil, 0),
		encodeRecord(t, []byte{}, []byte{}, nil, 0),
		encodeRecord(t, nil, nil, nil, 0),
	}
}

func TestCheckProducedTakesWhatIsRight(t *testing.T) {
	most := make([]Header, MaxHeaders)
	large := []Header{{"h", make([]byte, MaxHeaderBytes-7)}}
	for what, records := range map[string][][]byte{
		"all kinds":      sampleRecords(t),
		"64 headers":     {encodeRecord(t, nil, nil, most, 0)},
		"16 KiB headers": {encodeRecord(t, nil, nil, large, 0)},
		"longest key":    {encodeRecord(t, make([]byte, MaxKeyBytes), nil, nil, 0)},
		"largest record": {encodeRecord(t, nil, make([]byte, DefaultRecordBytes-RecordHeaderSize), nil, 0)},
		"most records":   slicesOf(encodeRecord(t, nil, nil, nil, 0), MaxBatchRecords),
	} {
		h, payload := producedFrame(t, records...)
		wantCode(t, what, CheckProduced(&h, payload, DefaultRecordBytes, false), 0)
	}
	h, payload := producedFrame(t, sampleRecords(t)...)
	h.ProducerID, h.ProducerEpoch, h.BaseSeq = 0, 0, 0
	wantCode(t, "anonymous", CheckProduced(&h, payload, DefaultRecordBytes, false), 0)
	h.Index, h.BaseOffset, h.Time, h.Term, h.PrevCRC, h.HeaderCRC, h.DurableLag = 1, -2, -3, 4, 5, 6, 7
	wantCode(t, "fields of the node", CheckProduced(&h, payload, DefaultRecordBytes, false), 0)
}

func slicesOf(record []byte, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = record
	}
	return list
}

func TestCheckProducedRefusesHeaders(t *testing.T) {
	tests := []struct {
		what   string
		change func(h *FrameHeader)
		want   Code
	}{
		{"version 0", func(h *FrameHeader) { h.Version = 0 }, CodeInvalidRecord},
		{"newer version", func(h *FrameHeader) { h.Version++ }, CodeVersionTooNew},
		{"Kafka", func(h *FrameHeader) { h.Attrs = uint8(FrameKafka) }, CodeUnsupported},
		{"filler", func(h *FrameHeader) { h.Attrs = uint8(FrameFiller) }, CodeUnsupported},
		{"compressed", func(h *FrameHeader) { h.Attrs = 1 << 4 }, CodeUnsupported},
		{"longer", func(h *FrameHeader) { h.Length++ }, CodeInvalidRecord},
		{"shorter than a header", func(h *FrameHeader) { h.Length = 3 }, CodeInvalidRecord},
		{"length 0", func(h *FrameHeader) { h.Length = 0 }, CodeInvalidRecord},
		{"longest length", func(h *FrameHeader) { h.Length = 1<<32 - 1 }, CodeInvalidRecord},
		{"no records", func(h *FrameHeader) { h.Records = 0 }, CodeInvalidRecord},
		{"a record more", func(h *FrameHeader) { h.Records++ }, CodeInvalidRecord},
		{"a record less", func(h *FrameHeader) { h.Records-- }, CodeInvalidRecord},
		{"too many records", func(h *FrameHeader) { h.Records = MaxBatchRecords + 1 }, CodeInvalidRecord},
		{"negative producer", func(h *FrameHeader) { h.ProducerID = -1 }, CodeInvalidRecord},
		{"negative epoch", func(h *FrameHeader) { h.ProducerEpoch = -1 }, CodeInvalidRecord},
		{"negative sequence", func(h *FrameHeader) { h.BaseSeq = -1 }, CodeInvalidRecord},
		{"sequence of nobody", func(h *FrameHeader) { h.ProducerID, h.ProducerEpoch = 0, 0 }, CodeInvalidRecord},
		{"epoch of nobody", func(h *FrameHeader) { h.ProducerID, h.BaseSeq = 0, 0 }, CodeInvalidRecord},
		{"another checksum", func(h *FrameHeader) { h.PayloadCRC++ }, CodeCorrupt},
	}
	for _, tt := range tests {
		h, payload := producedFrame(t, sampleRecords(t)...)
		tt.change(&h)
		err := CheckProduced(&h, payload, DefaultRecordBytes, false)
		wantCode(t, tt.what, err, tt.want)
		if HintFor(err) == "" {
			t.Errorf("%s: no hint", tt.what)
		}
	}
}

func TestCheckProducedRefusesRecords(t *testing.T) {
	le := binary.LittleEndian
	keyed := func(change func(r []byte)) []byte {
		r := encodeRecord(t, []byte("key-1"), []byte("hello"), []Header{{"h", []byte("v")}}, 0)
		change(r)
		return r
	}
	raw := func(keyLen, headersLen int) []byte {
		r := make([]byte, Align8(RecordHeaderSize+keyLen+headersLen))
		le.PutUint32(r, uint32(RecordHeaderSize+keyLen+headersLen))
		le.PutUint16(r[4:], uint16(keyLen))
		le.PutUint32(r[20:], uint32(headersLen))
		le.PutUint64(r[8:], xxhash.Sum64(r[RecordHeaderSize:][:keyLen]))
		return r
	}
	tests := []struct {
		what   string
		record []byte
		want   Code
	}{
		{"key hash", keyed(func(r []byte) { r[8]++ }), CodeInvalidRecord},
		{"hash of a null key", append(le.AppendUint64(make([]byte, 8), 1), make([]byte, 8)...), CodeInvalidRecord},
		{"removed", keyed(func(r []byte) { r[6] |= byte(FlagRemoved) }), CodeInvalidRecord},
		{"extension", keyed(func(r []byte) { r[7] |= 0x80 }), CodeInvalidRecord}, // and too short for one
		{"padding", keyed(func(r []byte) { r[len(r)-1] = 1 }), CodeInvalidRecord},
		{"record over the end", keyed(func(r []byte) { r[0] += 8 }), CodeInvalidRecord},
		{"null key with bytes", keyed(func(r []byte) { r[6] |= byte(FlagNullKey) }), CodeInvalidRecord},
		{"key over the end", keyed(func(r []byte) { r[4] = 0xff }), CodeInvalidRecord},
		{"header over the end", keyed(func(r []byte) { r[RecordHeaderSize+5]++ }), CodeInvalidRecord},
		{"key of 32 KiB and 1", raw(MaxKeyBytes+1, 0), CodeInvalidRecord},
		{"65 headers", raw(0, 6*(MaxHeaders+1)), CodeInvalidRecord},
		{"half a header", raw(0, 5), CodeInvalidRecord},
		{"headers of 16 KiB and 6", raw(0, MaxHeaderBytes+6), CodeInvalidRecord},
		{"larger than the topic's", encodeRecord(t, nil, make([]byte, 1<<12), nil, 0), CodeRecordTooLarge},
		{"half a record", make([]byte, 16), CodeInvalidRecord},
	}
	ext := keyed(func(r []byte) { r[7] |= 0x80 })
	long := append(ext, make([]byte, 8)...)
	le.PutUint32(long, le.Uint32(long)+8)
	tests = append(tests, struct {
		what   string
		record []byte
		want   Code
	}{"whole extension", long, CodeUnsupported})
	for _, tt := range tests {
		h, payload := producedFrame(t, sampleRecords(t)[0], tt.record)
		err := CheckProduced(&h, payload, 1<<12, false)
		if tt.what == "key of 32 KiB and 1" || tt.what == "headers of 16 KiB and 6" {
			err = CheckProduced(&h, payload, 1<<20, false)
		}
		wantCode(t, tt.what, err, tt.want)
		if errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v tells of damage", tt.what, err)
		}
	}
}

func TestCheckProducedDoesNotAllocate(t *testing.T) {
	h, payload := producedFrame(t, sampleRecords(t)...)
	wantNoAllocs(t, "CheckProduced", func() {
		if CheckProduced(&h, payload, DefaultRecordBytes, false) != nil {
			t.Fatal("refused")
		}
	})
}

// FuzzProduced: no input panics; what passes is read back by DecodeRecord and HeaderDecoder, as many
// records as the header says, each within the limits, and encodes to the same bytes.
func FuzzProduced(f *testing.F) {
	h, payload := producedFrame(f, sampleRecords(f)...)
	head := make([]byte, FrameHeaderSize)
	h.Encode(head, 0)
	f.Add(head, payload, true)
	f.Add(head, payload[:len(payload)-8], true)
	f.Add(head, encodeExtended(f, []byte("k"), []byte("v"), nil, Extras{TTL: MinTTL}), true)
	f.Add(head, []byte{}, false)
	f.Fuzz(func(t *testing.T, head, payload []byte, repair bool) {
		if len(head) < FrameHeaderSize {
			return
		}
		h := ParseFrameHeader(head)
		if repair { // so that the fuzzer gets beyond checksum and length
			h.PayloadCRC, h.Length = Checksum(payload), uint32(FrameHeaderSize+len(payload))
		}
		if CheckProduced(&h, payload, DefaultRecordBytes, false) != nil {
			return
		}
		var decoder HeaderDecoder
		rest := payload
		for range h.Records {
			r, n, err := DecodeRecord(rest)
			if err != nil {
				t.Fatalf("DecodeRecord: %v", err)
			}
			headers, err := decoder.Decode(r.RawHeaders, nil)
			if err != nil {
				t.Fatalf("headers: %v", err)
			}
			if size, err := EncodedRecordSize(r.Key, r.Value, headers); err != nil || size != n {
				t.Fatalf("EncodedRecordSize = %d, %v; want %d", size, err, n)
			}
			again := make([]byte, n)
			PutRecord(again, r.Key, r.Value, headers, keyHash(&r), r.DeltaTime)
			if !bytes.Equal(again, rest[:n]) {
				t.Fatalf("encodes to\n%x, was\n%x", again, rest[:n])
			}
			rest = rest[n:]
		}
		if len(rest) != 0 || h.ProducerID < 0 || h.BaseSeq < 0 || h.ProducerEpoch < 0 {
			t.Fatalf("%d bytes left, header %+v", len(rest), h)
		}
	})
}

func BenchmarkCheckProduced(b *testing.B) {
	record := encodeRecord(b, []byte("key-0001"), make([]byte, 32), nil, 0)
	if len(record) != 64 {
		b.Fatal(len(record))
	}
	h, payload := producedFrame(b, slicesOf(record, 1000)...)
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if CheckProduced(&h, payload, DefaultRecordBytes, false) != nil {
				b.Fatal("refused")
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
	})
	b.Run("checksum and hash", func(b *testing.B) {
		sum := uint64(0)
		for b.Loop() {
			sum += uint64(Checksum(payload))
			for at := 0; at < len(payload); at += len(record) {
				sum += xxhash.Sum64(payload[at+RecordHeaderSize:][:8])
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
	})
}
