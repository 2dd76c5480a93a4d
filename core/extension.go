package core

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// The extensions of a record that this build knows. Bits 3 and 4 are kept for times of the record's event and
// of its delivery.
const (
	FlagTTL RecordFlags = 1 << 5 // nanoseconds from the append until the record expires, above 0

	knownExtensions = FlagTTL
	extensionBytes  = 8
)

// The bounds of a time to live, of a message and of a topic.
const (
	MinTTL = time.Millisecond
	MaxTTL = 10 * 365 * 24 * time.Hour
)

// Extras are what a record may have beside key, value and headers. The zero value is none.
type Extras struct {
	TTL time.Duration // how long after the append the record is delivered; 0 is as long as the topic says
}

// flags are the extensions that the extras need.
func (x *Extras) flags() RecordFlags {
	if x.TTL != 0 {
		return FlagTTL
	}
	return 0
}

// check says what is wrong with the extras, if something is.
func (x *Extras) check() error {
	if x.TTL != 0 && (x.TTL < MinTTL || x.TTL > MaxTTL) {
		return Errorf(CodeInvalidRecord, "publish", "TTL %v: want %v to %v", x.TTL, MinTTL, MaxTTL)
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
	if size += extensionBytes * bits.OnesCount16(uint16(flags)); size > MaxRecordBytes {
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
	// The record is put without its extensions where the rest of it belongs, and its head moved before them.
	n := extensionBytes * bits.OnesCount16(uint16(flags))
	PutRecord(dst[n:], key, value, headers, keyHash, deltaTime)
	copy(dst, dst[n:n+RecordHeaderSize])
	le := binary.LittleEndian
	le.PutUint32(dst, le.Uint32(dst)+uint32(n))
	le.PutUint16(dst[6:], le.Uint16(dst[6:])|uint16(flags))
	le.PutUint64(dst[RecordHeaderSize:], uint64(x.TTL))
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
func extensionsFit(src []byte, flags RecordFlags) bool {
	if flags&FlagTTL == 0 {
		return true
	}
	ttl := binary.LittleEndian.Uint64(src[RecordHeaderSize:])
	return ttl >= uint64(MinTTL) && ttl <= uint64(MaxTTL)
}
