package ringbuf

// This file is what several producers of a Ring share: how they claim without a compare-and-swap loop
// and yet never too much, and how a consumer finds what is published.
//
// Claiming. A producer first waits until
//
//	claimed + n + headroom <= slowest + size,   headroom = (Producers-1) × MaxBatch
//
// and then adds n to the claim word unconditionally. The add cannot overtake the slowest consumer,
// whatever other producers do in between. Proof: look at an add, and at all adds since the check that
// led to it; among their checks take the last, made by producer j. After that check every producer,
// j included, adds at most once up to the add in question: a second add would need a later check. So
// the claim word is at most what j saw, plus j's n, plus MaxBatch for each of the others, which is
// what j found room for; and the slowest consumer only moves forward: one that is added later starts at
// or after every minimum that was used (see Ring.slowest). It needs one claim at a time per handle and no
// more handles than Options.Producers. models/headroom.pml checks it, models/claim.pml what follows.
//
// Because waiting comes before the add, a wait that ends in an error has nothing to undo.
//
// Availability. A claim is published with one store, however many slots it has, to the word that
// belongs to its first slot:
//
//	 63                 tagShift                1        0
//	┌──────────────────────────┬────────────────┬────────┐
//	│ lap + 1 of the sequence  │ slots in claim │ aborted│
//	└──────────────────────────┴────────────────┴────────┘
//
// The consumer hops from claim to claim. A word never has to be cleared: it counts only if its lap is
// that of the sequence looked at, so what was left by an earlier lap, or the initial 0, does not.

const abortedBit = 1

// word is the content of the availability word of a claim of n slots at sequence from.
func (r *Ring[T]) word(from, n int64) uint64 {
	return (uint64(from>>r.lapShift)+1)<<r.tagShift | uint64(n)<<1
}

// claimAt returns the number of slots of the claim published or aborted at sequence from, 0 if none.
func (r *Ring[T]) claimAt(from int64) (n int64, aborted bool) {
	word := r.words[from&r.mask].Load()
	if word>>r.tagShift != uint64(from>>r.lapShift)+1 {
		return 0, false
	}
	return int64(word&(1<<r.tagShift-1)) >> 1, word&abortedBit != 0
}

// sendShared is TrySend of one among several producers in one piece: claim, copy, publish. It reports
// false where the long way must decide.
func (p *Producer[T]) sendShared(v *T) bool {
	if !p.claimOne() {
		return false
	}
	*p.slot(p.from) = *v
	p.publishOne()
	return true
}

// claimOne is TryClaim of one slot by one among several producers, without the batch. It sets from and open.
func (p *Producer[T]) claimOne() bool {
	p.mustBeFree()
	if p.cursor.Load()+p.needed > p.gate { // also when ringClosedBit is set
		return false
	}
	end := p.cursor.Add(1)
	if end&ringClosedBit != 0 {
		return false
	}
	p.from, p.open = end-1, 1
	return true
}

// publishOne publishes what claimOne claimed.
func (p *Producer[T]) publishOne() {
	r, at := p.ring, p.from
	p.open = 0
	releaseWord(&r.words[at&p.mask], r.word(at, 1))
	if p.attention.Load() != 0 {
		r.readers.wake()
	}
}

// publishShared makes a claim visible, published or aborted.
func (r *Ring[T]) publishShared(from int64, word uint64) {
	if w := &r.words[from&r.mask]; r.fenced {
		w.Store(word)
	} else {
		releaseWord(w, word)
	}
}
