package node

import (
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
)

// keyReader reads records ahead of their delivery, for their keys and for a filter. It belongs to the owner
// of a group.
type keyReader struct {
	cursor *cursor
	filter *filter.Filter // that matcher asks
	match  *filter.Matcher
	hashes []uint64 // what read has found
	skip   []uint64 // as in core.QueueInput; empty without a filter
}

func (k *keyReader) close() {
	if k.cursor != nil {
		k.cursor.close()
	}
}

// read finds the hashes of the keys of count records from an offset on, all below the mark, and which of them
// a filter, if there is one, leaves out. What has no record any more has no key, and does not pass. One that
// cannot be read has no key: its delivery tells. Other errors pass.
func (k *keyReader) read(p *partition, from int64, count int, f *filter.Filter) error {
	k.begin(p, from, count, f)
	c, end := k.cursor, from+int64(count)
	for next := from; next < end; {
		if !c.hasRecords() {
			c.skipped.Reset()
			found, err := c.fetch(p.highWater.Load(), false)
			unreadable := core.CodeOf(err) == core.CodeCorrupt
			switch code := core.CodeOf(err); {
			case found:
			case err == nil, unreadable:
				k.seek(end)
			case code == core.CodeOffsetOutOfRange:
				k.seek(max(p.log.Start(), next+1))
			default:
				return err
			}
			for ; next < min(c.next, end); next++ {
				k.add(0, !unreadable)
			}
			continue
		}
		r, n, err := core.DecodeRecord(c.records)
		if err != nil {
			for ; next < end; next++ {
				k.add(0, false)
			}
			k.seek(end)
			break
		}
		k.add(orderHash(&r), r.Removed() || k.match != nil && !k.match.Match(&r, c.next, c.time.UnixNano()))
		c.records = c.records[n:]
		c.next++
		next++
	}
	return nil
}

// begin goes to where reading begins.
func (k *keyReader) begin(p *partition, from int64, count int, f *filter.Filter) {
	k.hashes, k.skip = k.hashes[:0], k.skip[:0]
	if k.filter != f {
		k.filter, k.match = f, matcherFor(f, p)
	}
	if f != nil {
		k.skip = append(k.skip, make([]uint64, (count+63)/64)...)
	}
	if k.cursor == nil {
		k.cursor = &cursor{part: p}
		k.cursor.start(from)
	}
	if k.cursor.next != from {
		k.seek(from)
	}
}

// add notes the next record.
func (k *keyReader) add(hash uint64, leftOut bool) {
	if i := len(k.hashes); leftOut && k.match != nil {
		k.skip[i/64] |= 1 << uint(i%64)
	}
	k.hashes = append(k.hashes, hash)
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
