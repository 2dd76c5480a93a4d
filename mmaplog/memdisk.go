package mmaplog

import (
	"bytes"
	"slices"
	"sync"
)

const memPage = 4096

// memDisk is the content of a file on the simulated disk. Pages are never changed once they are made, so
// that a crash, of which a test does many, copies what differs and shares the rest.
type memDisk struct {
	size  int64
	pages [][]byte // memPage bytes each; nil is zeros
}

// memPages lends the memory of new pages, a hundred at a time: tests count the allocations of what writes
// here.
var memPages struct {
	mu   sync.Mutex
	room []byte // guarded by mu
}

// newMemPage makes a page with the given content.
func newMemPage(content []byte) []byte {
	memPages.mu.Lock()
	if len(memPages.room) < memPage {
		memPages.room = make([]byte, 100*memPage)
	}
	page := memPages.room[:memPage:memPage]
	memPages.room = memPages.room[memPage:]
	memPages.mu.Unlock()
	copy(page, content)
	return page
}

func (d *memDisk) clone() memDisk { return memDisk{d.size, slices.Clone(d.pages)} }

// grow makes the content at least size bytes long.
func (d *memDisk) grow(size int64) {
	if size <= d.size {
		return
	}
	d.size = size
	if n := int((size + memPage - 1) / memPage); n > len(d.pages) {
		d.pages = append(d.pages, make([][]byte, n-len(d.pages))...)
	}
}

// page is page i, not to be changed.
func (d *memDisk) page(i int64) []byte {
	if p := d.pages[i]; p != nil {
		return p
	}
	return zeros[:memPage]
}

// read fills p from position at on; all of it lies within the content.
func (d *memDisk) read(p []byte, at int64) {
	for len(p) > 0 {
		n := copy(p, d.page(at / memPage)[at%memPage:])
		p, at = p[n:], at+int64(n)
	}
}

// equal reports whether the content at position at, within one page, is p.
func (d *memDisk) equal(p []byte, at int64) bool {
	return bytes.Equal(p, d.page(at / memPage)[at%memPage:][:len(p)])
}

// write puts p at position at; all of it lies within the content.
func (d *memDisk) write(p []byte, at int64) {
	for len(p) > 0 {
		n := min(len(p), int(memPage-at%memPage))
		if !d.equal(p[:n], at) {
			page := newMemPage(d.page(at / memPage))
			copy(page[at%memPage:], p[:n])
			d.pages[at/memPage] = page
		}
		p, at = p[n:], at+int64(n)
	}
}
