package mmaplog

import (
	"github.com/leatbus/leat/core"
)

// OfflineClass says how a log is.
type OfflineClass uint8

// The classes, from good to bad.
const (
	OfflineClean   OfflineClass = iota // everything there is whole
	OfflineOpenEnd                     // behind the last frame is what was never durable: opening cuts it
	OfflineDamaged                     // durable data is damaged or missing: opening refuses or does not see it
)

// String names the class.
func (c OfflineClass) String() string {
	return [...]string{"clean", "open end", "damaged"}[c]
}

// OfflineFinding is one thing that is not as it should be.
type OfflineFinding struct {
	Class    OfflineClass // OfflineClean for what is only worth knowing
	Path     string       // file or folder
	Position int64        // byte in the file
	From, To int64        // cannot be read: offsets [From, To); To is -1 if nobody can tell; both 0: none
	Reason   string
	Advice   string // what to do
}

// OfflineSegment is one segment file.
type OfflineSegment struct {
	Name    string
	Path    string
	ID      uint64
	Base    int64 // offset of the first record
	Size    int64 // of the file as its header says
	Room    int64 // bytes for frames
	Used    int64 // bytes that readable frames take
	Frames  int64
	Records int64
	Created int64 // ns since 1970
	Scanned bool  // its frames were read
}

// OfflineReport is what Scan found in one log.
type OfflineReport struct {
	Log        OfflineLog
	Class      OfflineClass
	Start, End int64 // offsets of what can be read, but for the ranges of findings: [Start, End)
	FirstTime  int64 // of the first and last frame read, ns since 1970; 0 without frames
	LastTime   int64
	Segments   []OfflineSegment // ascending
	Frames     int64            // read and right
	Records    int64
	Bytes      int64 // of these frames, headers and padding included
	FileBytes  int64 // of all segment files
	Findings   []OfflineFinding
	Unknown    []string // paths of files that Leat does not know
}

// Damaged gives the findings of damage.
func (r *OfflineReport) Damaged() []OfflineFinding {
	var damage []OfflineFinding
	for _, f := range r.Findings {
		if f.Class == OfflineDamaged {
			damage = append(damage, f)
		}
	}
	return damage
}

func (r *OfflineReport) find(f OfflineFinding) {
	r.Class = max(r.Class, f.Class)
	r.Findings = append(r.Findings, f)
}

func (r *OfflineReport) count(s *OfflineSegment, h *core.FrameHeader) {
	if h.Type() == core.FrameFiller {
		return
	}
	if r.Frames == 0 {
		r.FirstTime = h.Time
	}
	r.LastTime = h.Time
	r.Frames++
	if h.Type() == core.FrameEmpty {
		r.givenUp(s.Path, h)
	} else {
		r.Records += int64(h.Records)
		s.Records += int64(h.Records)
	}
	r.Bytes += h.Size()
	s.Frames++
	s.Used += h.Size()
}

// givenUp notes the offsets of a frame that has records no more; neighbours become one finding.
func (r *OfflineReport) givenUp(path string, h *core.FrameHeader) {
	const reason = "a repair gave these records up"
	if n := len(r.Findings); n > 0 && r.Findings[n-1].Reason == reason && r.Findings[n-1].To == h.BaseOffset {
		r.Findings[n-1].To = h.NextOffset()
	} else if h.Records > 0 {
		r.find(OfflineFinding{Path: path, From: h.BaseOffset, To: h.NextOffset(), Reason: reason})
	}
}

// OfflineFrame is one frame on the way. Its bytes are valid until the callback returns.
type OfflineFrame struct {
	Segment  string // path
	Position int64
	Header   core.FrameHeader
	Payload  []byte
}

// ScanOptions direct a scan. The zero value reads everything and reports.
type ScanOptions struct {
	// From skips segments all of whose records have lower offsets.
	From int64
	// Frame is called for each readable frame, in order, fillers too. An error ends the scan and is
	// answered as it is.
	Frame func(f *OfflineFrame) error
	// Again is called before the log is read once more, from its start. A scan with Frame and without Again
	// reads once: damage that it reports in a log that is in use may be none, and segments that go
	// meanwhile are left out.
	Again func()
	// Progress is called now and then with how many bytes more were read.
	Progress func(bytes int64)
}
