package ringbuf

// More tells whether Next would find an entry, committed or aborted. Unlike Ready it is exact, and only the
// consumer may call it; it never blocks.
func (s *Slab) More() bool {
	return s.read-s.released.value.Load() < s.capacity && s.word(s.read).Load() != 0
}

// TakeOwn is Commit and Next in one, for a producer that is the consumer too: if e, claimed and neither
// committed nor aborted, is next in the order of claims, its bytes are the consumer's until Release, and
// it must be neither committed nor aborted any more. Otherwise it reports false and nothing has changed:
// entries before e are to be read first, or are not committed yet. Only the consumer may call it; it
// never blocks.
//
// It saves the store that hands an entry over and the look that finds it: nobody else would see them.
func (s *Slab) TakeOwn(e Entry) bool {
	for s.read != e.position {
		word := s.word(s.read).Load()
		if word&kindSkip == 0 {
			return false
		}
		s.read += entrySize(word & lengthMask)
	}
	s.read += entrySize(uint64(e.length))
	s.lent = true
	return true
}
