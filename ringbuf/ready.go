package ringbuf

// Ready tells whether Next would find something: the entry at the release position was committed or
// aborted. Unlike Pending it does not count entries that are claimed and still being written, so a
// consumer that found nothing ready may sleep: whoever commits the next entry wakes it. Anybody may
// call it; with Next under way elsewhere the answer is out of date when it returns.
func (s *Slab) Ready() bool {
	return s.word(s.released.value.Load()).Load() != 0
}
