package core

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"
)

// The extensions of a record that this build knows. Bits 3 and 4 are kept for times of the record's event and
// of its delivery.
const (
	FlagTTL RecordFlags = 1 << 5 // nanoseconds from the append until the record expires, above 0
	FlagID  RecordFlags = 1 << 6 // xxhash64 of the message id, which is the first header

	knownExtensions = FlagTTL | FlagID
	extensionBytes  = 8
)

// IDHeader is the name of the header that holds the id of a message: the first one, and not one of the
// user's.
const IDHeader = "leat-id"

const idHeaderBytes = 6 + len(IDHeader) // without the id

// The bounds of a time to live, of a message and of a topic.
const (
	MinTTL = time.Millisecond
	MaxTTL = 10 * 365 * 24 * time.Hour
)

// MaxIDBytes is the longest id of a message.
const MaxIDBytes = 128

// Extras are what a record may have beside key, value and headers. The zero value is none.
type Extras struct {
	TTL time.Duration // how long after the append the record is delivered; 0 is as long as the topic says
	ID  string        // what a message that is published twice is recognised by; empty is none
}

// flags are the extensions that the extras need.
func (x *Extras) flags() RecordFlags {
	var flags RecordFlags
	if x.TTL != 0 {
		flags |= FlagTTL
	}
	if x.ID != "" {
		flags |= FlagID
	}
	return flags
}

// check says what is wrong with the extras, if something is.
func (x *Extras) check() error {
	if x.TTL != 0 && (x.TTL < MinTTL || x.TTL > MaxTTL) {
		return Errorf(CodeInvalidRecord, "publish", "TTL %v: want %v to %v", x.TTL, MinTTL, MaxTTL)
	}
	if len(x.ID) > MaxIDBytes {
		return Errorf(CodeInvalidRecord, "publish", "ID of %d bytes, at most %d", len(x.ID), MaxIDBytes)
	}
	return nil
}

// ExtendedRecordSize is RecordSize for a record with extras.
func ExtendedRecordSize(keyBytes, valueBytes int, headers []Header, x Extras) (int, error) {
	size, err := RecordSize(keyBytes, valueBytes, headers)
	flags := x.flags()
	if err != nil || flags == 0 {
		return size, err
	}
	if err := x.check(); err != nil {
		return 0, err
	}
	size = RecordHeaderSize + keyBytes + valueBytes + extensionBytes*bits.OnesCount16(uint16(flags))
	h := EncodedHeadersSize(headers)
	if x.ID != "" {
		if h += idHeaderBytes + len(x.ID); h > MaxHeaderBytes || len(headers) == MaxHeaders {
			return 0, Errorf(CodeInvalidRecord, "publish", "headers and ID are more than %d or %d bytes",
				MaxHeaders, MaxHeaderBytes)
		}
	}
	if size = Align8(size + h); size > MaxRecordBytes {
		return 0, Errorf(CodeRecordTooLarge, "publish", "record of %d bytes, at most %d", size, MaxRecordBytes)
	}
	return size, nil
}

// PutExtendedRecord is PutRecord for a record with extras, of the size that ExtendedRecordSize gave.
func PutExtendedRecord(dst, key, value []byte, headers []Header, keyHash uint64, deltaTime int32, x Extras) {
	flags := x.flags()
	if flags == 0 {
		PutRecord(dst, key, value, headers, keyHash, deltaTime)
		return
	}
	n, id := extensionBytes*bits.OnesCount16(uint16(flags)), 0
	if x.ID != "" {
		id = idHeaderBytes + len(x.ID)
	}
	// The record is put without its extensions and its id, and what lies before these moved to the front.
	n += id
	PutRecord(dst[n:], key, value, headers, keyHash, deltaTime)
	n -= id
	copy(dst, dst[n+id:n+id+RecordHeaderSize])
	at := RecordHeaderSize
	le := binary.LittleEndian
	le.PutUint32(dst, le.Uint32(dst)+uint32(n+id))
	le.PutUint16(dst[6:], le.Uint16(dst[6:])|uint16(flags))
	le.PutUint32(dst[20:], le.Uint32(dst[20:])+uint32(id))
	if flags&FlagTTL != 0 {
		le.PutUint64(dst[at:], uint64(x.TTL))
		at += extensionBytes
	}
	if flags&FlagID != 0 {
		le.PutUint64(dst[at:], xxhash.Sum64String(x.ID))
		at += extensionBytes
		at += copy(dst[at:], key)
		le.PutUint16(dst[at:], uint16(len(IDHeader)))
		le.PutUint32(dst[at+2:], uint32(len(x.ID)))
		copy(dst[at+6:], IDHeader)
		copy(dst[at+idHeaderBytes:], x.ID)
	}
}

// takeExtensions fills what the extensions of a record say. It reports false if its id is not where the flag
// says.
func (r *Record) takeExtensions(src []byte) bool {
	at := func(flag RecordFlags) []byte {
		before := bits.OnesCount16(uint16(r.Flags & extensionFlags & (flag - 1)))
		return src[RecordHeaderSize+extensionBytes*before:]
	}
	if r.Flags&FlagTTL != 0 {
		r.TTL = time.Duration(binary.LittleEndian.Uint64(at(FlagTTL)))
	}
	if r.Flags&FlagID == 0 {
		return true
	}
	raw := r.RawHeaders
	if len(raw) <= idHeaderBytes || binary.LittleEndian.Uint16(raw) != uint16(len(IDHeader)) ||
		string(raw[6:idHeaderBytes]) != IDHeader {
		return false
	}
	n := binary.LittleEndian.Uint32(raw[2:])
	if n == 0 || n > MaxIDBytes || int(n) > len(raw)-idHeaderBytes {
		return false
	}
	end := idHeaderBytes + int(n)
	r.ID, r.RawHeaders = raw[idHeaderBytes:end:end], raw[end:]
	return true
}

// Expired reports whether a record that was appended at a time is not to be delivered any more at now, both
// in nanoseconds since 1970. topicTTL, 0 for none, is that of its topic, for a record without one.
func (r *Record) Expired(appended, now int64, topicTTL time.Duration) bool {
	ttl := r.TTL
	if ttl == 0 {
		ttl = topicTTL
	}
	return ttl > 0 && now-appended >= int64(ttl)
}

// RecordsFlags is the union of the flags of encoded records, which were checked before.
func RecordsFlags(records []byte) RecordFlags {
	var flags RecordFlags
	for len(records) >= RecordHeaderSize {
		first := binary.LittleEndian.Uint64(records)
		flags |= RecordFlags(first >> 48)
		size := Align8(int(uint32(first)))
		if size < RecordHeaderSize || size > len(records) {
			break
		}
		records = records[size:]
	}
	return flags
}

// extensionsFit checks the values of the extensions of a record from outside, whose flags are all known.
func extensionsFit(src []byte) bool {
	r, _, err := DecodeRecord(src)
	if err != nil || r.Flags&FlagTTL != 0 && (r.TTL < MinTTL || r.TTL > MaxTTL) {
		return false
	}
	if r.Flags&FlagID == 0 {
		return true
	}
	at := RecordHeaderSize
	if r.Flags&FlagTTL != 0 {
		at += extensionBytes
	}
	return binary.LittleEndian.Uint64(src[at:]) == xxhash.Sum64(r.ID)
}
