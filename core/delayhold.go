package core

// Hold takes a message that waits out, to cancel or reschedule it, until Replaced or Release. Otherwise
// it gives what became of the message; busy says that another call holds it. known says that tag is that
// of the record at the offset.
func (d *Delay) Hold(offset int64, tag uint32, known bool) (e DelayEntry, held bool, outcome DelayOutcome,
	busy bool,
) {
	switch state := d.State(offset); {
	case state == DelayGone:
		return e, false, d.Outcome(offset, tag), false
	case !known: // another message has the offset
		return e, false, DelayUnknown, false
	case state == DelayTaken:
		if _, busy = d.held[offset]; busy {
			return e, false, DelayUnknown, true
		}
		return e, false, DelayFired, false
	}
	e, _ = d.Remove(offset)
	d.held[offset] = struct{}{}
	return e, true, DelayUnknown, false
}

// Replaced tells that what replaces a message which is held is stored, and was told by Apply.
func (d *Delay) Replaced(offset int64) { delete(d.held, offset) }

// Release has a message that is held wait again: what was to replace it was refused.
func (d *Delay) Release(e DelayEntry) {
	delete(d.held, e.Offset)
	if d.State(e.Offset) == DelayTaken {
		d.Return(e)
	}
}

// Apply takes a message or an end that is in __delay at an offset since stored, in nanoseconds. Offsets
// ascend from call to call.
func (d *Delay) Apply(r *DelayRecord, offset, stored int64) {
	switch r.Kind {
	case DelayEnd:
		d.End(r.End)
	case DelayMessage:
		m := &r.Message
		if m.Replaces >= 0 {
			d.End(DelayedEnd{Offset: m.Replaces, Outcome: DelayMoved, Tag: r.Key.Tag()})
		}
		d.Add(DelayEntry{Due: dueMillis(m.DueAt(stored)), Offset: offset})
	}
}

// dueMillis is the first whole millisecond at or after a time in nanoseconds.
func dueMillis(ns int64) int64 { return (ns + 1e6 - 1) / 1e6 }

// Delivered ends a message that waits although its target has a record with its handle; r is the record at
// the handle's offset in __delay. It is false if that is another message, because a power cut took the one
// of the handle, or does not wait.
func (d *Delay) Delivered(h DelayHandle, r *DelayRecord) bool {
	if r.Kind != DelayMessage || r.Key.Tag() != h.Tag || d.State(h.Offset) != DelayWaiting {
		return false
	}
	d.End(DelayedEnd{Offset: h.Offset, Outcome: DelayFired, Tag: h.Tag})
	return true
}
