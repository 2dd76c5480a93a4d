package core

import "sort"

// Scan calls f for messages that wait at offsets of at least from, by offset, and gives the offset to go on
// at. It looks at about most entries; done says that there are no more.
func (d *DelayIndex) Scan(from int64, most int, f func(due, offset int64)) (next int64, done bool) {
	i := sort.Search(len(d.order),
		func(i int) bool { return d.chunks[d.order[i]].entries[0].offset > from }) - 1
	for i = max(i, 0); i < len(d.order); i++ {
		if most <= 0 {
			return d.chunks[d.order[i]].entries[0].offset, false
		}
		c := d.chunks[d.order[i]]
		for n := range c.used {
			if e := &c.entries[n]; e.offset >= from && e.earlier != freeEntry {
				f(e.due, e.offset)
			}
		}
		most -= int(c.used)
	}
	return from, true
}
