package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/leatbus/leat/core"
)

// segmentCheck reads one sealed segment and reports what is wrong with it.
type segmentCheck struct {
	scrubber *scrubber
	log      *Log
	seg      *segment
	next     *segment // the one after it
	file     *scrubFile
	buf      *scanBuf
	at       checkpoint // of the frame that is read next
	lost     bool       // the frames do not reach the next segment, and that was reported
	gone     bool       // the segment is none of the log's any more
}

// errScrubEnded ends a check because the store closes.
var errScrubEnded = errors.New("the store closes")

// scrubFile reads with pauses, and only as long as the segment is one of the log's.
type scrubFile struct {
	File
	check *segmentCheck
	took  time.Duration
}

// ReadAt answers errScrubEnded and errRoundEnded besides what the file does.
func (f *scrubFile) ReadAt(p []byte, at int64) (int, error) {
	c := f.check
	if !c.scrubber.pace(int64(len(p)), f.took) {
		return 0, errScrubEnded
	}
	if !c.log.holds(c.seg) {
		return 0, errRoundEnded
	}
	now := c.scrubber.store.opts.Clock.Mono
	began := now()
	n, err := f.File.ReadAt(p, at)
	f.took = time.Duration(now() - began)
	return n, err
}

// run reads the segment; false if the store closes.
func (c *segmentCheck) run() bool {
	c.seg.users.Add(1) // its file becomes no other segment meanwhile
	defer c.seg.users.Add(-1)
	err := c.read()
	switch {
	case errors.Is(err, errScrubEnded):
		return false
	case errors.Is(err, errRoundEnded):
		c.gone = true
	case err != nil && !c.log.closed.Load():
		c.scrubber.store.opts.Logger.Warn("cannot check a segment", "segment", c.seg.path, "err", err)
	}
	return true
}

func (c *segmentCheck) read() error {
	if !c.log.holds(c.seg) {
		return errRoundEnded
	}
	file, err := c.open()
	if file == nil {
		return err
	}
	defer file.Close()
	// What is in memory anyway tells nothing of the disk, and what is read here nobody will ask for soon. The
	// files of a log's newest segments are open: they are left as they are.
	if c.seg.live.Load() == nil {
		file.Forget()
		defer file.Forget()
	}
	c.file = &scrubFile{File: file, check: c}
	if err := c.lookTwice(c.header, func(reason error) *Damaged {
		return c.damaged(0, c.seg.header.base.offset, c.next.header.from(), reason)
	}); err != nil {
		return err
	}
	if err := c.frames(); err != nil || c.lost {
		return err
	}
	return c.lookTwice(c.tail, func(reason error) *Damaged {
		end := c.next.header.from()
		return c.damaged(c.seg.header.dataEnd, end, end, reason)
	})
}

// open opens the segment's file; nil if it cannot. One that is missing is damage.
func (c *segmentCheck) open() (File, error) {
	fs := c.scrubber.store.fs
	file, err := fs.Open(c.seg.path, ReadOnly)
	if err == nil {
		return file, nil
	}
	if !errors.Is(err, errNotExist) {
		return nil, err
	}
	err = c.again(func() error {
		f, err := fs.Open(c.seg.path, ReadOnly)
		if err != nil {
			return err
		}
		return errors.Join(errRoundEnded, f.Close()) // it is there: another time
	})
	if !errors.Is(err, errNotExist) {
		return nil, err
	}
	c.scrubber.report(c.log, c.damaged(0, c.seg.header.base.offset, c.next.header.from(), err))
	return nil, nil
}

// damaged tells of damage at a position, to the offsets [from, to).
func (c *segmentCheck) damaged(pos, from, to int64, reason error) *Damaged {
	return &Damaged{From: from, To: max(from, to), Segment: c.seg.path, Position: pos, Reason: cause(reason)}
}

// again runs look on the janitor, if the segment still is one of the log's.
func (c *segmentCheck) again(look func() error) error {
	return c.scrubber.store.janitor.wait(func() error {
		if !c.log.holds(c.seg) {
			return errRoundEnded
		}
		return look()
	})
}

// againFrom is again with the file opened anew, and nothing of it in memory.
func (c *segmentCheck) againFrom(look func(File) error) error {
	return c.again(func() error {
		f, err := c.scrubber.store.fs.Open(c.seg.path, ReadOnly)
		if err != nil {
			return err
		}
		f.Forget()
		return errors.Join(look(f), f.Close())
	})
}

// lookTwice reports what look finds if it finds it twice.
func (c *segmentCheck) lookTwice(look func(File) error, damage func(reason error) *Damaged) error {
	err := look(c.file)
	if passes(err) {
		return err
	}
	if err = c.againFrom(look); passes(err) {
		return err
	}
	c.scrubber.report(c.log, damage(err))
	return nil
}

// passes reports whether err tells of no damage.
func passes(err error) bool {
	return err == nil || errors.Is(err, errScrubEnded) || errors.Is(err, errRoundEnded) ||
		errors.Is(err, core.ErrVersionTooNew) || outOfFiles(err)
}

// header compares the header page with what is known of the segment.
func (c *segmentCheck) header(f File) error {
	page := make([]byte, headerSize)
	if _, err := f.ReadAt(page, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := decodeSegmentHeader(page)
	if err != nil {
		return err
	}
	known := &c.seg.header
	if h.id != known.id || h.base != known.base || h.size != known.size || h.dataEnd != known.dataEnd {
		return fmt.Errorf("header of segment %016x at offset %d, want %016x at %d", h.id, h.base.offset, known.id,
			known.base.offset)
	}
	return nil
}

// tail checks footer and index, which are in order if there is nothing at all.
func (c *segmentCheck) tail(f File) error {
	h := &c.seg.header
	if h.size-h.dataEnd < footerSize {
		return nil // by another hand than ours: there is no room
	}
	src := make([]byte, h.size-h.dataEnd)
	if _, err := f.ReadAt(src, h.dataEnd); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if allZero(src[len(src)-footerSize:]) {
		return nil
	}
	_, footer, err := decodeTail(src, h)
	if err != nil {
		return fmt.Errorf("the index is not usable: %w", err)
	}
	if footer.last.offset != c.at.at.offset || footer.last.index != c.at.at.index ||
		footer.last.prevCRC != c.at.at.prevCRC {
		return fmt.Errorf("the footer tells of frames up to offset %d, the last one ends at %d",
			footer.last.offset, c.at.at.offset)
	}
	return nil
}
