package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// What opening a log found damaged is kept in a file of its folder, so that the next opening looks there
// again, whatever is younger: it lists the same, or refuses the log, or finds that all is well again.
// docs/format.md has the layout.
const (
	damageName    = "damage"
	damageTmpName = "damage.tmp"
	damageMagic   = "LEATDAMG"
	damageVersion = 1
	damageHead    = 32
	damageEntry   = 32
)

// noted is a damage that was known when the log was opened before.
type noted struct {
	segment  uint64 // id
	position int64
	from, to int64
}

func encodeDamage(topic uint64, partition int32, list []noted) []byte {
	le := binary.LittleEndian
	b := make([]byte, damageHead, damageHead+len(list)*damageEntry)
	copy(b, damageMagic)
	le.PutUint32(b[8:], damageVersion)
	le.PutUint64(b[16:], topic)
	le.PutUint32(b[24:], uint32(partition))
	le.PutUint32(b[28:], uint32(len(list)))
	for _, n := range list {
		b = le.AppendUint64(b, n.segment)
		b = le.AppendUint64(b, uint64(n.position))
		b = le.AppendUint64(b, uint64(n.from))
		b = le.AppendUint64(b, uint64(n.to))
	}
	le.PutUint32(b[12:], damageCRC(b))
	return b
}

func damageCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:12], table), table, b[16:])
}

// decodeDamage reads and checks the file. A later version is CodeVersionTooNew, everything else CodeCorrupt.
func decodeDamage(b []byte, topic uint64, partition int32) ([]noted, error) {
	le := binary.LittleEndian
	const op = "read damage"
	switch {
	case len(b) < damageHead || string(b[:8]) != damageMagic || damageCRC(b) != le.Uint32(b[12:]):
		return nil, core.Errorf(core.CodeCorrupt, op, "%d bytes that do not match their checksum", len(b))
	case le.Uint32(b[8:]) > damageVersion:
		return nil, core.Errorf(core.CodeVersionTooNew, op, "version %d, this build reads %d", le.Uint32(b[8:]),
			damageVersion)
	case le.Uint64(b[16:]) != topic || le.Uint32(b[24:]) != uint32(partition):
		return nil, core.Errorf(core.CodeCorrupt, op, "it belongs to log %d/%d", le.Uint64(b[16:]),
			le.Uint32(b[24:]))
	case int64(len(b)-damageHead) != int64(le.Uint32(b[28:]))*damageEntry:
		return nil, core.Errorf(core.CodeCorrupt, op, "%d bytes for %d entries", len(b), le.Uint32(b[28:]))
	}
	list := make([]noted, 0, le.Uint32(b[28:]))
	for b = b[damageHead:]; len(b) > 0; b = b[damageEntry:] {
		n := noted{segment: le.Uint64(b), position: int64(le.Uint64(b[8:])), from: int64(le.Uint64(b[16:])),
			to: int64(le.Uint64(b[24:]))}
		if n.position < 0 || n.from < 0 || n.to < n.from {
			return nil, core.Errorf(core.CodeCorrupt, op, "an entry of offsets [%d, %d) at position %d", n.from, n.to,
				n.position)
		}
		list = append(list, n)
	}
	return list, nil
}

// maxDamageFile is what a file takes that notes as much as there may be.
const maxDamageFile = damageHead + 2*damageMax*damageEntry

// readDamage gives what is known to be damaged; there is false if nothing is. A file that is not usable is
// CodeCorrupt.
func (l *Log) readDamage() (list []noted, there bool, err error) {
	f, err := l.store.fs.Open(filepath.Join(l.dir, damageName), ReadOnly)
	if errors.Is(err, errNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, true, err
	}
	content := make([]byte, min(size, maxDamageFile+1))
	if _, err := f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, true, err
	}
	list, err = decodeDamage(content, l.topic, l.partition)
	return list, true, err
}

// noteDamage replaces the file, durably; with nothing to note it goes.
func (l *Log) noteDamage(list []noted) error {
	fs, path, tmp := l.store.fs, filepath.Join(l.dir, damageName), filepath.Join(l.dir, damageTmpName)
	if len(list) == 0 {
		if err := fs.Remove(path); err != nil && !errors.Is(err, errNotExist) {
			return err
		}
		return fs.SyncDir(l.dir)
	}
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(tmp, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodeDamage(l.topic, l.partition, list), 0)
	if err == nil {
		err = f.Sync() // before it has the name that is believed
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return errors.Join(fs.SyncDir(l.dir), l.store.syncParents(l.topic))
}

// describe is the damage of an entry whose segment is not there.
func (n *noted) describe(dir string) Damaged {
	if n.segment == 0 {
		return Damaged{From: n.from, To: n.to, Segment: dir, Reason: "all segments are missing"}
	}
	return Damaged{From: n.from, To: n.to, Segment: filepath.Join(dir, segmentName(n.from, n.segment)),
		Reason: fmt.Sprintf("segment %016x is missing", n.segment)}
}
