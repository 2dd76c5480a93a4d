package mmaplog

import (
	"cmp"
	"slices"
	"sort"
)

// resolvedLog is what all edits of a log come to.
type resolvedLog struct {
	image   *manifestImage
	edits   []int32             // all edits
	live    []int32             // the last edit of each segment that was not dropped, ascending by ordinal
	dropped map[uint64]struct{} // ids of those that were; nil if there are none
	trimmed uint64              // all up to this ordinal were, whether the manifest knows them or not
}

// resolve applies the edits of a log in order.
func (m *manifestImage) resolve(log *knownLog) *resolvedLog {
	if log.plain {
		return &resolvedLog{image: m, edits: log.edits, live: log.edits}
	}
	f := segmentFinder{image: m, list: make([]int32, 0, len(log.edits))}
	r := &resolvedLog{image: m, edits: log.edits}
	for _, n := range log.edits {
		e := m.edit(n)
		i := f.find(e)
		switch {
		case e.kind() == editDropped:
			if r.dropped == nil {
				r.dropped = map[uint64]struct{}{}
			}
			r.dropped[e.id()] = struct{}{}
			if e.older() {
				r.trimmed = max(r.trimmed, e.ordinal())
			}
			if i >= 0 && f.list[i] >= 0 {
				f.list[i] = ^f.list[i]
			}
		case i < 0:
			f.add(e, n)
		case f.list[i] >= 0:
			f.list[i] = n
		case e.kind() == editCreated: // a power cut took the segment of that id, and the clock stood still
			f.list[i] = n
			delete(r.dropped, e.id())
		}
	}
	if r.dropped != nil {
		f.dropOlder(r.trimmed, r.dropped)
	}
	r.live = slices.DeleteFunc(f.list, func(n int32) bool { return n < 0 })
	if f.byID != nil {
		slices.SortFunc(r.live, func(a, b int32) int {
			return cmp.Compare(m.edit(a).ordinal(), m.edit(b).ordinal())
		})
	}
	return r
}

// dropOlder drops what is as old as the youngest segment that was trimmed: a power cut may have kept the drop
// of that one and not those of older ones.
func (f *segmentFinder) dropOlder(trimmed uint64, dropped map[uint64]struct{}) {
	for i, n := range f.list {
		if e := f.at(i); n >= 0 && e.ordinal() <= trimmed {
			f.list[i] = ^n
			dropped[e.id()] = struct{}{}
		}
	}
}

// segmentFinder finds the segment an edit is about among those before, by its ordinal as long as those
// rise from segment to segment, and by its id otherwise.
type segmentFinder struct {
	image *manifestImage
	list  []int32 // the last edit of each segment; ^n if it was dropped
	byID  map[uint64]int
}

func (f *segmentFinder) at(i int) rawEdit { return f.image.edit(max(f.list[i], ^f.list[i])) }

// find is the index of the segment in list, -1 if it is not there.
func (f *segmentFinder) find(e rawEdit) int {
	if f.byID != nil {
		if i, ok := f.byID[e.id()]; ok {
			return i
		}
		return -1
	}
	n := len(f.list)
	if n == 0 || f.at(n-1).ordinal() < e.ordinal() {
		return -1
	}
	i := sort.Search(n, func(i int) bool { return f.at(i).ordinal() >= e.ordinal() })
	if i < n && f.at(i).id() == e.id() {
		return i
	}
	return -1
}

// add puts a segment that was not found at the end.
func (f *segmentFinder) add(e rawEdit, n int32) {
	last := len(f.list) - 1
	if f.byID == nil && last >= 0 && f.at(last).ordinal() >= e.ordinal() {
		f.byID = map[uint64]int{}
		for i := range f.list {
			f.byID[f.at(i).id()] = i
		}
	}
	if f.byID != nil {
		f.byID[e.id()] = len(f.list)
	}
	f.list = append(f.list, n)
}
