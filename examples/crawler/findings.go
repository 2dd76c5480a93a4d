package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
)

// idMax is the longest id of a message, in bytes.
const idMax = 128

// idOf is the id of a URL: itself, or where it is too long for that, its hash.
func idOf(link string) string {
	if len(link) <= idMax {
		return link
	}
	sum := sha256.Sum256([]byte(link))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// findings is what all crawlers have found.
type findings struct {
	mu      sync.Mutex
	pages   map[string]int // how often each URL was fetched
	known   int            // links that were found before
	tooDeep int            // links that were not followed
	broken  int            // links to pages that there are not
	busy    int            // times that a host asked to be asked later
	stale   int            // acknowledgements that came too late
}

func newFindings() *findings { return &findings{pages: map[string]int{}} }

func (f *findings) add(change func(*findings)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *findings) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := 0
	for _, times := range f.pages {
		again += times - 1
	}
	return fmt.Sprintf("%d pages, %d of them twice; %d links were known, %d too deep, %d broken; "+
		"hosts were busy %d times", len(f.pages), again, f.known, f.tooDeep, f.broken, f.busy)
}
