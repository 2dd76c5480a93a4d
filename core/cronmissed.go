package core

import "time"

// Behind gives the first time, from last on, behind which at most so many runs are due by now: last itself if
// there are no more than that. It takes time in proportion to most, not to the runs that it leaves out.
func (c *Cron) Behind(start, last, now time.Time, most int) time.Time {
	switch {
	case !now.After(last):
		return last
	case most == 0:
		return now
	case c.count(start, last, now, most) <= most:
		return last
	case c.every > 0:
		return start.Add((now.Sub(start)/c.every - time.Duration(most)) * c.every)
	}
	// At most so many runs are due behind now−near, and more behind now−far. Runs are at whole seconds, so
	// where these are a second apart there is one run between them.
	near, far := time.Duration(0), now.Sub(last)
	for step := time.Second; step < far; step *= 2 {
		if c.count(start, now.Add(-step), now, most) > most {
			far = step
			break
		}
		near = step
	}
	for far-near > time.Second {
		middle := near + (far-near)/2
		if c.count(start, now.Add(-middle), now, most) > most {
			far = middle
		} else {
			near = middle
		}
	}
	return now.Add(-near)
}

// count gives how many runs are due behind a time, up to another one, but looks at no more than most+1.
func (c *Cron) count(start, behind, now time.Time, most int) (n int) {
	for n <= most {
		next, found := c.Next(start, behind)
		if !found || next.After(now) {
			break
		}
		behind = next
		n++
	}
	return n
}
