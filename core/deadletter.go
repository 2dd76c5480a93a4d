package core

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// deadLetterMark stands between topic and group in the name of a dead-letter topic.
const deadLetterMark = ".dlq."

// MaxDeadLetterReason is how many bytes of a reason a dead letter keeps.
const MaxDeadLetterReason = 1024

// DeadLetterRoom is how much larger than its record a dead letter may be.
const DeadLetterRoom = 4 << 10

// Headers of a dead letter.
const (
	deadLetterPrefix    = "leat-dlq-"
	deadLetterTopic     = "leat-dlq-topic"
	deadLetterPartition = "leat-dlq-partition"
	deadLetterOffset    = "leat-dlq-offset"
	deadLetterTime      = "leat-dlq-time"
	deadLetterAttempts  = "leat-dlq-attempts"
	deadLetterCode      = "leat-dlq-code"
	deadLetterReason    = "leat-dlq-reason"
	deadLetterGroup     = "leat-dlq-group"
	deadLetterPacked    = "leat-dlq-packed"
)

// deadLetterTimeForm has nine digits, so that times compare as text.
const deadLetterTimeForm = "2006-01-02T15:04:05.000000000Z"

// DeadLetterName is the topic that gets what a group gives up of a topic: CodeInvalidName if it is too long
// to be one.
func DeadLetterName(topic, group string) (string, error) {
	name := topic + deadLetterMark + group
	if len(name) > MaxNameBytes {
		return "", Errorf(CodeInvalidName, "name the dead letters of topic "+Quote(topic),
			"topic %d, %q and group %d bytes make %d, at most %d: shorten one of the names",
			len(topic), deadLetterMark, len(group), len(name), MaxNameBytes)
	}
	return name, nil
}

// deadLetterSegmentBytes is small, because letters are let go by whole segments.
const deadLetterSegmentBytes = 4 << 20

// DeadLetterConfig is the configuration of the dead letters of a topic. They are kept until somebody redrives
// or drops them.
func DeadLetterConfig(source TopicConfig) TopicConfig {
	return TopicConfig{Partitions: source.Partitions, Ack: source.Ack, Retention: KeepForever,
		SegmentBytes:   min(source.SegmentBytes, deadLetterSegmentBytes),
		MaxRecordBytes: min(source.MaxRecordBytes+DeadLetterRoom, MaxRecordBytes)}
}

// SplitDeadLetterName takes the name of a dead-letter topic apart, at the last place where it can be: of
// names that have the mark in themselves only the headers of letters tell.
func SplitDeadLetterName(name string) (topic, group string, ok bool) {
	at := strings.LastIndex(name, deadLetterMark)
	if at < 1 || at+len(deadLetterMark) == len(name) {
		return "", "", false
	}
	return name[:at], name[at+len(deadLetterMark):], true
}

// DeadLetterOrigin tells where a dead letter comes from and why it is one.
type DeadLetterOrigin struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      int64 // when the record was appended to its topic, nanoseconds since 1970
	Attempts  int32
	Code      Code
	Reason    string // in words, at most MaxDeadLetterReason bytes
	Group     string
}

// CutReason keeps what of a reason a letter has room for, whole characters only if it is UTF-8.
func CutReason(reason string) string {
	if len(reason) <= MaxDeadLetterReason {
		return reason
	}
	end := MaxDeadLetterReason
	for end > MaxDeadLetterReason-utf8.UTFMax && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// Wrap gives value and headers of the dead letter that a record becomes. It keeps them all, but for headers
// of an earlier death. Where there is no room for more headers, those of the record go in front of the value;
// Unwrap undoes it.
func (o *DeadLetterOrigin) Wrap(value []byte, headers []Header) ([]byte, []Header) {
	kept := make([]Header, 0, len(headers)+10)
	for _, h := range headers {
		if !strings.HasPrefix(h.Key, deadLetterPrefix) {
			kept = append(kept, h)
		}
	}
	all := o.appendHeaders(kept)
	if len(all) <= MaxHeaders && EncodedHeadersSize(all) <= MaxHeaderBytes {
		return value, all
	}
	packed := make([]byte, EncodedHeadersSize(kept), EncodedHeadersSize(kept)+len(value))
	at := 0
	for i := range kept {
		at += putHeader(packed[at:], &kept[i])
	}
	says := strconv.Itoa(at)
	if value == nil {
		says += " tombstone"
	}
	return append(packed, value...), append(o.appendHeaders(nil), Header{deadLetterPacked, []byte(says)})
}

func (o *DeadLetterOrigin) appendHeaders(dst []Header) []Header {
	return append(dst,
		Header{deadLetterTopic, []byte(o.Topic)},
		Header{deadLetterPartition, strconv.AppendInt(nil, int64(o.Partition), 10)},
		Header{deadLetterOffset, strconv.AppendInt(nil, o.Offset, 10)},
		Header{deadLetterTime, time.Unix(0, o.Time).UTC().AppendFormat(nil, deadLetterTimeForm)},
		Header{deadLetterAttempts, strconv.AppendInt(nil, int64(o.Attempts), 10)},
		Header{deadLetterCode, strconv.AppendUint(nil, uint64(o.Code), 10)},
		Header{deadLetterReason, []byte(CutReason(o.Reason))},
		Header{deadLetterGroup, []byte(o.Group)})
}

// UnwrapDeadLetter gives back the record that became a dead letter: its value, and its headers without any
// that Leat set. CodeInvalidRecord if it is not a dead letter; value and the user's headers come with that,
// too. The results point into the arguments.
func UnwrapDeadLetter(value []byte, headers []Header) (o DeadLetterOrigin, _ []byte, own []Header, _ error) {
	own = usersHeaders(headers)
	var packed string
	for i := range headers {
		if headers[i].Key == deadLetterPacked {
			packed = string(headers[i].Value)
		}
	}
	if err := o.parse(headers); err != nil {
		return DeadLetterOrigin{}, value, own, err
	}
	if packed == "" {
		return o, value, own, nil
	}
	digits, tombstone := strings.CutSuffix(packed, " tombstone")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n > uint64(len(value)) || tombstone && n != uint64(len(value)) {
		return DeadLetterOrigin{}, value, own, notDeadLetter("%s %s with a value of %d bytes", deadLetterPacked,
			Quote(packed), len(value))
	}
	var d HeaderDecoder
	list, err := d.Decode(value[:n], nil)
	if err != nil {
		return DeadLetterOrigin{}, value, own, notDeadLetter("%s: %w", deadLetterPacked, err)
	}
	rest := value[n:len(value):len(value)]
	if tombstone {
		rest = nil
	}
	return o, rest, usersHeaders(list), nil
}

// usersHeaders leaves out what Leat set.
func usersHeaders(headers []Header) []Header {
	var own []Header
	for _, h := range headers {
		if !strings.HasPrefix(h.Key, OwnHeaderPrefix) {
			own = append(own, h)
		}
	}
	return own
}

// parse reads the headers of a dead letter. Each must be there once.
func (o *DeadLetterOrigin) parse(headers []Header) error {
	seen := map[string]bool{}
	for i := range headers {
		name, value := headers[i].Key, string(headers[i].Value)
		if !strings.HasPrefix(name, deadLetterPrefix) || name == deadLetterPacked {
			continue
		}
		if seen[name] {
			return notDeadLetter("%s twice", name)
		}
		seen[name] = true
		if err := o.take(name, value); err != nil {
			return notDeadLetter("%s %s: %w", name, Quote(value), err)
		}
	}
	if len(seen) < 8 {
		return notDeadLetter("%d of its 8 headers", len(seen))
	}
	return nil
}

func (o *DeadLetterOrigin) take(name, value string) (err error) {
	number := func(bits int) int64 {
		var n uint64
		n, err = strconv.ParseUint(value, 10, bits)
		return int64(n)
	}
	switch name {
	case deadLetterTopic:
		o.Topic = value
		err = ValidateStoredName("topic", value)
	case deadLetterGroup:
		o.Group = value
		err = ValidateStoredName("group", value)
	case deadLetterPartition:
		o.Partition = int32(number(14))
	case deadLetterOffset:
		o.Offset = number(63)
	case deadLetterAttempts:
		o.Attempts = int32(number(31))
	case deadLetterCode:
		o.Code = Code(number(16))
	case deadLetterReason:
		o.Reason = value
	case deadLetterTime:
		var at time.Time
		at, err = time.Parse(deadLetterTimeForm, value)
		if o.Time = at.UnixNano(); err == nil && time.Unix(0, o.Time).UTC().Format(deadLetterTimeForm) != value {
			err = fmt.Errorf("not within what nanoseconds can say")
		}
	default:
		err = fmt.Errorf("an unknown header")
	}
	return err
}

func notDeadLetter(format string, args ...any) error {
	return NewError(CodeInvalidRecord, "read dead letter", fmt.Errorf(format, args...))
}

// DeadLetterFilter chooses dead letters. The zero value chooses all.
type DeadLetterFilter struct {
	Key     []byte   // nil: any; else the letter's key, byte for byte
	Code    Code     // why it died; 0: any
	Since   int64    // when it died: [Since, Until) in nanoseconds since 1970; 0 leaves a side open
	Until   int64    //
	Headers []Header // of the user: all must be there with these values
}

// Matches reports whether a letter is chosen: its key, when it was appended to the dead letters, its origin
// and the user's headers.
func (f *DeadLetterFilter) Matches(key []byte, at int64, o *DeadLetterOrigin, own []Header) bool {
	switch {
	case f.Key != nil && (key == nil || string(key) != string(f.Key)),
		f.Code != 0 && f.Code != o.Code,
		f.Since != 0 && at < f.Since,
		f.Until != 0 && at >= f.Until:
		return false
	}
	for i := range f.Headers {
		if !hasHeader(own, &f.Headers[i]) {
			return false
		}
	}
	return true
}

func hasHeader(headers []Header, want *Header) bool {
	for i := range headers {
		if headers[i].Key == want.Key && string(headers[i].Value) == string(want.Value) {
			return true
		}
	}
	return false
}

// deadLetterKind is the kind of the keys of DeadLetterRecord in __groups.
const (
	deadLetterKind       = 5
	deadLetterKeyBytes   = 24
	deadLetterValueFixed = 32
)

// DeadLetterChunk is how many letters one DeadLetterRecord speaks of.
const DeadLetterChunk = 8192

// DeadLetterRecord is what is stored of one partition of a dead-letter topic, a record of __groups: which of
// the letters of one chunk were settled, that is redriven or dropped. The layout is in docs/format.md.
type DeadLetterRecord struct {
	TopicID   uint64 // of the dead-letter topic
	Partition int32
	Chunk     int64 // offset / DeadLetterChunk
	Removed   bool  // the value was null, the fields after Chunk are 0

	Next     int64 // everything before it is settled
	Redriven int64 // letters of the partition so far
	Dropped  int64
	Bits     []byte // bit i%8 of byte i/8: letter i of the chunk is settled; what lacks is 0
}

// IsDeadLetterRecord reports whether the key of a record of __groups is that of a DeadLetterRecord.
func IsDeadLetterRecord(key []byte) bool { return len(key) > 1 && key[1] == deadLetterKind }

// EncodeKey appends the key of r's record to dst.
func (r *DeadLetterRecord) EncodeKey(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, deadLetterKind, 0, 0)
	dst = le.AppendUint32(dst, uint32(r.Partition))
	dst = le.AppendUint64(dst, r.TopicID)
	return le.AppendUint64(dst, uint64(r.Chunk))
}

// EncodeValue appends the value of r's record to dst. One that is removed has a null value instead.
func (r *DeadLetterRecord) EncodeValue(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, 0, 0, 0, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(r.Next))
	dst = le.AppendUint64(dst, uint64(r.Redriven))
	dst = le.AppendUint64(dst, uint64(r.Dropped))
	return append(dst, r.Bits...)
}

// DecodeDeadLetterRecord reads a record of __groups that IsDeadLetterRecord; a nil value removes it. A newer
// version is CodeVersionTooNew, everything else wrong is CodeCorrupt. It keeps the end of value as Bits.
func DecodeDeadLetterRecord(key, value []byte) (DeadLetterRecord, error) {
	if err := checkCommitVersion(key, deadLetterKeyBytes); err != nil {
		return DeadLetterRecord{}, err
	}
	le := binary.LittleEndian
	partition, chunk := le.Uint32(key[4:]), le.Uint64(key[16:])
	r := DeadLetterRecord{TopicID: le.Uint64(key[8:]), Partition: int32(partition), Chunk: int64(chunk)}
	if !IsDeadLetterRecord(key) || len(key) != deadLetterKeyBytes || le.Uint16(key[2:]) != 0 ||
		partition >= MaxPartitions || r.TopicID == 0 || chunk > 1<<63/DeadLetterChunk-1 {
		return DeadLetterRecord{}, corruptCommit("dead letters: key of kind %d with %d bytes, topic id %d, "+
			"partition %d, chunk %d", key[1], len(key), r.TopicID, partition, chunk)
	}
	if value == nil {
		r.Removed = true
		return r, nil
	}
	if err := checkCommitVersion(value, deadLetterValueFixed); err != nil {
		return DeadLetterRecord{}, err
	}
	r.Next, r.Redriven = int64(le.Uint64(value[8:])), int64(le.Uint64(value[16:]))
	r.Dropped, r.Bits = int64(le.Uint64(value[24:])), value[deadLetterValueFixed:]
	if le.Uint64(value)>>8 != 0 || r.Next < 0 || r.Redriven < 0 || r.Dropped < 0 ||
		len(r.Bits) > DeadLetterChunk/8 {
		return DeadLetterRecord{},
			corruptCommit("dead letters: value of %d bytes, next %d, redriven %d, dropped %d",
				len(value), r.Next, r.Redriven, r.Dropped)
	}
	return r, nil
}
