package mmaplog

import (
	"bytes"
	"io/fs"
	"sync"
)

// memCache is the cache of a MemFS's disk: it holds what WriteOut sent, which a power cut may still take
// away, until a later sync of any file or map empties it. Sectors are kept as they were when they were sent.
type memCache struct {
	mu   sync.Mutex
	sent []memSent // guarded by mu
	last int64     // number of the newest of them; guarded by mu
}

type memSent struct {
	number int64
	node   *memNode
	at     int64
	bytes  []byte
}

// send is called with the node's lock held.
func (c *memCache) send(n *memNode, lo, hi int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.sent = append(c.sent, memSent{c.last, n, lo, bytes.Clone(n.data[lo:hi])})
}

// take gives what a sync that begins now makes durable, and forgets it: if the sync fails it is lost.
func (c *memCache) take() []memSent {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.sent
	c.sent = nil
	return taken
}

// newest is the number of what was sent last.
func (c *memCache) newest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// flush makes durable what take gave, as far as the file's length is: a sync of one file does not make the
// metadata of another durable. What a sync of the file itself has made durable since is newer.
func (m *MemFS) flush(taken []memSent) {
	if m.faults.ignoreFlush.Load() {
		return
	}
	for _, s := range taken {
		s.node.mu.Lock()
		if hi := min(s.at+int64(len(s.bytes)), s.node.disk.size); s.at < hi && s.number > s.node.persisted {
			s.node.disk.write(s.bytes[:hi-s.at], s.at)
		}
		s.node.mu.Unlock()
	}
}

// Device is the same for all files.
func (f *memFile) Device() uint64 { return 1 }

// BeginWriteOut does nothing.
func (f *memFile) BeginWriteOut(int64, int64) {}

// WriteOut sends whole sectors to the disk's cache. What was stored through a map is left out.
func (f *memFile) WriteOut(lo, hi int64) error {
	faults := &f.fs.faults
	_ = faults.step("writeout", f.name)
	faults.mu.Lock()
	err := faults.outErr
	faults.outErr = nil
	faults.mu.Unlock()
	if err != nil {
		return &fs.PathError{Op: "writeout", Path: f.name, Err: err}
	}
	if faults.ignoreSync.Load() {
		return nil
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	lo &^= memSector - 1
	hi = min((hi+memSector-1)&^(memSector-1), int64(len(f.node.data)))
	if f.node.mapped == 0 && lo < hi {
		f.fs.cache.send(f.node, lo, hi)
	}
	return nil
}
