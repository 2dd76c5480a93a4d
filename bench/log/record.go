package log

import (
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat/core"
)

// The key of every record, and where in the record its number stands, behind which its sender may leave
// the intended time.
const (
	recordKey  = "bench-00"
	numberAt   = core.RecordHeaderSize + len(recordKey)
	intendedAt = numberAt + 8
)

// newRecord encodes a record of size bytes, a multiple of 8 and at least 48. All of its value that nobody
// sets is a pattern, so that a byte that was not copied shows.
func newRecord(size int) []byte {
	value := make([]byte, size-core.RecordHeaderSize-len(recordKey))
	for i := range value {
		value[i] = byte(i)*7 + 1
	}
	record := make([]byte, size)
	core.PutRecord(record, []byte(recordKey), value, nil, 0, 0)
	return record
}

func setNumber(record []byte, number int64) {
	binary.LittleEndian.PutUint64(record[numberAt:], uint64(number))
}

func setIntended(record []byte, nanos int64) {
	binary.LittleEndian.PutUint64(record[intendedAt:], uint64(nanos))
}

func intended(record []byte) int64 {
	return int64(binary.LittleEndian.Uint64(record[intendedAt:]))
}

// sum adds all the words of p, whose length is a multiple of 8.
func sum(p []byte) (s uint64) {
	for len(p) >= 32 { // so that what is compared costs little beside what is measured
		s += binary.LittleEndian.Uint64(p) + binary.LittleEndian.Uint64(p[8:]) +
			binary.LittleEndian.Uint64(p[16:]) + binary.LittleEndian.Uint64(p[24:])
		p = p[32:]
	}
	for len(p) >= 8 {
		s += binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	return s
}

// tally checks what a reader sees: records numbered from next on, each with all of its bytes.
type tally struct {
	next  int64
	size  int
	rest  uint64 // sum of a record without its number and its time
	wrong error
}

func newTally(size int, from int64) *tally {
	record := newRecord(size)
	setNumber(record, 0)
	setIntended(record, 0)
	return &tally{next: from, size: size, rest: sum(record)}
}

// see takes the next record.
func (t *tally) see(record []byte) error {
	if len(record) != t.size {
		return fmt.Errorf("record %d has %d bytes: want %d", t.next, len(record), t.size)
	}
	number := binary.LittleEndian.Uint64(record[numberAt:])
	if int64(number) != t.next {
		return fmt.Errorf("record %d came where %d was next", int64(number), t.next)
	}
	if got := sum(record) - number - uint64(intended(record)); got != t.rest {
		return fmt.Errorf("record %d: sum of its bytes %x: want %x", t.next, got, t.rest)
	}
	t.next++
	return nil
}
