package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
)

const (
	stateName    = "state"
	stateTmpName = "state.tmp"
	stateMagic   = "LEATSTAT"
	stateVersion = 2
	stateHead    = 1024 // where the producers' state starts
	stateHeadV1  = 64
	maxStateFile = 64 << 20

	// The clean mark has a sector of its own and is not under the file's checksum: it is taken away in place.
	cleanAt    = 512
	cleanBytes = 16
	cleanMagic = "LEATCLEA"
)

const (
	stateHasCheckpoint = 1 << iota
	stateHasProducers
	stateHasCut
	stateProduced
)

// stateFile is the content of the file state. It only spares work, but for the ceiling and a cut that is
// under way; docs/format.md has the layout.
type stateFile struct {
	clean    bool   // the log was closed in order at the checkpoint, and nothing was appended since
	produced bool   // frames of producers may lie before the checkpoint
	boot     BootID // of the machine when the file was written
	ceiling  int64  // no offset from here on was given to a record; 0 if nothing is reserved
	check    checkpoint
	cut      suffixCut
	saved    *savedState // of producers; nil if there is none
}

// checkpoint is a place in the log with all before it durable. The zero value is none.
type checkpoint struct {
	segment uint64 // id
	pos     int64  // in the segment, of the next frame
	at      logState
}

// suffixCut is a truncation of the log's end that may not be complete. The zero value is none.
type suffixCut struct {
	active bool
	from   int64 // frames from this offset on go
	term   uint32
}

// encode makes the file's content for a log.
func (f *stateFile) encode(topic uint64, partition int32) []byte {
	le := binary.LittleEndian
	b := make([]byte, stateHead)
	copy(b, stateMagic)
	le.PutUint32(b[8:], stateVersion)
	le.PutUint64(b[16:], topic)
	le.PutUint32(b[24:], uint32(partition))
	flags := uint32(0)
	copy(b[32:], f.boot[:])
	le.PutUint64(b[48:], uint64(f.ceiling))
	if c := &f.check; c.segment != 0 {
		flags |= stateHasCheckpoint
		le.PutUint64(b[56:], c.segment)
		le.PutUint64(b[64:], uint64(c.pos))
		le.PutUint64(b[72:], uint64(c.at.offset))
		le.PutUint64(b[80:], c.at.index)
		le.PutUint64(b[88:], uint64(c.at.time))
		le.PutUint32(b[96:], c.at.prevCRC)
		le.PutUint32(b[100:], c.at.term)
	}
	if s := f.saved; s != nil {
		flags |= stateHasProducers
		le.PutUint64(b[104:], uint64(s.at.offset))
		le.PutUint64(b[112:], s.at.index)
		le.PutUint32(b[120:], s.at.prevCRC)
		le.PutUint64(b[128:], uint64(len(s.bytes)))
		b = append(b, s.bytes...)
	}
	if f.cut.active {
		flags |= stateHasCut
		le.PutUint64(b[136:], uint64(f.cut.from))
		le.PutUint32(b[144:], f.cut.term)
	}
	if f.produced {
		flags |= stateProduced
	}
	le.PutUint32(b[28:], flags)
	crc := stateCRC(b)
	le.PutUint32(b[12:], crc)
	if f.clean {
		putCleanMark(b[cleanAt:], crc)
	}
	return b
}

// stateCRC covers everything but itself and the sector of the clean mark.
func stateCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Checksum(b[:12], table), table, b[16:cleanAt])
	return crc32.Update(crc, table, b[stateHead:])
}

func putCleanMark(b []byte, crc uint32) {
	copy(b, cleanMagic)
	binary.LittleEndian.PutUint32(b[8:], crc)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], crc32.MakeTable(crc32.Castagnoli)))
}

// hasCleanMark reports whether src, a file that begins with a right checksum, carries its clean mark.
func hasCleanMark(src []byte) bool {
	var want [cleanBytes]byte
	putCleanMark(want[:], binary.LittleEndian.Uint32(src[12:]))
	return [cleanBytes]byte(src[cleanAt:]) == want
}

// decodeState reads and checks a state file of this log. It keeps src.
func (l *Log) decodeState(src []byte) (stateFile, error) {
	le := binary.LittleEndian
	switch {
	case len(src) < stateHeadV1 || string(src[:8]) != stateMagic:
		return stateFile{}, fmt.Errorf("%d bytes that are no state", len(src))
	case le.Uint32(src[8:]) == 1:
		return l.decodeStateV1(src)
	case len(src) < stateHead:
		return stateFile{}, fmt.Errorf("%d bytes, a state has %d", len(src), stateHead)
	case stateCRC(src) != le.Uint32(src[12:]):
		return stateFile{}, fmt.Errorf("checksum %08x, computed %08x", le.Uint32(src[12:]), stateCRC(src))
	case le.Uint32(src[8:]) != stateVersion:
		return stateFile{}, fmt.Errorf("version %d, this build reads up to %d", le.Uint32(src[8:]), stateVersion)
	case le.Uint64(src[16:]) != l.topic || le.Uint32(src[24:]) != uint32(l.partition):
		return stateFile{}, fmt.Errorf("it belongs to log %d/%d", le.Uint64(src[16:]), le.Uint32(src[24:]))
	}
	return decodeStateFields(src)
}

// decodeStateFields reads what the flags say is there.
func decodeStateFields(src []byte) (stateFile, error) {
	le := binary.LittleEndian
	flags := le.Uint32(src[28:])
	f := stateFile{
		clean: hasCleanMark(src), produced: flags&stateProduced != 0,
		boot: BootID(src[32:48]), ceiling: int64(le.Uint64(src[48:])),
	}
	if flags&stateHasCheckpoint != 0 {
		f.check = checkpoint{segment: le.Uint64(src[56:]), pos: int64(le.Uint64(src[64:])), at: logState{
			offset: int64(le.Uint64(src[72:])), index: le.Uint64(src[80:]), time: int64(le.Uint64(src[88:])),
			prevCRC: le.Uint32(src[96:]), term: le.Uint32(src[100:]),
		}}
	}
	length := le.Uint64(src[128:])
	if flags&stateHasProducers != 0 {
		f.saved = &savedState{bytes: src[stateHead:], at: logState{
			offset: int64(le.Uint64(src[104:])), index: le.Uint64(src[112:]), prevCRC: le.Uint32(src[120:]),
		}}
	}
	if flags&stateHasCut != 0 {
		f.cut = suffixCut{active: true, from: int64(le.Uint64(src[136:])), term: le.Uint32(src[144:])}
	}
	c := &f.check
	switch {
	case flags>>4 != 0 || !allZero(src[148:cleanAt]) || le.Uint32(src[124:]) != 0,
		flags&stateHasCheckpoint == 0 && !allZero(src[56:104]),
		flags&stateHasProducers == 0 && (!allZero(src[104:124]) || length != 0),
		flags&stateHasCut == 0 && !allZero(src[136:148]):
		return stateFile{}, fmt.Errorf("flags %#x, or something where nothing is", flags)
	case length != uint64(len(src)-stateHead):
		return stateFile{}, fmt.Errorf("%d bytes of producers, the header says %d", len(src)-stateHead, length)
	case flags&stateHasCheckpoint != 0 && (c.segment == 0 || c.pos < headerSize || c.pos%8 != 0 ||
		c.at.offset < 0 || c.at.index == 0):
		return stateFile{}, fmt.Errorf("a checkpoint at offset %d, frame %d, position %d", c.at.offset, c.at.index,
			c.pos)
	case f.ceiling < 0 || f.cut.from < 0:
		return stateFile{}, fmt.Errorf("ceiling %d, cut from %d", f.ceiling, f.cut.from)
	}
	return f, nil
}

// decodeStateV1 reads the first version, which has nothing but producers.
func (l *Log) decodeStateV1(src []byte) (stateFile, error) {
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Checksum(src[:12], table), table, src[16:])
	switch {
	case crc != le.Uint32(src[12:]):
		return stateFile{}, fmt.Errorf("checksum %08x, computed %08x", le.Uint32(src[12:]), crc)
	case le.Uint64(src[16:]) != l.topic || le.Uint32(src[24:]) != uint32(l.partition):
		return stateFile{}, fmt.Errorf("it belongs to log %d/%d", le.Uint64(src[16:]), le.Uint32(src[24:]))
	case le.Uint64(src[48:]) != uint64(len(src)-stateHeadV1) || !allZero(src[56:stateHeadV1]):
		return stateFile{}, fmt.Errorf("%d bytes of state, the header says %d", len(src)-stateHeadV1,
			le.Uint64(src[48:]))
	}
	s := &savedState{bytes: src[stateHeadV1:]}
	s.at = logState{offset: int64(le.Uint64(src[32:])), index: le.Uint64(src[40:]), prevCRC: le.Uint32(src[28:])}
	return stateFile{saved: s}, nil
}

// readState reads the state file; found says whether there is one.
func (l *Log) readState() (f stateFile, found bool, err error) {
	file, err := l.store.fs.Open(filepath.Join(l.dir, stateName), ReadOnly)
	if errors.Is(err, errNotExist) {
		return stateFile{}, false, nil
	}
	if err != nil {
		return stateFile{}, false, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return stateFile{}, true, err
	}
	if size > maxStateFile {
		return stateFile{}, true, fmt.Errorf("a file of %d bytes, at most %d", size, maxStateFile)
	}
	content := make([]byte, size)
	if _, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return stateFile{}, true, err
	}
	f, err = l.decodeState(content)
	return f, true, err
}

// replaceStateFile gives the log another state file: after a crash there is this one or the one before.
func (l *Log) replaceStateFile(content []byte) error {
	fs, tmp := l.store.fs, filepath.Join(l.dir, stateTmpName)
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(tmp, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync() // before it has the name that is believed
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	l.store.point("state.before-rename")
	if err := fs.Rename(tmp, filepath.Join(l.dir, stateName)); err != nil {
		return err
	}
	l.store.point("state.after-rename")
	return fs.SyncDir(l.dir)
}

// removeCleanMark takes the clean mark from the file, durably.
func (l *Log) removeCleanMark() error {
	f, err := l.store.fs.Open(filepath.Join(l.dir, stateName), ReadWrite)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(zeros[:cleanBytes], cleanAt)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
