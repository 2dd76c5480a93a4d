package refscan

import (
	"bytes"
	"slices"
)

// Class says how a log is.
type Class int

// The classes.
const (
	Clean Class = iota
	Torn
	Damaged
)

// Frame is one good frame.
type Frame struct {
	Offset  int64
	Records int
	Payload []byte
}

// Result is what Scan found.
type Result struct {
	Frames  []Frame // from the log's start up to the first that is not good
	Class   Class
	Refused bool // opening must not change or open the log
}

// Scan reads the files of a log by their names.
func Scan(files map[string][]byte) Result {
	good, broken := sorted(files)
	var d, di uint64
	for _, s := range good {
		d, di = max(d, s.durable), max(di, s.durableIndex)
	}
	first := -1
	for i := range good {
		if good[i].base <= d || i == 0 {
			first = i
		}
	}
	var chain []*segment // from the oldest on
	var p place          // where reading starts, and at which position
	at, clean := uint64(4096), false
	if first >= 0 {
		chain = []*segment{good[first]}
		p = chain[0].begin(0)
	}
	if c := readState(files["state"]); c != nil {
		d, di = max(d, c.offset), max(di, c.index-1)
		for i := max(first, 0); i < len(good); i++ {
			if s := good[i]; s.id == c.segment && c.at <= min(s.end, s.size) && c.offset >= s.base &&
				c.index >= s.index {
				chain, p, at = []*segment{s}, c.place, c.at
				clean = c.clean && i == len(good)-1 && len(bytes.Trim(s.file[at:min(at+8, s.end)], "\x00")) == 0
			}
		}
	}
	lost := false
	if len(chain) > 0 {
		for before := find(good, chain[0].previous); before != nil; before = find(good, chain[0].previous) {
			chain = slices.Insert(chain, 0, before)
		}
		lost = good[0].ordinal < chain[0].ordinal
	}
	r := Result{Refused: lost}
	for _, b := range broken { // a file whose header is gone and that the next one names
		lost = lost || slices.ContainsFunc(good, func(s *segment) bool { return s.previous == b.id })
	}
	if len(chain) == 0 {
		p.index = 1
	} else if !clean {
		chain, p, at = forward(good, chain, p, at)
	}
	torn := r.judge(good, broken, chain, p, at, d, di)
	if r.frames(chain, p, lost) || r.Refused {
		r.Class = Damaged
	} else if torn {
		r.Class = Torn
	}
	return r
}

// forward reads from a place in the last segment of the chain to the log's end.
func forward(good, chain []*segment, p place, at uint64) ([]*segment, place, uint64) {
	for {
		s := chain[len(chain)-1]
		_, p, at = accept(s, p, at)
		j := slices.IndexFunc(good, func(n *segment) bool {
			return n.previous == s.id && n.ordinal > s.ordinal && n.from == p.offset &&
				n.index == p.index && n.prev == p.prev
		})
		if j < 0 {
			return chain, p, at
		}
		chain = append(chain, good[j])
		p, at = good[j].begin(p.time), 4096
	}
}

// frames gathers all frames of the chain, which ends at p, and reports whether some are damaged.
func (r *Result) frames(chain []*segment, p place, damaged bool) bool {
	for i, s := range chain {
		frames, end, _ := accept(s, s.begin(0), 4096)
		if !damaged {
			r.Frames = append(r.Frames, frames...)
		}
		if i+1 < len(chain) {
			damaged = damaged || end.offset != chain[i+1].from || end.index != chain[i+1].index
		} else {
			damaged = damaged || end.index < p.index
		}
	}
	return damaged
}

// judge decides whether opening must refuse a log that ends at p, and whether there is something behind it.
func (r *Result) judge(good, broken, chain []*segment, p place, at, d, di uint64) (torn bool) {
	r.Refused = r.Refused || len(chain) > 0 && (d > p.offset || di >= p.index)
	for _, s := range good {
		from, rejected := uint64(4096), true
		if n := len(chain); n > 0 && s == chain[n-1] {
			from, rejected = at, false
		} else if slices.Contains(chain, s) {
			continue
		}
		torn = torn || rejected || left(s, from, p.index)
		r.Refused = r.Refused || evidence(s, from, p.index) >= p.index
	}
	for _, b := range broken {
		_, ok := frameAt(b, 4096)
		blank := len(bytes.Trim(b.file[:min(4096, len(b.file))], "\x00")) == 0
		known := evidence(b, 4096, p.index)
		missing := !blank && b.base > p.offset && len(good) == 0
		lost := missing || (ok || known > 0) && (!blank || known >= p.index)
		named := !blank && len(chain) > 0 && chain[0].previous == b.id
		r.Refused = r.Refused || named || b.base >= p.offset && lost
	}
	return torn
}

func find(good []*segment, id uint64) *segment {
	for _, s := range good {
		if s.id == id {
			return s
		}
	}
	return nil
}
