package mmaplog

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// useManifest applies what the folder's manifest tells of the log to the files found: dropped ones do not
// count, and what it says was sealed was durable. One that cannot be used is as good as none.
func (s *offlineScan) useManifest() error {
	if s.report.Log.Root == "" || s.report.Log.Segment != "" {
		return nil
	}
	image, err := readManifest(s.fs, filepath.Join(s.report.Log.Root, manifestName))
	if errors.Is(err, errNotExist) || errors.Is(err, core.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	known := image.logs[logKey{s.report.Log.Topic, s.report.Log.Partition}]
	if known == nil {
		return nil
	}
	log := image.resolve(known)
	found := s.rec.found[:0:0]
	for _, f := range s.rec.found {
		if _, dropped := log.dropped[f.header.id]; dropped || f.header.ordinal <= log.trimmed {
			s.report.find(OfflineFinding{Path: f.path, Reason: "the segment was dropped",
				Advice: "nothing: the next opening removes it"})
		} else {
			found = append(found, f)
		}
	}
	s.rec.found = found
	broken := s.rec.broken[:0:0]
	for _, b := range s.rec.broken {
		if _, dropped := log.dropped[b.id]; !dropped {
			broken = append(broken, b)
		}
	}
	s.rec.broken = broken
	for _, n := range log.live {
		e, err := image.edit(n).decode()
		if err != nil {
			return nil // opening does not use it either
		}
		if e.kind != editSealed {
			continue
		}
		s.sealed = append(s.sealed, e)
		s.rec.durable.end = max(s.rec.durable.end, e.header.base.offset)
		s.rec.durable.index = max(s.rec.durable.index, e.header.base.index-1)
		if e.end > 0 {
			s.rec.durable.end = max(s.rec.durable.end, e.last.offset)
			s.rec.durable.index = max(s.rec.durable.index, e.last.index-1)
		}
	}
	return nil
}

// checkSealed compares the segments that were read with those that the manifest says were durable.
func (s *offlineScan) checkSealed() {
	for i := range s.sealed {
		h := &s.sealed[i].header
		if s.has(h.id) || s.reportedMissing(h.id) {
			continue
		}
		to := s.sealed[i].last.offset
		if to == 0 {
			to = -1
		}
		damage := offlineDamage{forget: len(s.rec.found) > 0 && s.rec.found[0].header.ordinal > h.ordinal}
		s.damaged(OfflineFinding{Class: OfflineDamaged, Path: filepath.Join(s.report.Log.Dir,
			segmentName(h.base.offset, h.id)), From: h.base.offset, To: to, Advice: adviceMissing,
			Reason: fmt.Sprintf("the segment is missing; the manifest says that it was durable from offset %d on",
				h.base.offset)}, damage)
	}
}

// has reports whether there is a file of a segment.
func (s *offlineScan) has(id uint64) bool {
	for _, f := range s.rec.found {
		if f.header.id == id {
			return true
		}
	}
	for _, b := range s.rec.broken {
		if b.id == id {
			return true
		}
	}
	return false
}

func (s *offlineScan) reportedMissing(id uint64) bool {
	for i := range s.damages {
		if d := &s.damages[i]; d.missing && d.next.header.previousID == id {
			return true
		}
	}
	return false
}

// forget gives up the oldest segments of a log, which are missing: the manifest, which knows of them, is set
// aside.
func (r *repairer) forget(log OfflineLog, d *offlineDamage) (bool, error) {
	r.step(RepairStep{Log: log.Name(), Action: "give up records", Path: d.finding.Path, From: d.finding.From,
		To: d.finding.To})
	return true, r.setAside("", filepath.Join(r.root, manifestName))
}
