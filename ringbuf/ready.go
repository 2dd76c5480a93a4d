package ringbuf

// Ready tells whether Next would find something: the entry at the release position was committed or
// aborted. Unlike Pending it does not count entries that are claimed and still being written, so a
// consumer that found nothing ready may sleep: whoever commits the next entry wakes it. Anybody may
// call it; with Next under way elsewhere the answer is out of date when it returns.
func (s *Slab) Ready() bool {
	at := s.released.value.Load()
	word := peekWord(s.word(at))
	// If the consumer went on meanwhile, what was read may be anything, a payload too; and so may be
	// what comes next, so somebody should look.
	return word != 0 || s.released.value.Load() != at
}
