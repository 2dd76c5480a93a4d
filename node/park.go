package node

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// parkedGate is how many bytes of entries may wait for a file of their partition's log before publishers
// wait at the gate. What those that were past it bring is CodeFull where it is over parkedMax.
const (
	parkedGate = 8 << 20
	parkedMax  = 4 * parkedGate
)

// parking holds entries, in order, that their partition's log has no room for while the disk makes its next
// file. Without it the journal would wait, and with it every partition of the shard.
type parking struct {
	entries []byte      // each behind its length, 4 bytes
	bytes   int         // of records
	roomy   atomic.Bool // the log has room now, or a reason why not
	spare   []byte      // memory for entries
}

// parkedKept is the memory for entries that a partition keeps.
const parkedKept = 64 << 10

func (k *parking) empty() bool { return len(k.entries) == 0 }

func (k *parking) push(raw []byte, size int) {
	k.entries = binary.LittleEndian.AppendUint32(k.entries, uint32(len(raw)))
	k.entries = append(k.entries, raw...)
	k.bytes += size
}

// take empties the parking and hands the entries to each, which may push.
func (k *parking) take(each func(raw []byte)) {
	taken := k.entries
	k.entries, k.spare, k.bytes = k.spare[:0], nil, 0
	for rest := taken; len(rest) > 0; {
		n := binary.LittleEndian.Uint32(rest)
		each(rest[4 : 4+n])
		rest = rest[4+n:]
	}
	if cap(taken) <= parkedKept {
		k.spare = taken[:0]
	}
	if k.empty() && cap(k.entries) > parkedKept {
		k.entries = nil
	}
}

// onReady is called by the store when a log that was asked for room has an answer.
func (p *partition) onReady() {
	p.parked.roomy.Store(true)
	if p.inSynced.CompareAndSwap(false, true) {
		p.shard.synced.push(p)
	}
	p.shard.help()
	p.shard.wakeExecutor() // one that is to end may wait for what was parked
}

// fits reports whether the log takes size bytes of records, in a frame of their own, without waiting for a
// file, and counts them.
func (j *journal) fits(p *partition, size int) bool {
	cost := int64(core.FrameHeaderSize + core.Align8(size))
	if p.granted < cost {
		j.addQueue(p) // so that the room it took is known
		if p.granted = p.log.Room(); p.granted < cost {
			return false
		}
	}
	p.granted -= cost
	return true
}

// park puts an entry aside until there is room for its size bytes of records. An error is why it cannot be
// stored at all.
func (j *journal) park(p *partition, raw []byte, size int) error {
	switch k := &p.parked; {
	case p.full != nil:
		return p.full
	case k.empty():
		j.addQueue(p)
		if p.full == nil {
			p.full = p.log.Await(int64(core.FrameHeaderSize + core.Align8(size)))
		}
		if p.full != nil {
			return p.full // and what follows in the batch is not tried
		}
		j.shard.parked.Add(1)
	case k.bytes+size > parkedMax:
		return core.NewError(core.CodeFull, p.op("publish to"), nil)
	}
	p.parked.push(raw, size)
	j.setGate(p)
	return nil
}

// unpark appends what was parked, if there is an answer; what still has no room is parked again.
func (j *journal) unpark(p *partition) {
	if p.parked.empty() || !p.parked.roomy.Swap(false) && p.refusal() == nil {
		return
	}
	j.begin()
	j.shard.parked.Add(-1)
	p.parked.take(func(raw []byte) { j.append(raw, j.time) })
	j.addQueue(p) // the memory of the entries is used again
	j.setGate(p)
}

// setGate has publishers wait while too much of the partition is not on the disk, or not even in the log.
func (j *journal) setGate(p *partition) {
	aside := int64(p.parked.bytes)
	p.gate.set(aside > parkedGate || p.log.UnsyncedBytes()+aside > j.node.gateBytes)
}

// ownFits reports whether a record of size bytes may be stored by its publisher.
func (p *partition) ownFits(size int) bool {
	return p.refusal() != nil ||
		p.parked.empty() && p.log.Room() >= int64(core.FrameHeaderSize+core.Align8(size))
}
