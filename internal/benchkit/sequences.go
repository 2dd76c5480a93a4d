package benchkit

// Sequences judges messages that carry the number of their key and a sequence per key from 0. It
// counts from what the messages say, never from counters of the bus.
//
// Different keys may be observed by different goroutines; one key belongs to one at a time.
// Invariant: distinct <= next for every key.
type Sequences struct {
	keys []keySequence
}

// keySequence is what is known of one key.
type keySequence struct {
	next       uint64 // one more than the highest sequence seen
	seen       uint64 // bit i says that sequence next-1-i was seen
	distinct   uint64 // sequences seen at least once
	duplicated uint32
	reordered  uint32
}

// Verdict is the sum over all keys.
type Verdict struct {
	Delivered  int64 // every message observed, repeats too
	Lost       int64 // published and never observed
	Duplicated int64 // observed again; also anything that comes 64 or more sequences late
	Reordered  int64 // observed after a later one of its key
}

// Clean reports whether nothing was lost, repeated or reordered.
func (v Verdict) Clean() bool { return v.Lost == 0 && v.Duplicated == 0 && v.Reordered == 0 }

// NewSequences makes the state for keys numbered from 0.
func NewSequences(keys int) *Sequences { return &Sequences{keys: make([]keySequence, keys)} }

// Observe takes the next message of a key and reports whether it is the one expected. A key that
// does not exist is never expected. It does not allocate or block.
func (s *Sequences) Observe(key uint32, sequence uint64) bool {
	if uint64(key) >= uint64(len(s.keys)) {
		return false
	}
	k := &s.keys[key]
	if sequence == k.next {
		k.next++
		k.seen = k.seen<<1 | 1
		k.distinct++
		return true
	}
	k.unexpected(sequence)
	return false
}

func (k *keySequence) unexpected(sequence uint64) {
	if sequence > k.next {
		// What was jumped over stays a zero bit, so that it counts as late if it still comes.
		k.seen = k.seen<<(sequence-k.next+1) | 1
		k.next = sequence + 1
		k.distinct++
		return
	}
	late := k.next - 1 - sequence
	if late >= 64 || k.seen>>late&1 == 1 {
		k.duplicated++
		return
	}
	k.seen |= 1 << late
	k.distinct++
	k.reordered++
}

// Seen gives the verdict up to the newest sequence seen of each key: what follows is not missed.
func (s *Sequences) Seen() Verdict {
	var v Verdict
	for i := range s.keys {
		k := &s.keys[i]
		v.add(k, k.next)
	}
	return v
}

// Against gives the verdict for keys of which published[key] messages exist.
func (s *Sequences) Against(published []uint64) Verdict {
	var v Verdict
	for i := range s.keys {
		v.add(&s.keys[i], published[i])
	}
	return v
}

func (v *Verdict) add(k *keySequence, published uint64) {
	v.Delivered += int64(k.distinct) + int64(k.duplicated)
	v.Lost += max(0, int64(published)-int64(k.distinct))
	// More than were published can only be inventions: they count as repeats.
	v.Duplicated += int64(k.duplicated) + max(0, int64(k.distinct)-int64(published))
	v.Reordered += int64(k.reordered)
}
