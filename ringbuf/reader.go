package ringbuf

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"
)

// Reader reads a [Ring] without holding anybody up: producers do not wait for it, and what they overwrite
// before it comes is skipped and counted. It copies, because what it reads may be overwritten at any
// time. It belongs to one goroutine at a time.
//
// A copy is good if, after it was made, no claim had reached the place of its first slot one lap later: a
// producer makes its claim visible before it writes (a seqlock with the claim as its sequence; Boehm, Can
// Seqlocks Get Along with Programming Language Memory Models?, MSPC 2012).
type Reader[T any] struct {
	ring *Ring[T]
	at   int64 // next sequence to be read
	// left, with several producers, is how many slots from at on belong to a claim that was found
	// published.
	left int64
}

// Reader returns a new reader that begins with what is claimed from now on. It fails with ErrNotLossy without
// Options.Lossy.
func (r *Ring[T]) Reader() (*Reader[T], error) {
	if !r.lossy {
		return nil, ErrNotLossy
	}
	return &Reader[T]{ring: r, at: r.claimed()}, nil
}

// Next copies published slots into buf, at least one and at most len(buf) or an eighth of the ring, in
// order, and tells how many were skipped in front of the first: slots that were overwritten before they
// could be read, aborted claims among them. It waits until there are any.
//
// Errors: ErrClosed once everything of a sealed ring was read, or after CloseNow, or ctx.Err(). ctx is looked
// at only when there is nothing to read.
func (d *Reader[T]) Next(ctx context.Context, buf []T) (n int, skipped int64, err error) {
	r := d.ring
	if len(buf) == 0 {
		return 0, 0, fmt.Errorf("ringbuf: Reader.Next with an empty buffer")
	}
	for {
		if r.halted.Load() {
			return 0, skipped, ErrClosed
		}
		n, more := d.Poll(buf)
		if skipped += more; n > 0 {
			return n, skipped, nil
		}
		err := r.readers.await(ctx, r.wait, func() bool {
			return d.left > 0 || r.publishedAt(d.at) || d.lapped() > 0 || d.at >= r.end.Load() || r.halted.Load()
		})
		if err != nil {
			return 0, skipped, err
		}
		if d.at >= r.end.Load() {
			return 0, skipped, ErrClosed
		}
	}
}

// Poll is Next that never blocks: n is 0 when there is nothing.
func (d *Reader[T]) Poll(buf []T) (n int, skipped int64) {
	buf = buf[:min(int64(len(buf)), max(1, d.ring.size/8))]
	for {
		skipped += d.resume()
		from := d.at
		n, passed := d.copy(buf)
		if d.ring.claimedTo()-d.ring.size <= from {
			return n, skipped + passed
		}
		d.at = from // overwritten meanwhile
	}
}

// lapped is by how much the oldest slot that is still whole is in front of the reader.
func (d *Reader[T]) lapped() int64 { return d.ring.claimedTo() - d.ring.size - d.at }

// claimedTo is the sequence from which on no slot was written to. Loads do not pass each other where
// readers are allowed, so what was copied before is whole if it is not too far behind this.
func (r *Ring[T]) claimedTo() int64 {
	if r.shared() {
		return r.cursor.value.Load() &^ ringClosedBit
	}
	return max(r.touched.value.Load(), r.cursor.value.Load())
}

// resume jumps over what was overwritten, and a quarter of the ring further, so that the reader is not
// overtaken again at once. It returns by how much.
func (d *Reader[T]) resume() (skipped int64) {
	if d.lapped() <= 0 {
		return 0
	}
	r, from := d.ring, d.at
	end := r.claimed() // not beyond: what a lone producer has in hand or gave up is yet to come
	d.at, d.left = max(from, min(end, r.claimedTo()-r.size+r.size/4)), 0
	if r.shared() {
		// A word that carries the sequence of its place was written by a claim that begins there. The end of
		// all claims is such a beginning too.
		for d.at < end {
			if n, _ := r.claimAt(d.at); n != 0 {
				break
			}
			d.at++
		}
	}
	return d.at - from
}

// copy takes what is published into buf, and tells how many slots of aborted claims it passed.
func (d *Reader[T]) copy(buf []T) (n int, passed int64) {
	r := d.ring
	if !r.shared() {
		count := max(0, min(int64(len(buf)), r.claimed()-d.at))
		d.take(buf[:count])
		return int(count), 0
	}
	for n < len(buf) {
		if d.left == 0 {
			slots, aborted := r.claimAt(d.at)
			switch {
			case slots == 0 || aborted && n > 0:
				return n, passed // what is aborted counts with what comes after it
			case aborted:
				d.at += slots
				passed += slots
				continue
			}
			d.left = slots
		}
		count := min(int64(len(buf)-n), d.left)
		d.take(buf[n : n+int(count)])
		d.left -= count
		n += int(count)
	}
	return n, passed
}

// take copies len(buf) slots from at on.
func (d *Reader[T]) take(buf []T) {
	first, second := d.ring.run(d.at, d.at+int64(len(buf)))
	copySlots(buf, first)
	copySlots(buf[len(first):], second)
	d.at += int64(len(buf))
}

func copySlots[T any](to, from []T) {
	if len(from) > 0 {
		words := uintptr(len(from)) * unsafe.Sizeof(from[0]) / 8
		copyWords(unsafe.Pointer(&to[0]), unsafe.Pointer(&from[0]), words)
	}
}

// readableAtAnyTime tells whether slots may be copied while they are written: the collector must not
// see a pointer of two halves, and what is copied in words must consist of them.
func readableAtAnyTime[T any](slots []T) error {
	var zero T
	switch {
	case !copiesInOrder:
		return fmt.Errorf("ringbuf: Lossy is not available on this processor architecture")
	case hasPointers(reflect.TypeFor[T]()):
		return fmt.Errorf("ringbuf: Lossy with %T, which has pointers in it", zero)
	case unsafe.Sizeof(zero) == 0 || unsafe.Sizeof(zero)%8 != 0 || uintptr(unsafe.Pointer(&slots[0]))%8 != 0:
		return fmt.Errorf("ringbuf: Lossy with %T of %d bytes: want a multiple of 8, aligned to 8",
			zero, unsafe.Sizeof(zero))
	}
	return nil
}

func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice,
		reflect.String, reflect.UnsafePointer:
		return true
	default:
		return false
	}
}
