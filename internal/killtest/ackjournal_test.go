package killtest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
)

// ack says that the bus has acknowledged one record, and where it put it.
type ack struct {
	partition int32
	offset    int64
	producer  uint64
	sequence  uint64
	hash      uint64
}

// ackBytes is the length of an entry: crc u32 of the rest, partition u32, offset, producer, sequence,
// hash, each u64.
const ackBytes = 40

// ackJournal is a file of acks. Each is one write(2) to the end, so an entry that is there was
// acknowledged before, and a kill can only tear the last one. Any goroutine may write.
type ackJournal struct{ file *os.File }

func openAckJournal(path string) (*ackJournal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &ackJournal{f}, err
}

func (j *ackJournal) write(acks ...ack) error {
	buf := make([]byte, 0, 64*ackBytes)
	for _, a := range acks {
		buf = a.append(buf)
	}
	_, err := j.file.Write(buf)
	return err
}

func (a *ack) append(dst []byte) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint32(dst, uint32(a.partition))
	dst = le.AppendUint64(dst, uint64(a.offset))
	dst = le.AppendUint64(dst, a.producer)
	dst = le.AppendUint64(dst, a.sequence)
	dst = le.AppendUint64(dst, a.hash)
	le.PutUint32(dst[at:], crc32.Checksum(dst[at+4:], castagnoli))
	return dst
}

// readAcks reads a journal. Only an incomplete entry at its very end is left out.
func readAcks(path string) ([]ack, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	acks := make([]ack, 0, len(b)/ackBytes)
	for at := 0; at+ackBytes <= len(b); at += ackBytes {
		entry := b[at : at+ackBytes]
		le := binary.LittleEndian
		if crc32.Checksum(entry[4:], castagnoli) != le.Uint32(entry) {
			return nil, fmt.Errorf("ack journal %s: entry at %d is damaged", path, at)
		}
		acks = append(acks, ack{int32(le.Uint32(entry[4:])), int64(le.Uint64(entry[8:])),
			le.Uint64(entry[16:]), le.Uint64(entry[24:]), le.Uint64(entry[32:])})
	}
	return acks, nil
}

// startedFile counts, for each publisher, what it has begun to publish: a slot of 8 bytes, written
// before the call. What was begun and is not in the journal was in flight.
type startedFile struct{ file *os.File }

func openStarted(path string) (*startedFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	return &startedFile{f}, err
}

func (s *startedFile) set(publisher int, count uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], count)
	_, err := s.file.WriteAt(b[:], int64(8*publisher))
	return err
}

func readStarted(path string) ([]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	counts := make([]uint64, len(b)/8)
	for i := range counts {
		counts[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return counts, nil
}
