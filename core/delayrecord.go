package core

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
)

// DelayVersion is the version byte of keys and values of __delay that this build writes, and the newest it
// reads.
const DelayVersion = 1

// Kinds of keys in __delay.
const (
	delayKindMessage = 1
	delayKindMark    = 2
)

const (
	delayKeyBytes  = 24 // of a message
	delayHead      = 40 // of a message's value, before the record
	delayMarkKey   = 16
	delayMarkBytes = 16
	delayEndBytes  = 16 // the value of the header of a tombstone
	delayEndHeader = "end"
)

// Limits of delays.
const (
	MinDelay = time.Millisecond
	MaxDelay = 3653 * 24 * time.Hour // ten years
)

// DelayIDHeader is the header that a delayed message has when it is delivered: its handle, by which a node
// that was cut off recognises what it has delivered already.
const DelayIDHeader = "leat-delay-id"

// MaxDelayedRecordBytes is the largest encoded record that can be delayed, whatever its topic takes: __delay
// keeps it within a record of its own.
const MaxDelayedRecordBytes = MaxRecordBytes - RecordHeaderSize - delayKeyBytes - delayHead

// DelayKey names one delayed message in __delay: random, and the number of its producer.
type DelayKey struct{ Random, Number uint64 }

// Encode appends the key of the message's record to dst.
func (k DelayKey) Encode(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, DelayVersion, delayKindMessage, 0, 0, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, k.Random)
	return le.AppendUint64(dst, k.Number)
}

// Tag is what a handle has of the key, so that it does not fit another message at the same offset.
func (k DelayKey) Tag() uint32 {
	var raw [delayKeyBytes]byte
	return uint32(xxhash.Sum64(k.Encode(raw[:0])))
}

// Delayed is a message that waits: the value of a record of __delay. The layout is in docs/format.md.
type Delayed struct {
	Topic     uint64 // id of the target
	Partition int32
	Level     Ack   // that the message is stored at when it is due; at least the topic's
	Relative  bool  // Due counts from the time at which the record of __delay was stored
	Scheduled bool  // a run of the schedule that has the key's Random
	Due       int64 // nanoseconds since 1970, or from then
	Replaces  int64 // offset of the record that this one replaces (Reschedule), -1 for none
	Record    []byte
}

// The flags.
const (
	delayFlagRelative  = 1 << iota // Delayed.Relative
	delayFlagScheduled             // Delayed.Scheduled
	delayFlags         = delayFlagRelative | delayFlagScheduled
)

// DueAt gives when the message is due, in nanoseconds since 1970; stored is when its record was.
func (d *Delayed) DueAt(stored int64) int64 {
	if d.Relative {
		return stored + d.Due
	}
	return d.Due
}

// Encode appends the value of d's record to dst. Record is one encoded record, whole.
func (d *Delayed) Encode(dst []byte) []byte {
	return append(d.EncodeHead(dst), d.Record...)
}

// EncodeHead appends what comes before the record.
func (d *Delayed) EncodeHead(dst []byte) []byte {
	le := binary.LittleEndian
	flags := byte(0)
	if d.Relative {
		flags = delayFlagRelative
	}
	if d.Scheduled {
		flags |= delayFlagScheduled
	}
	dst = append(dst, DelayVersion, byte(d.Level), flags, 0)
	dst = le.AppendUint32(dst, uint32(d.Partition))
	dst = le.AppendUint64(dst, d.Topic)
	dst = le.AppendUint64(dst, uint64(d.Due))
	dst = le.AppendUint64(dst, uint64(d.Replaces+1))
	return le.AppendUint64(dst, 0)
}

// DelayRecordKind is what a record of __delay says.
type DelayRecordKind uint8

// The kinds of records of __delay.
const (
	DelayMessage  DelayRecordKind = iota // a message waits
	DelayEnd                             // it waits no more
	DelayMark                            // a place in a target
	DelaySchedule                        // a message waits again and again
)

// DelayRecord is one decoded record of __delay. Its message points into what was decoded.
type DelayRecord struct {
	Kind    DelayRecordKind
	Key     DelayKey // of a message and its end
	Message Delayed
	End     DelayedEnd
	Mark    DelayMarkAt

	Schedule Schedule
}

// DelayOutcome is what became of a delayed message. Its numbers are stored.
type DelayOutcome uint8

// The outcomes.
const (
	DelayUnknown   DelayOutcome = iota // never heard of, or so long ago that it is forgotten
	DelayFired                         // it is in its topic
	DelayCancelled                     // by its handle
	DelayMoved                         // another record took its place (Reschedule)
	DelayDropped                       // its topic was deleted, or its schedule goes on without it
	delayOutcomeEnd
)

var delayOutcomeNames = [...]string{"unknown", "fired", "cancelled", "rescheduled", "dropped"}

// String gives the outcome as commands print it.
func (o DelayOutcome) String() string {
	if o < delayOutcomeEnd {
		return delayOutcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// DelayedEnd says what became of the message at an offset of __delay.
type DelayedEnd struct {
	Offset  int64
	Outcome DelayOutcome
	Tag     uint32 // of the key of the message, by which the end is stored
}

// Headers gives the headers of the tombstone that ends a message.
func (e DelayedEnd) Headers() []Header {
	le := binary.LittleEndian
	value := le.AppendUint64(make([]byte, 0, delayEndBytes), uint64(e.Offset))
	value = append(value, DelayVersion, byte(e.Outcome), 0, 0, 0, 0, 0, 0)
	return []Header{{Key: delayEndHeader, Value: value}}
}

// DelayMarkAt says that every message which was delivered to a partition below an offset has its end in
// __delay before this record.
type DelayMarkAt struct {
	Topic     uint64
	Partition int32
	Offset    int64
	Removed   bool // the value was null: the topic is gone
}

// EncodeKey appends the key of the mark's record to dst.
func (m *DelayMarkAt) EncodeKey(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, DelayVersion, delayKindMark, 0, 0)
	dst = le.AppendUint32(dst, uint32(m.Partition))
	return le.AppendUint64(dst, m.Topic)
}

// EncodeValue appends the value of the mark's record to dst.
func (m *DelayMarkAt) EncodeValue(dst []byte) []byte {
	dst = append(dst, DelayVersion, 0, 0, 0, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(dst, uint64(m.Offset))
}

// DecodeDelayRecord reads a record of __delay, which points into r afterwards. A newer version is
// CodeVersionTooNew, everything else wrong is CodeCorrupt.
func DecodeDelayRecord(r *Record) (DelayRecord, error) {
	if len(r.Key) < 2 || r.Key[0] == 0 {
		return DelayRecord{}, corruptDelay("key of %d bytes", len(r.Key))
	}
	if r.Key[0] > DelayVersion {
		return DelayRecord{}, tooNewDelay(r.Key[0])
	}
	switch r.Key[1] {
	case delayKindMessage:
		return decodeDelayMessage(r)
	case delayKindMark:
		return decodeDelayMark(r)
	case delayKindSchedule:
		return decodeSchedule(r)
	}
	return DelayRecord{}, corruptDelay("key of kind %d", r.Key[1])
}

func decodeDelayMessage(r *Record) (d DelayRecord, err error) {
	le := binary.LittleEndian
	if len(r.Key) != delayKeyBytes || le.Uint64(r.Key)>>16 != 0 {
		return d, corruptDelay("key of %d bytes for a message", len(r.Key))
	}
	d.Key = DelayKey{le.Uint64(r.Key[8:]), le.Uint64(r.Key[16:])}
	if r.Value == nil {
		d.Kind = DelayEnd
		d.End, err = decodeDelayEnd(r.RawHeaders)
		d.End.Tag = d.Key.Tag()
		return d, err
	}
	d.Message, err = DecodeDelayed(r.Value)
	return d, err
}

// DecodeDelayed reads the value of a message's record; the message's record points into it.
func DecodeDelayed(value []byte) (Delayed, error) {
	if len(value) > 0 && value[0] > DelayVersion {
		return Delayed{}, tooNewDelay(value[0])
	}
	if len(value) < delayHead || value[0] != DelayVersion {
		return Delayed{}, corruptDelay("value of %d bytes for a message", len(value))
	}
	le := binary.LittleEndian
	d := Delayed{
		Level: Ack(value[1]), Relative: value[2]&delayFlagRelative != 0,
		Scheduled: value[2]&delayFlagScheduled != 0,
		Partition: int32(le.Uint32(value[4:])), Topic: le.Uint64(value[8:]),
		Due: int64(le.Uint64(value[16:])), Replaces: int64(le.Uint64(value[24:])) - 1,
		Record: value[delayHead:],
	}
	if d.Level < AckNone || d.Level > AckQuorum || le.Uint16(value[2:])&^delayFlags != 0 ||
		d.Partition < 0 ||
		d.Partition >= MaxPartitions || d.Topic < FirstTopicID || d.Due < 0 || d.Relative &&
		d.Due > int64(MaxDelay) || d.Replaces < -1 ||
		le.Uint64(value[32:]) != 0 {
		return Delayed{},
			corruptDelay("message for partition %d of topic id %d at level %d, due at %d, for %d",
				d.Partition, d.Topic, d.Level, d.Due, d.Replaces)
	}
	record, size, err := DecodeRecord(d.Record)
	if err != nil {
		return Delayed{}, err
	}
	if size != len(d.Record) || record.Removed() {
		return Delayed{}, corruptDelay("record of %d bytes in %d", size, len(d.Record))
	}
	return d, nil
}

func decodeDelayEnd(raw []byte) (DelayedEnd, error) {
	le := binary.LittleEndian
	const name = 6 + len(delayEndHeader)
	if len(raw) != name+delayEndBytes || le.Uint16(raw) != uint16(len(delayEndHeader)) ||
		string(raw[6:name]) != delayEndHeader || le.Uint32(raw[2:]) != delayEndBytes {
		return DelayedEnd{}, corruptDelay("end of a message with headers of %d bytes", len(raw))
	}
	value := raw[name:]
	e := DelayedEnd{Offset: int64(le.Uint64(value)), Outcome: DelayOutcome(value[9])}
	if value[8] > DelayVersion {
		return DelayedEnd{}, tooNewDelay(value[8])
	}
	if value[8] != DelayVersion || e.Offset < 0 || e.Outcome == DelayUnknown ||
		e.Outcome >= delayOutcomeEnd ||
		le.Uint64(value[8:])>>16 != 0 {
		return DelayedEnd{}, corruptDelay("end of the message at %d with outcome %d", e.Offset, e.Outcome)
	}
	return e, nil
}

func decodeDelayMark(r *Record) (DelayRecord, error) {
	le := binary.LittleEndian
	if len(r.Key) != delayMarkKey {
		return DelayRecord{}, corruptDelay("key of %d bytes for a mark", len(r.Key))
	}
	m := DelayMarkAt{Topic: le.Uint64(r.Key[8:]), Partition: int32(le.Uint32(r.Key[4:])),
		Removed: r.Value == nil}
	if !m.Removed {
		if len(r.Value) > 0 && r.Value[0] > DelayVersion {
			return DelayRecord{}, tooNewDelay(r.Value[0])
		}
		if len(r.Value) != delayMarkBytes || le.Uint64(r.Value) != DelayVersion {
			return DelayRecord{}, corruptDelay("value of %d bytes for a mark", len(r.Value))
		}
		m.Offset = int64(le.Uint64(r.Value[8:]))
	}
	if le.Uint16(r.Key[2:]) != 0 || m.Topic < FirstTopicID || m.Partition < 0 ||
		m.Partition >= MaxPartitions ||
		m.Offset < 0 {
		return DelayRecord{}, corruptDelay("mark of partition %d of topic id %d at %d", m.Partition,
			m.Topic, m.Offset)
	}
	return DelayRecord{Kind: DelayMark, Mark: m}, nil
}

func tooNewDelay(version byte) error {
	return Errorf(CodeVersionTooNew, "read delayed message", "version %d, this build reads up to %d", version,
		DelayVersion)
}

func corruptDelay(format string, args ...any) error {
	return NewError(CodeCorrupt, "read delayed message", fmt.Errorf(format, args...))
}

// CheckDelayed is what a node must know of the record of a delayed message before it stores it: that it could
// be published now, and that there is room for the header it is delivered with. maxRecordBytes is the
// target's. Errors are those of CheckProduced. It does not allocate unless something is wrong.
func CheckDelayed(record []byte, maxRecordBytes int) error {
	size, ok := producedRecordSize(record, maxRecordBytes)
	switch {
	case !ok:
		return refuseRecord(record, maxRecordBytes)
	case size != len(record):
		return invalidFrame("record of %d bytes in a delayed message of %d", size, len(record))
	case RecordFlags(binary.LittleEndian.Uint16(record[6:]))&FlagID != 0: // the ID has to be the first header
		return invalidFrame("a message with an ID cannot be delayed")
	}
	if err := checkOwnHeaders(record, false); err != nil {
		return err
	}
	return checkFiredRoom(record, maxRecordBytes)
}

// checkFiredRoom checks that a record, which is right otherwise, has room for the header of its handle.
func checkFiredRoom(record []byte, maxRecordBytes int) error {
	headers := int(binary.LittleEndian.Uint32(record[20:]))
	length := int(binary.LittleEndian.Uint32(record))
	if size := Align8(length + firedHeaderBytes); size > maxRecordBytes || size > MaxDelayedRecordBytes {
		return Errorf(CodeRecordTooLarge, "delay a message",
			"%d bytes when it is delivered, with the header %s, "+
				"at most %d", size, DelayIDHeader, min(maxRecordBytes, MaxDelayedRecordBytes))
	}
	if headers+firedHeaderBytes > MaxHeaderBytes {
		return invalidFrame("headers of %d bytes: a delayed message has at most %d, for %s is added to them",
			headers, MaxHeaderBytes-firedHeaderBytes, DelayIDHeader)
	}
	if headers == 0 {
		return nil
	}
	r, _, err := DecodeRecord(record)
	if err != nil {
		return err
	}
	if countHeaders(r.RawHeaders) >= MaxHeaders {
		return invalidFrame("%d headers: a delayed message has at most %d, for %s is added to them",
			MaxHeaders,
			MaxHeaders-1, DelayIDHeader)
	}
	return nil
}

// countHeaders counts headers that fit.
func countHeaders(raw []byte) (n int) {
	for ; len(raw) > 0; n++ {
		raw = raw[6+int(binary.LittleEndian.Uint16(raw))+int(binary.LittleEndian.Uint32(raw[2:])):]
	}
	return n
}

// AppendFired appends to dst the record of a message that is due, with its handle as the first header: the
// record is taken as it is but for that, whatever extensions it has.
func AppendFired(dst, record []byte, handle string) []byte {
	return appendWithHeader(dst, record, DelayIDHeader, handle)
}

// appendWithHeader appends to dst a record, which is right, with one header more, the first.
func appendWithHeader(dst, record []byte, name, value string) []byte {
	le := binary.LittleEndian
	more := 6 + len(name) + len(value)
	length, headers := int(le.Uint32(record)), int(le.Uint32(record[20:]))
	r, _, err := DecodeRecord(record)
	if err != nil {
		panic("core: a delayed message that was not checked: " + err.Error())
	}
	headersAt := length - len(r.Value) - headers
	start := len(dst)
	dst = append(dst, record[:headersAt]...)
	dst = le.AppendUint16(dst, uint16(len(name)))
	dst = le.AppendUint32(dst, uint32(len(value)))
	dst = append(append(dst, name...), value...)
	dst = append(dst, record[headersAt:length]...)
	for (len(dst)-start)%8 != 0 {
		dst = append(dst, 0)
	}
	le.PutUint32(dst[start:], uint32(length+more))
	le.PutUint32(dst[start+20:], uint32(headers+more))
	return dst
}

// FiredHandle gives the handle of a record that AppendFired made; nil if the record is another. It looks at
// the first header only and allocates nothing.
func FiredHandle(rawHeaders []byte) []byte {
	const at = 6 + len(DelayIDHeader)
	if len(rawHeaders) < at || binary.LittleEndian.Uint16(rawHeaders) != uint16(len(DelayIDHeader)) ||
		string(rawHeaders[6:at]) != DelayIDHeader {
		return nil
	}
	size := uint64(binary.LittleEndian.Uint32(rawHeaders[2:]))
	if size > uint64(len(rawHeaders)-at) {
		return nil
	}
	return rawHeaders[at : at+int(size)]
}
