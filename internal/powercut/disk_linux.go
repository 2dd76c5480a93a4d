package main

import (
	"bytes"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/crashload"
)

// operation is one thing that reached the disk: a write, or a flush.
type operation struct {
	at       int64
	data     []byte             // nil for a flush
	progress crashload.Progress // of the writer when it arrived
}

// disk is the block device below the file system, in memory. While it records, it keeps every operation.
type disk struct {
	journal *crashload.Journal

	mu sync.Mutex
	// mu guards the following.
	data      []byte
	base      []byte // the content when recording began
	ops       []operation
	bytes     int64
	recording bool
	failed    error

	failing      bool // writes and flushes answer EIO
	failingReads bool
}

// recordedMax bounds what is kept of a run; what comes later is not recorded.
const recordedMax = 192 << 20

func (d *disk) size() int64 { return int64(len(d.data)) }

func (d *disk) read(p []byte, at int64) (n int, errno unix.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failingReads {
		return 0, unix.EIO
	}
	return copy(p, d.data[min(at, int64(len(d.data))):]), 0
}

func (d *disk) write(p []byte, at int64) unix.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing {
		return unix.EIO
	}
	if at+int64(len(p)) > int64(len(d.data)) {
		return unix.ENOSPC
	}
	d.recordLocked(operation{at: at, data: p})
	copy(d.data[at:], p)
	return 0
}

func (d *disk) flush() unix.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing {
		return unix.EIO
	}
	d.recordLocked(operation{})
	return 0
}

func (d *disk) recordLocked(op operation) {
	if !d.recording || d.bytes+int64(len(op.data)) > recordedMax {
		d.recording = false
		return
	}
	p, err := d.journal.Progress()
	if err != nil {
		d.failed = err
	}
	op.progress = p
	op.data = bytes.Clone(op.data)
	d.bytes += int64(len(op.data))
	d.ops = append(d.ops, op)
}

func (d *disk) record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.base, d.ops, d.recording = bytes.Clone(d.data), nil, true
}

// stop ends recording and gives what was recorded.
func (d *disk) stop() (*recordedRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recording = false
	return &recordedRun{image: d.base, ops: d.ops}, d.failed
}

func (d *disk) fail(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = on
}

func (d *disk) failReads(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failingReads = on
}

// recordedRun builds the images of cuts, in ascending order.
type recordedRun struct {
	image []byte // all of ops[:done] is in it
	ops   []operation
	done  int
	level core.Ack
	lie   bool // the writer's syncs did nothing: what is lost is counted and no error
}

// cut gives the disk when the power went just before ops[at]. The caller must not keep it.
func (r *recordedRun) cut(at, sector int, random *rand.Rand, scratch []byte) []byte {
	flushed := r.done
	for i := r.done; i < at; i++ {
		if r.ops[i].data == nil {
			flushed = i + 1
		}
	}
	for ; r.done < flushed; r.done++ {
		copy(r.image[r.ops[r.done].at:], r.ops[r.done].data)
	}
	copy(scratch, r.image)
	// Often none or all of what was not flushed, to reach the corners.
	odds := [...]int{0, 256, 128, 200, 240}[random.IntN(5)]
	for _, op := range r.ops[flushed:at] {
		switch {
		case random.IntN(256) < odds:
			copy(scratch[op.at:], op.data)
		case random.IntN(2) == 0: // torn
			for lo := 0; lo < len(op.data); lo += sector {
				if random.IntN(256) < odds {
					copy(scratch[op.at+int64(lo):], op.data[lo:min(lo+sector, len(op.data))])
				}
			}
		}
	}
	return scratch
}
