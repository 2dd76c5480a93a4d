package node

import "github.com/leatbus/leat/core"

// keyReader reads the keys of records ahead of their delivery. It belongs to the owner of a group.
type keyReader struct{ cursor *cursor }

func (k *keyReader) close() {
	if k.cursor != nil {
		k.cursor.close()
	}
}

// read appends the hashes of the keys of count records from an offset on, all below the mark. What has no
// record any more, or none that can be read, has no key: its delivery tells. Other errors pass.
func (k *keyReader) read(p *partition, from int64, count int, into []uint64) ([]uint64, error) {
	if k.cursor == nil {
		k.cursor = &cursor{part: p}
		k.cursor.start(from)
	}
	c, end := k.cursor, from+int64(count)
	if c.next != from {
		k.seek(from)
	}
	for next := from; next < end; {
		if !c.hasRecords() {
			c.skipped.Reset()
			found, err := c.fetch(p.highWater.Load(), false)
			switch code := core.CodeOf(err); {
			case found:
			case err == nil, code == core.CodeCorrupt:
				k.seek(end)
			case code == core.CodeOffsetOutOfRange:
				k.seek(max(p.log.Start(), next+1))
			default:
				return into, err
			}
			for ; next < min(c.next, end); next++ {
				into = append(into, 0)
			}
			continue
		}
		r, n, err := core.DecodeRecord(c.records)
		if err != nil {
			k.seek(end)
			continue
		}
		into = append(into, orderHash(&r))
		c.records = c.records[n:]
		c.next++
		next++
	}
	return into, nil
}

func (k *keyReader) seek(offset int64) {
	k.cursor.reader.Seek(offset)
	k.cursor.moveTo(offset)
}

// orderHash is core.KeyHash of a record's key, which has its hash with it.
func orderHash(r *core.Record) uint64 {
	if r.Flags&(core.FlagNullKey|core.FlagRemoved) != 0 {
		return 0
	}
	return max(r.KeyHash, 1)
}
