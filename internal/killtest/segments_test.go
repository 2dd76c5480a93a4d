package killtest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// record is what was found at one offset of a partition.
type record struct {
	offset   int64
	producer uint64
	sequence uint64
	hash     uint64
	err      error // the value is not as it was made
}

func makeRecord(offset int64, key, value []byte) record {
	producer, sequence, err := parsePayload(value)
	return record{offset, producer, sequence, recordHash(key, value), err}
}

// partitionView is what the segment files of one partition hold.
type partitionView struct {
	records []record
	newest  segmentView // zero if there is none
	torn    string      // why the frames ended before zeros did
}

// bare reports whether the newest segment has no record.
func (v *partitionView) bare() bool {
	return len(v.records) == 0 || v.records[len(v.records)-1].offset < v.newest.base
}

type segmentView struct {
	id, previous, ordinal uint64
	base                  int64 // offset
	index                 uint64
	prevCRC               uint32
	dataEnd               int
	bytes                 []byte // of the file
}

// segmentReader reads the segments of a partition as docs/format.md says, and knows nothing else of
// the bus. What it finds wrong before the end of the log is an error; a tail that cannot be read ends
// the log, and whether acknowledged records were behind it is for the checker to say.
type segmentReader struct {
	view    partitionView
	index   uint64
	prevCRC uint32
	time    int64
}

const (
	segmentHeaderBytes = 4096
	frameHeaderBytes   = 64
	recordHeaderBytes  = 24
	frameTypeData      = 0
	frameTypeFiller    = 4
)

// readPartition reads the segments in dir, which need not exist.
func readPartition(dir string) (partitionView, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return partitionView{}, nil
	}
	if err != nil {
		return partitionView{}, err
	}
	var segments []segmentView
	for _, entry := range names {
		if !strings.HasSuffix(entry.Name(), ".seg") {
			continue
		}
		s, err := readSegment(filepath.Join(dir, entry.Name()))
		if err != nil {
			return partitionView{}, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		segments = append(segments, s)
	}
	slices.SortFunc(segments, func(a, b segmentView) int { return cmp.Compare(a.ordinal, b.ordinal) })
	var r segmentReader
	for i, s := range segments {
		if err := r.segment(s, i == 0, i+1 == len(segments)); err != nil {
			return r.view, fmt.Errorf("segment %016x: %w", s.id, err)
		}
	}
	return r.view, nil
}

// readSegment reads a file and the header in its first 4 KiB.
func readSegment(path string) (segmentView, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return segmentView{}, err
	}
	le := binary.LittleEndian
	if len(b) < segmentHeaderBytes || string(b[:8]) != "LEATSEGM" {
		return segmentView{}, fmt.Errorf("no segment header in %d bytes", len(b))
	}
	sum := crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:segmentHeaderBytes])
	if sum != le.Uint32(b[12:]) {
		return segmentView{}, errors.New("header checksum is wrong")
	}
	s := segmentView{
		id: le.Uint64(b[40:]), previous: le.Uint64(b[48:]), ordinal: le.Uint64(b[56:]),
		base: int64(le.Uint64(b[64:])), index: le.Uint64(b[72:]), prevCRC: le.Uint32(b[80:]),
		dataEnd: int(le.Uint64(b[96:])), bytes: b,
	}
	name := fmt.Sprintf("%020d-%016x.seg", s.base, s.id)
	if filepath.Base(path) != name || le.Uint64(b[88:]) != uint64(len(b)) || s.dataEnd > len(b) {
		return s, fmt.Errorf("header of %s, %d bytes, in a file of %d", name, le.Uint64(b[88:]), len(b))
	}
	return s, nil
}

func (r *segmentReader) segment(s segmentView, first, last bool) error {
	switch {
	case first:
		r.index, r.prevCRC = s.index, s.prevCRC
	case s.previous != r.view.newest.id:
		return fmt.Errorf("follows segment %016x, found %016x", s.previous, r.view.newest.id)
	case s.index != r.index || s.prevCRC != r.prevCRC:
		return fmt.Errorf("starts at frame %d after %08x, the one before ended at %d with %08x",
			s.index, s.prevCRC, r.index, r.prevCRC)
	}
	r.view.newest = s
	for pos := segmentHeaderBytes; pos+frameHeaderBytes <= s.dataEnd; {
		length := int(binary.LittleEndian.Uint32(s.bytes[pos:]))
		if length == 0 {
			return nil
		}
		if err := r.frame(s, pos, length); err != nil {
			if last {
				r.view.torn = err.Error()
				return nil
			}
			return fmt.Errorf("position %d: %w", pos, err)
		}
		pos += (length + 7) &^ 7
	}
	return nil
}

// frame reads the frame at pos.
func (r *segmentReader) frame(s segmentView, pos, length int) error {
	le := binary.LittleEndian
	if length < frameHeaderBytes || pos+length > s.dataEnd {
		return fmt.Errorf("frame of %d bytes", length)
	}
	header, payload := s.bytes[pos:pos+frameHeaderBytes], s.bytes[pos+frameHeaderBytes:pos+length]
	seed := crc32.Checksum(le.AppendUint64(nil, s.id), castagnoli)
	sum := crc32.Update(crc32.Update(seed, castagnoli, header[:4]), castagnoli, header[8:])
	kind := header[62] & 0x0f
	switch {
	case sum != le.Uint32(header[4:]):
		return errors.New("header checksum is wrong")
	case kind == frameTypeFiller:
		return nil
	case kind != frameTypeData:
		return fmt.Errorf("frame type %d", kind)
	case crc32.Checksum(payload, castagnoli) != le.Uint32(header[48:]):
		return errors.New("payload checksum is wrong")
	case le.Uint64(header[8:]) != r.index || le.Uint32(header[44:]) != r.prevCRC:
		return fmt.Errorf("frame %d after %08x, want %d after %08x",
			le.Uint64(header[8:]), le.Uint32(header[44:]), r.index, r.prevCRC)
	case int64(le.Uint64(header[24:])) < r.time:
		return errors.New("time falls")
	}
	r.index, r.prevCRC, r.time = r.index+1, le.Uint32(header[48:]), int64(le.Uint64(header[24:]))
	return r.records(int64(le.Uint64(header[16:])), int(le.Uint16(header[58:])), payload)
}

// records reads the n records of a payload. It leaves gaps of offsets to the checker.
func (r *segmentReader) records(offset int64, n int, payload []byte) error {
	le := binary.LittleEndian
	for i := range n {
		if len(payload) < recordHeaderBytes {
			return fmt.Errorf("record %d of %d: %d bytes left", i, n, len(payload))
		}
		length, keyLength := int(le.Uint32(payload)), int(le.Uint16(payload[4:]))
		flags, headers := le.Uint16(payload[6:]), int(le.Uint32(payload[20:]))
		keyAt := recordHeaderBytes + 8*bits.OnesCount16(flags>>3)
		valueAt := keyAt + keyLength + headers
		if length > len(payload) || valueAt > length {
			return fmt.Errorf("record %d of %d: %d bytes, value at %d, %d left", i, n, length, valueAt, len(payload))
		}
		key, value := payload[keyAt:keyAt+keyLength], payload[valueAt:length]
		r.view.records = append(r.view.records, makeRecord(offset+int64(i), key, value))
		payload = payload[min((length+7)&^7, len(payload)):]
	}
	if len(payload) > 0 {
		return fmt.Errorf("%d bytes behind the last of %d records", len(payload), n)
	}
	return nil
}

// readTopic reads all partitions of a topic of a data folder.
func readTopic(data string, topic uint64, partitions int) ([]partitionView, error) {
	views := make([]partitionView, partitions)
	for i := range views {
		dir := filepath.Join(data, "t", strconv.FormatUint(topic, 10), strconv.Itoa(i))
		var err error
		if views[i], err = readPartition(dir); err != nil {
			return nil, fmt.Errorf("partition %d: %w", i, err)
		}
	}
	return views, nil
}
