package core

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

// RecordHeaderSize is the fixed part of a record in payload format N.
const RecordHeaderSize = 24

// RecordFlags are the flags of one record. Each bit from 3 on announces one 8-byte extension, in
// the order of the bits, so that a reader skips the ones it does not know.
type RecordFlags uint16

// Flags of payload format N.
const (
	FlagNullKey   RecordFlags = 1 << 0
	FlagNullValue RecordFlags = 1 << 1 // a tombstone
	FlagRemoved   RecordFlags = 1 << 2 // the 24-byte stub that compaction leaves

	extensionFlags RecordFlags = 0xffff &^ (FlagNullKey | FlagNullValue | FlagRemoved)
)

// Header is one header of a record. Names may repeat; order is kept.
type Header struct {
	Key   string
	Value []byte
}

// Record is a view of one encoded record: its slices point into the buffer it was decoded from.
type Record struct {
	Key        []byte // nil for a null key, empty but not nil for an empty one
	Value      []byte // nil for a tombstone
	RawHeaders []byte // encoded headers, see DecodeHeaders
	KeyHash    uint64 // xxhash64 of the key, 0 for a null key
	DeltaTime  int32  // microseconds after the frame's first record, saturating, informational
	Flags      RecordFlags
	TTL        time.Duration // 0 if the record has none of its own
	ID         []byte        // of the message, empty for none; not among RawHeaders
}

// Removed reports whether the record is only what compaction left of one.
func (r *Record) Removed() bool { return r.Flags&FlagRemoved != 0 }

// EncodedHeadersSize is the length of headers in a record.
func EncodedHeadersSize(headers []Header) int {
	n := 0
	for i := range headers {
		n += 6 + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// EncodedRecordSize is what a record takes in a frame, a multiple of 8, after a check of every
// limit but the topic's. It does not block or allocate unless a limit is broken.
func EncodedRecordSize(key, value []byte, headers []Header) (int, error) {
	return RecordSize(len(key), len(value), headers)
}

// RecordSize is EncodedRecordSize for a key and a value of these lengths, which are at least 0.
func RecordSize(keyBytes, valueBytes int, headers []Header) (int, error) {
	if keyBytes > MaxKeyBytes {
		return 0, Errorf(CodeInvalidRecord, "publish", "key of %d bytes, at most %d", keyBytes, MaxKeyBytes)
	}
	if len(headers) > MaxHeaders {
		return 0, Errorf(CodeInvalidRecord, "publish", "%d headers, at most %d", len(headers), MaxHeaders)
	}
	h := 0
	for i := range headers {
		// Each addend is bounded before it is added, so that the sum cannot overflow.
		k, v := len(headers[i].Key), len(headers[i].Value)
		if h += 6 + min(k, MaxHeaderBytes) + min(v, MaxHeaderBytes); h > MaxHeaderBytes {
			return 0, Errorf(CodeInvalidRecord, "publish", "headers of more than %d bytes", MaxHeaderBytes)
		}
	}
	if valueBytes > MaxRecordBytes {
		return 0, Errorf(CodeRecordTooLarge, "publish", "value of %d bytes, at most %d", valueBytes, MaxRecordBytes)
	}
	size := Align8(RecordHeaderSize + keyBytes + h + valueBytes)
	if size > MaxRecordBytes {
		return 0, Errorf(CodeRecordTooLarge, "publish", "record of %d bytes, at most %d", size, MaxRecordBytes)
	}
	return size, nil
}

// PutRecord encodes a record into dst, which has exactly the size EncodedRecordSize gave, pad
// bytes zeroed. keyHash is xxhash64(key), 0 for a nil key.
func PutRecord(dst, key, value []byte, headers []Header, keyHash uint64, deltaTime int32) {
	_ = dst[RecordHeaderSize-1]
	h := EncodedHeadersSize(headers)
	length := RecordHeaderSize + len(key) + h + len(value)
	var flags RecordFlags
	if key == nil {
		flags |= FlagNullKey
	}
	if value == nil {
		flags |= FlagNullValue
	}
	// Whole words, because the journal's checksum loads words; see FrameHeader.Encode.
	le := binary.LittleEndian
	le.PutUint64(dst[0:], uint64(uint32(length))|uint64(uint16(len(key)))<<32|uint64(flags)<<48)
	le.PutUint64(dst[8:], keyHash)
	le.PutUint64(dst[16:], uint64(uint32(deltaTime))|uint64(uint32(h))<<32)
	at := RecordHeaderSize + len(key)
	if len(key) == 8 { // a usual size, for which calling a copy costs more than it does
		le.PutUint64(dst[RecordHeaderSize:], le.Uint64(key))
	} else {
		copy(dst[RecordHeaderSize:], key)
	}
	for i := range headers {
		at += putHeader(dst[at:], &headers[i])
	}
	at += copy(dst[at:], value)
	if at < len(dst) {
		clear(dst[at:])
	}
}

// PutRemoved encodes into dst, at least RecordHeaderSize bytes, what compaction leaves of a record: it has
// its place in the frame and nothing else.
func PutRemoved(dst []byte, deltaTime int32) {
	PutRecord(dst[:RecordHeaderSize], nil, nil, nil, 0, deltaTime)
	dst[removedAt] |= byte(FlagRemoved)
}

// removedAt is the byte of a record that has FlagRemoved.
const removedAt = 6

// RemovedNext reports whether the first of records is what compaction left of one.
func RemovedNext(records []byte) bool {
	return len(records) > removedAt && records[removedAt]&byte(FlagRemoved) != 0
}

// SkipRemoved leaves out what compaction left of records at the start of a frame's records, and gives the
// rest and their number.
func SkipRemoved(records []byte) (rest []byte, n int64) {
	for RemovedNext(records) {
		_, size, err := DecodeRecord(records)
		if err != nil {
			break // whoever decodes it next tells
		}
		records = records[size:]
		n++
	}
	return records, n
}

func putHeader(dst []byte, h *Header) int {
	binary.LittleEndian.PutUint16(dst[0:], uint16(len(h.Key)))
	binary.LittleEndian.PutUint32(dst[2:], uint32(len(h.Value)))
	n := 6 + copy(dst[6:], h.Key)
	return n + copy(dst[n:], h.Value)
}

// DecodeRecord reads the record at the start of src and the number of bytes to the next one. The
// view points into src. It allocates only for errors.
func DecodeRecord(src []byte) (Record, int, error) {
	if len(src) < RecordHeaderSize {
		return Record{}, 0, corruptRecord("%d bytes left, a record has at least %d", len(src), RecordHeaderSize)
	}
	le := binary.LittleEndian
	length := uint64(le.Uint32(src[0:]))
	size := (length + 7) &^ 7
	if length < RecordHeaderSize || size > uint64(len(src)) {
		return Record{}, 0, corruptRecord("record of %d bytes, %d left", length, len(src))
	}
	keyLen := uint64(le.Uint16(src[4:]))
	headersLen := uint64(le.Uint32(src[20:]))
	r := Record{
		Flags:     RecordFlags(le.Uint16(src[6:])),
		KeyHash:   le.Uint64(src[8:]),
		DeltaTime: int32(le.Uint32(src[16:])),
	}
	keyAt := RecordHeaderSize + extensionBytes*uint64(bits.OnesCount16(uint16(r.Flags&extensionFlags)))
	valueAt := keyAt + keyLen + headersLen
	if valueAt > length {
		return Record{}, 0, corruptRecord("key of %d and headers of %d bytes in a record of %d",
			keyLen, headersLen, length)
	}
	if r.Flags&FlagNullKey != 0 && keyLen > 0 || r.Flags&FlagNullValue != 0 && valueAt < length {
		return Record{}, 0, corruptRecord("null key of %d or null value of %d bytes", keyLen, length-valueAt)
	}
	if r.Flags&FlagNullKey == 0 {
		r.Key = src[keyAt : keyAt+keyLen : keyAt+keyLen]
	}
	r.RawHeaders = src[keyAt+keyLen : valueAt : valueAt]
	if r.Flags&FlagNullValue == 0 {
		r.Value = src[valueAt:length:length]
	}
	if r.Flags&knownExtensions != 0 && !r.takeExtensions(src) {
		return Record{}, 0, corruptRecord("no id of 1 to %d bytes where one is said to be", MaxIDBytes)
	}
	return r, int(size), nil
}

// PlainRecord is DecodeRecord for the usual record, which has key and value and neither headers nor flags.
// n is 0 if the record at the start of src is another, or damaged: DecodeRecord tells.
func PlainRecord(src []byte) (key, value []byte, n int) {
	if len(src) < RecordHeaderSize {
		return nil, nil, 0
	}
	le := binary.LittleEndian
	lengths := le.Uint64(src)
	length, valueAt := int(uint32(lengths)), RecordHeaderSize+int(uint16(lengths>>32))
	if lengths>>48 != 0 || le.Uint32(src[20:]) != 0 || valueAt > length || length > len(src) {
		return nil, nil, 0
	}
	// Sizes are multiples of 8, so the padding is there too, unless the payload is damaged.
	if n = Align8(length); n > len(src) {
		return nil, nil, 0
	}
	return src[RecordHeaderSize:valueAt:valueAt], src[valueAt:length:length], n
}

// HeaderDecoder decodes headers and keeps the names it has seen, so that decoding the usual few
// names does not allocate. It belongs to one goroutine.
type HeaderDecoder struct {
	names map[string]string
}

const headerNamesKept = 256

// Decode appends the headers in raw to dst; values point into raw. More than MaxHeaders, or more
// than MaxHeaderBytes of them, are CodeCorrupt like everything else wrong.
func (d *HeaderDecoder) Decode(raw []byte, dst []Header) ([]Header, error) {
	if len(raw) > MaxHeaderBytes {
		return dst, corruptRecord("headers of %d bytes, at most %d", len(raw), MaxHeaderBytes)
	}
	most := len(dst) + MaxHeaders
	for len(raw) > 0 {
		if len(dst) == most {
			return dst, corruptRecord("more than %d headers", MaxHeaders)
		}
		if len(raw) < 6 {
			return dst, corruptRecord("%d bytes left in headers", len(raw))
		}
		keyLen := uint64(binary.LittleEndian.Uint16(raw[0:]))
		end := 6 + keyLen + uint64(binary.LittleEndian.Uint32(raw[2:]))
		if end > uint64(len(raw)) {
			return dst, corruptRecord("header of %d bytes, %d left", end, len(raw))
		}
		name := d.intern(raw[6 : 6+keyLen])
		dst = append(dst, Header{Key: name, Value: raw[6+keyLen : end : end]})
		raw = raw[end:]
	}
	return dst, nil
}

func (d *HeaderDecoder) intern(name []byte) string {
	if known, ok := d.names[string(name)]; ok {
		return known
	}
	if d.names == nil {
		d.names = make(map[string]string)
	}
	owned := string(name)
	if len(d.names) < headerNamesKept {
		d.names[owned] = owned
	}
	return owned
}

func corruptRecord(format string, args ...any) error {
	return NewError(CodeCorrupt, "read record", fmt.Errorf(format, args...))
}
