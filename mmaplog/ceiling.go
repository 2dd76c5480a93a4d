package mmaplog

import (
	"github.com/leatbus/leat/core"
)

// Where a power cut may take what was acknowledged and read, an offset that was given to a lost record
// must not be given to another one. So a log of such a level (LogOptions.Reserve) gives no offset that is
// not below a ceiling in its state file, and goes on at the ceiling when the machine was started anew
// without an orderly close. The janitor raises the ceiling when half of what is reserved is used; the
// writer waits for it only where it has reached it, as before its first record.

// Gap is a range of offsets that no record has.
type Gap struct {
	From, To int64 // To is the first offset after it; From == To means none
}

// reserves reports whether the log keeps a ceiling.
func (l *Log) reserves() bool { return l.opts.Reserve > 0 && l.opts.mapped() }

// reserve makes sure that offsets below upTo, and those of a whole segment of records behind it, may be
// given. It belongs to the writer.
func (l *Log) reserve(upTo, bytes int64) error {
	if !l.reserves() {
		return nil
	}
	upTo += max(bytes, l.opts.SegmentBytes) / core.RecordHeaderSize
	ceiling := l.ceiling.Load()
	switch {
	case upTo > ceiling:
		return ioError(l.name(), l.store.janitor.wait(func() error { return l.raiseCeiling(upTo) }))
	case ceiling-upTo < l.opts.Reserve/2 && l.raising.CompareAndSwap(false, true):
		l.store.janitor.do(func() {
			defer l.raising.Store(false)
			if err := l.raiseCeiling(upTo); err != nil {
				l.store.opts.Logger.Warn("cannot reserve offsets", "topic", l.topic, "partition", l.partition,
					"err", err)
			}
		})
	}
	return nil
}

// raiseCeiling reserves Reserve offsets from upTo on, durably. It runs on the janitor.
func (l *Log) raiseCeiling(upTo int64) error {
	if l.closed.Load() || upTo+l.opts.Reserve <= l.ceiling.Load() {
		return nil
	}
	at, err := l.checkpointAtRoll()
	if err != nil {
		return err
	}
	if err := l.store.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	err = l.replaceState(func(f *stateFile) {
		f.advance(&at)
		f.ceiling = max(f.ceiling, upTo+l.opts.Reserve)
	})
	if err == nil {
		l.ceiling.Store(l.keep.file.ceiling)
	}
	return err
}
